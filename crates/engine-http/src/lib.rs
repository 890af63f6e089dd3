//! The Engine API over HTTP: routes, versions, hijacked streams, status codes.
//!
//! Translation only: a request becomes a call of one service, its answer becomes wire types. Nothing is decided and
//! nothing is stored here. Entry point: [`serve_connection`]; the way of a request: [`connection`] (limits) →
//! [`answer`] (authorization) → [`route`] → one module a noun. Statuses are made in `status.rs` and nowhere else.

mod answer;
mod authorization;
mod build;
mod buildkit;
mod connection;
mod containers;
mod disk_usage;
mod exec;
mod hijack;
mod images;
mod metrics;
mod networks;
mod query;
mod reframe;
mod reply;
mod request;
mod route;
mod session;
mod status;
mod streams;
mod system;
mod unread;
mod volumes;

use std::sync::Arc;

use engine_api::ApiVersion;
use tokio::io::{AsyncRead, AsyncWrite};

pub use authorization::Authorization;
pub use connection::{Connection, Liveness, Patience, Peer};
pub use metrics::{Actions, serve_metrics};
pub use system::Engine;
pub use tokio_util::sync::CancellationToken;

/// The services behind the API.
pub struct Api {
    pub containers: Arc<::containers::Service>,
    pub images: ::images::Images,
    pub builder: ::builder::Builder,
    pub buildkit: ::buildkit::BuildKit,
    /// Who builds, for BuildKit's clients.
    pub build_worker: buildkit_grpc::Identity,
    pub networks: ::networks::Networks,
    pub volumes: ::volumes::Volumes,
    pub events: events::Bus,
    pub engine: Arc<dyn Engine>,
    pub authorization: Authorization,
    pub actions: Actions,
    /// Clients that speak an older version are refused.
    pub oldest_version: ApiVersion,
}

/// Serves one client until it hangs up or the daemon goes down.
pub async fn serve_connection<S>(api: Arc<Api>, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handler = move |request, connection| answer::answer(Arc::clone(&api), request, connection);
    connection::serve(stream, connection, handler).await;
}
