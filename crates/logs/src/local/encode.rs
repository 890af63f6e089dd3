//! Messages to bytes. Protobuf by hand: one message type, on the way of every line.

use super::LENGTH;
use crate::Part;
use crate::format::Message;

const SOURCE: u8 = 1 << 3 | 2;
const TIME: u8 = 2 << 3;
const LINE: u8 = 3 << 3 | 2;
const PARTIAL: u8 = 4 << 3;
const METADATA: u8 = 5 << 3 | 2;
const ATTR: u8 = 6 << 3 | 2;
const ORDINAL: u8 = 15 << 3;

#[derive(Debug)]
pub(crate) struct Encoder {
    /// The fields `attrs`, the same in every message.
    attrs: Vec<u8>,
}

impl Encoder {
    pub fn new(attrs: &[(String, String)]) -> Self {
        let mut sorted: Vec<_> = attrs.iter().collect();
        sorted.sort();
        let mut out = Vec::new();
        for (name, value) in sorted {
            let mut attr = Vec::new();
            put_bytes(&mut attr, 1 << 3 | 2, name.as_bytes());
            put_bytes(&mut attr, 2 << 3 | 2, value.as_bytes());
            put_bytes(&mut out, ATTR, &attr);
        }
        Self { attrs: out }
    }

    pub fn append(&mut self, out: &mut Vec<u8>, message: Message<'_>) {
        let start = out.len();
        out.reserve(message.text.len() + self.attrs.len() + 64);
        out.extend_from_slice(&[0; LENGTH]);
        put_bytes(out, SOURCE, message.stream.name().as_bytes());
        let nanos = message.time.seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(message.time.nanos));
        put_number(out, TIME, nanos as u64);
        put_bytes(out, LINE, message.text);
        if let Some(part) = message.part {
            put_number(out, PARTIAL, 1);
            put_bytes(out, METADATA, &metadata(part));
        }
        out.extend_from_slice(&self.attrs);
        put_number(out, ORDINAL, message.ordinal);
        // Far below 4 GiB: a line is cut at 16 KiB, attributes come from a request of bounded size.
        let length = ((out.len() - start - LENGTH) as u32).to_be_bytes();
        out[start..start + LENGTH].copy_from_slice(&length);
        out.extend_from_slice(&length);
    }
}

fn metadata(part: &Part) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.id.len() + 10);
    put_number(&mut out, 1 << 3, u64::from(part.last));
    put_bytes(&mut out, 2 << 3 | 2, part.id.as_bytes());
    put_number(&mut out, 3 << 3, u64::from(part.number));
    out
}

/// proto3 leaves out what is zero or empty.
fn put_number(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value != 0 {
        out.push(tag);
        put_varint(out, value);
    }
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
