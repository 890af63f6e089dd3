//! One request and its whole answer, in bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// A stream that says nothing for so long has said all.
const LIMIT: Duration = Duration::from_secs(20);

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

pub struct Sent<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub content_type: Option<&'a str>,
    pub upgrade: bool,
    pub body: &'a [u8],
}

/// On a connection of its own; reads until the other side closes.
pub fn exchange(socket: &Path, sent: &Sent<'_>) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket).context("connect")?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: docker\r\nUser-Agent: differ\r\n", sent.method, sent.path);
    head.push_str(if sent.upgrade { "Connection: Upgrade\r\nUpgrade: tcp\r\n" } else { "Connection: close\r\n" });
    if let Some(content_type) = sent.content_type {
        head.push_str(&format!("Content-Type: {content_type}\r\n"));
    }
    if !sent.body.is_empty() || sent.method == "POST" || sent.method == "PUT" {
        head.push_str(&format!("Content-Length: {}\r\n", sent.body.len()));
    }
    head.push_str("\r\n");
    let mut sender = stream.try_clone()?;
    let bytes = [head.as_bytes(), sent.body].concat();
    // A server may answer before it has read everything, and close.
    let sending = std::thread::spawn(move || sender.write_all(&bytes));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        read.with_context(|| format!("{} {}", sent.method, sent.path))?;
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
    let _ = sending.join();
    parse(&answer).with_context(|| format!("{} {}", sent.method, sent.path))
}

fn parse(answer: &[u8]) -> Result<Answer> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP answer")?;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let body = &answer[split + 4..];
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_vec() };
    Ok(Answer { status, head, body })
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&body[..end]).ok().and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
        let Some(length) = length.filter(|length| *length != 0) else { break };
        let rest = &body[end + 2..];
        whole.extend_from_slice(&rest[..length.min(rest.len())]);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(|line| value(line))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_chunks_is_put_together() {
        let answer =
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let answer = parse(answer).unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), answer.header("a")), (201, &b"abcde"[..], Some("b")));
    }
}
