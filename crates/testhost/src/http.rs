//! A request to the Engine API, byte for byte as a test wants it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

const LIMIT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The `message` of Docker's error body, or the body itself.
    pub fn message(&self) -> String {
        let json: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let message = json.as_ref().and_then(|json| json["message"].as_str()).map(str::to_owned);
        message.unwrap_or_else(|| self.body.trim_end().to_owned())
    }
}

/// Sends one request on a connection of its own. `body` is JSON unless it is empty.
pub fn request(socket: &Path, method: &str, path: &str, body: &[u8]) -> Result<Reply> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    raw(socket, &[head.as_bytes(), body].concat())
}

/// Sends these bytes and reads until the other side closes.
pub fn raw(socket: &Path, bytes: &[u8]) -> Result<Reply> {
    let mut stream = UnixStream::connect(socket).context("connect")?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut sender = stream.try_clone()?;
    let bytes = bytes.to_vec();
    // A server may answer before it has read everything, and close.
    let sent = std::thread::spawn(move || sender.write_all(&bytes));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = sent.join();
    if answer.is_empty() {
        read.context("read")?;
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Ok(Reply { status, head: head.to_owned(), body })
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || rest.len() < length {
            break;
        }
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}
