//! What the metadata store keeps: networks, and the sandboxes that have addresses in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metadata::Table;
use network_core::firewall::{BridgeRules, FamilyRules, GatewayMode, Item, direct_item, published_item};
use network_core::{Subnet, netd};
use serde::{Deserialize, Serialize};

use crate::request::{Sandbox, SandboxRequest};

pub(crate) const NETWORKS: Table<NetworkRecord> = Table::new("networks");
pub(crate) const SANDBOXES: Table<SandboxRecord> = Table::new("network-sandboxes");

/// One network. Written when it is created, and again when its plugin has made it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    pub id: String,
    pub name: String,
    /// `bridge`, `macvlan`, `ipvlan`, `host`, `null`, or a plugin's name.
    pub driver: String,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    pub internal: bool,
    pub attachable: bool,
    #[serde(default = "yes")]
    pub enable_ipv4: bool,
    pub enable_ipv6: bool,
    pub subnets: Vec<SubnetRecord>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Others are made from it, nobody joins it.
    #[serde(default)]
    pub config_only: bool,
    /// Name of the network that it was made from; empty: none.
    #[serde(default)]
    pub config_from: String,
    #[serde(default)]
    pub ipam: IpamRecord,
    /// Name of the bridge link; empty for all drivers but `bridge`.
    pub bridge: String,
    /// 0: the kernel's, or the parent's.
    pub mtu: u32,
    pub talks_inside: bool,
    pub masquerades: bool,
    #[serde(default)]
    pub bridge_options: BridgeOptions,
    /// What links are made over by macvlan and ipvlan.
    #[serde(default)]
    pub parent: Option<ParentRecord>,
    /// One of `bridge`, `host`, `none`: cannot be removed.
    pub predefined: bool,
    /// A plugin is being asked for it, or it is being removed: the next daemon takes it away.
    #[serde(default)]
    pub is_changing: bool,
}

fn yes() -> bool {
    true
}

/// Who manages the addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamRecord {
    /// Empty: `default`, or a plugin's name.
    pub driver: String,
    /// None where none were given: that is told apart from no entries.
    pub options: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetRecord {
    pub subnet: Subnet,
    pub range: Option<Subnet>,
    /// What containers have for a gateway; none: they have none.
    pub gateway: Option<IpAddr>,
    /// The bridge's own address where it is another than the gateway.
    #[serde(default)]
    pub bridge_address: Option<IpAddr>,
    #[serde(default)]
    pub auxiliary: BTreeMap<String, IpAddr>,
    /// Its id at the plugin that manages its addresses.
    #[serde(default)]
    pub pool: Option<String>,
}

/// Driver options of a bridge network, read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeOptions {
    /// The link was there before the network, and stays behind it.
    pub is_foreign: bool,
    pub mode4: GatewayMode,
    pub mode6: GatewayMode,
    /// The bridge has no IPv4 address.
    pub inhibits_ipv4: bool,
    /// Host address of ports that are published without one.
    pub host_binding: Option<IpAddr>,
    /// Sources become this address instead of that of the link by which they leave.
    pub source4: Option<IpAddr>,
    pub source6: Option<IpAddr>,
    /// Links from which published ports are reached at the containers' addresses, too.
    #[serde(default)]
    pub trusted: Vec<String>,
    /// Names of links in containers begin with it; none: `eth`.
    pub link_prefix: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentRecord {
    pub link: String,
    /// `bridge`, `private`, `vepa`, `passthru`; `l2`, `l3`, `l3s`.
    pub mode: String,
    /// ipvlan's second word: `bridge`, `private`, `vepa`.
    #[serde(default)]
    pub flag: String,
    /// The link was made for the network (a VLAN, a dummy), and goes with it.
    pub is_ours: bool,
}

impl NetworkRecord {
    pub fn is_bridge(&self) -> bool {
        self.driver == "bridge" && !self.config_only
    }

    /// Whether containers have endpoints on it.
    pub fn has_endpoints(&self) -> bool {
        !self.config_only && !matches!(self.driver.as_str(), "host" | "null")
    }

