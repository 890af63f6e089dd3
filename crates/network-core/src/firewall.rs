//! What the daemon's packet filter shall hold: elements of a few sets and maps, as data.
//!
//! The rules over them never change; a container comes and goes by elements alone.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::port::Protocol;
use crate::subnet::Subnet;

/// A published port and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Unspecified: every address of the host of that family.
    pub host_address: IpAddr,
    pub host_port: u16,
    pub protocol: Protocol,
    pub container_address: IpAddr,
    pub container_port: u16,
}

/// A port of a container in a routed network: reached at the container's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenPort {
    pub address: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

/// How a network and the world reach each other in one family (`com.docker.network.bridge.gateway_mode_ipv4`, `…_ipv6`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// Sources are hidden, published ports translated, nothing else enters.
    #[default]
    Nat,
    /// As that, but who has a route to a container reaches all its ports.
    NatUnprotected,
    /// No translation: who has a route reaches the published ports at the containers' addresses.
    Routed,
    /// Internal, and the bridge has no address on the host.
    Isolated,
}

impl GatewayMode {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "nat" => Some(Self::Nat),
            "nat-unprotected" => Some(Self::NatUnprotected),
            "routed" => Some(Self::Routed),
            "isolated" => Some(Self::Isolated),
            _ => None,
        }
    }

    pub fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::NatUnprotected)
    }
}

/// One family of a bridge network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyRules {
    pub subnet: Subnet,
    pub is_routed: bool,
    pub is_unprotected: bool,
    /// Sources become this address of the host; none: that of the link by which they leave.
    pub source: Option<IpAddr>,
}

/// What one bridge network wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgeRules {
    pub bridge: String,
    pub families: Vec<FamilyRules>,
    /// Containers of the network reach each other.
    pub talks_inside: bool,
    /// Nothing leaves, nothing enters.
    pub is_internal: bool,
    /// Sources are hidden behind the host's address.
    pub masquerades: bool,
    /// Links from which published ports are reached at the containers' addresses, too.
    pub trusted: Vec<String>,
}

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    Bridge(String),
    InternalBridge(String),
    TalksInside(String),
    Masquerade(Subnet),
    /// Sources of the subnet become the address.
    Source(Subnet, IpAddr),
    /// Everything may enter this bridge, in the family of the subnet.
    Unprotected(String, Subnet),
    /// Echo requests and their like may enter this bridge, in the family of the subnet.
    Routed(String, Subnet),
    Published(PublishedPort),
    Open(OpenPort),
    /// What a published port leads to, for those who may go there directly.
    Direct(OpenPort),
    /// Packets of this link may go directly to published ports on this bridge.
    Trusted(String, String),
    /// Published on loopback only: relayed, and guarded against packets from elsewhere.
    Guarded(IpAddr, Protocol, u16),
}

impl BridgeRules {
    pub fn items(&self) -> Vec<Item> {
        let mut items = vec![Item::Bridge(self.bridge.clone())];
        if self.talks_inside {
            items.push(Item::TalksInside(self.bridge.clone()));
        }
        if self.is_internal {
            items.push(Item::InternalBridge(self.bridge.clone()));
            return items;
        }
        items.extend(self.trusted.iter().map(|link| Item::Trusted(link.clone(), self.bridge.clone())));
        for family in &self.families {
            if family.is_routed {
                items.push(Item::Routed(self.bridge.clone(), family.subnet));
                continue;
            }
            if family.is_unprotected {
                items.push(Item::Unprotected(self.bridge.clone(), family.subnet));
            }
            match (self.masquerades, family.source) {
                (false, _) => {}
                (true, None) => items.push(Item::Masquerade(family.subnet)),
                (true, Some(source)) => items.push(Item::Source(family.subnet, source)),
            }
        }
        items
    }
}

/// The element a published port needs; none where docker-netd's relay does all the work: the families differ, or the
/// host's address is a loopback one, which the kernel would not route to a bridge.
pub fn published_item(port: &PublishedPort) -> Option<Item> {
    if port.host_address.is_loopback() {
        return port.host_address.is_ipv4().then_some(Item::Guarded(port.host_address, port.protocol, port.host_port));
    }
    (port.host_address.is_ipv4() == port.container_address.is_ipv4()).then_some(Item::Published(*port))
}

/// The port of the container itself; none where it is published for the host alone.
pub fn direct_item(port: &PublishedPort) -> Option<Item> {
    let open = OpenPort { address: port.container_address, protocol: port.protocol, port: port.container_port };
    (!port.host_address.is_loopback()).then_some(Item::Direct(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: &str, container: &str) -> PublishedPort {
        PublishedPort {
            host_address: host.parse().expect("an address"),
            host_port: 8080,
            protocol: Protocol::Tcp,
            container_address: container.parse().expect("an address"),
            container_port: 80,
        }
    }

    fn rules(is_internal: bool, adjust: impl FnOnce(&mut FamilyRules)) -> Vec<Item> {
        let subnet = "10.0.0.0/24".parse().expect("a subnet");
        let mut family = FamilyRules { subnet, is_routed: false, is_unprotected: false, source: None };
        adjust(&mut family);
        let bridge = "br-x".to_owned();
        BridgeRules {
            bridge,
            families: vec![family],
            talks_inside: true,
            is_internal,
            masquerades: true,
            trusted: Vec::new(),
        }
        .items()
    }

    #[test]
    fn loopback_is_guarded_and_never_translated() {
        assert_eq!(
            published_item(&port("127.0.0.1", "172.17.0.2")),
            Some(Item::Guarded(IpAddr::from([127, 0, 0, 1]), Protocol::Tcp, 8080))
        );
        assert_eq!(published_item(&port("::1", "172.17.0.2")), None);
        assert_eq!(published_item(&port("::", "172.17.0.2")), None);
        assert!(matches!(published_item(&port("0.0.0.0", "172.17.0.2")), Some(Item::Published(_))));
    }

    #[test]
    fn an_internal_or_routed_network_is_not_masqueraded() {
        let hides = |items: &[Item]| items.iter().any(|item| matches!(item, Item::Masquerade(_) | Item::Source(..)));
        assert!(hides(&rules(false, |_| {})));
        assert!(!hides(&rules(true, |_| {})));
        assert!(!hides(&rules(false, |family| family.is_routed = true)));
    }

    #[test]
    fn a_source_address_takes_the_place_of_masquerading() {
        let source = IpAddr::from([192, 0, 2, 7]);
        let items = rules(false, |family| family.source = Some(source));
        assert!(items.iter().any(|item| matches!(item, Item::Source(_, address) if *address == source)));
        assert!(!items.iter().any(|item| matches!(item, Item::Masquerade(_))));
    }

    #[test]
    fn the_modes_have_dockers_names() {
        for mode in ["nat", "nat-unprotected", "routed", "isolated"] {
            let known = GatewayMode::parse(mode).expect("a mode");
            assert_eq!(serde_json::to_value(known).ok(), Some(serde_json::Value::from(mode)));
        }
        assert_eq!(GatewayMode::parse("bridge"), None);
    }
}
