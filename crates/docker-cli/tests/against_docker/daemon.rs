//! A daemon that is a table of answers, and keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::case::{Answer, Member};

/// The version that both clients speak.
const API_VERSION: &str = "1.50";
const TOO_NEW: &str = r#"{"message":"client version 1.51 is too new. Maximum supported API version is 1.50"}"#;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `METHOD /path?query`, without the version, the query sorted.
    pub target: String,
    /// That of the path.
    pub version: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

pub struct Daemon {
    asked: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
    socket: std::path::PathBuf,
    thread: Option<JoinHandle<()>>,
}

struct Table {
    answers: &'static [(&'static str, Answer)],
    served: Mutex<BTreeMap<String, usize>>,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Daemon {
    pub fn start(socket: &Path, answers: &'static [(&'static str, Answer)]) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let table = Arc::new(Table { answers, served: Mutex::default(), asked: asked.clone() });
        let stop = stopped.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let table = table.clone();
                let stream = stream.unwrap();
                // Ends with its connection, which ends with the client.
                std::thread::spawn(move || table.serve(&stream));
            }
        });
        Self { asked, stopped, socket: socket.to_owned(), thread: Some(thread) }
    }

    /// Everything that was asked, but for greetings.
    pub fn stop(mut self) -> Vec<Request> {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        self.thread.take().unwrap().join().unwrap();
        std::fs::remove_file(&self.socket).unwrap();
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| !request.target.ends_with("/_ping")).cloned().collect()
    }
}

impl Table {
    fn serve(&self, stream: &UnixStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let key = request.target.split('?').next().unwrap().to_owned();
            if request.version.as_ref().is_some_and(|version| version != API_VERSION) {
                if send(stream, &key, Answer::Json(400, TOO_NEW)).is_err() {
                    return;
                }
                continue;
            }
            self.asked.lock().unwrap().push(request);
            if self.answer(&key, stream).is_err() {
                return;
            }
        }
    }

    fn answer(&self, key: &str, stream: &UnixStream) -> std::io::Result<()> {
        let rows: Vec<&Answer> =
            self.answers.iter().filter(|(name, _)| *name == key).map(|(_, answer)| answer).collect();
        let answer = {
            let mut served = self.served.lock().unwrap();
            let count = served.entry(key.to_owned()).or_default();
            *count += 1;
            rows.get(*count - 1).or(rows.last()).copied().copied()
        };
        match answer.or_else(|| common(key)) {
            Some(answer) => send(stream, key, answer),
            None => send(stream, key, Answer::Json(404, r#"{"message":"page not found"}"#)),
        }
    }
}

/// What every daemon answers.
fn common(key: &str) -> Option<Answer> {
    Some(match key {
        "HEAD /_ping" => Answer::Text(""),
        "GET /_ping" => Answer::Text("OK"),
        "POST /containers/create" => Answer::Json(
            201,
            r#"{"Id":"c0ffee0123456789c0ffee0123456789c0ffee0123456789c0ffee0123456789","Warnings":[]}"#,
        ),
        "GET /info" => Answer::Json(200, r#"{"OSType":"linux","Swarm":{"LocalNodeState":"inactive"}}"#),
        _ => return None,
    })
}

fn send(mut stream: &UnixStream, key: &str, answer: Answer) -> std::io::Result<()> {
    let base =
        format!("Api-Version: {API_VERSION}\r\nOstype: linux\r\nDocker-Experimental: false\r\nSwarm: inactive\r\n");
    let head = |status: u16, kind: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status} X\r\n{base}{more}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
    };
    let (head, body) = match answer {
        Answer::Json(204, _) => (format!("HTTP/1.1 204 No Content\r\n{base}\r\n"), Vec::new()),
        Answer::Json(status, text) => (head(status, "application/json", text.len(), ""), text.as_bytes().to_vec()),
        Answer::Lines(text) => (head(200, "application/json", text.len(), ""), text.as_bytes().to_vec()),
        Answer::Text(text) => (head(200, "text/plain; charset=utf-8", text.len(), ""), text.as_bytes().to_vec()),
        Answer::Stat(stat) => (head(200, "application/json", 0, &stat_header(stat)), Vec::new()),
        Answer::Tar { stat, members } => {
            let archive = archive(members);
            (head(200, "application/x-tar", archive.len(), &stat_header(stat)), archive)
        }
        Answer::Output(text) => {
            let mut frame = vec![1, 0, 0, 0];
            frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            frame.extend(text.as_bytes());
            let kind = "Content-Type: application/vnd.docker.multiplexed-stream";
            let head = format!("HTTP/1.1 101 UPGRADED\r\n{kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(&frame)?;
            stream.shutdown(std::net::Shutdown::Both)?;
            return Ok(());
        }
    };
    stream.write_all(head.as_bytes())?;
    if !key.starts_with("HEAD ") {
        stream.write_all(&body)?;
    }
    Ok(())
}

fn stat_header(stat: &str) -> String {
    use base64::Engine as _;
    if stat.is_empty() {
        return String::new();
    }
    format!("X-Docker-Container-Path-Stat: {}\r\n", base64::engine::general_purpose::STANDARD.encode(stat))
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in members {
        let mut header = tar::Header::new_ustar();
        // Written past the crate's own checks: a hostile daemon has none.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(if *kind == 'd' { 0o755 } else { 0o640 });
        header.set_mtime(1_000_000_000);
        header.set_size(if *kind == 'f' { content.len() as u64 } else { 0 });
        header.set_entry_type(match kind {
            'd' => tar::EntryType::Directory,
            'l' => tar::EntryType::Symlink,
            'h' => tar::EntryType::Link,
            _ => tar::EntryType::Regular,
        });
        if matches!(kind, 'l' | 'h') {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, if *kind == 'f' { content.as_bytes() } else { b"" }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut parts = line.split_whitespace();
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let body = if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        read_chunks(reader)?
    } else {
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        body
    };
    let (version, target) = normal(&target);
    Some(Request { target: format!("{method} {target}"), version, headers, body })
}

fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// The version, and the rest with its query decoded and sorted.
fn normal(target: &str) -> (Option<String>, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (version, path) = match path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
        Some((version, rest)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            (Some(version.to_owned()), format!("/{rest}"))
        }
        _ => (None, path.to_owned()),
    };
    if query.is_empty() {
        return (version, path);
    }
    let mut pairs: Vec<String> = query.split('&').map(|pair| decode(&pair.replace('+', " "))).collect();
    pairs.sort();
    (version, format!("{path}?{}", pairs.join("&")))
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}
