//! A transaction: everything in it happens at once or not at all. nfnetlink's batch messages carry it.

use crate::error::Result;
use crate::message::{ACK, Batch, CREATE, EXCL};
use crate::nft::element::Element;
use crate::nft::expression::Expression;
use crate::socket::{Answers, Family, Socket};

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES` in the upper byte.
const SUBSYSTEM: u16 = 10 << 8;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NLM_F_APPEND: u16 = 0x800;
const NFPROTO_INET: u8 = 1;

/// The type numbers that `nft` gives to data types; the kernel only keeps them for its listing.
mod data_type {
    pub const IPV4_ADDRESS: u32 = 7;
    pub const IPV6_ADDRESS: u32 = 8;
    pub const PROTOCOL: u32 = 12;
    pub const SERVICE: u32 = 13;
    pub const INTERFACE_NAME: u32 = 41;

    pub const fn pair(first: u32, second: u32) -> u32 {
        first << 6 | second
    }
}

/// A table of family `inet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    PreRouting = 0,
    Forward = 2,
    Output = 3,
    PostRouting = 4,
}

/// A chain at a hook of the kernel, with the policy to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseChain {
    pub name: &'static str,
    /// `filter` or `nat`.
    pub kind: &'static str,
    pub hook: Hook,
    pub priority: i32,
}

/// What a set or map holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    InterfaceNames,
    InterfacePairs,
    /// Address, protocol and port.
    AddressPorts4,
    AddressPorts6,
    Networks4,
    Networks6,
    /// Networks to an address.
    NetworksTo4,
    NetworksTo6,
    /// Protocol and port to address and port.
    PortsTo4,
    PortsTo6,
    /// Address, protocol and port to address and port.
    AddressPortsTo4,
    AddressPortsTo6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSpec {
    pub name: &'static str,
    pub kind: SetKind,
}

struct Shape {
    key: (u32, u32),
    value: Option<(u32, u32)>,
    interval: bool,
}

impl SetKind {
    /// Type number and length in bytes of key and value.
    fn shape(self) -> Shape {
        use data_type::{INTERFACE_NAME, IPV4_ADDRESS, IPV6_ADDRESS, PROTOCOL, SERVICE, pair};
        let ports = pair(PROTOCOL, SERVICE);
        let to4 = Some((pair(IPV4_ADDRESS, SERVICE), 8));
        let to6 = Some((pair(IPV6_ADDRESS, SERVICE), 20));
        let (key, value, interval) = match self {
            Self::InterfaceNames => ((INTERFACE_NAME, 16), None, false),
            Self::InterfacePairs => ((pair(INTERFACE_NAME, INTERFACE_NAME), 32), None, false),
            Self::AddressPorts4 => ((pair(pair(IPV4_ADDRESS, PROTOCOL), SERVICE), 12), None, false),
            Self::AddressPorts6 => ((pair(pair(IPV6_ADDRESS, PROTOCOL), SERVICE), 24), None, false),
            Self::NetworksTo4 => ((IPV4_ADDRESS, 4), Some((IPV4_ADDRESS, 4)), true),
            Self::NetworksTo6 => ((IPV6_ADDRESS, 16), Some((IPV6_ADDRESS, 16)), true),
            Self::Networks4 => ((IPV4_ADDRESS, 4), None, true),
            Self::Networks6 => ((IPV6_ADDRESS, 16), None, true),
            Self::PortsTo4 => ((ports, 8), to4, false),
            Self::PortsTo6 => ((ports, 8), to6, false),
            Self::AddressPortsTo4 => ((pair(pair(IPV4_ADDRESS, PROTOCOL), SERVICE), 12), to4, false),
            Self::AddressPortsTo6 => ((pair(pair(IPV6_ADDRESS, PROTOCOL), SERVICE), 24), to6, false),
        };
        Shape { key, value, interval }
    }
}

/// Changes of one table, in order.
#[derive(Debug)]
pub struct Transaction {
    batch: Batch,
    table: Table,
    sets: u32,
}

fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}

impl Transaction {
    pub fn new(table: Table) -> Self {
        let mut batch = Batch::new();
        batch.begin("begin the transaction".to_owned(), NFNL_MSG_BATCH_BEGIN, 0, &nfgenmsg(0, 10));
        batch.end();
        Self { batch, table, sets: 0 }
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.batch.steps.len() == 1
    }

    fn message(&mut self, step: String, kind: u16, flags: u16, content: impl FnOnce(&mut Batch, &str)) {
        self.batch.begin(step, SUBSYSTEM | kind, flags, &nfgenmsg(NFPROTO_INET, 0));
        let Self { batch, table, .. } = self;
        content(batch, &table.0);
        self.batch.end();
    }

