//! Log entries as the client reads them: frames, or raw bytes for a terminal.

use bytes::{BufMut, Bytes, BytesMut};
use container_core::rfc3339;
use containers::{LogEntry, LogStream, Logs};
use futures_util::FutureExt;
use futures_util::stream::{self, Stream};

/// What is put before each line.
#[derive(Clone, Copy)]
pub struct Prefixes {
    pub timestamps: bool,
    pub details: bool,
}

/// Sent in pieces of about this size: a line by itself would be a chunk and a system call of its own.
const PIECE: usize = 32 * 1024;

/// The entries, one piece of the body at a time. A reader that fails ends the stream there.
pub fn log_pieces(logs: Logs, prefixes: Prefixes) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some(logs), move |logs| async move {
        let mut logs = logs?;
        let mut piece = BytesMut::new();
        loop {
            // What is there already goes out together; then the next line is waited for.
            let next = if piece.is_empty() { Some(logs.next().await) } else { logs.next().now_or_never() };
            match next {
                Some(Ok(Some(entry))) => put(&mut piece, &entry, logs.tty, prefixes),
                Some(Ok(None)) if piece.is_empty() => return None,
                Some(Ok(None)) | None => break,
                Some(Err(error)) => return Some((Err(std::io::Error::other(error)), None)),
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
        let pairs: Vec<String> = entry.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        prefix.push_str(&pairs.join(","));
        prefix.push(' ');
    }
    if !tty {
        let stream = match entry.stream {
            LogStream::Stdout => 1,
            LogStream::Stderr => 2,
        };
        piece.put_slice(&[stream, 0, 0, 0]);
        piece.put_u32(u32::try_from(prefix.len() + entry.bytes.len()).unwrap_or(u32::MAX));
    }
    piece.put_slice(prefix.as_bytes());
    piece.put_slice(&entry.bytes);
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
            attributes: BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]),
        };
        let mut piece = BytesMut::new();
        put(&mut piece, &entry, false, Prefixes { timestamps: true, details: true });
        let text = b"1970-01-01T00:00:01.500000000Z a=1,b=2 hi\n";
        assert_eq!(&piece[..8], [2, 0, 0, 0, 0, 0, 0, text.len() as u8]);
        assert_eq!(&piece[8..], text);
        piece.clear();
        put(&mut piece, &entry, true, Prefixes { timestamps: false, details: false });
        assert_eq!(&piece[..], b"hi\n");
    }
}
