//! Unpacked layers.

use std::collections::HashMap;

use containerd_api::services::diff::v1 as diff_api;
use containerd_api::services::diff::v1::diff_client::DiffClient;
use containerd_api::services::snapshots::v1 as api;
use containerd_api::services::snapshots::v1::snapshots_client::SnapshotsClient;
use containerd_api::types::Mount;
use image_core::Descriptor;
use tonic::transport::Channel;

use super::{Backend, MAX_MESSAGE, to_wire};
use crate::error::ImagesError;

/// A snapshot that is being filled.
pub(crate) struct Snapshot {
    pub key: String,
    mounts: Vec<Mount>,
}

impl Backend {
    fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub async fn has_snapshot(&self, name: &str) -> Result<bool, ImagesError> {
        let request = api::StatSnapshotRequest { snapshotter: self.snapshotter.clone(), key: name.to_owned() };
        match self.snapshots().stat(self.request(request)).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
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
        let answer = self.snapshots().prepare(self.request(request)).await?;
        Ok(Snapshot { key: key.to_owned(), mounts: answer.into_inner().mounts })
    }

    /// Unpacks a layer; answers the digest of its plain bytes as the differ found it.
    pub async fn apply(&self, layer: &Descriptor, onto: &Snapshot) -> Result<String, ImagesError> {
        let request = diff_api::ApplyRequest {
            diff: Some(to_wire(layer)),
            mounts: onto.mounts.clone(),
            payloads: HashMap::new(),
            sync_fs: false,
        };
        let answer = DiffClient::new(self.channel.clone()).apply(self.request(request)).await?;
        Ok(answer.into_inner().applied.unwrap_or_default().digest)
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
        self.snapshots().commit(self.request(request)).await?;
        Ok(())
    }

    pub async fn remove_snapshot(&self, key: &str) -> Result<(), ImagesError> {
        let request = api::RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        self.snapshots().remove(self.request(request)).await?;
        Ok(())
    }

    /// Bytes of one layer on disk.
    pub async fn snapshot_bytes(&self, name: &str) -> Result<u64, ImagesError> {
        let request = api::UsageRequest { snapshotter: self.snapshotter.clone(), key: name.to_owned() };
        let usage = self.snapshots().usage(self.request(request)).await?.into_inner();
        Ok(u64::try_from(usage.size).unwrap_or(0))
    }
}
