//! Docker's json-file format: one JSON object a line, `{"log":…,"stream":…,"attrs":…,"time":…}`.

mod decode;
mod encode;
mod seek;

pub(crate) use decode::decode;
pub(crate) use encode::Encoder;
pub(crate) use seek::{offset_before, tail_offset, whole_length};

use crate::format::Frame;

pub(crate) fn frame(bytes: &[u8]) -> Frame {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => Frame::Whole { content: 0..end, end: end + 1 },
        None => Frame::More,
    }
}
