//! The snapshots service.

use std::collections::HashMap;
use std::pin::Pin;

use containerd_api::services::snapshots::v1::snapshots_server::Snapshots;
use containerd_api::services::snapshots::v1::{
    CleanupRequest, CommitSnapshotRequest, Info, Kind, ListSnapshotsRequest, ListSnapshotsResponse, MountsRequest,
    MountsResponse, PrepareSnapshotRequest, PrepareSnapshotResponse, RemoveSnapshotRequest, StatSnapshotRequest,
    StatSnapshotResponse, UpdateSnapshotRequest, UpdateSnapshotResponse, UsageRequest, UsageResponse,
    ViewSnapshotRequest, ViewSnapshotResponse,
};
use containerd_api::time;
use futures_core::Stream;
use futures_util::stream;
use supervisor::snapshots::{NewKind, NewSnapshot};
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::{namespace, scope};
use crate::status::{invalid, status};

/// Snapshots in one message of a list.
const LISTED: usize = 100;

pub struct SnapshotsService(pub Services);

impl SnapshotsService {
    fn check(&self, snapshotter: &str) -> Result<(), Status> {
        self.0.snapshots.check_name(snapshotter).map_err(status)
    }
}

#[tonic::async_trait]
impl Snapshots for SnapshotsService {
    type ListStream = Pin<Box<dyn Stream<Item = Result<ListSnapshotsResponse, Status>> + Send>>;

    async fn prepare(
        &self,
        request: Request<PrepareSnapshotRequest>,
    ) -> Result<Response<PrepareSnapshotResponse>, Status> {
        let scope = scope(&request)?;
        let PrepareSnapshotRequest { snapshotter, key, parent, labels } = request.into_inner();
        self.check(&snapshotter)?;
        let new = NewSnapshot { key, parent, labels: labels.into_iter().collect(), kind: NewKind::Active };
        let mounts = self.0.snapshots.create(scope, new).await.map_err(status)?;
        Ok(Response::new(PrepareSnapshotResponse { mounts }))
    }

    async fn view(&self, request: Request<ViewSnapshotRequest>) -> Result<Response<ViewSnapshotResponse>, Status> {
        let scope = scope(&request)?;
        let ViewSnapshotRequest { snapshotter, key, parent, labels } = request.into_inner();
        self.check(&snapshotter)?;
        let new = NewSnapshot { key, parent, labels: labels.into_iter().collect(), kind: NewKind::View };
        let mounts = self.0.snapshots.create(scope, new).await.map_err(status)?;
        Ok(Response::new(ViewSnapshotResponse { mounts }))
    }

    async fn mounts(&self, request: Request<MountsRequest>) -> Result<Response<MountsResponse>, Status> {
        let namespace = namespace(&request)?;
        let MountsRequest { snapshotter, key } = request.get_ref();
        self.check(snapshotter)?;
        let mounts = self.0.snapshots.mounts(&namespace, key).await.map_err(status)?;
        Ok(Response::new(MountsResponse { mounts }))
    }

    async fn commit(&self, request: Request<CommitSnapshotRequest>) -> Result<Response<()>, Status> {
        let scope = scope(&request)?;
        let CommitSnapshotRequest { snapshotter, name, key, labels, .. } = request.into_inner();
        self.check(&snapshotter)?;
        self.0.snapshots.commit(scope, name, key, labels.into_iter().collect()).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn remove(&self, request: Request<RemoveSnapshotRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let RemoveSnapshotRequest { snapshotter, key } = request.into_inner();
        self.check(&snapshotter)?;
        self.0.snapshots.remove(&namespace, key).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn stat(&self, request: Request<StatSnapshotRequest>) -> Result<Response<StatSnapshotResponse>, Status> {
        let namespace = namespace(&request)?;
        let StatSnapshotRequest { snapshotter, key } = request.get_ref();
        self.check(snapshotter)?;
        let found = self.0.snapshots.stat(&namespace, key).map_err(status)?;
        Ok(Response::new(StatSnapshotResponse { info: Some(info(found)) }))
    }

    async fn update(
        &self,
        request: Request<UpdateSnapshotRequest>,
    ) -> Result<Response<UpdateSnapshotResponse>, Status> {
        let namespace = namespace(&request)?;
        let UpdateSnapshotRequest { snapshotter, info: given, update_mask } = request.into_inner();
        self.check(&snapshotter)?;
        let given = given.ok_or_else(|| invalid("no info given"))?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let labels = given.labels.into_iter().collect();
        let updated = self.0.snapshots.update(&namespace, given.name, labels, paths).await.map_err(status)?;
        Ok(Response::new(UpdateSnapshotResponse { info: Some(info(updated)) }))
    }

    async fn list(&self, request: Request<ListSnapshotsRequest>) -> Result<Response<Self::ListStream>, Status> {
        let namespace = namespace(&request)?;
        let ListSnapshotsRequest { snapshotter, filters } = request.into_inner();
        self.check(&snapshotter)?;
        let found = self.0.snapshots.list(&namespace, filters).await.map_err(status)?;
        let mut infos = found.into_iter().map(info).peekable();
        let messages = std::iter::from_fn(move || {
            infos.peek()?;
            Some(Ok(ListSnapshotsResponse { info: infos.by_ref().take(LISTED).collect() }))
        });
        Ok(Response::new(Box::pin(stream::iter(messages))))
    }

    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        let namespace = namespace(&request)?;
        let UsageRequest { snapshotter, key } = request.into_inner();
        self.check(&snapshotter)?;
        let usage = self.0.snapshots.usage(&namespace, key).await.map_err(status)?;
        let size = i64::try_from(usage.bytes).unwrap_or(i64::MAX);
        let inodes = i64::try_from(usage.inodes).unwrap_or(i64::MAX);
        Ok(Response::new(UsageResponse { size, inodes }))
    }

    async fn cleanup(&self, request: Request<CleanupRequest>) -> Result<Response<()>, Status> {
        self.check(&request.get_ref().snapshotter)?;
        self.0.snapshots.cleanup().await.map_err(status)?;
        Ok(Response::new(()))
    }
}

fn info(found: snapshot::Info) -> Info {
    let kind = match found.kind {
        snapshot::Kind::View => Kind::View,
        snapshot::Kind::Active => Kind::Active,
        snapshot::Kind::Committed => Kind::Committed,
    };
    Info {
        name: found.name,
        parent: found.parent.unwrap_or_default(),
        kind: kind.into(),
        created_at: Some(time::to_timestamp(found.created_at)),
        updated_at: Some(time::to_timestamp(found.updated_at)),
        labels: found.labels.into_iter().collect::<HashMap<_, _>>(),
    }
}
