//! What the metadata store keeps: networks, and the sandboxes that have addresses in them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use metadata::Table;
use network_core::{Subnet, netd};
use serde::{Deserialize, Serialize};

use crate::request::Sandbox;

pub(crate) const NETWORKS: Table<NetworkRecord> = Table::new("networks");
pub(crate) const SANDBOXES: Table<SandboxRecord> = Table::new("network-sandboxes");

/// One network. Written when it is created, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    pub id: String,
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: bool,
    pub subnets: Vec<SubnetRecord>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Name of the bridge link; empty for `host` and `null`.
    pub bridge: String,
    pub mtu: u32,
    pub talks_inside: bool,
    pub masquerades: bool,
    /// One of `bridge`, `host`, `none`: cannot be removed.
    pub predefined: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetRecord {
    pub subnet: Subnet,
    pub range: Option<Subnet>,
    pub gateway: IpAddr,
}

impl NetworkRecord {
    pub fn is_bridge(&self) -> bool {
        self.driver == "bridge"
    }

    /// The default bridge has no embedded DNS server, as in Docker.
    pub fn serves_names(&self) -> bool {
        self.is_bridge() && !self.predefined
    }

    pub(crate) fn rules(&self) -> network_core::firewall::BridgeRules {
        network_core::firewall::BridgeRules {
            bridge: self.bridge.clone(),
            subnets: self.subnets.iter().map(|subnet| subnet.subnet).collect(),
            talks_inside: self.talks_inside,
            is_internal: self.internal,
            masquerades: self.masquerades,
        }
    }
}

/// A container's sandbox, from before its first step in the kernel until after the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub container_id: String,
    pub name: String,
    pub sandbox: Sandbox,
    pub upstream: netd::Upstream,
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
        });
        Some(netd::Sandbox {
            id: self.container_id.clone(),
            resolver: namespace.map(|namespace| netd::Resolver { namespace, upstream: self.upstream.clone() }),
            endpoints: endpoints.collect(),
            ports: self.sandbox.ports.clone(),
        })
    }
}
