//! What a query asks. RFC 1035, 4.1.

use errors::{ErrorKind, Kind};

use crate::name::{Name, skip};

pub(crate) const HEADER: usize = 12;
/// A query over TCP may announce 64 KiB; none that is sound comes near.
pub(crate) const MAX_QUERY_BYTES: usize = 4096;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// Types of records that the server itself knows.
pub mod kind {
    pub const A: u16 = 1;
    pub const PTR: u16 = 12;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
}

/// One question, well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub id: u16,
    pub wants_recursion: bool,
    pub name: Name,
    /// One of [`kind`], or any other number.
    pub kind: u16,
    /// The question as it stands in the message, spelled as the client spelled it.
    pub(crate) question: Vec<u8>,
    /// The payload size that an EDNS client announces.
    pub edns_size: Option<u16>,
}

/// Why a message is no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Not even an id to answer to, or an answer itself: silence, or two servers would talk forever.
    Silence,
    /// `FORMERR`.
    Format,
    /// `NOTIMP`: an operation that is no query.
    Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed DNS message")]
pub struct Malformed {
    pub rejection: Rejection,
    /// The answer that the client gets, if any.
    pub reply: Option<Vec<u8>>,
}

impl Kind for Malformed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Query {
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let silence = Malformed { rejection: Rejection::Silence, reply: None };
        if message.len() < HEADER || message.len() > MAX_QUERY_BYTES {
            return Err(silence);
        }
        let id = half(message, 0).unwrap_or_default();
        let flags = half(message, 2).unwrap_or_default();
        if flags & 0x8000 != 0 {
            return Err(silence);
        }
        if (flags >> 11) & 0xf != 0 {
            return Err(refuse(Rejection::Operation, id, flags, 4));
        }
        Self::parse_body(message, id, flags).ok_or_else(|| refuse(Rejection::Format, id, flags, 1))
    }

    fn parse_body(message: &[u8], id: u16, flags: u16) -> Option<Self> {
        let (questions, records) = (half(message, 4)?, [half(message, 6)?, half(message, 8)?, half(message, 10)?]);
        if questions != 1 {
            return None;
        }
        let (name, name_length) = Name::read(&message[HEADER..])?;
        let end = HEADER + name_length + 4;
        let (kind, class) = (half(message, end - 4)?, half(message, end - 2)?);
        if class != CLASS_IN && class != CLASS_ANY {
            return None;
        }
        let question = message.get(HEADER..end)?.to_vec();
        let mut edns_size = None;
        let mut at = end;
        let total = records.iter().map(|count| u32::from(*count)).sum::<u32>();
        for _ in 0..total {
            let fixed = skip(message, at)?;
            let length = usize::from(half(message, fixed + 8)?);
            if half(message, fixed)? == kind::OPT {
                edns_size = Some(half(message, fixed + 2)?);
            }
            at = fixed + 10 + length;
            if at > message.len() {
                return None;
            }
        }
        Some(Self { id, wants_recursion: flags & 0x0100 != 0, name, kind, question, edns_size })
    }

    /// The largest answer that fits the client's datagram.
    pub fn udp_limit(&self) -> usize {
        usize::from(self.edns_size.unwrap_or(0)).clamp(crate::MIN_UDP_SIZE, MAX_QUERY_BYTES)
    }
}

pub(crate) fn half(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn refuse(rejection: Rejection, id: u16, flags: u16, code: u16) -> Malformed {
    let mut reply = Vec::with_capacity(HEADER);
    reply.extend_from_slice(&id.to_be_bytes());
    // An answer, the operation and the wish for recursion repeated.
    reply.extend_from_slice(&(0x8000 | flags & 0x7900 | code).to_be_bytes());
    reply.resize(HEADER, 0);
    Malformed { rejection, reply: Some(reply) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn query_bytes(id: u16, name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
        bytes.extend_from_slice(&crate::name::encode(name).expect("a short name"));
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&1u16.to_be_bytes());
        if let Some(size) = edns {
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&[0; 6]);
        }
        bytes
    }

    #[test]
    fn a_question_is_read_with_the_clients_size() {
        let query = Query::parse(&query_bytes(7, "Web", kind::A, Some(1232))).expect("a query");
        assert_eq!((query.id, query.name.as_str(), query.kind, query.edns_size), (7, "web", kind::A, Some(1232)));
        assert!(query.wants_recursion);
        assert_eq!(query.udp_limit(), 1232);
        assert_eq!(Query::parse(&query_bytes(7, "web", kind::A, None)).expect("a query").udp_limit(), 512);
    }

    #[test]
    fn answers_and_scraps_are_met_with_silence() {
        let mut answer = query_bytes(7, "web", kind::A, None);
        answer[2] |= 0x80;
        for message in [&answer[..], b"", b"short", &[0; 5000]] {
            assert_eq!(Query::parse(message).expect_err("no query").reply, None);
        }
    }

    #[test]
    fn what_is_no_question_gets_a_format_error_with_its_id() {
        let mut none = query_bytes(0x1234, "web", kind::A, None);
        none[5] = 0;
        let mut many = query_bytes(0x1234, "web", kind::A, None);
        many[5] = 2;
        let mut records = query_bytes(0x1234, "web", kind::A, None);
        records[7] = 200;
        let cut = query_bytes(0x1234, "web", kind::A, None)[..15].to_vec();
        for message in [none, many, records, cut] {
            let reply = Query::parse(&message).expect_err("no query").reply.expect("an answer");
            assert_eq!((&reply[..2], reply[3] & 0xf, reply.len()), (&[0x12, 0x34][..], 1, 12));
        }
    }

    #[test]
    fn operations_other_than_a_query_are_not_implemented() {
        let mut update = query_bytes(1, "web", kind::A, None);
        update[2] |= 5 << 3;
        assert_eq!(Query::parse(&update).expect_err("no query").rejection, Rejection::Operation);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = Query::parse(&bytes);
        }

        #[test]
        fn no_change_of_one_byte_makes_the_parser_panic(at in 0usize..40, value: u8) {
            let mut bytes = query_bytes(7, "web.example", kind::A, Some(1232));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            let _ = Query::parse(&bytes);
        }
    }
}
