//! BuildKit's gRPC services over one connection, which the Engine API has handed over: `POST /grpc`.
//!
//! Entry point: [`serve`]. [`control`] builds and tells, [`bridge`] is for builds that their client leads. Translation
//! only; codes are made in `status.rs` and nowhere else.

mod bridge;
mod control;
mod history;
mod sessions;
mod status;
mod worker;

use buildkit::BuildKit;
use buildkit_api::control::control_server::ControlServer;
use buildkit_api::frontend::llb_bridge_server::LlbBridgeServer;
use buildkit_api::health::health_server::HealthServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// Calls of one client at a time.
const MAX_CALLS: u32 = 256;
/// The longest message that is read: a Dockerfile's attributes and a graph fit.
const MAX_MESSAGE: usize = 16 << 20;

/// Who builds, for whom nothing else is told of it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The engine's own, the same as long as it lives.
    pub id: String,
    pub version: String,
    pub revision: String,
}

/// Serves a client until it hangs up or `ending` is cancelled.
pub async fn serve<S>(service: BuildKit, identity: Identity, stream: S, ending: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let control = control::Control { service: service.clone(), identity: identity.clone(), ending: ending.clone() };
    let bridge = bridge::LlbBridge { service, identity };
    let served = Server::builder()
        .max_concurrent_streams(MAX_CALLS)
        .add_service(HealthServer::new(buildkit_api::Serving))
        .add_service(ControlServer::new(control).max_decoding_message_size(MAX_MESSAGE))
        .add_service(LlbBridgeServer::new(bridge).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(grpc_connection::incoming(stream, &ending), ending.cancelled());
    if let Err(error) = served.await {
        tracing::debug!(%error, "a build client's connection broke");
    }
}
