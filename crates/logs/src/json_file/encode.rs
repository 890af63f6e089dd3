//! Output to log lines, byte for byte as Docker's encoder does it: `<`, `>`, `&`, U+2028 and U+2029 are escaped too,
//! each byte that is not UTF-8 becomes `\ufffd`.

use crate::{Stream, Timestamp};

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Bytes looked at together: what the processor compares in one go.
const LANE: usize = 16;

/// Whether a byte can stand in a JSON string as it is. Without a branch, so that a lane is compared at once.
const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte < 0x80) & (byte != b'"') & (byte != b'\\') & (byte != b'<') & (byte != b'>') & (byte != b'&')
}

/// Writes log lines; keeps what is the same for all lines of a chunk.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// `"attrs":{…},` or nothing.
    attrs: Vec<u8>,
    /// What stands behind the text, by stream, at this time.
    tails: [Vec<u8>; 2],
    time: Timestamp,
    second_text: [u8; 19],
}

impl Encoder {
    pub fn new(attrs: &[(String, String)]) -> Self {
        let time = Timestamp::default();
        let attrs = encode_attrs(attrs);
        let mut encoder = Self { attrs, tails: Default::default(), time, second_text: time.seconds_text() };
        encoder.put_tails();
        encoder
    }

    /// Appends one object with its line end.
    pub fn append(&mut self, out: &mut Vec<u8>, stream: Stream, text: &[u8], newline: bool, time: Timestamp) {
        if time != self.time {
            if time.seconds != self.time.seconds {
                self.second_text = time.seconds_text();
            }
            self.time = time;
            self.put_tails();
        }
        let tail = match stream {
            Stream::Stdout => &self.tails[0],
            Stream::Stderr => &self.tails[1],
        };
        out.reserve(text.len() + tail.len() + 16);
        out.extend_from_slice(b"{\"log\":\"");
        escape(out, text);
        if newline {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(tail);
    }

    fn put_tails(&mut self) {
        for (tail, stream) in self.tails.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            tail.clear();
            tail.extend_from_slice(b"\",\"stream\":\"");
            tail.extend_from_slice(stream.name().as_bytes());
            tail.extend_from_slice(b"\",");
            tail.extend_from_slice(&self.attrs);
            tail.extend_from_slice(b"\"time\":\"");
            tail.extend_from_slice(&self.second_text);
            self.time.append_fraction(tail);
            tail.extend_from_slice(b"\"}\n");
        }
    }
}

fn encode_attrs(attrs: &[(String, String)]) -> Vec<u8> {
    if attrs.is_empty() {
        return Vec::new();
    }
    // Go's encoder sorts the keys of a map.
    let mut sorted: Vec<_> = attrs.iter().collect();
    sorted.sort();
    let mut out = b"\"attrs\":{".to_vec();
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        escape(&mut out, name.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape(&mut out, value.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"},");
    out
}

/// How many bytes at the beginning can stand as they are.
fn plain_length(text: &[u8]) -> usize {
    let is_plain_lane = |lane: &[u8]| lane.iter().fold(true, |plain, &byte| plain & is_plain(byte));
    let lanes = text.chunks_exact(LANE).take_while(|lane| is_plain_lane(lane)).count() * LANE;
    lanes + text[lanes..].iter().position(|&byte| !is_plain(byte)).unwrap_or(text.len() - lanes)
}

/// Appends the inside of a JSON string.
fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let plain = plain_length(text);
        out.extend_from_slice(&text[..plain]);
        text = &text[plain..];
        let Some(&byte) = text.first() else { return };
        let taken = if byte < 0x80 {
            escape_ascii(out, byte);
            1
        } else {
            escape_character(out, text)
        };
        text = &text[taken..];
    }
}

fn escape_ascii(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]])
        }
    }
}

/// Appends the character that the text, which is not empty, starts with; returns how many bytes it has.
fn escape_character(out: &mut Vec<u8>, text: &[u8]) -> usize {
    let window = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(valid) => valid,
        // What stands before the first error is valid.
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        None => {
            out.extend_from_slice(b"\\ufffd");
            1
        }
        Some(character @ ('\u{2028}' | '\u{2029}')) => {
            out.extend_from_slice(b"\\u202");
            out.push(HEX[character as usize & 0xf]);
            3
        }
        Some(character) => {
            let length = character.len_utf8();
            out.extend_from_slice(&text[..length]);
            length
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8], newline: bool, attrs: &[(String, String)]) -> String {
        let mut out = Vec::new();
        let time = Timestamp { seconds: 1_700_000_000, nanos: 5_000 };
        Encoder::new(attrs).append(&mut out, Stream::Stderr, text, newline, time);
        String::from_utf8(out).expect("the log is UTF-8")
    }

    #[test]
    fn a_line_has_dockers_bytes() {
        assert_eq!(
            line(b"hello", true, &[]),
            "{\"log\":\"hello\\n\",\"stream\":\"stderr\",\"time\":\"2023-11-14T22:13:20.000005Z\"}\n"
        );
        assert!(line(b"part", false, &[]).starts_with("{\"log\":\"part\",\"stream\""));
    }

    #[test]
    fn special_bytes_are_escaped_as_docker_escapes_them() {
        let text = b"a\"\\\t\r\x1b<>&\x7f \xff\xc3\xa9\xe2\x80\xa8\xed\xa0\x80\xf0\x9f\x90";
        let wanted = "{\"log\":\"a\\\"\\\\\\u0009\\r\\u001b\\u003c\\u003e\\u0026\u{7f} \\ufffd\u{e9}\\u2028\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\",";
        assert!(line(text, false, &[]).starts_with(wanted), "{}", line(text, false, &[]));
    }

    #[test]
    fn attributes_stand_before_the_time_sorted() {
        let attrs = [("tag".to_owned(), "x<y".to_owned()), ("env".to_owned(), "1".to_owned())];
        assert!(line(b"", true, &attrs).contains("\"attrs\":{\"env\":\"1\",\"tag\":\"x\\u003cy\"},\"time\""));
    }
}
