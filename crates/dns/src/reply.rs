//! Answers that the server makes itself.

use std::net::IpAddr;

use crate::message::{HEADER, Query, kind};
use crate::name::{encode, skip};

/// What every client takes over UDP (RFC 1035, 4.2.1).
pub const MIN_UDP_SIZE: usize = 512;
/// Docker's: containers change their addresses, but a client asks again within the connection's life.
const TTL_SECONDS: u32 = 600;
/// A pointer to the question's name, which stands right behind the header.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];
/// The payload size that we announce; ours never need fragments (DNS flag day 2020).
const OWN_EDNS_SIZE: u16 = 1232;

/// The outcome of a lookup, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    Addresses(&'a [IpAddr]),
    Pointer(&'a str),
    /// The name is there, records of this type are not (`NOERROR`, empty).
    NoData,
    /// `NXDOMAIN`.
    NoName,
    /// `SERVFAIL`.
    Failure,
}

impl Reply<'_> {
    /// The message; over `limit` bytes only the header and question with the truncation flag.
    pub fn encode(&self, query: &Query, limit: usize) -> Vec<u8> {
        let code = match self {
            Self::Addresses(_) | Self::Pointer(_) | Self::NoData => 0,
            Self::Failure => 2,
            Self::NoName => 3,
        };
        let mut records = 0u16;
        let mut body = Vec::new();
        match self {
            Self::Addresses(addresses) => {
                for address in *addresses {
                    match address {
                        IpAddr::V4(address) => record(&mut body, kind::A, &address.octets()),
                        IpAddr::V6(address) => record(&mut body, kind::AAAA, &address.octets()),
                    }
                    records += 1;
                }
            }
            Self::Pointer(name) => {
                if let Some(name) = encode(name) {
                    record(&mut body, kind::PTR, &name);
                    records += 1;
                }
            }
            Self::NoData | Self::NoName | Self::Failure => {}
        }
        let message = assemble(query, code, records, &body);
        if message.len() <= limit {
            return message;
        }
        let mut message = assemble(query, code, 0, &[]);
        message[2] |= 0x02;
        message
    }
}

fn assemble(query: &Query, code: u16, records: u16, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + query.question.len() + body.len() + 11);
    message.extend_from_slice(&query.id.to_be_bytes());
    // Answer, recursion available, recursion desired as asked.
    let flags = 0x8080 | u16::from(query.wants_recursion) << 8 | code;
    message.extend_from_slice(&flags.to_be_bytes());
    for count in [1, records, 0, u16::from(query.edns_size.is_some())] {
        message.extend_from_slice(&count.to_be_bytes());
    }
    message.extend_from_slice(&query.question);
    message.extend_from_slice(body);
    if query.edns_size.is_some() {
        message.push(0);
        message.extend_from_slice(&kind::OPT.to_be_bytes());
        message.extend_from_slice(&OWN_EDNS_SIZE.to_be_bytes());
        message.extend_from_slice(&[0; 6]);
    }
    message
}

fn record(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&QUESTION_NAME);
    body.extend_from_slice(&kind.to_be_bytes());
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&TTL_SECONDS.to_be_bytes());
    body.extend_from_slice(&(value.len() as u16).to_be_bytes());
    body.extend_from_slice(value);
}

/// An upstream's answer cut down to its header and question, so that the client asks again over TCP.
pub fn truncated(message: &[u8]) -> Vec<u8> {
    let end = skip(message, HEADER).map_or(HEADER, |name_end| name_end + 4);
    let mut short = message.get(..end).unwrap_or_default().to_vec();
    if short.len() >= HEADER {
        short[2] |= 0x02;
        short[6..HEADER].fill(0);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::query_bytes;

    fn query(name: &str, kind: u16, edns: Option<u16>) -> Query {
        Query::parse(&query_bytes(0x0102, name, kind, edns)).expect("a query")
    }

    #[test]
    fn addresses_follow_the_question_as_the_client_spelled_it() {
        let message = Reply::Addresses(&[IpAddr::from([10, 0, 0, 2])]).encode(&query("WeB", kind::A, None), 512);
        let expected = [
            &[1, 2, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..],
            b"\x03WeB\x00\x00\x01\x00\x01",
            &[0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 2],
        ];
        assert_eq!(message, expected.concat());
    }

    #[test]
    fn an_edns_client_gets_an_edns_answer() {
        let message = Reply::NoData.encode(&query("web", kind::AAAA, Some(4096)), 512);
        assert_eq!(message[11], 1);
        assert_eq!(message[message.len() - 11..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_truncated_to_the_question() {
        let many = vec![IpAddr::from([10, 0, 0, 2]); 100];
        let message = Reply::Addresses(&many).encode(&query("web", kind::A, None), 512);
        assert_eq!((message[2] & 2, message[7], message.len()), (2, 0, 12 + 9));
        assert!(Reply::Addresses(&many).encode(&query("web", kind::A, None), 65535).len() > 512);
    }

    #[test]
    fn no_name_and_no_data_are_told_apart() {
        assert_eq!(Reply::NoName.encode(&query("x", kind::A, None), 512)[3] & 0xf, 3);
        assert_eq!(Reply::NoData.encode(&query("x", kind::A, None), 512)[3] & 0xf, 0);
        assert_eq!(Reply::Failure.encode(&query("x", kind::A, None), 512)[3] & 0xf, 2);
    }

    #[test]
    fn a_cut_answer_keeps_its_question_and_asks_for_tcp() {
        let many = vec![IpAddr::from([10, 0, 0, 2]); 100];
        let long = Reply::Addresses(&many).encode(&query("web", kind::A, None), 65535);
        let short = truncated(&long);
        assert_eq!((short.len(), short[2] & 2, &short[4..12]), (21, 2, &[0, 1, 0, 0, 0, 0, 0, 0][..]));
    }
}
