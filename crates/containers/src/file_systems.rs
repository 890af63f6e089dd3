//! Containers as file systems: archives in and out, what has changed, the whole as an archive or as an image.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::Error;
use crate::request::{Change, CommitRequest, PathStat, PutArchive};
use crate::service::{Shared, detached};
use crate::tar_stream::{ArchiveSource, TarStream};
use crate::{archive_in, archive_out, changes, commit, export};

/// Archives made or taken at a time; each has a thread that may block. Further ones wait.
const MOST_TRANSFERS: usize = 64;

/// The file systems of all containers.
#[derive(Clone)]
pub struct FileSystems {
    shared: Arc<Shared>,
    transfers: Arc<Semaphore>,
}

impl FileSystems {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, transfers: Arc::new(Semaphore::new(MOST_TRANSFERS)) }
    }

    /// What is at a path; a link at its end is not followed.
    pub async fn stat(&self, reference: &str, path: &str) -> Result<PathStat, Error> {
        archive_out::stat(&self.shared, &*self.shared.find(reference)?, reference, path).await
    }

    /// A file, or a folder with everything in it, as an archive.
    pub async fn get(&self, reference: &str, path: &str) -> Result<(PathStat, TarStream), Error> {
        let container = self.shared.find(reference)?;
        let permit = self.permit().await;
        archive_out::get(&self.shared, &container, reference, path, permit).await
    }

    /// Unpacks an archive into a folder. Goes on to its end when who asked for it goes away; the archive then breaks off.
    pub async fn put(&self, reference: &str, request: PutArchive, source: ArchiveSource) -> Result<(), Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        let permit = self.permit().await;
        let reference = reference.to_owned();
        detached(async move {
            let put = archive_in::put(&shared, &container, &reference, request, source).await;
            drop(permit);
            put
        })
        .await
    }

    /// Everything of the container's own, without volumes.
    pub async fn export(&self, reference: &str) -> Result<TarStream, Error> {
        let container = self.shared.find(reference)?;
        let permit = self.permit().await;
        export::export(&self.shared, &container, permit).await
    }

    /// What differs from the image, in the order of the paths.
    pub async fn changes(&self, reference: &str) -> Result<Vec<Change>, Error> {
        changes::changes(&self.shared, &*self.shared.find(reference)?).await
    }

    /// What the container has of its own as a layer: what a commit would store.
    pub async fn layer(&self, reference: &str) -> Result<TarStream, Error> {
        let container = self.shared.find(reference)?;
        let permit = self.permit().await;
        commit::layer_of(&self.shared, &container, permit).await
    }

    /// The container as a new image, by its id.
    pub async fn commit(&self, reference: &str, request: CommitRequest) -> Result<String, Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        let permit = self.permit().await;
        detached(async move { commit::commit(&shared, &container, request, permit).await }).await
    }

    async fn permit(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        // Nobody closes it; without a permit nothing is lost but the bound.
        Arc::clone(&self.transfers).acquire_owned().await.ok()
    }
}
