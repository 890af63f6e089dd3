//! The format on the wire: a header of ten bytes, big-endian, and a body. Does no I/O.

use crate::{Request, Response, Status};
use prost::Message;

/// Length, stream, type, flags.
pub const HEADER_LEN: usize = 10;
/// The longest body, as in containerd's implementation.
pub const MAX_MESSAGE: usize = 4 << 20;

pub const TYPE_REQUEST: u8 = 1;
pub const TYPE_RESPONSE: u8 = 2;
pub const TYPE_DATA: u8 = 3;

/// A peer sends what this side cannot go on from.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("cannot decode a message")]
    Decode(#[from] prost::DecodeError),
    #[error("a message of type {0} was not expected here")]
    UnexpectedType(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body.
    pub length: u32,
    /// Odd for streams that a client opens.
    pub stream: u32,
    pub kind: u8,
    pub flags: u8,
}

impl Header {
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { length: word(0), stream: word(4), kind: bytes[8], flags: bytes[9] }
    }

    pub fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.length.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8] = self.kind;
        bytes[9] = self.flags;
        bytes
    }
}

/// What a [`Decoder`] found in the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Message {
        header: Header,
        body: Vec<u8>,
    },
    /// The body is longer than [`MAX_MESSAGE`]; it is skipped as it arrives, without being kept.
    Oversized(Header),
}

/// Cuts a byte stream into frames; holds at most one incomplete message and what followed in the last read.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    skip: usize,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let bytes = &bytes[skipped..];
        if bytes.is_empty() {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` until more bytes come.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let pending = &self.buffer[self.start..];
        let header = Header::decode(pending.get(..HEADER_LEN)?.try_into().ok()?);
        let length = header.length as usize;
        if length > MAX_MESSAGE {
            let here = (pending.len() - HEADER_LEN).min(length);
            self.skip = length - here;
            self.consume(HEADER_LEN + here);
            return Some(Frame::Oversized(header));
        }
        let body = pending.get(HEADER_LEN..HEADER_LEN + length)?.to_vec();
        self.consume(HEADER_LEN + length);
        Some(Frame::Message { header, body })
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.buffer.len() {
            // Connections idle for most of their life: keep nothing.
            self.buffer = Vec::new();
            self.start = 0;
        }
    }
}

/// A request as it is sent; `Err` is the length of one that is too long.
pub fn encode_request(stream: u32, request: &Request) -> Result<Vec<u8>, usize> {
    encode(stream, TYPE_REQUEST, request)
}

/// A response as it is sent; `Err` is the length of one that is too long.
pub fn encode_response(stream: u32, result: Result<Vec<u8>, Status>) -> Result<Vec<u8>, usize> {
    let response = match result {
        Ok(payload) => Response { status: None, payload },
        Err(status) => Response { status: Some(status.to_wire()), payload: Vec::new() },
    };
    encode(stream, TYPE_RESPONSE, &response)
}

fn encode(stream: u32, kind: u8, message: &impl Message) -> Result<Vec<u8>, usize> {
    let length = message.encoded_len();
    if length > MAX_MESSAGE {
        return Err(length);
    }
    let header = Header { length: length as u32, stream, kind, flags: 0 };
    let mut bytes = Vec::with_capacity(HEADER_LEN + length);
    bytes.extend_from_slice(&header.encode());
    message.encode(&mut bytes).expect("a Vec grows to any length");
    Ok(bytes)
}

/// What a response body says.
pub fn decode_response(body: &[u8]) -> Result<Result<Vec<u8>, Status>, FrameError> {
    let response = Response::decode(body)?;
    Ok(match response.status.and_then(Status::from_wire) {
        Some(status) => Err(status),
        None => Ok(response.payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use proptest::prelude::*;

    fn call(method: &str) -> Request {
        Request { service: "s".into(), method: method.into(), payload: vec![1, 2, 3], ..Request::default() }
    }

    #[test]
    fn a_request_has_the_bytes_that_containerd_sends() {
        let bytes = encode_request(3, &Request { service: "a".into(), method: "b".into(), ..Request::default() });
        assert_eq!(bytes, Ok(vec![0, 0, 0, 6, 0, 0, 0, 3, 1, 0, 10, 1, b'a', 18, 1, b'b']));
    }

    #[test]
    fn a_failed_call_carries_its_code_and_message() {
        let status = Status::new(Code::NotFound, "no such thing: not found");
        let bytes = encode_response(1, Err(status.clone())).expect("short");
        assert_eq!(decode_response(&bytes[HEADER_LEN..]).expect("decode"), Err(status));
    }

    #[test]
    fn an_oversized_message_is_skipped_and_the_next_one_read() {
        let mut decoder = Decoder::default();
        let big = Header { length: (MAX_MESSAGE + 5) as u32, stream: 7, kind: TYPE_REQUEST, flags: 0 };
        decoder.push(&big.encode());
        assert_eq!(decoder.next_frame(), Some(Frame::Oversized(big)));
        let chunk = vec![0u8; 1 << 16];
        let mut left = MAX_MESSAGE + 5;
        while left > 0 {
            let now = left.min(chunk.len());
            decoder.push(&chunk[..now]);
            left -= now;
            assert_eq!(decoder.next_frame(), None);
            assert!(decoder.buffer.is_empty(), "nothing of it is kept");
        }
        decoder.push(&encode_request(9, &call("m")).expect("short"));
        assert!(matches!(decoder.next_frame(), Some(Frame::Message { header, .. }) if header.stream == 9));
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_bytes_are_cut(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let mut stream = Vec::new();
            for index in 0..20u32 {
                stream.extend(encode_request(2 * index + 1, &call(&"m".repeat(index as usize))).expect("short"));
            }
            let (mut decoder, mut seen, mut at) = (Decoder::default(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                if at == stream.len() {
                    break;
                }
                let end = (at + cut).min(stream.len());
                decoder.push(&stream[at..end]);
                at = end;
                while let Some(Frame::Message { header, body }) = decoder.next_frame() {
                    prop_assert_eq!(Request::decode(body.as_slice()).expect("decode").method.len() as u32, header.stream / 2);
                    seen.push(header.stream);
                }
            }
            prop_assert_eq!(seen, (0..20u32).map(|index| 2 * index + 1).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_hoard(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while decoder.next_frame().is_some() {}
            prop_assert!(decoder.buffer.len() <= bytes.len());
        }
    }
}
