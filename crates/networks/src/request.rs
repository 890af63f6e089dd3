//! What the service is asked for and what it answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use network_core::firewall::{OpenPort, PublishedPort};
use network_core::ipam::Asked;
use network_core::resolv_conf::Overrides;
use network_core::{Mac, Protocol, Publish, Subnet};
use serde::{Deserialize, Serialize};

use crate::record::NetworkRecord;

/// How one container is to be reachable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRequest {
    /// Full id.
    pub container_id: String,
    /// Without the slash.
    pub name: String,
    pub hostname: String,
    pub domainname: String,
    pub mode: SandboxMode,
    pub publish: Vec<Publish>,
    /// Ports that the container says it serves; plugins are told of them.
    #[serde(default)]
    pub exposed: Vec<(u16, Protocol)>,
    pub dns: Overrides,
    /// `name:address`; the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// The user namespace that a namespace of its own belongs to; none: the host's.
    #[serde(default)]
    pub users: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxMode {
    /// The host's own namespace.
    Host,
    /// A namespace with loopback only.
    None,
    /// The sandbox of another container, by full id.
    Container(String),
    /// The default bridge is the network named `bridge`.
    Networks(Vec<EndpointRequest>),
}

impl Default for SandboxMode {
    fn default() -> Self {
        Self::Networks(vec![EndpointRequest { network: "bridge".to_owned(), ..EndpointRequest::default() }])
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// Name, id, or the start of an id; `default` means `bridge`.
    pub network: String,
    pub aliases: Vec<String>,
    pub ipv4: Option<IpAddr>,
    pub ipv6: Option<IpAddr>,
    /// More addresses, of 169.254.0.0/16 or fe80::/10.
    pub link_local: Vec<IpAddr>,
    pub mac: Option<Mac>,
    /// The highest has the default route.
    pub gateway_priority: i64,
    /// `name` or `name:word`: the word is the other container's name for this one only.
    pub links: Vec<String>,
    pub driver_options: BTreeMap<String, String>,
}

/// A container that runs when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    pub container_id: String,
    /// Names or ids of the networks that it shall be in; none: whatever it is in.
    pub networks: Option<Vec<String>>,
}

/// A ready sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// None: the host's namespace.
    pub netns_path: Option<PathBuf>,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<PublishedPort>,
    /// Ports of routed networks.
    pub open_ports: Vec<OpenPort>,
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
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    pub aliases: Vec<String>,
    /// Names under which others of the network find the container; empty on the default bridge.
    pub dns_names: Vec<String>,
    /// Its own words for others: word, name.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    #[serde(default)]
    pub gateway_priority: i64,
    /// The default route has no gateway: all the world is on the link (ipvlan l3).
    #[serde(default)]
    pub routes_by_link: bool,
    /// Which of the network's bridges it is on: one takes a thousand.
    #[serde(default)]
    pub segment: u16,
    /// Values for `/proc/sys/net`, by path below it.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
    #[serde(default)]
    pub driver_options: BTreeMap<String, String>,
    /// What a plugin answered; none: no plugin knows it.
    #[serde(default)]
    pub remote: Option<RemoteLink>,
}

/// The link that a plugin made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLink {
    /// Its name on the host.
    pub link: String,
    pub routes: Vec<RemoteRoute>,
    /// The plugin was told to let the world in by it: to publish ports.
    #[serde(default)]
    pub is_way_out: bool,
}

/// A route that a plugin wants in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRoute {
    pub to: Subnet,
    /// None: on the link itself.
    pub next_hop: Option<IpAddr>,
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

    pub(crate) fn address(&self, is_ipv4: bool) -> Option<Address> {
        if is_ipv4 { self.ipv4 } else { self.ipv6 }
    }

    /// Whether packets for the world may leave by it.
    pub(crate) fn leads_out(&self, is_ipv4: bool) -> bool {
        self.address(is_ipv4).is_some_and(|address| address.gateway.is_some() || self.routes_by_link)
    }
}

/// `docker network create`.
#[derive(Debug, Clone, Default)]
pub struct CreateNetwork {
    pub name: String,
    /// Empty: `bridge`.
    pub driver: String,
    /// Empty or `local`.
    pub scope: String,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    /// None: as the options say, else yes.
    pub enable_ipv4: Option<bool>,
    /// None: as the options say, else no.
    pub enable_ipv6: Option<bool>,
    pub config_only: bool,
    /// Name of a network that is configuration only; empty: none.
    pub config_from: String,
    /// Empty: `default`.
    pub ipam_driver: String,
    pub ipam_options: Option<BTreeMap<String, String>>,
    pub pools: Vec<Asked>,
    /// Driver options (`com.docker.network.bridge.name` and its like).
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
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