    /// A plugin makes its links.
    pub fn is_remote(&self) -> bool {
        self.has_endpoints() && !matches!(self.driver.as_str(), "bridge" | "macvlan" | "ipvlan")
    }

    /// The default bridge has no embedded DNS server, as in Docker.
    pub fn serves_names(&self) -> bool {
        self.has_endpoints() && !self.predefined
    }

    /// What a new link inside a container is called, before its number.
    pub(crate) fn link_prefix(&self) -> &str {
        self.bridge_options.link_prefix.as_deref().unwrap_or("eth")
    }

    pub(crate) fn mode(&self, is_ipv4: bool) -> GatewayMode {
        if is_ipv4 { self.bridge_options.mode4 } else { self.bridge_options.mode6 }
    }

    pub(crate) fn rules(&self) -> BridgeRules {
        let family = |subnet: &SubnetRecord| {
            let is_ipv4 = subnet.subnet.is_ipv4();
            let options = &self.bridge_options;
            FamilyRules {
                subnet: subnet.subnet,
                is_routed: self.mode(is_ipv4) == GatewayMode::Routed,
                is_unprotected: self.mode(is_ipv4) == GatewayMode::NatUnprotected,
                source: if is_ipv4 { options.source4 } else { options.source6 },
            }
        };
        BridgeRules {
            bridge: self.bridge.clone(),
            families: self.subnets.iter().map(family).collect(),
            talks_inside: self.talks_inside,
            is_internal: self.internal,
            masquerades: self.masquerades,
            trusted: self.bridge_options.trusted.clone(),
        }
    }
}

impl SubnetRecord {
    /// Addresses that are no container's.
    pub(crate) fn reserved(&self) -> Vec<IpAddr> {
        let mut reserved: Vec<IpAddr> = self.gateway.into_iter().collect();
        for address in self.bridge_address.iter().chain(self.auxiliary.values()) {
            if !reserved.contains(address) {
                reserved.push(*address);
            }
        }
        reserved
    }
}

/// A container's sandbox, from before its first step in the kernel until after the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub container_id: String,
    pub name: String,
    pub sandbox: Sandbox,
    pub upstream: netd::Upstream,
    /// What it was made from: endpoints that come and go change files and ports by it.
    #[serde(default)]
    pub request: SandboxRequest,
    /// The host's port of each of the request's publications; 0: none.
    #[serde(default)]
    pub assigned: Vec<u16>,
    /// An endpoint comes or goes: after a crash its link may be there or not.
    #[serde(default)]
    pub is_changing: bool,
    /// The id of an endpoint that goes: after a crash it is taken out again, by all steps.
    #[serde(default)]
    pub leaving: Option<String>,
}

impl SandboxRecord {
    /// What docker-netd is to do for it; none where it has nothing to do.
    pub(crate) fn statement(&self) -> Option<netd::Sandbox> {
        let named: Vec<_> = self.sandbox.endpoints.iter().filter(|endpoint| !endpoint.dns_names.is_empty()).collect();
        if named.is_empty() && self.sandbox.ports.is_empty() {
            return None;
        }
        let namespace = self.sandbox.netns_path.clone().filter(|_| !named.is_empty());
        let endpoints = named.iter().map(|endpoint| netd::Endpoint {
            network_id: endpoint.network_id.clone(),
            network_name: endpoint.network_name.clone(),
            addresses: endpoint.addresses(),
            names: endpoint.dns_names.clone(),
            links: endpoint.links.clone(),
        });
        Some(netd::Sandbox {
            id: self.container_id.clone(),
            resolver: namespace.map(|namespace| netd::Resolver { namespace, upstream: self.upstream.clone() }),
            endpoints: endpoints.collect(),
            ports: self.sandbox.ports.clone(),
        })
    }

    /// What the packet filter holds of it.
    pub(crate) fn items(&self) -> Vec<Item> {
        let ports = &self.sandbox.ports;
        let open = self.sandbox.open_ports.iter().copied().map(Item::Open);
        // Two ports of the host may lead to the same one.
        let direct: BTreeSet<Item> = ports.iter().filter_map(direct_item).collect();
        ports.iter().filter_map(published_item).chain(open).chain(direct).collect()
    }
}
