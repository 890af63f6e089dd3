//! Log lines to entries. Reads what Docker and we write, in any order of the fields.

use crate::{Entry, Stream};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// The entry of one line (without its line end); `None` for a torn or foreign line.
pub(crate) fn decode(line: &[u8]) -> Option<Entry> {
    // After a power loss the end of a file may be a run of zeros that the next line follows.
    let start = line.iter().position(|&byte| byte != 0)?;
    let line: Line<'_> = serde_json::from_slice(&line[start..]).ok()?;
    let stream = if line.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    let time = line.time.parse().ok()?;
    let attrs = line.attrs.into_iter().collect();
    Some(Entry { stream, time, bytes: line.log.into_owned().into_bytes(), attrs, part: None, ordinal: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::json_file::Encoder;
    use proptest::prelude::*;

    #[test]
    fn a_torn_line_is_none_and_zeros_before_a_line_are_skipped() {
        assert_eq!(decode(b"{\"log\":\"half a li"), None);
        assert_eq!(decode(b"\0\0\0"), None);
        let entry =
            decode(b"\0\0{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}").expect("line");
        assert_eq!(entry.bytes, b"x\n");
    }

    proptest! {
        #[test]
        fn every_utf8_text_survives(text in "\\PC*", nanos in 0u32..1_000_000_000, name in "[a-z]{0,4}") {
            let attrs = vec![(name, text.clone())];
            let time = Timestamp { seconds: 1_700_000_000, nanos };
            let mut out = Vec::new();
            Encoder::new(&attrs).append(&mut out, Stream::Stderr, text.as_bytes(), true, time);
            let entry = decode(out.strip_suffix(b"\n").expect("line end")).expect("own line");
            let bytes = format!("{text}\n").into_bytes();
            prop_assert_eq!(entry, Entry { stream: Stream::Stderr, time, bytes, attrs, part: None, ordinal: 0 });
        }

        #[test]
        fn any_bytes_make_a_line_of_valid_json(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            Encoder::new(&[]).append(&mut out, Stream::Stdout, &bytes, false, Timestamp::default());
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            prop_assert!(decode(&out[..out.len() - 1]).is_some());
        }
    }
}
