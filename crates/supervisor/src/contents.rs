//! Content: blobs under the rules of leases and collection. The bytes and their records are the `content` crate's.

use std::path::PathBuf;

use containerd_api::events::ContentDelete;
use content::{Commit, Following, Info, Reader, Status, WriteRequest, Writer};
use ids::Digest;
use metadata::Labels;
use tokio::sync::OwnedRwLockReadGuard;

use crate::collect::Collector;
use crate::error::{Error, Result};
use crate::events::Exchange;
use crate::leases::{Leases, Scope};
use crate::records::Store;

/// The type of a lease's resource that is a blob, and one that is a write in progress.
const CONTENT: &str = "content";
const INGESTS: &str = "ingests";

#[derive(Clone)]
pub struct Contents {
    blobs: content::Store,
    store: Store,
    leases: Leases,
    events: Exchange,
    collector: Collector,
}

/// An open write. Dropped without a commit it can be resumed.
pub struct Write {
    contents: Contents,
    scope: Scope,
    writer: Writer,
}

impl Contents {
    pub fn new(blobs: content::Store, store: Store, leases: Leases, events: Exchange, collector: Collector) -> Self {
        Self { blobs, store, leases, events, collector }
    }

    pub fn info(&self, namespace: &str, digest: &Digest) -> Result<Info> {
        Ok(self.blobs.info(namespace, digest)?)
    }

    pub fn reader(&self, namespace: &str, digest: &Digest) -> Result<Reader> {
        Ok(self.blobs.reader(namespace, digest)?)
    }

    /// Reads a blob while the write of this reference brings it.
    pub fn follow(&self, namespace: &str, reference: &str, digest: &Digest) -> Result<Following> {
        Ok(self.blobs.follow(namespace, reference, digest)?)
    }

    /// Where the bytes of a blob lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.blob_path(digest)
    }

    pub async fn list(&self, namespace: &str, filters: Vec<String>) -> Result<Vec<Info>> {
        let (blobs, namespace) = (self.blobs.clone(), namespace.to_owned());
        blocking(move || Ok(blobs.walk(&namespace, &filters)?)).await
    }

    pub async fn update(&self, namespace: &str, digest: Digest, labels: Labels, mask: Vec<String>) -> Result<Info> {
        let pass = self.collector.pass().await;
        let (blobs, namespace) = (self.blobs.clone(), namespace.to_owned());
        let info = blocking(move || with(pass, || blobs.update(&namespace, &digest, labels, &mask))).await?;
        // A label that went may have been the last reference to something.
        self.collector.schedule();
        Ok(info)
    }

    pub async fn delete(&self, namespace: &str, digest: Digest) -> Result<()> {
        let (blobs, owner) = (self.blobs.clone(), namespace.to_owned());
        blocking(move || Ok(blobs.delete(&owner, &digest)?)).await?;
        self.collector.schedule();
        self.events.publish(namespace, "/content/delete", &ContentDelete { digest: digest.to_string() });
        Ok(())
    }

    pub async fn status(&self, namespace: &str, reference: String) -> Result<Status> {
        let (blobs, namespace) = (self.blobs.clone(), namespace.to_owned());
        blocking(move || Ok(blobs.status(&namespace, &reference)?)).await
    }

    pub async fn statuses(&self, namespace: &str, filters: Vec<String>) -> Result<Vec<Status>> {
        let (blobs, namespace) = (self.blobs.clone(), namespace.to_owned());
        blocking(move || Ok(blobs.statuses(&namespace, &filters)?)).await
    }

    pub async fn abort(&self, namespace: &str, reference: String) -> Result<()> {
        let (blobs, namespace) = (self.blobs.clone(), namespace.to_owned());
        blocking(move || Ok(blobs.abort(&namespace, &reference)?)).await
    }

    /// Opens a write, new or to go on with. What is expected comes under the caller's lease first, so that a blob which
    /// is there already stays.
    pub async fn write(&self, scope: Scope, mut request: WriteRequest) -> Result<Write> {
        self.store.ensure(&scope.namespace).await?;
        let pass = self.collector.pass().await;
        request.leased = scope.lease.is_some();
        let mut held = vec![(INGESTS.to_owned(), request.reference.clone())];
        held.extend(request.expected.map(|digest| (CONTENT.to_owned(), digest.to_string())));
        self.leases.hold_all(&scope, held).await?;
        let (blobs, namespace) = (self.blobs.clone(), scope.namespace.clone());
        let writer = blocking(move || with(pass, || blobs.writer(&namespace, &request))).await?;
        Ok(Write { contents: self.clone(), scope, writer })
    }

    /// What a namespace holds, in containerd's word for it.
    pub fn kinds_in(&self, namespace: &str) -> Result<Vec<&'static str>> {
        Ok(if self.blobs.walk(namespace, &[])?.is_empty() { Vec::new() } else { vec!["blobs"] })
    }

    pub(crate) fn blobs(&self) -> &content::Store {
        &self.blobs
    }
}

impl Write {
    pub fn status(&self) -> &Status {
        self.writer.status()
    }

    pub fn digest(&self) -> Digest {
        self.writer.digest()
    }

    /// Appends from an offset, which may lie before the end: what follows it is written anew. Blocks on the disk.
    pub fn write_at(&mut self, offset: Option<u64>, data: &[u8]) -> Result<()> {
        if let Some(offset) = offset {
            self.writer.truncate(offset)?;
        }
        Ok(self.writer.write(data)?)
    }

    /// Whether the namespace has the blob already that this write is for.
    pub fn exists(&self, digest: &Digest) -> bool {
        self.contents.blobs.info(&self.scope.namespace, digest).is_ok()
    }

    /// Gives the write up and removes what was written.
    pub async fn abort(self) -> Result<()> {
        blocking(move || Ok(self.writer.abort()?)).await
    }

    /// Verifies and publishes the blob, under the lease of whoever writes.
    pub async fn commit(self, size: Option<u64>, expected: Option<Digest>, labels: Labels) -> Result<Digest> {
        let Self { contents, scope, writer } = self;
        let digest = writer.digest();
        let pass = contents.collector.pass().await;
        contents.leases.hold(&scope, CONTENT, &digest.to_string()).await?;
        let commit = Commit { size, expected, labels, also: None };
        blocking(move || with(pass, || writer.commit(commit))).await
    }
}

/// Runs blocking work on a thread that is made for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::GivenUp))
}

/// Does something while no collection can begin.
pub(crate) fn with<T, E: Into<Error>>(
    pass: OwnedRwLockReadGuard<()>,
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    let done = work().map_err(Into::into);
    drop(pass);
    done
}
