//! Log entries as the client reads them: frames, or raw bytes for a terminal.

use bytes::{BufMut, Bytes, BytesMut};
use container_core::rfc3339;
use containers::{LogEntry, LogStream, Logs};
use futures_util::FutureExt;
use futures_util::stream::{self, Stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is put before each line.
#[derive(Clone, Copy)]
pub struct Prefixes {
    pub timestamps: bool,
    pub details: bool,
}

/// Sent in pieces of about this size: a line by itself would be a chunk and a system call of its own.
const PIECE: usize = 32 * 1024;

/// The number of a frame that tells of an error of the daemon.
const SYSTEM_ERROR: u8 = 3;

/// The entries, one piece of the body at a time. A reader that fails ends the stream, with a frame that says why.
pub fn log_pieces(logs: Logs, prefixes: Prefixes) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some(logs), move |logs| async move {
        let mut logs = logs?;
        let tty = logs.tty;
        let mut piece = BytesMut::new();
        loop {
            // What is there already goes out together; then the next line is waited for.
            let next = if piece.is_empty() { Some(logs.next().await) } else { logs.next().now_or_never() };
            match next {
                Some(Ok(Some(entry))) => put(&mut piece, &entry, logs.tty, prefixes),
                Some(Ok(None)) if piece.is_empty() => return None,
                Some(Ok(None)) | None => break,
                Some(Err(error)) => {
                    let text = format!("Error grabbing logs: {}\n", errors::chain(&error));
                    put_frame(&mut piece, SYSTEM_ERROR, tty, &[text.as_bytes()]);
                    return Some((Ok(piece.freeze()), None));
                }
            }
            if piece.len() >= PIECE {
                break;
            }
        }
        Some((Ok(piece.freeze()), Some(logs)))
    })
}

fn put(piece: &mut BytesMut, entry: &LogEntry, tty: bool, prefixes: Prefixes) {
    let mut prefix = String::new();
    if prefixes.timestamps {
        prefix.push_str(&rfc3339_padded(entry));
        prefix.push(' ');
    }
    if prefixes.details {
        let pairs: Vec<String> =
            entry.attributes.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
        prefix.push_str(&pairs.join(","));
        prefix.push(' ');
    }
    let stream = match entry.stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
    };
    put_frame(piece, stream, tty, &[prefix.as_bytes(), &entry.bytes]);
}

fn put_frame(piece: &mut BytesMut, stream: u8, tty: bool, parts: &[&[u8]]) {
    if !tty {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        piece.put_slice(&[stream, 0, 0, 0]);
        piece.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }
    for part in parts {
        piece.put_slice(part);
    }
}

/// As in the query of a URL (Go's url.QueryEscape).
fn escaped(text: &str) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
    utf8_percent_encode(text, PLAIN).to_string().replace(' ', "+")
}

/// Nine digits of fraction always, so that the lines of a log align (Docker's RFC3339NanoFixed).
fn rfc3339_padded(entry: &LogEntry) -> String {
    let text = rfc3339(Some(entry.time));
    let bare = text.trim_end_matches('Z');
    let (seconds, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use container_core::Timestamp;

    use super::*;

    #[test]
    fn a_line_has_a_frame_and_its_prefixes() {
        let entry = LogEntry {
            stream: LogStream::Stderr,
            time: Timestamp(1_500_000_000),
            bytes: b"hi\n".to_vec(),
            attributes: BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2 3,é".into())]),
        };
        let mut piece = BytesMut::new();
        put(&mut piece, &entry, false, Prefixes { timestamps: true, details: true });
        let text = b"1970-01-01T00:00:01.500000000Z a=1,b=2+3%2C%C3%A9 hi\n";
        assert_eq!(&piece[..8], [2, 0, 0, 0, 0, 0, 0, text.len() as u8]);
        assert_eq!(&piece[8..], text);
        piece.clear();
        put(&mut piece, &entry, true, Prefixes { timestamps: false, details: false });
        assert_eq!(&piece[..], b"hi\n");
    }
}
