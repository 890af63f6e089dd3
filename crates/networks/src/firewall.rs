//! The daemon's nftables table: sets and maps, whose elements follow the networks and containers, and static rules over
//! them (`firewall_rules.rs`). One transaction a change.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use netlink::nft::{Element, Key, SetKind, SetSpec, Table, Transaction};
use netlink::{Family, Socket};
use network_core::firewall::Item;
use rustix::io::Errno;

use crate::config::FirewallConfig;
use crate::firewall_rules::{CHAINS, rules};

pub(crate) const BRIDGES: &str = "bridges";
pub(crate) const INTERNAL: &str = "internal-bridges";
pub(crate) const INSIDE: &str = "inside";
pub(crate) const MASQUERADE4: &str = "masquerade4";
pub(crate) const MASQUERADE6: &str = "masquerade6";
pub(crate) const PUBLISHED4: &str = "published4";
pub(crate) const PUBLISHED6: &str = "published6";
pub(crate) const PUBLISHED_AT4: &str = "published-at4";
pub(crate) const PUBLISHED_AT6: &str = "published-at6";
pub(crate) const GUARDED: &str = "loopback-only";
pub(crate) const SOURCE4: &str = "source4";
pub(crate) const SOURCE6: &str = "source6";
pub(crate) const UNPROTECTED4: &str = "unprotected4";
pub(crate) const UNPROTECTED6: &str = "unprotected6";
pub(crate) const ROUTED4: &str = "routed4";
pub(crate) const ROUTED6: &str = "routed6";
pub(crate) const OPEN4: &str = "open4";
pub(crate) const OPEN6: &str = "open6";
pub(crate) const DIRECT4: &str = "direct4";
pub(crate) const DIRECT6: &str = "direct6";
pub(crate) const TRUSTED: &str = "trusted";

const SETS: [SetSpec; 21] = [
    SetSpec { name: BRIDGES, kind: SetKind::InterfaceNames },
    SetSpec { name: INTERNAL, kind: SetKind::InterfaceNames },
    SetSpec { name: INSIDE, kind: SetKind::InterfacePairs },
    SetSpec { name: MASQUERADE4, kind: SetKind::Networks4 },
    SetSpec { name: MASQUERADE6, kind: SetKind::Networks6 },
    SetSpec { name: PUBLISHED4, kind: SetKind::PortsTo4 },
    SetSpec { name: PUBLISHED6, kind: SetKind::PortsTo6 },
    SetSpec { name: PUBLISHED_AT4, kind: SetKind::AddressPortsTo4 },
    SetSpec { name: PUBLISHED_AT6, kind: SetKind::AddressPortsTo6 },
    SetSpec { name: GUARDED, kind: SetKind::AddressPorts4 },
    SetSpec { name: SOURCE4, kind: SetKind::NetworksTo4 },
    SetSpec { name: SOURCE6, kind: SetKind::NetworksTo6 },
    SetSpec { name: UNPROTECTED4, kind: SetKind::InterfaceNames },
    SetSpec { name: UNPROTECTED6, kind: SetKind::InterfaceNames },
    SetSpec { name: ROUTED4, kind: SetKind::InterfaceNames },
    SetSpec { name: ROUTED6, kind: SetKind::InterfaceNames },
    SetSpec { name: OPEN4, kind: SetKind::AddressPorts4 },
    SetSpec { name: OPEN6, kind: SetKind::AddressPorts6 },
    SetSpec { name: DIRECT4, kind: SetKind::AddressPorts4 },
    SetSpec { name: DIRECT6, kind: SetKind::AddressPorts6 },
    SetSpec { name: TRUSTED, kind: SetKind::InterfacePairs },
];

/// The table of one daemon.
pub(crate) struct Firewall {
    table: Table,
    config: FirewallConfig,
    /// Open since the first use: closing it would wait for readers of deleted elements. The kernel takes one transaction
    /// at a time anyway; nothing but the transaction happens under this lock.
    socket: Mutex<Option<Socket>>,
}

impl Firewall {
    pub(crate) fn new(table: String, config: FirewallConfig) -> Self {
        Self { table: Table(table), config, socket: Mutex::new(None) }
    }

    /// Whether a deletion that was seen is somebody else's doing to our table.
    pub(crate) fn is_foreign(&self, table: &str, by: u32) -> bool {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        table == self.table.0 && socket.as_ref().and_then(|socket| socket.port().ok()) != Some(by)
    }

    pub(crate) fn table(&self) -> &str {
        &self.table.0
    }

    /// Whether we may have rules at all.
    fn is_off(&self) -> bool {
        !self.config.ipv4 && !self.config.ipv6
    }

    /// Replaces whatever the table holds, in one transaction: no packet sees it missing or half full.
    pub(crate) fn load(&self, items: impl FnOnce() -> Vec<Item>) -> netlink::Result<()> {
        if self.is_off() {
            return Ok(());
        }
        self.exclusively(|socket| self.load_on(socket, &items()))
    }

