//! What this service needs from its neighbours, declared by the consumer. dockerd wires them in.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use container_core::{Config, EndpointRequest, ImageDefaults, PortBinding};
use errors::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::tar_stream::TarStream;

/// A neighbour's failure: its text is shown as it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    pub kind: ErrorKind,
    pub message: String,
}

/// An image as far as a container needs it.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// `sha256:…` of the configuration.
    pub id: String,
    /// The full name it was found by (`docker.io/library/busybox:latest`); its id when it has none.
    pub name: String,
    pub defaults: ImageDefaults,
    /// Key of the committed snapshot on which a container's own is prepared; empty for an image without layers.
    pub chain_id: String,
    /// `linux`.
    pub os: String,
}

#[async_trait]
pub trait ImageSource: Send + Sync {
    /// By name, id, short id or digest; sees to it that the image is unpacked. [`ErrorKind::NotFound`] with Docker's
    /// `No such image: x:latest`.
    async fn resolve(&self, name: &str) -> Result<Image, PortError>;
    /// The id of the image that a name stands for now.
    async fn id_of(&self, name: &str) -> Result<String, PortError>;
    /// Makes an image of a container's layer; answers its id.
    async fn commit(&self, commit: ImageCommit) -> Result<String, PortError>;
}

/// A container that becomes an image.
pub struct ImageCommit {
    /// Id of the image it was made from.
    pub parent: String,
    pub container_config: Config,
    /// What the image is to have instead; the container's for what it does not say.
    pub config: Option<Config>,
    /// Lines of a Dockerfile that change the configuration.
    pub changes: Vec<String>,
    pub author: String,
    pub comment: String,
    /// `repository:tag`.
    pub name: Option<String>,
    /// The container's own layer, plain.
    pub layer: TarStream,
}

/// How one container is to be reachable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SandboxRequest {
    pub container_id: String,
    /// Without the slash.
    pub name: String,
    pub hostname: String,
    pub domainname: String,
    pub mode: SandboxMode,
    /// Wanted endpoints; for [`SandboxMode::Networks`] at least one.
    pub endpoints: Vec<EndpointRequest>,
    /// Explicit publications, then (with `-P`) the exposed ports without a host port.
    pub published: Vec<PortBinding>,
    /// `80/tcp`.
    pub exposed: Vec<String>,
    pub dns: Vec<String>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    /// `name:address`.
    pub extra_hosts: Vec<String>,
    /// The user namespace that the container's network namespace belongs to; none: the host's.
    pub users: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum SandboxMode {
    /// The host's own namespace.
    Host,
    /// A namespace with loopback only.
    None,
    /// The sandbox of another container, by full id.
    Container(String),
    /// The networks of [`SandboxRequest::endpoints`]; the default bridge is the network named `bridge`.
    #[default]
    Networks,
}

/// A ready sandbox. Stored with the container, so that `inspect` answers after a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// `None`: the host's namespace.
    pub netns_path: Option<PathBuf>,
    pub endpoints: Vec<Endpoint>,
    pub published: Vec<PublishedPort>,
    /// Contents of the two files inside the container.
    pub resolv_conf: String,
    pub hosts: String,
}

/// One attachment to a network (Engine API, EndpointSettings).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    pub network_name: String,
    pub network_id: String,
    pub endpoint_id: String,
    pub mac: String,
    pub ipv4: String,
    pub ipv4_prefix: u8,
    pub gateway: String,
    pub ipv6: String,
    pub ipv6_prefix: u8,
    pub ipv6_gateway: String,
    pub aliases: Vec<String>,
    pub dns_names: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// `80/tcp`.
    pub container: String,
    pub host_ip: String,
    /// 0: reached at the container's own address (a routed network).
    pub host_port: u16,
}

/// A sandbox in which a container may be set up, while the rest of it is made.
pub struct Acquired {
    pub sandbox: Sandbox,
    /// To be waited for before the container's program runs, and before the sandbox is released.
    pub complete: Completion,
}

pub type Completion = Pin<Box<dyn Future<Output = Result<(), PortError>> + Send>>;

