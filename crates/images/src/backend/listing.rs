//! All that a containerd holds for the namespace, and which lease keeps what.

use containerd_api::services::content::v1::ListStatusesRequest;
use containerd_api::services::leases::v1::ListResourcesRequest;
use containerd_api::services::snapshots::v1 as api;

use super::Backend;
use crate::error::ImagesError;

/// A blob that is still being written.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub key: String,
    /// Bytes that have come.
    pub offset: u64,
}

/// What a lease keeps.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// `content`, `ingests`, `snapshots/overlayfs`.
    pub kind: String,
    pub id: String,
}

impl Backend {
    /// Keys of all snapshots with the ones that they lie on.
    pub async fn snapshots(&self) -> Result<Vec<(String, String)>, ImagesError> {
        let request = api::ListSnapshotsRequest { snapshotter: self.snapshotter.clone(), filters: Vec::new() };
        let mut pages = self.client.snapshots().list(request).await?.into_inner();
        let mut found = Vec::new();
        while let Some(page) = pages.message().await? {
            found.extend(page.info.into_iter().map(|info| (info.name, info.parent)));
        }
        Ok(found)
    }

    pub async fn ingests(&self) -> Result<Vec<Ingest>, ImagesError> {
        let statuses = self.client.content().list_statuses(ListStatusesRequest { filters: Vec::new() }).await?;
        let ingest = |offset: i64, key: String| Ingest { key, offset: u64::try_from(offset).unwrap_or(0) };
        Ok(statuses.into_inner().statuses.into_iter().map(|status| ingest(status.offset, status.r#ref)).collect())
    }

    /// Nothing for a lease that has ended meanwhile.
    pub async fn kept_by(&self, lease: &str) -> Result<Vec<Kept>, ImagesError> {
        let request = ListResourcesRequest { id: lease.to_owned() };
        let answer = super::found(self.client.leases().list_resources(request).await.map_err(Into::into))?;
        let kept = answer.map(|answer| answer.into_inner().resources).unwrap_or_default();
        Ok(kept.into_iter().map(|resource| Kept { kind: resource.r#type, id: resource.id }).collect())
    }
}
