//! Port 53 of 127.0.0.11 inside a sandbox, led to the resolver's own ports: port 53 itself stays free for a name server of
//! the container's.
//!
//! Ports are rewritten packet by packet, a question's on its way out and its answer's on the way back; both are sent inside
//! the sandbox. Translation by the kernel (`nat`) would have it track every connection of the container, which costs a busy
//! one some hundredths of its throughput. Should the container track connections itself, questions are rewritten behind
//! that and answers before: it sees port 53 both ways.

use netlink::nft::{BaseChain, Comparison, Expression, Hook, Meta, Payload, Table, Transaction, Verdict};
use network_core::EMBEDDED_DNS;

/// The name of the table inside the sandbox.
const TABLE: &str = "longshore-dns";
/// Connections are tracked at -200, and users' own filters are at 0 (`uapi/linux/netfilter_ipv4.h`).
const ANSWERS: BaseChain = BaseChain { name: "answers", kind: "filter", hook: Hook::Output, priority: -300 };
const QUESTIONS: BaseChain = BaseChain { name: "questions", kind: "filter", hook: Hook::Output, priority: 200 };
const IPV4: u8 = 2;
const PORT: u16 = 53;

/// A transport protocol and where its header has the checksum.
const UDP: (u8, u32) = (17, 6);
const TCP: (u8, u32) = (6, 16);

/// In the namespace of the calling thread, to these ports for UDP and TCP.
pub(crate) fn lead((udp, tcp): (u16, u16)) -> netlink::Result<()> {
    let mut transaction = Transaction::new(Table(TABLE.to_owned()));
    transaction.create_table();
    add_rules(&mut transaction, udp, tcp);
    match transaction.commit() {
        // A former docker-netd's leads to ports that are closed. Not done at once always: a deletion takes milliseconds.
        Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => {
            let mut transaction = Transaction::new(Table(TABLE.to_owned()));
            transaction.delete_table();
            transaction.create_table();
            add_rules(&mut transaction, udp, tcp);
            transaction.commit()
        }
        other => other,
    }
}

fn add_rules(transaction: &mut Transaction, udp: u16, tcp: u16) {
    let directions = [
        (ANSWERS, Payload::SourceAddress4, Payload::SourcePort),
        (QUESTIONS, Payload::DestinationAddress4, Payload::DestinationPort),
    ];
    for (chain, address, port) in directions {
        transaction.add_chain(chain);
        // All that most packets meet here.
        let others = [
            Expression::Payload(address, 1),
            Expression::Compare(1, Comparison::NotEqual, EMBEDDED_DNS.octets().to_vec()),
            Expression::End(Verdict::Accept),
        ];
        transaction.add_rule(chain.name, &others);
        for ((protocol, checksum), own) in [(UDP, udp), (TCP, tcp)] {
            let (from, to) = if chain == ANSWERS { (own, PORT) } else { (PORT, own) };
            let rewritten = [
                Expression::Meta(Meta::NetworkProtocol, 1),
                Expression::Compare(1, Comparison::Equal, vec![IPV4]),
                Expression::Meta(Meta::TransportProtocol, 1),
                Expression::Compare(1, Comparison::Equal, vec![protocol]),
                Expression::Payload(port, 1),
                Expression::Compare(1, Comparison::Equal, from.to_be_bytes().to_vec()),
                Expression::Load(1, to.to_be_bytes().to_vec()),
                Expression::Write { field: port, register: 1, checksum },
            ];
            transaction.add_rule(chain.name, &rewritten);
        }
    }
}
