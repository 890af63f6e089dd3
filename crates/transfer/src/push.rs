//! Push: blobs first, then the documents that refer to them, the one that the tag stands for last.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use containerd_api::types::transfer::{ImageStore, OciRegistry};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use ids::Digest;
use image_core::{Descriptor, Document, source_key, sources};
use registry_client::{BlobSource, OpenBlob, Pushed};
use supervisor::contents::Contents;

use crate::Task;
use crate::documents::{Found, Origin};
use crate::error::TransferError;
use crate::names::target_of;
use crate::progress::{Job, reference_key};
use crate::remote::RemoteImage;
use crate::wanted::Wanted;

/// Blobs that are sent at a time, as Docker does.
const MAX_UPLOADS: usize = 5;
/// Bytes that are read of a blob at a time.
const PIECE: usize = 256 << 10;

impl Task<'_> {
    pub(crate) async fn push(&self, from: ImageStore, to: OciRegistry) -> Result<(), TransferError> {
        let image = self.services.images.get(&self.scope.namespace, &from.name)?;
        let target = target_of(&image)?;
        let remote = self.remote_image(to).await?;
        self.progress.status(format!("Pushing to {remote}")).await;
        self.progress.image("pushing content", &image.name, &target).await;
        let wanted = Wanted { metadata: false, ..Wanted::of(&from) };
        let mut found = self.documents(Origin::Store, &target, &image.name, &wanted).await?;
        // One platform's manifest goes alone: registries refuse an index whose other manifests they have not.
        let manifests = found.iter().filter(|one| matches!(one.document, Document::Manifest(_))).count();
        if !wanted.platforms.is_empty() && manifests == 1 {
            found.retain(|one| matches!(one.document, Document::Manifest(_)));
        }
        self.push_blobs(&remote, &found).await?;
        for (at, one) in found.iter().enumerate().rev() {
            let name = if at == 0 { remote.wanted() } else { one.descriptor.digest.to_string() };
            let job = Job { descriptor: one.descriptor.clone(), parent: one.parent.clone() };
            self.progress.blob("waiting", &job, 0).await;
            remote.repository.put_manifest(&name, &one.descriptor.media_type, one.bytes.clone()).await?;
            self.progress.blob("complete", &job, one.descriptor.size).await;
        }
        self.progress.image("pushed content", &image.name, &target).await;
        self.progress.status(format!("Completed push to {remote}")).await;
        Ok(())
    }

    /// Configurations and layers of all manifests, each once.
    async fn push_blobs(&self, remote: &RemoteImage, found: &[Found]) -> Result<(), TransferError> {
        let mut seen = HashSet::new();
        let mut jobs = Vec::new();
        for one in found {
            let Document::Manifest(manifest) = &one.document else { continue };
            let parent = reference_key(&one.descriptor.media_type, &one.descriptor.digest);
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                // What may not be distributed stays where its addresses say.
                if seen.insert(blob.digest) && !is_foreign(blob) {
                    jobs.push(Job { descriptor: blob.clone(), parent: parent.clone() });
                }
            }
        }
        let pushes: Vec<_> = jobs.into_iter().map(|job| self.push_blob(remote, job)).collect();
        stream::iter(pushes).buffer_unordered(MAX_UPLOADS).try_collect::<()>().await
    }

    async fn push_blob(&self, remote: &RemoteImage, job: Job) -> Result<(), TransferError> {
        let (contents, namespace) = (&self.services.contents, &self.scope.namespace);
        let digest = job.descriptor.digest;
        let info = contents.info(namespace, &digest)?;
        self.progress.blob("waiting", &job, 0).await;
        let elsewhere = info.labels.get(&source_key(remote.reference.domain())).map(String::as_str);
        let elsewhere: Vec<String> = sources(elsewhere).into_iter().map(str::to_owned).collect();
        let meter = self.progress.meter("uploading", job.clone());
        let blob = BlobSource {
            digest,
            size: info.size,
            open: open(contents.clone(), namespace.clone(), digest),
            progress: Arc::new(move |sent| meter.set(sent)),
        };
        let event = match remote.repository.push_blob(&blob, &elsewhere).await? {
            Pushed::Existed => "already exists",
            Pushed::Mounted(_) | Pushed::Uploaded => "complete",
        };
        self.progress.blob(event, &job, info.size).await;
        self.label_source(&digest, remote).await
    }
}

pub(crate) fn is_foreign(blob: &Descriptor) -> bool {
    blob.media_type.contains(".nondistributable.") || blob.media_type.contains(".foreign.")
}

/// A blob of the store, read again for each try.
fn open(contents: Contents, namespace: String, digest: Digest) -> Arc<OpenBlob> {
    Arc::new(move |offset| -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> {
        let reader = match contents.reader(&namespace, &digest) {
            Ok(reader) => Arc::new(reader),
            Err(error) => return stream::iter([Err(io::Error::other(errors::chain(&error)))]).boxed(),
        };
        let pieces = stream::try_unfold(offset, move |offset| {
            let reader = reader.clone();
            async move {
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = vec![0; PIECE];
                    let length = reader.read_at(&mut piece, offset)?;
                    piece.truncate(length);
                    Ok::<_, io::Error>(piece)
                });
                let piece = read.await.map_err(io::Error::other)??;
                let next = offset + piece.len() as u64;
                Ok((!piece.is_empty()).then(|| (Bytes::from(piece), next)))
            }
        });
        pieces.boxed()
    })
}
