//! The connection, and a client for each service with the headers filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_api::grpc::health::v1::health_client::HealthClient;
use containerd_api::services::containers::v1::containers_client::ContainersClient;
use containerd_api::services::content::v1::content_client::ContentClient;
use containerd_api::services::diff::v1::ApplyRequest;
use containerd_api::services::diff::v1::diff_client::DiffClient;
use containerd_api::services::events::v1::events_client::EventsClient;
use containerd_api::services::images::v1::images_client::ImagesClient;
use containerd_api::services::introspection::v1::introspection_client::IntrospectionClient;
use containerd_api::services::leases::v1::leases_client::LeasesClient;
use containerd_api::services::namespaces::v1::namespaces_client::NamespacesClient;
use containerd_api::services::snapshots::v1::snapshots_client::SnapshotsClient;
use containerd_api::services::streaming::v1::streaming_client::StreamingClient;
use containerd_api::services::tasks::v1::tasks_client::TasksClient;
use containerd_api::services::transfer::v1::transfer_client::TransferClient;
use containerd_api::services::version::v1::VersionResponse;
use containerd_api::services::version::v1::version_client::VersionClient;
use containerd_api::types::{Descriptor, Mount};
use errors::{ErrorKind, Kind};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Uri};
use tonic::{Request, Status};

use crate::Error;
use crate::last_frame::Channel;

/// containerd's own limit for a message (defaults.DefaultMaxRecvMsgSize).
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Flow control: blobs come in chunks of a megabyte. The connection takes what many streams have sent that nobody reads
/// just now (a push whose registry is slow, a save whose client has stopped): they must not hold up every other call.
const STREAM_BYTES: u32 = 1024 * 1024;
const CONNECTION_BYTES: u32 = 64 * STREAM_BYTES;
/// Bytes of a frame that containerd may send: by HTTP/2's 16 KiB a blob would take a system call for each.
const FRAME_BYTES: u32 = 256 * 1024;
/// How often [`Client::wait_until_ready`] looks.
const READY_POLL: Duration = Duration::from_millis(10);

/// What the generated clients send through.
pub type Transport = InterceptedService<Channel, Headers>;

/// A connection with a namespace, and a lease if there is one. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    headers: Headers,
    namespace: String,
}

/// Puts namespace and lease into every request.
#[derive(Clone)]
pub struct Headers {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// A client of the containerd behind a Unix socket. Nothing is sent yet: the first call connects, and after the
    /// connection was lost the next one does so again. To be called within a tokio runtime.
    pub fn new(socket: &Path, namespace: &str) -> Result<Self, Error> {
        let socket: PathBuf = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The authority is never resolved; gRPC wants one.
        let channel = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(STREAM_BYTES)
            .initial_connection_window_size(CONNECTION_BYTES)
            .max_frame_size(FRAME_BYTES)
            .connect_with_connector_lazy(connector);
        let headers = Headers { namespace: header(namespace)?, lease: None };
        Ok(Self { channel: Channel(channel), headers, namespace: namespace.to_owned() })
    }

    /// The same connection for another namespace, without a lease.
    pub fn with_namespace(&self, namespace: &str) -> Result<Self, Error> {
        let headers = Headers { namespace: header(namespace)?, lease: None };
        Ok(Self { channel: self.channel.clone(), headers, namespace: namespace.to_owned() })
    }

    /// The same, with what is made belonging to a lease.
    pub fn with_lease(&self, lease: &str) -> Result<Self, Error> {
        let mut client = self.clone();
        client.headers.lease = Some(header(lease)?);
        Ok(client)
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub async fn version(&self) -> Result<VersionResponse, Error> {
        let mut client = VersionClient::with_interceptor(self.channel.clone(), self.headers.clone());
        Ok(client.version(()).await?.into_inner())
    }

    /// Asks until the containerd answers; the last error when it does not in time.
    pub async fn wait_until_ready(&self, timeout: Duration) -> Result<VersionResponse, Error> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            match self.version().await {
                Err(error) if error.kind() == ErrorKind::Unavailable && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(READY_POLL).await;
                }
                answer => return answer,
            }
        }
    }

    /// Unpacks a layer onto mounts; answers the descriptor of the unpacked bytes (its digest is the layer's diff id).
    pub async fn apply_diff(&self, layer: Descriptor, mounts: Vec<Mount>) -> Result<Descriptor, Error> {
        let request = ApplyRequest { diff: Some(layer), mounts, ..ApplyRequest::default() };
        let answer = self.diff().apply(request).await?.into_inner();
        answer.applied.ok_or(Error::Ended { what: "an applied layer" })
    }

    pub fn containers(&self) -> ContainersClient<Transport> {
        ContainersClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn content(&self) -> ContentClient<Transport> {
        ContentClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn diff(&self) -> DiffClient<Transport> {
        DiffClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn events(&self) -> EventsClient<Transport> {
        EventsClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn health(&self) -> HealthClient<Transport> {
        HealthClient::new(self.transport())
    }

    pub fn images(&self) -> ImagesClient<Transport> {
        ImagesClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn introspection(&self) -> IntrospectionClient<Transport> {
        IntrospectionClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn leases(&self) -> LeasesClient<Transport> {
        LeasesClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn namespaces(&self) -> NamespacesClient<Transport> {
        NamespacesClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn snapshots(&self) -> SnapshotsClient<Transport> {
        SnapshotsClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn streaming(&self) -> StreamingClient<Transport> {
        StreamingClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn transfer(&self) -> TransferClient<Transport> {
        TransferClient::new(self.transport())
    }

    pub fn tasks(&self) -> TasksClient<Transport> {
        TasksClient::new(self.transport()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn transport(&self) -> Transport {
        InterceptedService::new(self.channel.clone(), self.headers.clone())
    }
}

fn header(value: &str) -> Result<MetadataValue<Ascii>, Error> {
    value.parse().map_err(|_| Error::Header { value: value.to_owned() })
}
