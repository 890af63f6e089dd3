//! Expressions of rules, as the kernel's virtual machine runs them.
//!
//! Register 0 is the verdict; 1 to 4 hold 16 bytes each; 8 and up address the same space in 4-byte steps, so that 9 is
//! the second word of register 1. Concatenated keys fill consecutive words.

use crate::message::Batch;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;

/// Keys of `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    Mark = 3,
    InputName = 6,
    OutputName = 7,
    NetworkProtocol = 15,
    TransportProtocol = 16,
}

/// Keys of `ct`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtKey {
    State = 0,
    Status = 2,
}

/// Header fields: base (1 network, 2 transport), offset, length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    SourceAddress4,
    DestinationAddress4,
    DestinationFirstByte4,
    SourceAddress6,
    DestinationAddress6,
    SourcePort,
    DestinationPort,
}

impl Payload {
    fn place(self) -> (u32, u32, u32) {
        match self {
            Self::SourceAddress4 => (1, 12, 4),
            Self::DestinationAddress4 => (1, 16, 4),
            Self::DestinationFirstByte4 => (1, 16, 1),
            Self::SourceAddress6 => (1, 8, 16),
            Self::DestinationAddress6 => (1, 24, 16),
            Self::SourcePort => (2, 0, 2),
            Self::DestinationPort => (2, 2, 2),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal = 0,
    NotEqual = 1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    Accept,
    Return,
}

impl Verdict {
    fn code(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Return => (-5i32) as u32,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatFamily {
    V4 = 2,
    V6 = 10,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    Meta(Meta, u32),
    Ct(CtKey, u32),
    Payload(Payload, u32),
    /// The type of the destination address (local, unicast …) by the routing table.
    DestinationType(u32),
    /// Register and the bytes it is compared with.
    Compare(u32, Comparison, Vec<u8>),
    /// Goes on where any bit of the mask is set in the register (a 32-bit value in host order).
    AnyBit(u32, u32),
    /// Keeps the bits of the mask only (a 32-bit value in host order).
    Mask(u32, u32),
    /// Goes on where the register's value is (or, inverted, is not) an element of the set.
    InSet {
        set: &'static str,
        register: u32,
    },
    NotInSet {
        set: &'static str,
        register: u32,
    },
    /// Goes on where the map has the key, with the value in `to`.
    Map {
        map: &'static str,
        register: u32,
        to: u32,
    },
    /// Destination address and port from registers.
    DestinationNat {
        family: NatFamily,
        address: u32,
        port: u32,
    },
    /// Source address from a register, the port kept where that can be.
    SourceNat {
        family: NatFamily,
        address: u32,
    },
    /// A field from a register. No connection is tracked for it. `checksum`: where the transport header has its own.
    Write {
        field: Payload,
        register: u32,
        checksum: u32,
    },
    /// Puts bytes into a register.
    Load(u32, Vec<u8>),
    Masquerade,
    End(Verdict),
}

impl Expression {
    pub(super) fn put(&self, batch: &mut Batch) {
        batch.nest(NFTA_LIST_ELEM, |batch| match self {
            Self::Meta(key, register) => expression(batch, "meta", |batch| {
                batch.put_be32(2, *key as u32);
                batch.put_be32(1, *register);
            }),
            Self::Ct(key, register) => expression(batch, "ct", |batch| {
                batch.put_be32(2, *key as u32);
                batch.put_be32(1, *register);
            }),
            Self::Payload(field, register) => expression(batch, "payload", |batch| {
                let (base, offset, length) = field.place();
                batch.put_be32(1, *register);
                batch.put_be32(2, base);
                batch.put_be32(3, offset);
                batch.put_be32(4, length);
            }),
            Self::DestinationType(register) => expression(batch, "fib", |batch| {
                // NFT_FIB_RESULT_ADDRTYPE of NFTA_FIB_F_DADDR.
                batch.put_be32(1, *register);
                batch.put_be32(2, 3);
                batch.put_be32(3, 1 << 1);
            }),
            Self::Compare(register, comparison, value) => compare(batch, *register, *comparison, value),
            Self::AnyBit(register, mask) | Self::Mask(register, mask) => expression(batch, "bitwise", |batch| {
                batch.put_be32(1, *register);
                batch.put_be32(2, *register);
                batch.put_be32(3, 4);
                batch.nest(4, |batch| batch.put(NFTA_DATA_VALUE, &mask.to_ne_bytes()));
                batch.nest(5, |batch| batch.put(NFTA_DATA_VALUE, &[0; 4]));
            }),
            Self::InSet { set, register } => lookup(batch, set, *register, None, false),
            Self::NotInSet { set, register } => lookup(batch, set, *register, None, true),
            Self::Map { map, register, to } => lookup(batch, map, *register, Some(*to), false),
            Self::DestinationNat { family, address, port } => nat(batch, DNAT, *family, Some(*address), Some(*port)),
            Self::Write { field, register, checksum } => expression(batch, "payload", |batch| {
                let (base, offset, length) = field.place();
                batch.put_be32(2, base);
                batch.put_be32(3, offset);
                batch.put_be32(4, length);
                batch.put_be32(5, *register);
                // NFT_PAYLOAD_CSUM_INET.
                batch.put_be32(6, 1);
                batch.put_be32(7, *checksum);
            }),
            Self::SourceNat { family, address } => nat(batch, SNAT, *family, Some(*address), None),
            Self::Load(register, value) => expression(batch, "immediate", |batch| {
                batch.put_be32(1, *register);
                batch.nest(2, |batch| batch.put(NFTA_DATA_VALUE, value));
            }),
            Self::Masquerade => expression(batch, "masq", |_| {}),
            Self::End(verdict) => expression(batch, "immediate", |batch| {
                batch.put_be32(1, 0);
                batch.nest(2, |batch| {
                    batch.nest(NFTA_DATA_VERDICT, |batch| batch.put_be32(NFTA_VERDICT_CODE, verdict.code()));
                });
            }),
        });
        // A mask alone only changes the register; the test for "any bit" is a second expression.
        if let Self::AnyBit(register, _) = self {
            batch.nest(NFTA_LIST_ELEM, |batch| compare(batch, *register, Comparison::NotEqual, &[0; 4]));
        }
    }
}

fn expression(batch: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    batch.put_text(NFTA_EXPR_NAME, name);
    batch.nest(NFTA_EXPR_DATA, data);
}

fn compare(batch: &mut Batch, register: u32, comparison: Comparison, value: &[u8]) {
    expression(batch, "cmp", |batch| {
        batch.put_be32(1, register);
        batch.put_be32(2, comparison as u32);
        batch.nest(3, |batch| batch.put(NFTA_DATA_VALUE, value));
    });
}

fn lookup(batch: &mut Batch, set: &str, register: u32, to: Option<u32>, inverted: bool) {
    expression(batch, "lookup", |batch| {
        batch.put_text(1, set);
        batch.put_be32(2, register);
        if let Some(to) = to {
            batch.put_be32(3, to);
        }
        if inverted {
            batch.put_be32(5, 1);
        }
    });
}

/// `NFT_NAT_SNAT`, `NFT_NAT_DNAT`.
const SNAT: u32 = 0;
const DNAT: u32 = 1;

fn nat(batch: &mut Batch, kind: u32, family: NatFamily, address: Option<u32>, port: Option<u32>) {
    expression(batch, "nat", |batch| {
        batch.put_be32(1, kind);
        batch.put_be32(2, family as u32);
        if let Some(address) = address {
            batch.put_be32(3, address);
        }
        if let Some(port) = port {
            batch.put_be32(5, port);
        }
    });
}
