//! What other people's tables hold, as far as it decides about our packets: base chains and their policies.

use crate::error::Result;
use crate::message::{Batch, DUMP, attributes};
use crate::socket::{Family, Socket};

/// `NFNL_SUBSYS_NFTABLES` in the upper byte, `NFT_MSG_GETCHAIN`.
const GET_CHAIN: u16 = 10 << 8 | 4;
const DROP: u32 = 0;

/// A chain at a hook of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFacts {
    /// `NFPROTO_INET` (1), `…_IPV4` (2), `…_IPV6` (10) and so on.
    pub family: u8,
    pub table: String,
    pub name: String,
    /// `NF_INET_FORWARD` is 2.
    pub hook: u32,
    /// What no rule accepts is dropped.
    pub drops: bool,
}

/// Base chains of all tables in the namespace of the calling thread.
pub fn base_chains() -> Result<Vec<ChainFacts>> {
    let socket = Socket::open(Family::Netfilter)?;
    let mut batch = Batch::new();
    batch.begin("list chains".to_owned(), GET_CHAIN, DUMP, &[0; 4]);
    batch.end();
    let mut chains = Vec::new();
    socket.query(&batch, |_, payload| chains.extend(parse(payload)))?;
    Ok(chains)
}

fn parse(payload: &[u8]) -> Option<ChainFacts> {
    let big_endian = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?));
    let (mut table, mut name, mut hook, mut policy) = (None, None, None, None);
    for attribute in attributes(payload.get(4..)?) {
        match attribute.kind {
            1 => table = attribute.text().map(str::to_owned),
            3 => name = attribute.text().map(str::to_owned),
            4 => {
                hook = attributes(attribute.value).find(|part| part.kind == 1).and_then(|part| big_endian(part.value));
            }
            5 => policy = big_endian(attribute.value),
            _ => {}
        }
    }
    Some(ChainFacts { family: *payload.first()?, table: table?, name: name?, hook: hook?, drops: policy == Some(DROP) })
}