    pub fn add_table(&mut self) {
        let step = format!("create table {}", self.table.0);
        self.message(step, NFT_MSG_NEWTABLE, CREATE, |batch, table| batch.put_text(1, table));
    }

    /// Fails where the table is there.
    pub fn create_table(&mut self) {
        let step = format!("create table {}", self.table.0);
        self.message(step, NFT_MSG_NEWTABLE, CREATE | EXCL, |batch, table| batch.put_text(1, table));
    }

    /// Fails where the table is not there: add it first.
    pub fn delete_table(&mut self) {
        let step = format!("delete table {}", self.table.0);
        self.message(step, NFT_MSG_DELTABLE, 0, |batch, table| batch.put_text(1, table));
    }

    pub fn add_chain(&mut self, chain: BaseChain) {
        self.message(format!("create chain {}", chain.name), NFT_MSG_NEWCHAIN, CREATE, |batch, table| {
            batch.put_text(1, table);
            batch.put_text(3, chain.name);
            batch.nest(4, |batch| {
                batch.put_be32(1, chain.hook as u32);
                batch.put_be32(2, chain.priority as u32);
            });
            batch.put_be32(5, 1);
            batch.put_text(7, chain.kind);
        });
    }

    pub fn add_set(&mut self, set: SetSpec) {
        const MAP: u32 = 0x8;
        const INTERVAL: u32 = 0x4;
        let shape = set.kind.shape();
        self.sets += 1;
        let number = self.sets;
        self.message(format!("create set {}", set.name), NFT_MSG_NEWSET, CREATE, |batch, table| {
            batch.put_text(1, table);
            batch.put_text(2, set.name);
            let map = if shape.value.is_some() { MAP } else { 0 };
            let interval = if shape.interval { INTERVAL } else { 0 };
            batch.put_be32(3, map | interval);
            batch.put_be32(4, shape.key.0);
            batch.put_be32(5, shape.key.1);
            if let Some((kind, length)) = shape.value {
                batch.put_be32(6, kind);
                batch.put_be32(7, length);
            }
            batch.put_be32(10, number);
        });
    }

    pub fn add_rule(&mut self, chain: &'static str, expressions: &[Expression]) {
        self.message(format!("add a rule to chain {chain}"), NFT_MSG_NEWRULE, CREATE | NLM_F_APPEND, |batch, table| {
            batch.put_text(1, table);
            batch.put_text(2, chain);
            batch.nest(4, |batch| expressions.iter().for_each(|expression| expression.put(batch)));
        });
    }

    /// Adding what is there already (with the same value) is no error.
    pub fn add_elements(&mut self, set: &'static str, elements: &[Element]) {
        self.elements("add to", NFT_MSG_NEWSETELEM, CREATE, set, elements);
    }

    /// Fails where one of them is not there.
    pub fn delete_elements(&mut self, set: &'static str, elements: &[Element]) {
        self.elements("delete from", NFT_MSG_DELSETELEM, 0, set, elements);
    }

    fn elements(&mut self, action: &str, kind: u16, flags: u16, set: &'static str, elements: &[Element]) {
        /// The list is one attribute of at most 64 KiB; an element takes at most 104 bytes.
        const PER_MESSAGE: usize = 500;
        for chunk in elements.chunks(PER_MESSAGE) {
            self.message(format!("{action} set {set}"), kind, flags, |batch, table| {
                batch.put_text(1, table);
                batch.put_text(2, set);
                batch.nest(3, |batch| {
                    for part in chunk.iter().flat_map(Element::parts) {
                        batch.nest(1, |batch| {
                            if part.ends_interval {
                                batch.put_be32(3, 1);
                            }
                            batch.nest(1, |batch| batch.put(1, &part.key));
                            if let Some(value) = &part.value {
                                batch.nest(2, |batch| batch.put(1, value));
                            }
                        });
                    }
                });
            });
        }
    }

    /// Commits in the namespace of the calling thread. After deletions the kernel holds the closing of the socket up until
    /// readers of what was deleted are done (4 ms here): keep one open where that matters.
    pub fn commit(self) -> Result<()> {
        self.commit_on(&Socket::open(Family::Netfilter)?)
    }

    /// Commits in the namespace of the socket.
    pub fn commit_on(mut self, socket: &Socket) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // The last change asks for an answer, the others only speak when they fail.
        self.batch.request_answer();
        let last = self.batch.steps.len() as u32;
        self.batch.begin("end the transaction".to_owned(), NFNL_MSG_BATCH_END, 0, &nfgenmsg(0, 10));
        self.batch.end();
        socket.perform(&self.batch, Answers::Only(last))
    }
}

impl Batch {
    /// Sets the acknowledgement flag of the message built last.
    fn request_answer(&mut self) {
        let at = self.last_message() + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }
}