impl From<Sandbox> for Acquired {
    /// One that is all there.
    fn from(sandbox: Sandbox) -> Self {
        Self { sandbox, complete: Box::pin(std::future::ready(Ok(()))) }
    }
}

#[async_trait]
pub trait Sandboxes: Send + Sync {
    /// One with a namespace of its own may be asked for in a moment, for the host's user namespace.
    fn expect(&self) {}
    /// Idempotent: a second call for a container answers its sandbox.
    async fn acquire(&self, request: SandboxRequest) -> Result<Acquired, PortError>;
    /// Idempotent: a container without sandbox is no error.
    async fn release(&self, container_id: &str) -> Result<(), PortError>;
    /// At the daemon's start: these containers run and keep theirs, all others are released. `pid` is the container's init.
    async fn restore(&self, live: &[LiveSandbox]) -> Result<(), PortError>;
    /// What a container has by now; none: nothing.
    async fn current(&self, container_id: &str) -> Option<Sandbox>;
    /// A container that runs is found under its new name from now on.
    async fn rename(&self, container_id: &str, name: &str) -> Result<(), PortError>;
    /// Whether a container may have this endpoint, as far as that is known before it starts.
    async fn check(&self, endpoint: &EndpointRequest) -> Result<(), PortError>;
    /// Plugs a container that runs into one more network; answers all that it has then.
    async fn connect(&self, container_id: &str, endpoint: EndpointRequest) -> Result<Sandbox, PortError>;
    /// Takes it out of one.
    async fn disconnect(&self, container_id: &str, network: &str) -> Result<Sandbox, PortError>;
}

/// A volume that a container wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeRequest {
    pub name: String,
    /// Empty: whichever has a volume of this name, else the local one.
    pub driver: String,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Nobody gave the name.
    pub anonymous: bool,
    /// Who wants it.
    pub container: String,
    /// What is acknowledged survives a power loss.
    pub lasting: bool,
}

/// A volume that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    pub driver: String,
    /// Empty where it is nowhere until it is mounted.
    pub mountpoint: String,
}

/// What becomes of a volume that a container has no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    Keep,
    /// It goes unless others use it.
    Remove,
    /// The same, with a container that dies with the machine.
    RemoveEphemeral,
}

#[async_trait]
pub trait VolumeSource: Send + Sync {
    /// Of a volume that is there already.
    fn driver_of(&self, name: &str) -> Option<String>;
    /// At the daemon's start, before anything else: this container has it.
    fn refer(&self, name: &str, container: &str);
    /// Makes it unless it is there; it stays until the container lets go.
    async fn acquire(&self, request: VolumeRequest) -> Result<Volume, PortError>;
    /// Idempotent: a container that does not have it is no error.
    async fn release(&self, name: &str, container: &str, parting: Parting) -> Result<(), PortError>;
    /// Where its files are until it is unmounted with the same id. Idempotent.
    async fn mount(&self, name: &str, id: &str) -> Result<PathBuf, PortError>;
    /// Idempotent: an id that has nothing mounted is no error.
    async fn unmount(&self, name: &str, id: &str) -> Result<(), PortError>;
    /// At the daemon's start: volumes and ids that have them mounted; nothing else is.
    async fn restore(&self, live: &[(String, String)]);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSandbox {
    pub container_id: String,
    pub pid: u32,
    /// Networks that it shall be in, by name or id; none: its mode is not that of networks.
    pub networks: Option<Vec<String>>,
}

/// One thing that happened to a container (or a volume), for `docker events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    pub subject: EventSubject,
    /// `create`, `die`, `exec_start: sh -c …`.
    pub action: String,
    /// Full id; a volume's name.
    pub id: String,
    /// `image`, `name`, labels, and what belongs to the action.
    pub attributes: BTreeMap<String, String>,
    pub time_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSubject {
    Container,
    Volume,
}

/// Where events go; must not wait.
pub trait EventSink: Send + Sync {
    fn publish(&self, event: ContainerEvent);
}
