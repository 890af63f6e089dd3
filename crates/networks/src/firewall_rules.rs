//! The rules of the daemon's table: static but for the daemon's own settings.
//!
//! What they say, in the order of a packet's way (semantics of Docker 28's bridge driver):
//! - `guard`: what is published on loopback only never answers to packets from a link, whatever `route_localnet` says.
//! - `prerouting`, `output`: a published port of a local address is translated. Packets of our own bridges are left to
//!   docker-netd's socket: a container reaches a published port, its own too, through the relay. Not so with SCTP at a
//!   public address: the kernel answers by the host's private one on the container's bridge, which such a client does not take.
//! - `forward`: what belongs to a connection passes, before anything else is asked: its first packet was judged. Then marked
//!   packets may pass; an internal bridge talks to itself only; a bridge talks to itself where that is allowed, to the
//!   outside, never to another bridge of ours; from outside only what was translated enters.
//!   Unprotected networks let everything in, routed ones echo requests and their published ports, from anywhere.
//! - `postrouting`: what leaves a bridge's subnet by another link hides behind the host, and so does a container's SCTP to a
//!   published port.

use netlink::nft::{BaseChain, Comparison, CtKey, Expression, Hook, Meta, NatFamily, Payload, Verdict};

use crate::config::FirewallConfig;
use crate::firewall::{
    BRIDGES, DIRECT4, DIRECT6, GUARDED, INSIDE, INTERNAL, MASQUERADE4, MASQUERADE6, OPEN4, OPEN6, PUBLISHED_AT4,
    PUBLISHED_AT6, PUBLISHED4, PUBLISHED6, ROUTED4, ROUTED6, SOURCE4, SOURCE6, TRUSTED, UNPROTECTED4, UNPROTECTED6,
};

/// Priorities of `uapi/linux/netfilter_ipv4.h`.
pub(crate) const CHAINS: [BaseChain; 5] = [
    BaseChain { name: "guard", kind: "filter", hook: Hook::PreRouting, priority: -300 },
    BaseChain { name: "prerouting", kind: "nat", hook: Hook::PreRouting, priority: -100 },
    BaseChain { name: "output", kind: "nat", hook: Hook::Output, priority: -100 },
    BaseChain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 },
    BaseChain { name: "postrouting", kind: "nat", hook: Hook::PostRouting, priority: 100 },
];

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const ICMP: u8 = 1;
const SCTP: u8 = 132;
const ICMP6: u8 = 58;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
/// `NF_CT_STATE_BIT(ESTABLISHED | RELATED)`.
const ANSWERS: u32 = 0b110;
/// `IPS_DST_NAT`.
const TRANSLATED: u32 = 1 << 5;

type Rule = (&'static str, Vec<Expression>);

/// A family without rules of ours (`--iptables=false`) is let through at the head of each chain.
pub(crate) fn rules(config: &FirewallConfig) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (is_on, number) in [(config.ipv4, IPV4), (config.ipv6, IPV6)] {
        if !is_on {
            let pass = [&family(number)[..], &[Expression::End(Verdict::Accept)]].concat();
            rules.extend(CHAINS.iter().map(|chain| (chain.name, pass.clone())));
        }
    }
    rules.extend([guard_rules(), translation_rules(), forward_rules(config), masquerade_rules()].concat());
    rules
}

fn family(family: u8) -> [Expression; 2] {
    [Expression::Meta(Meta::NetworkProtocol, 1), Expression::Compare(1, Comparison::Equal, vec![family])]
}

fn is_local() -> [Expression; 2] {
    [Expression::DestinationType(1), Expression::Compare(1, Comparison::Equal, LOCAL.to_ne_bytes().to_vec())]
}

/// Private networks (RFC 1918) as mask and value.
const PRIVATE: [([u8; 4], [u8; 4]); 3] =
    [([255, 0, 0, 0], [10, 0, 0, 0]), ([255, 240, 0, 0], [172, 16, 0, 0]), ([255, 255, 0, 0], [192, 168, 0, 0])];

