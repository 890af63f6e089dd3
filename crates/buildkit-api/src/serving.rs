//! The answer to whether somebody is there (gRPC's health checking protocol): builders and their clients ask each other.

use tonic::codegen::tokio_stream::{Once, once};
use tonic::{Request, Response, Status};

use crate::health::health_check_response::ServingStatus;
use crate::health::health_server::Health;
use crate::health::{HealthCheckRequest, HealthCheckResponse};

/// Whoever can ask is answered.
#[derive(Debug, Clone, Copy)]
pub struct Serving;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

#[tonic::async_trait]
impl Health for Serving {
    type WatchStream = Once<Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(once(Ok(serving()))))
    }
}
