//! Connection tracking entries of datagram flows: `uapi/linux/netfilter/nfnetlink_conntrack.h`.
//!
//! UDP has no end. A client that keeps sending keeps its translation alive, and with it the address of a container that
//! is gone (moby issue 8795).

use std::net::IpAddr;

use rustix::io::Errno;

use crate::address::{family, from_octets};
use crate::error::{Error, Result};
use crate::message::{ACK, Batch, DUMP, attributes};
use crate::socket::{Answers, Family, Socket};

/// `NFNL_SUBSYS_CTNETLINK` in the upper byte.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const UDP: u8 = 17;
/// `struct nfgenmsg`.
const HEADER: usize = 4;

/// Forgets the UDP flows that are answered from this address; says how many there were.
pub fn forget_udp_flows(answered_from: IpAddr) -> Result<usize> {
    let socket = Socket::open(Family::Netfilter)?;
    let header = [family(answered_from), 0, 0, 0];
    let mut batch = Batch::new();
    batch.begin("list tracked connections".to_owned(), GET, DUMP, &header);
    batch.end();
    let mut flows: Vec<Vec<u8>> = Vec::new();
    socket.query(&batch, |_, payload| flows.extend(matching_flow(payload, answered_from)))?;
    for flow in &flows {
        let mut batch = Batch::new();
        batch.begin(format!("forget a flow to {answered_from}"), DELETE, ACK, &header);
        batch.nest(CTA_TUPLE_ORIG, |batch| batch.raw(flow));
        batch.end();
        match socket.perform(&batch, Answers::Each) {
            // It ran out in between.
            Ok(()) | Err(Error::Refused { source: Errno::NOENT, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(flows.len())
}

/// The original tuple, as it came, of a UDP flow whose answers come from the address.
fn matching_flow(payload: &[u8], answered_from: IpAddr) -> Option<Vec<u8>> {
    let (mut original, mut source, mut protocol) = (None, None, None);
    for attribute in attributes(payload.get(HEADER..)?) {
        match attribute.kind {
            CTA_TUPLE_ORIG => original = Some(attribute.value.to_vec()),
            CTA_TUPLE_REPLY => {
                for part in attributes(attribute.value) {
                    for field in attributes(part.value) {
                        match (part.kind, field.kind) {
                            (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => source = from_octets(field.value),
                            (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => protocol = field.value.first().copied(),
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    (source == Some(answered_from) && protocol == Some(UDP)).then_some(original)?
}