    fn load_on(&self, socket: &Socket, items: &[Item]) -> netlink::Result<()> {
        let mut transaction = Transaction::new(self.table.clone());
        // A table has to be there to be deleted.
        transaction.add_table();
        transaction.delete_table();
        transaction.add_table();
        SETS.iter().for_each(|set| transaction.add_set(*set));
        for chain in CHAINS {
            transaction.add_chain(chain);
        }
        for (chain, rule) in rules(&self.config) {
            transaction.add_rule(chain, &rule);
        }
        add(&mut transaction, items);
        transaction.commit_on(socket)
    }

    fn exclusively(&self, work: impl FnOnce(&Socket) -> netlink::Result<()>) -> netlink::Result<()> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.is_none() {
            *socket = Some(Socket::open(Family::Netfilter)?);
        }
        let done = socket.as_ref().map_or(Ok(()), work);
        if done.is_err() {
            // An answer that is still to come must not be taken for the next one's.
            *socket = None;
        }
        done
    }

    /// Adds and takes out elements. Where somebody emptied the table meanwhile (`nft flush ruleset`), everything is loaded
    /// again from `all`, which then holds the change.
    pub(crate) fn change(
        &self,
        added: &[Item],
        removed: &[Item],
        all: impl FnOnce() -> Vec<Item>,
    ) -> netlink::Result<()> {
        if self.is_off() || (added.is_empty() && removed.is_empty()) {
            return Ok(());
        }
        let mut transaction = Transaction::new(self.table.clone());
        for item in removed {
            for (set, element) in elements(item) {
                transaction.delete_elements(set, &[element]);
            }
        }
        add(&mut transaction, added);
        self.exclusively(|socket| match transaction.commit_on(socket) {
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::EXIST)) => self.load_on(socket, &all()),
            other => other,
        })
    }
}

fn add(transaction: &mut Transaction, items: &[Item]) {
    for set in SETS {
        let elements: Vec<Element> =
            items.iter().flat_map(elements).filter(|(name, _)| *name == set.name).map(|(_, element)| element).collect();
        transaction.add_elements(set.name, &elements);
    }
}

/// Where an item stands. Only loopback-only ports of IPv4 are guarded: the kernel never routes ::1 from a link.
fn elements(item: &Item) -> Vec<(&'static str, Element)> {
    match item {
        Item::Bridge(name) => vec![(BRIDGES, Element::Key(Key::new().interface(name)))],
        Item::InternalBridge(name) => vec![(INTERNAL, Element::Key(Key::new().interface(name)))],
        Item::TalksInside(name) => vec![(INSIDE, Element::Key(Key::new().interface(name).interface(name)))],
        Item::Masquerade(subnet) => {
            let set = if subnet.is_ipv4() { MASQUERADE4 } else { MASQUERADE6 };
            vec![(set, Element::Network { first: subnet.base(), length: subnet.length() })]
        }
        Item::Source(subnet, address) => {
            let set = if subnet.is_ipv4() { SOURCE4 } else { SOURCE6 };
            let value = Key::new().address(*address);
            vec![(set, Element::NetworkEntry { first: subnet.base(), length: subnet.length(), value })]
        }
        Item::Unprotected(bridge, subnet) => {
            let set = if subnet.is_ipv4() { UNPROTECTED4 } else { UNPROTECTED6 };
            vec![(set, Element::Key(Key::new().interface(bridge)))]
        }
        Item::Routed(bridge, subnet) => {
            let set = if subnet.is_ipv4() { ROUTED4 } else { ROUTED6 };
            vec![(set, Element::Key(Key::new().interface(bridge)))]
        }
        Item::Trusted(link, bridge) => vec![(TRUSTED, Element::Key(Key::new().interface(link).interface(bridge)))],
        Item::Open(port) | Item::Direct(port) => {
            let set = match (item, port.address.is_ipv4()) {
                (Item::Direct(_), true) => DIRECT4,
                (Item::Direct(_), false) => DIRECT6,
                (_, true) => OPEN4,
                (_, false) => OPEN6,
            };
            let key = Key::new().address(port.address).protocol(port.protocol.number()).port(port.port);
            vec![(set, Element::Key(key))]
        }
        Item::Published(port) => {
            let set = match (port.host_address, port.host_address.is_unspecified()) {
                (IpAddr::V4(_), true) => PUBLISHED4,
                (IpAddr::V4(_), false) => PUBLISHED_AT4,
                (IpAddr::V6(_), true) => PUBLISHED6,
                (IpAddr::V6(_), false) => PUBLISHED_AT6,
            };
            let key =
                if port.host_address.is_unspecified() { Key::new() } else { Key::new().address(port.host_address) };
            let key = key.protocol(port.protocol.number()).port(port.host_port);
            let value = Key::new().address(port.container_address).port(port.container_port);
            vec![(set, Element::Entry(key, value))]
        }
        Item::Guarded(address, protocol, port) => {
            let key = Key::new().address(*address).protocol(protocol.number()).port(*port);
            vec![(GUARDED, Element::Key(key))]
        }
    }
}
