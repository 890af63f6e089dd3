//! The transfer service.

use ::transfer::{Request as Transferred, Transfers};
use containerd_api::services::transfer::v1::TransferRequest;
use containerd_api::services::transfer::v1::transfer_server::Transfer;
use tonic::{Request, Response, Status};

use crate::scope::scope;
use crate::status::{invalid, status};

pub struct TransferService(pub Transfers);

#[tonic::async_trait]
impl Transfer for TransferService {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<()>, Status> {
        let scope = scope(&request)?;
        let TransferRequest { source, destination, options } = request.into_inner();
        let source = source.ok_or_else(|| invalid("no source given"))?;
        let destination = destination.ok_or_else(|| invalid("no destination given"))?;
        let progress = options.unwrap_or_default().progress_stream;
        let request = Transferred { source, destination, progress };
        self.0.transfer(scope, request).await.map_err(status)?;
        Ok(Response::new(()))
    }
}
