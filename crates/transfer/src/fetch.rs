//! Blobs into the store.

use std::time::Duration;

use bytes::Bytes;
use containerd_api::types::transfer;
use content::WriteRequest;
use errors::{ErrorKind, Kind};
use ids::Digest;
use image_core::{Descriptor, source_key, source_label};
use metadata::Labels;
use registry_client::{Repository, Verify};
use supervisor::contents::Write;
use tokio::sync::{mpsc, watch};

use crate::Task;
use crate::error::TransferError;
use crate::progress::{Job, reference_key};
use crate::remote::RemoteImage;

/// Pieces between the connection and the disk.
const QUEUE: usize = 8;
/// Before a write that somebody else has open is looked at again.
const LOCKED_PAUSE: Duration = Duration::from_millis(100);

impl Task<'_> {
    /// Fetches a blob that is not there; `begun` is told when it is there or on its way.
    pub(crate) async fn fetch(
        &self,
        remote: &RemoteImage,
        job: &Job,
        begun: &watch::Sender<bool>,
    ) -> Result<(), TransferError> {
        let blob = &job.descriptor;
        self.progress.blob("waiting", job, 0).await;
        match self.open(blob).await? {
            None => self.progress.blob("already exists", job, blob.size).await,
            Some(write) => {
                begun.send_replace(true);
                let write = self.copy(&remote.repository, job, write).await?;
                match write.commit(Some(blob.size), Some(blob.digest), Labels::new()).await {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
                    _ => self.progress.blob("complete", job, blob.size).await,
                }
            }
        }
        begun.send_replace(true);
        self.label_source(&blob.digest, remote).await
    }

    /// Stores bytes that are at hand.
    pub(crate) async fn put(&self, descriptor: &Descriptor, bytes: Bytes) -> Result<(), TransferError> {
        let Some(mut write) = self.open(descriptor).await? else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || {
            write.write_at(Some(0), &bytes)?;
            Ok::<_, TransferError>(write)
        });
        let write = written.await.unwrap_or(Err(TransferError::GivenUp))?;
        match write.commit(Some(descriptor.size), Some(descriptor.digest), Labels::new()).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The write of a blob; none if the store has it. Either way the lease holds it from now on.
    async fn open(&self, blob: &Descriptor) -> Result<Option<Write>, TransferError> {
        loop {
            let request = WriteRequest {
                reference: reference_key(&blob.media_type, &blob.digest),
                total: blob.size,
                expected: Some(blob.digest),
                leased: true,
            };
            match self.services.contents.write(self.scope.clone(), request).await {
                Ok(write) => return Ok(Some(write)),
                Err(supervisor::Error::Content(content::Error::AlreadyExists { .. })) => return Ok(None),
                // Another transfer fetches it: the one that comes to its end first serves both.
                Err(supervisor::Error::Content(content::Error::Locked { .. })) => {
                    tokio::time::sleep(LOCKED_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is missing of a blob, from its registry.
    async fn copy(&self, repository: &Repository, job: &Job, mut write: Write) -> Result<Write, TransferError> {
        let blob = &job.descriptor;
        let mut done = write.status().offset;
        if done >= blob.size {
            return Ok(write);
        }
        let mut reader = repository.blob(blob.digest, blob.size, done, Verify::Receiver).await?;
        let (pieces, mut arriving) = mpsc::channel::<Bytes>(QUEUE);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(piece) = arriving.blocking_recv() {
                write.write_at(None, &piece)?;
            }
            Ok::<_, TransferError>(write)
        });
        let meter = self.progress.meter("downloading", job.clone());
        while let Some(piece) = reader.next().await? {
            done += piece.len() as u64;
            meter.set(done);
            // The thread that writes ends early with an error of its own, told below.
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        drop(pieces);
        writing.await.unwrap_or(Err(TransferError::GivenUp))
    }

    /// Notes where a blob is to be had, for pushes to the same registry.
    pub(crate) async fn label_source(&self, digest: &Digest, remote: &RemoteImage) -> Result<(), TransferError> {
        let known = self.services.contents.info(&self.scope.namespace, digest)?.labels;
        let known = known.get(&source_key(remote.reference.domain())).map(String::as_str);
        self.label(digest, [source_label(&remote.reference, known)]).await
    }

    /// Refuses what an image store can be asked for and is not had here.
    pub(crate) fn check_store(&self, store: &transfer::ImageStore) -> Result<(), TransferError> {
        for unpack in store.unpacks.iter().filter(|unpack| !unpack.snapshotter.is_empty()) {
            self.services.snapshots.check_name(&unpack.snapshotter)?;
        }
        Ok(())
    }
}
