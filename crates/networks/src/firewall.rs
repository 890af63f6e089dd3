//! The daemon's nftables table: static rules over sets and maps, whose elements follow the networks and containers.
//!
//! What the rules say, in the order of a packet's way (semantics of Docker's bridge driver in nftables mode):
//! - `guard`: what is published on loopback only never answers to packets from a link, whatever `route_localnet` says.
//! - `prerouting`, `output`: a published port of a local address is translated. Packets of our own bridges are left to
//!   docker-netd's socket: a container reaches a published port, its own too, through the relay.
//! - `forward`: answers pass; an internal bridge talks to itself only; a bridge talks to itself where that is allowed,
//!   to the outside, never to another bridge of ours; from outside only what was translated enters.
//! - `postrouting`: what leaves a bridge's subnet by another link hides behind the host.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use netlink::nft::{
    BaseChain, Comparison, CtKey, Element, Expression, Hook, Key, Meta, NatFamily, Payload, SetKind, SetSpec, Table,
    Transaction, Verdict,
};
use netlink::{Family, Socket};
use network_core::firewall::Item;
use rustix::io::Errno;

const BRIDGES: &str = "bridges";
const INTERNAL: &str = "internal-bridges";
const INSIDE: &str = "inside";
const MASQUERADE4: &str = "masquerade4";
const MASQUERADE6: &str = "masquerade6";
const PUBLISHED4: &str = "published4";
const PUBLISHED6: &str = "published6";
const PUBLISHED_AT4: &str = "published-at4";
const PUBLISHED_AT6: &str = "published-at6";
const GUARDED: &str = "loopback-only";

const SETS: [SetSpec; 10] = [
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
];

/// Priorities of `uapi/linux/netfilter_ipv4.h`.
const CHAINS: [BaseChain; 5] = [
    BaseChain { name: "guard", kind: "filter", hook: Hook::PreRouting, priority: -300 },
    BaseChain { name: "prerouting", kind: "nat", hook: Hook::PreRouting, priority: -100 },
    BaseChain { name: "output", kind: "nat", hook: Hook::Output, priority: -100 },
    BaseChain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 },
    BaseChain { name: "postrouting", kind: "nat", hook: Hook::PostRouting, priority: 100 },
];

const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
/// `NF_CT_STATE_BIT(ESTABLISHED | RELATED)`.
const ANSWERS: u32 = 0b110;
/// `IPS_DST_NAT`.
const TRANSLATED: u32 = 1 << 5;

/// The table of one daemon.
pub(crate) struct Firewall {
    table: Table,
    /// Open since the first use: closing it would wait for readers of deleted elements. The kernel takes one transaction
    /// at a time anyway; nothing but the transaction happens under this lock.
    socket: Mutex<Option<Socket>>,
}

impl Firewall {
    pub(crate) fn new(table: String) -> Self {
        Self { table: Table(table), socket: Mutex::new(None) }
    }

