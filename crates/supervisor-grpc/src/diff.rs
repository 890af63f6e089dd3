//! The diff service.

use containerd_api::services::diff::v1::diff_server::Diff;
use containerd_api::services::diff::v1::{ApplyRequest, ApplyResponse, DiffRequest, DiffResponse};
use supervisor::differ::NewDiff;
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::{namespace, scope};
use crate::status::{invalid, status};

pub struct DiffService(pub Services);

#[tonic::async_trait]
impl Diff for DiffService {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let namespace = namespace(&request)?;
        let ApplyRequest { diff, mounts, sync_fs, .. } = request.into_inner();
        let descriptor = diff.ok_or_else(|| invalid("no diff given"))?;
        let applied = self.0.differ.apply(&namespace, descriptor, mounts, sync_fs).await.map_err(status)?;
        Ok(Response::new(ApplyResponse { applied: Some(applied) }))
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        let scope = scope(&request)?;
        let DiffRequest { left, right, media_type, r#ref, labels, .. } = request.into_inner();
        let new = NewDiff { left, right, media_type, reference: r#ref, labels: labels.into_iter().collect() };
        let descriptor = self.0.differ.diff(scope, new).await.map_err(status)?;
        Ok(Response::new(DiffResponse { diff: Some(descriptor) }))
    }
}
