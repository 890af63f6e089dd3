//! What the service is asked for and what it answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use network_core::firewall::PublishedPort;
use network_core::resolv_conf::Overrides;
use network_core::{Mac, Publish, Subnet};
use serde::{Deserialize, Serialize};

use crate::record::NetworkRecord;

/// How one container is to be reachable.
#[derive(Debug, Clone, Default)]
pub struct SandboxRequest {
    /// Full id.
    pub container_id: String,
    /// Without the slash.
    pub name: String,
    pub hostname: String,
    pub domainname: String,
    pub mode: SandboxMode,
    pub publish: Vec<Publish>,
    pub dns: Overrides,
    /// `name:address`; the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// The user namespace that a namespace of its own belongs to; none: the host's.
    pub users: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum SandboxMode {
    /// The host's own namespace.
    Host,
    /// A namespace with loopback only.
    None,
    /// The sandbox of another container, by full id.
    Container(String),
    /// At least one; the default bridge is the network named `bridge`.
    Networks(Vec<EndpointRequest>),
}

impl Default for SandboxMode {
    fn default() -> Self {
        Self::Networks(vec![EndpointRequest { network: "bridge".to_owned(), ..EndpointRequest::default() }])
    }
}

#[derive(Debug, Clone, Default)]
pub struct EndpointRequest {
    /// Name, id, or the start of an id; `default` means `bridge`.
    pub network: String,
    pub aliases: Vec<String>,
    pub ipv4: Option<IpAddr>,
    pub ipv6: Option<IpAddr>,
    pub mac: Option<Mac>,
}

/// A ready sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// None: the host's namespace.
    pub netns_path: Option<PathBuf>,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<PublishedPort>,
    /// Contents of the two files inside the container.
    pub resolv_conf: String,
    pub hosts: String,
}

/// One attachment to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub network_id: String,
    pub network_name: String,
    pub endpoint_id: String,
    pub mac: Mac,
    /// Name of the link inside the sandbox (`eth0`).
    pub link: String,
    /// Address, prefix length, gateway; the gateway is none in an internal network.
    pub ipv4: Option<Address>,
    pub ipv6: Option<Address>,
    pub aliases: Vec<String>,
    /// Names under which others of the network find the container; empty on the default bridge.
    pub dns_names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub address: IpAddr,
    pub prefix: u8,
    pub gateway: Option<IpAddr>,
}

impl Endpoint {
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        [self.ipv4, self.ipv6].into_iter().flatten().map(|address| address.address).collect()
    }
}

/// `docker network create`.
#[derive(Debug, Clone, Default)]
pub struct CreateNetwork {
    pub name: String,
    /// Empty: `bridge`.
    pub driver: String,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: bool,
    pub subnets: Vec<SubnetRequest>,
    /// Driver options (`com.docker.network.bridge.name` and its like).
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// One entry of `IPAM.Config`.
#[derive(Debug, Clone, Default)]
pub struct SubnetRequest {
    pub subnet: Option<Subnet>,
    pub range: Option<Subnet>,
    pub gateway: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub id: String,
    pub warning: String,
}

/// A network and who is on it.
#[derive(Debug, Clone)]
pub struct NetworkView {
    pub network: NetworkRecord,
    pub containers: Vec<Attached>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub container_id: String,
    pub container_name: String,
    pub endpoint: Endpoint,
}