/// SCTP to an IPv4 address that is no private one; the family is looked at by who asks.
fn is_public_sctp() -> Vec<Expression> {
    let mut expressions = is_sctp().to_vec();
    for (mask, value) in PRIVATE {
        expressions.extend([
            Expression::Payload(Payload::DestinationAddress4, 1),
            Expression::Mask(1, u32::from_ne_bytes(mask)),
            Expression::Compare(1, Comparison::NotEqual, value.to_vec()),
        ]);
    }
    expressions
}

fn is_sctp() -> [Expression; 2] {
    [Expression::Meta(Meta::TransportProtocol, 1), Expression::Compare(1, Comparison::Equal, vec![SCTP])]
}

/// The destination was translated.
fn is_translated() -> [Expression; 2] {
    [Expression::Ct(CtKey::Status, 1), Expression::AnyBit(1, TRANSLATED)]
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

/// Translation of published ports of IPv4, those of a single address first.
fn translations4(prefix: &[Expression]) -> [Vec<Expression>; 2] {
    let to = Expression::DestinationNat { family: NatFamily::V4, address: 1, port: 9 };
    let at = [
        prefix,
        &family(IPV4),
        &[Expression::Payload(Payload::DestinationAddress4, 1)],
        &protocol_and_port(9, 10),
        &[Expression::Map { map: PUBLISHED_AT4, register: 1, to: 1 }, to.clone()],
    ];
    let any = [
        prefix,
        &family(IPV4),
        &is_local(),
        &protocol_and_port(1, 9),
        &[Expression::Map { map: PUBLISHED4, register: 1, to: 1 }, to],
    ];
    [at.concat(), any.concat()]
}

/// The same of IPv6. Register 2 begins with the fifth word, which follows the 16 bytes of the address in register 1.
fn translations6(prefix: &[Expression]) -> [Vec<Expression>; 2] {
    let to = Expression::DestinationNat { family: NatFamily::V6, address: 1, port: 2 };
    let at = [
        prefix,
        &family(IPV6),
        &[Expression::Payload(Payload::DestinationAddress6, 1)],
        &protocol_and_port(2, 13),
        &[Expression::Map { map: PUBLISHED_AT6, register: 1, to: 1 }, to.clone()],
    ];
    let any = [
        prefix,
        &family(IPV6),
        &is_local(),
        &protocol_and_port(1, 9),
        &[Expression::Map { map: PUBLISHED6, register: 1, to: 1 }, to],
    ];
    [at.concat(), any.concat()]
}

/// Every packet passes here: the comparison that most fail comes first.
fn guard_rules() -> Vec<Rule> {
    let mut loopback = b"lo".to_vec();
    loopback.resize(16, 0);
    let to_loopback =
        [Expression::Payload(Payload::DestinationFirstByte4, 1), Expression::Compare(1, Comparison::Equal, vec![127])];
    let not_loopback = [Expression::Meta(Meta::InputName, 1), Expression::Compare(1, Comparison::NotEqual, loopback)];
    let published = [
        &[Expression::Payload(Payload::DestinationAddress4, 1)][..],
        &protocol_and_port(9, 10),
        &[Expression::InSet { set: GUARDED, register: 1 }, Expression::End(Verdict::Drop)],
    ];
    vec![("guard", [&to_loopback[..], &family(IPV4), &not_loopback, &published.concat()].concat())]
}

/// The host's own connections to loopback addresses go to docker-netd's socket: the kernel would not route a packet from
/// 127.0.0.1 to a bridge.
fn translation_rules() -> Vec<Rule> {
    let from_others = name_not_in(Meta::InputName, BRIDGES);
    let prerouting = [translations4(&from_others), translations6(&from_others), translations4(&is_public_sctp())];
    let mut rules: Vec<Rule> = prerouting.concat().into_iter().map(|rule| ("prerouting", rule)).collect();
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
    let output = [translations4(&[]), translations6(&[])].concat();
    rules.extend(output.into_iter().map(|rule| ("output", rule)));
    rules
}

fn forward_rules(config: &FirewallConfig) -> Vec<Rule> {
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
    let mut rules: Vec<Vec<Expression>> = vec![[&answers[..], &accept].concat()];
    if let Some(mark) = config.accept_mark {
        let marked = [
            Expression::Meta(Meta::Mark, 1),
            Expression::Mask(1, mark.mask),
            Expression::Compare(1, Comparison::Equal, mark.value.to_ne_bytes().to_vec()),
        ];
        rules.push([&out(BRIDGES)[..], &marked, &accept].concat());
    }
    rules.extend([
        [&inside[..], &accept].concat(),
        [&into(INTERNAL)[..], &drop].concat(),
        [&out(INTERNAL)[..], &drop].concat(),
    ]);
    let families = [
        (IPV4, ICMP, UNPROTECTED4, ROUTED4, [OPEN4, DIRECT4], Payload::DestinationAddress4, [9, 10]),
        (IPV6, ICMP6, UNPROTECTED6, ROUTED6, [OPEN6, DIRECT6], Payload::DestinationAddress6, [2, 13]),
    ];
    let trusted = [
        Expression::Meta(Meta::InputName, 1),
        Expression::Meta(Meta::OutputName, 2),
        Expression::InSet { set: TRUSTED, register: 1 },
    ];
    // Who may go to published ports directly: everybody, or who comes by a trusted link.
    let goes_directly = if config.direct_routing { out(BRIDGES).to_vec() } else { trusted.to_vec() };
    for (number, echo, unprotected, routed, [open, direct], address, registers) in families {
        let is_echo =
            [Expression::Meta(Meta::TransportProtocol, 1), Expression::Compare(1, Comparison::Equal, vec![echo])];
        let is_one_of = |set| {
            let port = protocol_and_port(registers[0], registers[1]);
            [&[Expression::Payload(address, 1)][..], &port, &[Expression::InSet { set, register: 1 }]].concat()
        };
        rules.extend([
            [&family(number)[..], &out(unprotected), &accept].concat(),
            [&family(number)[..], &out(routed), &is_echo, &accept].concat(),
            [&family(number)[..], &out(routed), &is_one_of(open), &accept].concat(),
            [&family(number)[..], &goes_directly, &is_one_of(direct), &accept].concat(),
        ]);
    }
    rules.extend([
        [&out(BRIDGES)[..], &is_sctp(), &is_translated(), &accept].concat(),
        [&into(BRIDGES)[..], &out(BRIDGES), &drop].concat(),
        [&out(BRIDGES)[..], &is_translated(), &accept].concat(),
        [&out(BRIDGES)[..], &drop].concat(),
        [&into(BRIDGES)[..], &accept].concat(),
    ]);
    rules.into_iter().map(|rule| ("forward", rule)).collect()
}

fn masquerade_rules() -> Vec<Rule> {
    let families = [
        (IPV4, NatFamily::V4, Payload::SourceAddress4, SOURCE4, MASQUERADE4),
        (IPV6, NatFamily::V6, Payload::SourceAddress6, SOURCE6, MASQUERADE6),
    ];
    // A container's SCTP to a port of the host that leads to another container: the answer comes back by the host.
    let between = [
        &name_in(Meta::OutputName, BRIDGES)[..],
        &family(IPV4),
        &is_sctp(),
        &is_translated(),
        &[Expression::Payload(Payload::SourceAddress4, 1), Expression::InSet { set: MASQUERADE4, register: 1 }],
        &[Expression::Masquerade],
    ];
    let mut rules = vec![("postrouting", between.concat())];
    for (number, nat, field, source, masquerade) in families {
        let leaves = [&name_not_in(Meta::OutputName, BRIDGES)[..], &family(number), &[Expression::Payload(field, 1)]];
        let chosen =
            [Expression::Map { map: source, register: 1, to: 1 }, Expression::SourceNat { family: nat, address: 1 }];
        let hide = [Expression::InSet { set: masquerade, register: 1 }, Expression::Masquerade];
        rules.push(("postrouting", [&leaves.concat()[..], &chosen].concat()));
        rules.push(("postrouting", [&leaves.concat()[..], &hide].concat()));
    }
    rules
}
