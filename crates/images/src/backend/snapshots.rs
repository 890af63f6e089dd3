//! Unpacked layers.

use std::collections::HashMap;
use std::path::PathBuf;

use containerd_api::WRITE_ANNOTATION;
use containerd_api::services::snapshots::v1 as api;
use containerd_api::types::Mount;
use image_core::Descriptor;

use super::{Backend, found, to_wire};
use crate::error::ImagesError;

/// A snapshot that is being filled.
pub(crate) struct Snapshot {
    pub key: String,
    mounts: Vec<Mount>,
}

impl Backend {
    pub async fn has_snapshot(&self, name: &str) -> Result<bool, ImagesError> {
        let request = api::StatSnapshotRequest { snapshotter: self.snapshotter.clone(), key: name.to_owned() };
        let info = found(self.client.snapshots().stat(request).await.map_err(Into::into))?;
        Ok(info.is_some())
    }

    pub async fn prepare_snapshot(
        &self,
        key: &str,
        parent: &str,
        labels: HashMap<String, String>,
    ) -> Result<Snapshot, ImagesError> {
        let request = api::PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let answer = self.client.snapshots().prepare(request).await?;
        Ok(Snapshot { key: key.to_owned(), mounts: answer.into_inner().mounts })
    }

    /// The folders that make up a committed snapshot, the uppermost first. It stays until the view is removed.
    pub async fn view_snapshot(
        &self,
        key: &str,
        parent: &str,
        labels: HashMap<String, String>,
    ) -> Result<Vec<PathBuf>, ImagesError> {
        let request = api::ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let mounts = self.client.snapshots().view(request).await?.into_inner().mounts;
        let lower = |mount: &Mount| mount.options.iter().find_map(|o| o.strip_prefix("lowerdir=")).map(str::to_owned);
        match &mounts[..] {
            [mount] if matches!(mount.r#type.as_str(), "bind" | "rbind") => Ok(vec![PathBuf::from(&mount.source)]),
            [mount] if mount.r#type == "overlay" && lower(mount).is_some() => {
                Ok(lower(mount).unwrap_or_default().split(':').map(PathBuf::from).collect())
            }
            _ => {
                self.remove_snapshot(key).await?;
                let reason = format!("{} mounts its layers in a way that builds cannot read", self.snapshotter);
                Err(ImagesError::Store { what: "snapshot", reason })
            }
        }
    }

    /// Unpacks a layer; answers the digest of its plain bytes as the differ found it.
    pub async fn apply(&self, layer: &Descriptor, onto: &Snapshot) -> Result<String, ImagesError> {
        let applied = self.client.apply_diff(to_wire(layer), onto.mounts.clone()).await?;
        Ok(applied.digest)
    }

    /// The same with a layer that this write brings: done when it is committed. A containerd that does not know how to,
    /// answers that there is no such blob.
    pub async fn apply_arriving(
        &self,
        layer: &Descriptor,
        write: &str,
        onto: &Snapshot,
    ) -> Result<String, ImagesError> {
        let mut arriving = to_wire(layer);
        arriving.annotations.insert(WRITE_ANNOTATION.to_owned(), write.to_owned());
        let applied = self.client.apply_diff(arriving, onto.mounts.clone()).await?;
        Ok(applied.digest)
    }

    pub async fn commit_snapshot(
        &self,
        snapshot: &Snapshot,
        name: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), ImagesError> {
        let request = api::CommitSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            name: name.to_owned(),
            key: snapshot.key.clone(),
            labels,
            parent: String::new(),
        };
        self.client.snapshots().commit(request).await?;
        Ok(())
    }

    pub async fn remove_snapshot(&self, key: &str) -> Result<(), ImagesError> {
        let request = api::RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        self.client.snapshots().remove(request).await?;
        Ok(())
    }

    /// Bytes of one layer on disk.
    pub async fn snapshot_bytes(&self, name: &str) -> Result<u64, ImagesError> {
        let request = api::UsageRequest { snapshotter: self.snapshotter.clone(), key: name.to_owned() };
        let usage = self.client.snapshots().usage(request).await?.into_inner();
        Ok(u64::try_from(usage.size).unwrap_or(0))
    }
}
