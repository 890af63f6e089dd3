//! Version and health.

use std::pin::Pin;

use containerd_api::grpc::health::v1::health_check_response::ServingStatus;
use containerd_api::grpc::health::v1::health_server::Health;
use containerd_api::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use containerd_api::services::version::v1::VersionResponse;
use containerd_api::services::version::v1::version_server::Version;
use futures_core::Stream;
use tonic::{Request, Response, Status};

/// The program's own version.
pub struct VersionService {
    pub version: &'static str,
    pub revision: &'static str,
}

#[tonic::async_trait]
impl Version for VersionService {
    async fn version(&self, _: Request<()>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse { version: self.version.to_owned(), revision: self.revision.to_owned() }))
    }
}

/// Serving, as long as it answers at all.
pub struct HealthService;

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    /// The first answer is the last: there is no other state that one could live to report.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = HealthCheckResponse { status: ServingStatus::Serving.into() };
        let stream =
            futures_util::StreamExt::chain(futures_util::stream::iter([Ok(first)]), futures_util::stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
