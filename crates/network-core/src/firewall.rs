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

/// What one bridge network wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgeRules {
    pub bridge: String,
    pub subnets: Vec<Subnet>,
    /// Containers of the network reach each other.
    pub talks_inside: bool,
    /// Nothing leaves, nothing enters.
    pub is_internal: bool,
    /// Sources are hidden behind the host's address.
    pub masquerades: bool,
}

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    Bridge(String),
    InternalBridge(String),
    TalksInside(String),
    Masquerade(Subnet),
    Published(PublishedPort),
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
        } else if self.masquerades {
            items.extend(self.subnets.iter().copied().map(Item::Masquerade));
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
    fn an_internal_network_is_not_masqueraded() {
        let rules = BridgeRules {
            bridge: "br-x".to_owned(),
            subnets: vec!["10.0.0.0/24".parse().expect("a subnet")],
            talks_inside: true,
            is_internal: true,
            masquerades: true,
        };
        assert!(!rules.items().iter().any(|item| matches!(item, Item::Masquerade(_))));
    }
}
