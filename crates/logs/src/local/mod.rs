//! Docker's format `local`: messages of protobuf, each between two copies of its length (32 bits, big-endian), so that a
//! file can be walked from either end.
//!
//! The message is moby's `LogEntry`: `source` 1, `time_nano` 2, `line` 3, `partial` 4, `partial_log_metadata` 5 (`last` 1,
//! `id` 2, `ordinal` 3), `attrs` 6 (`key` 1, `value` 2). A numbered log, which only the shippers have, adds the message's
//! number as field 15; who does not know it skips it.

mod decode;
mod encode;
mod seek;

pub(crate) use decode::decode;
pub(crate) use encode::Encoder;
pub(crate) use seek::{tail_offset, whole_length};

use crate::format::Frame;

/// The longest message, as in Docker.
const MAX_MESSAGE: usize = 1_000_000;
/// Bytes of a length.
const LENGTH: usize = 4;

pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let Some(length) = length_at(bytes, 0) else { return Frame::More };
    if length > MAX_MESSAGE {
        return Frame::Broken;
    }
    match length_at(bytes, LENGTH + length) {
        None => Frame::More,
        Some(again) if again == length => Frame::Whole { content: LENGTH..LENGTH + length, end: length + 2 * LENGTH },
        Some(_) => Frame::Broken,
    }
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + LENGTH)?;
    Some(u32::from_be_bytes(four.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Message;
    use crate::{Entry, Part, Stream, Timestamp};
    use proptest::prelude::*;

    fn encode(attrs: &[(String, String)], message: Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new(attrs).append(&mut out, message);
        out
    }

    #[test]
    fn a_message_has_dockers_bytes() {
        let time = Timestamp { seconds: 1, nanos: 5 };
        let message = Message { stream: Stream::Stdout, text: b"hello", ends_line: true, part: None, time, ordinal: 0 };
        let wanted = b"\0\0\0\x15\x0a\x06stdout\x10\x85\x94\xeb\xdc\x03\x1a\x05hello\0\0\0\x15";
        assert_eq!(encode(&[], message), wanted);
    }

    #[test]
    fn a_part_is_marked_and_the_last_one_has_the_newline() {
        let part = Part { id: "ab".into(), number: 2, last: true };
        let time = Timestamp { seconds: 0, nanos: 1 };
        let message =
            Message { stream: Stream::Stderr, text: b"x", ends_line: true, part: Some(&part), time, ordinal: 9 };
        let bytes = encode(&[("k".into(), "v".into())], message);
        let wanted = b"\x0a\x06stderr\x10\x01\x1a\x01x\x20\x01\x2a\x08\x08\x01\x12\x02ab\x18\x02\x32\x06\x0a\x01k\x12\x01v\x78\x09";
        assert_eq!(&bytes[4..bytes.len() - 4], wanted);
        let entry = decode(&bytes[4..bytes.len() - 4]).expect("entry");
        let attrs = vec![("k".into(), "v".into())];
        let bytes = b"x\n".to_vec();
        assert_eq!(entry, Entry { stream: Stream::Stderr, time, bytes, attrs, part: Some(part), ordinal: 9 });
    }

    #[test]
    fn a_cut_message_is_not_whole_and_a_wrong_length_is_no_message() {
        let time = Timestamp::default();
        let message = Message { stream: Stream::Stdout, text: b"abc", ends_line: true, part: None, time, ordinal: 0 };
        let bytes = encode(&[], message);
        for length in 0..bytes.len() {
            assert_eq!(frame(&bytes[..length]), Frame::More, "cut at {length}");
        }
        assert_eq!(frame(&bytes), Frame::Whole { content: 4..bytes.len() - 4, end: bytes.len() });
        let mut wrong = bytes.clone();
        *wrong.last_mut().expect("byte") ^= 1;
        assert_eq!(frame(&wrong), Frame::Broken);
        assert_eq!(frame(&[0xff; 20]), Frame::Broken);
    }

    proptest! {
        #[test]
        fn every_message_survives(
            text in proptest::collection::vec(any::<u8>(), 0..300),
            nanos in 0i64..4_000_000_000_000_000_000,
            ordinal in any::<u64>(),
            name in "[a-z]{1,4}",
        ) {
            let time = Timestamp { seconds: nanos / 1_000_000_000, nanos: (nanos % 1_000_000_000) as u32 };
            let attrs = vec![(name, "v".to_owned())];
            let message = Message { stream: Stream::Stderr, text: &text, ends_line: true, part: None, time, ordinal };
            let bytes = encode(&attrs, message);
            let Frame::Whole { content, .. } = frame(&bytes) else { return Err(TestCaseError::fail("no frame")) };
            let wanted = [&text[..], b"\n"].concat();
            let entry = Entry { stream: Stream::Stderr, time, bytes: wanted, attrs, part: None, ordinal };
            prop_assert_eq!(decode(&bytes[content]), Some(entry));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = frame(&bytes);
        }
    }
}
