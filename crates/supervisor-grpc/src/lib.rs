//! containerd's gRPC and ttrpc services over the supervisor and its stores. Translation only.
//!
//! Entry point: [`serve`], which answers gRPC on one listener and shims on another until it is told to stop. Codes are
//! made in [`status`] and nowhere else; the namespace and the lease of a request come from its headers ([`scope`]).

mod containers;
mod content;
mod diff;
mod events;
mod images;
mod introspection;
mod leases;
mod namespaces;
mod scope;
mod snapshots;
mod status;
mod streaming;
mod tasks;
mod transfer;
mod version;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::transfer::Transfers;
use containerd_api::grpc::health::v1::health_server::HealthServer;
use containerd_api::services::containers::v1::containers_server::ContainersServer;
use containerd_api::services::content::v1::content_server::ContentServer;
use containerd_api::services::diff::v1::diff_server::DiffServer;
use containerd_api::services::events::v1::events_server::EventsServer;
use containerd_api::services::images::v1::images_server::ImagesServer;
use containerd_api::services::introspection::v1::introspection_server::IntrospectionServer;
use containerd_api::services::leases::v1::leases_server::LeasesServer;
use containerd_api::services::namespaces::v1::namespaces_server::NamespacesServer;
use containerd_api::services::snapshots::v1::snapshots_server::SnapshotsServer;
use containerd_api::services::streaming::v1::streaming_server::StreamingServer;
use containerd_api::services::tasks::v1::tasks_server::TasksServer;
use containerd_api::services::transfer::v1::transfer_server::TransferServer;
use containerd_api::services::version::v1::version_server::VersionServer;
use supervisor::Services;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

/// The largest message either way, as containerd has it.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// How long calls in flight may go on after the daemon was told to stop: subscriptions and waits never end by themselves.
const STOP_LIMIT: Duration = Duration::from_millis(200);
/// Calls one connection may have open at the same time: every task that is waited for is one.
const MAX_STREAMS: u32 = 100_000;

/// Bytes that one call, and all of a connection, may have on the way: HTTP/2's 64 KiB would cut every blob in pieces.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes of a frame that clients may send: HTTP/2's 16 KiB would be a system call each.
const FRAME: u32 = 256 * 1024;

/// What the daemon says about itself.
pub struct About {
    pub version: &'static str,
    pub revision: &'static str,
    pub root: PathBuf,
    /// Where the snapshotter lies.
    pub snapshots: PathBuf,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot serve gRPC")]
    Grpc(#[from] tonic::transport::Error),
    #[error("cannot serve shims")]
    Shims(#[source] std::io::Error),
    #[error("cannot give the daemon a name")]
    Name(#[source] std::io::Error),
}

/// Serves until `stop` resolves; then calls in flight have a moment to end.
pub async fn serve(
    grpc: UnixListener,
    shims: UnixListener,
    services: Services,
    about: About,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let introspection =
        introspection::IntrospectionService::new(&about.root, about.snapshots).map_err(ServeError::Name)?;
    let version = version::VersionService { version: about.version, revision: about.revision };
    macro_rules! bounded {
        ($server:ident, $service:expr) => {
            $server::new($service).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
        };
    }
    let transfers = Transfers::new(services.clone());
    let router = Server::builder()
        .max_concurrent_streams(Some(MAX_STREAMS))
        .initial_stream_window_size(Some(STREAM_WINDOW))
        .initial_connection_window_size(Some(CONNECTION_WINDOW))
        .max_frame_size(Some(FRAME))
        .add_service(bounded!(TasksServer, tasks::TasksService(services.clone())))
        .add_service(bounded!(ContainersServer, containers::ContainersService(services.clone())))
        .add_service(bounded!(ContentServer, content::ContentService(services.clone())))
        .add_service(bounded!(SnapshotsServer, snapshots::SnapshotsService(services.clone())))
        .add_service(bounded!(ImagesServer, images::ImagesService(services.clone())))
        .add_service(bounded!(DiffServer, diff::DiffService(services.clone())))
        .add_service(bounded!(LeasesServer, leases::LeasesService(services.clone())))
        .add_service(bounded!(NamespacesServer, namespaces::NamespacesService(services.clone())))
        .add_service(bounded!(StreamingServer, streaming::StreamingService(transfers.streams().clone())))
        .add_service(bounded!(TransferServer, transfer::TransferService(transfers)))
        .add_service(bounded!(EventsServer, events::EventsService(services.clone())))
        .add_service(IntrospectionServer::new(introspection))
        .add_service(VersionServer::new(version))
        .add_service(HealthServer::new(version::HealthService));
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let signal = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let serving = router.serve_with_incoming_shutdown(UnixListenerStream::new(grpc), signal);
    let limit = async move {
        // An error means that the signal's future is gone: then serving has ended already.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        ended = ttrpc::asynchronous::serve(shims, Arc::new(events::ShimEvents(services))) => {
            ended.map_err(ServeError::Shims)
        }
        () = limit => Ok(()),
    }
}