    /// Replaces whatever the table holds, in one transaction: no packet sees it missing or half full.
    pub(crate) fn load(&self, items: impl FnOnce() -> Vec<Item>) -> netlink::Result<()> {
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
        for (chain, rule) in rules() {
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
        if added.is_empty() && removed.is_empty() {
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

fn family(family: u8) -> [Expression; 2] {
    [Expression::Meta(Meta::NetworkProtocol, 1), Expression::Compare(1, Comparison::Equal, vec![family])]
}

fn is_local() -> [Expression; 2] {
    [Expression::DestinationType(1), Expression::Compare(1, Comparison::Equal, LOCAL.to_ne_bytes().to_vec())]
}

fn name_in(meta: Meta, set: &'static str) -> [Expression; 2] {
    [Expression::Meta(meta, 1), Expression::InSet { set, register: 1 }]
}

fn name_not_in(meta: Meta, set: &'static str) -> [Expression; 2] {
    [Expression::Meta(meta, 1), Expression::NotInSet { set, register: 1 }]
}

/// Protocol and port behind each other from a register on (16-byte registers are 1 to 4, their words 8 to 23).
fn protocol_and_port(first: u32, second: u32) -> [Expression; 2] {
    [Expression::Meta(Meta::TransportProtocol, first), Expression::Payload(Payload::DestinationPort, second)]
}

/// Translation of published ports, those of a single address first.
fn translations(prefix: &[Expression]) -> Vec<Vec<Expression>> {
    let to4 = Expression::DestinationNat { family: NatFamily::V4, address: 1, port: 9 };
    // Register 2 begins with the fifth word, which follows the 16 bytes of the address in register 1.
    let to6 = Expression::DestinationNat { family: NatFamily::V6, address: 1, port: 2 };
    let rule = |parts: &[&[Expression]]| {
        let mut rule = prefix.to_vec();
        parts.iter().for_each(|part| rule.extend_from_slice(part));
        rule
    };
    vec![
        rule(&[
            &family(IPV4),
            &[Expression::Payload(Payload::DestinationAddress4, 1)],
            &protocol_and_port(9, 10),
            &[Expression::Map { map: PUBLISHED_AT4, register: 1, to: 1 }, to4.clone()],
        ]),
        rule(&[
            &family(IPV6),
            &[Expression::Payload(Payload::DestinationAddress6, 1)],
            &protocol_and_port(2, 13),
            &[Expression::Map { map: PUBLISHED_AT6, register: 1, to: 1 }, to6.clone()],
        ]),
        rule(&[
            &family(IPV4),
            &is_local(),
            &protocol_and_port(1, 9),
            &[Expression::Map { map: PUBLISHED4, register: 1, to: 1 }, to4],
        ]),
        rule(&[
            &family(IPV6),
            &is_local(),
            &protocol_and_port(1, 9),
            &[Expression::Map { map: PUBLISHED6, register: 1, to: 1 }, to6],
        ]),
    ]
}

type Rule = (&'static str, Vec<Expression>);

fn rules() -> Vec<Rule> {
    [guard_rules(), translation_rules(), forward_rules(), masquerade_rules()].concat()
}

fn guard_rules() -> Vec<Rule> {
    let mut loopback = b"lo".to_vec();
    loopback.resize(16, 0);
    let not_loopback = [Expression::Meta(Meta::InputName, 1), Expression::Compare(1, Comparison::NotEqual, loopback)];
    let published = [
        &family(IPV4)[..],
        &[Expression::Payload(Payload::DestinationAddress4, 1)],
        &protocol_and_port(9, 10),
        &[Expression::InSet { set: GUARDED, register: 1 }, Expression::End(Verdict::Drop)],
    ];
    vec![("guard", [&not_loopback[..], &published.concat()].concat())]
}

/// The host's own connections to loopback addresses go to docker-netd's socket: the kernel would not route a packet from
/// 127.0.0.1 to a bridge.
fn translation_rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> =
        translations(&name_not_in(Meta::InputName, BRIDGES)).into_iter().map(|rule| ("prerouting", rule)).collect();
    let mut six_loopback = vec![0; 16];
    six_loopback[15] = 1;
    let loopbacks =
        [(IPV4, Payload::DestinationFirstByte4, vec![127]), (IPV6, Payload::DestinationAddress6, six_loopback)];
    for (number, field, value) in loopbacks {
        let is_loopback = [
            Expression::Payload(field, 1),
            Expression::Compare(1, Comparison::Equal, value),
            Expression::End(Verdict::Return),
        ];
        rules.push(("output", [&family(number)[..], &is_loopback].concat()));
    }
    rules.extend(translations(&[]).into_iter().map(|rule| ("output", rule)));
    rules
}

fn forward_rules() -> Vec<Rule> {
    let accept = [Expression::End(Verdict::Accept)];
    let drop = [Expression::End(Verdict::Drop)];
    let out = |set| name_in(Meta::OutputName, set);
    let into = |set| name_in(Meta::InputName, set);
    let inside = [
        Expression::Meta(Meta::InputName, 1),
        Expression::Meta(Meta::OutputName, 2),
        Expression::InSet { set: INSIDE, register: 1 },
    ];
    let answers = [Expression::Ct(CtKey::State, 1), Expression::AnyBit(1, ANSWERS)];
    let translated = [Expression::Ct(CtKey::Status, 1), Expression::AnyBit(1, TRANSLATED)];
    let rules: [Vec<Expression>; 8] = [
        [&inside[..], &accept].concat(),
        [&into(INTERNAL)[..], &drop].concat(),
        [&out(INTERNAL)[..], &drop].concat(),
        [&out(BRIDGES)[..], &answers, &accept].concat(),
        [&into(BRIDGES)[..], &out(BRIDGES), &drop].concat(),
        [&out(BRIDGES)[..], &translated, &accept].concat(),
        [&out(BRIDGES)[..], &drop].concat(),
        [&into(BRIDGES)[..], &accept].concat(),
    ];
    rules.into_iter().map(|rule| ("forward", rule)).collect()
}

fn masquerade_rules() -> Vec<Rule> {
    let families = [(IPV4, Payload::SourceAddress4, MASQUERADE4), (IPV6, Payload::SourceAddress6, MASQUERADE6)];
    let rule = |(number, field, set)| {
        let hide = [Expression::Payload(field, 1), Expression::InSet { set, register: 1 }, Expression::Masquerade];
        ("postrouting", [&name_not_in(Meta::OutputName, BRIDGES)[..], &family(number), &hide].concat())
    };
    families.into_iter().map(rule).collect()
}
