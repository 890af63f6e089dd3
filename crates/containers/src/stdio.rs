//! The pump: the URI that names it to the shim, and the socket that serves it (ARCHITECTURE.md, the pump).

use std::path::{Path, PathBuf};

use container_core::LogConfig;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::error::Error;
use crate::messages;
use crate::request::AttachRequest;

/// Longest line of the handshake.
const HANDSHAKE_LIMIT: usize = 4096;
/// Rotation when the daemon's configuration names none: 100 MB in five files.
const DEFAULT_MAX_SIZE: u64 = 100 * 1024 * 1024;
const DEFAULT_MAX_FILES: u32 = 5;
/// What would end a value early or be taken for something else.
const IN_VALUES: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'=').add(b'#').add(b'?').add(b'+').add(b'"');
const IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'?').add(b'"');

/// What becomes of a process's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Streams {
    pub socket: PathBuf,
    pub log: Option<LogFile>,
    pub stdin: Stdin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub path: PathBuf,
    pub max_size: u64,
    pub max_files: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    None,
    /// Closed when the first client that sends it ends.
    Once,
    Open,
}

impl Streams {
    pub fn uri(&self) -> String {
        let encode = |path: &Path, set| utf8_percent_encode(&path.to_string_lossy(), set).to_string();
        let mut values = Vec::new();
        if let Some(log) = &self.log {
            values.push(format!("log={}", encode(&log.path, IN_VALUES)));
            values.push(format!("max-size={}", log.max_size));
            values.push(format!("max-file={}", log.max_files));
        }
        match self.stdin {
            Stdin::None => {}
            Stdin::Once => values.push("stdin=once".to_owned()),
            Stdin::Open => values.push("stdin=open".to_owned()),
        }
        let query = if values.is_empty() { String::new() } else { format!("?{}", values.join("&")) };
        format!("pump://{}{query}", encode(&self.socket, IN_PATHS))
    }
}

/// Where the log goes: checked at create, used at start. `None` for the driver `none`.
pub(crate) fn log_file(config: &LogConfig, path: PathBuf) -> Result<Option<LogFile>, Error> {
    match config.driver.as_str() {
        "none" => return Ok(None),
        "json-file" | "" => {}
        other => return Err(messages::unknown_log_driver(other)),
    }
    let mut log = LogFile { path, max_size: DEFAULT_MAX_SIZE, max_files: DEFAULT_MAX_FILES };
    for (name, value) in &config.options {
        match name.as_str() {
            "max-size" if value == "-1" => log.max_size = 0,
            "max-size" => log.max_size = size(value).ok_or_else(|| messages::bad_log_value(name, value))?,
            "max-file" => {
                let files = value.parse().ok().filter(|files| (1..=1000).contains(files));
                log.max_files = files.ok_or_else(|| messages::bad_log_value(name, value))?;
            }
            _ => return Err(messages::bad_log_option(name, "json-file")),
        }
    }
    Ok(Some(log))
}

/// `10m`, `1g`, `500k`, bytes: powers of 1024 as in Docker's log options.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, factor) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 1 << 10),
        b'm' => (&lower[..lower.len() - 1], 1 << 20),
        b'g' => (&lower[..lower.len() - 1], 1 << 30),
        _ => (lower, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|size| *size > 0)
}

#[derive(Serialize)]
struct Hello {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    error: String,
}

/// Connects to a pump. What comes after is the container's.
pub(crate) async fn connect(path: &Path, request: AttachRequest) -> Result<UnixStream, Error> {
    let failed = |reason: String| Error::Attach { path: path.to_owned(), reason };
    let broken = |error: std::io::Error| failed(error.to_string());
    let mut stream = UnixStream::connect(path).await.map_err(broken)?;
    let hello = Hello { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr };
    let mut line = serde_json::to_vec(&hello).map_err(|error| failed(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broken)?;
    // Byte by byte: the first byte after the newline belongs to the caller.
    line.clear();
    loop {
        let byte = stream.read_u8().await.map_err(broken)?;
        if byte == b'\n' {
            break;
        }
        line.push(byte);
        if line.len() > HANDSHAKE_LIMIT {
            return Err(failed("the answer has no end".to_owned()));
        }
    }
    let answer: Answer = serde_json::from_slice(&line).map_err(|error| failed(error.to_string()))?;
    if answer.ok { Ok(stream) } else { Err(failed(answer.error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_socket_log_and_stdin_with_odd_characters_escaped() {
        let log = LogFile { path: "/l/a&b%.log".into(), max_size: 10, max_files: 2 };
        let streams = Streams { socket: "/s/my dir/x.sock".into(), log: Some(log), stdin: Stdin::Once };
        assert_eq!(streams.uri(), "pump:///s/my%20dir/x.sock?log=/l/a%26b%25.log&max-size=10&max-file=2&stdin=once");
        let plain = Streams { socket: "/x".into(), log: None, stdin: Stdin::None };
        assert_eq!(plain.uri(), "pump:///x");
    }

    #[test]
    fn log_options_are_checked_in_dockers_words() {
        let config = |driver: &str, options: &[(&str, &str)]| LogConfig {
            driver: driver.to_owned(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let log = log_file(&config("json-file", &[("max-size", "10m"), ("max-file", "3")]), "/l".into());
        assert_eq!(log.unwrap(), Some(LogFile { path: "/l".into(), max_size: 10 << 20, max_files: 3 }));
        assert_eq!(log_file(&config("none", &[]), "/l".into()).unwrap(), None);
        let refused = |config| log_file(&config, "/l".into()).unwrap_err().to_string();
        assert_eq!(refused(config("gelf", &[])), "logger: no log driver named 'gelf' is registered");
        assert_eq!(refused(config("", &[("max-age", "1")])), "unknown log opt 'max-age' for json-file log driver");
        assert_eq!(refused(config("", &[("max-size", "big")])), "invalid value for log opt 'max-size': big");
    }

    #[tokio::test]
    async fn a_pump_that_refuses_is_an_error_and_one_that_agrees_hands_over_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        for (answer, expected) in [("{\"error\":\"busy\"}\nrest", None), ("{\"ok\":true}\nrest", Some("rest"))] {
            let path = folder.path().join(format!("{}.sock", answer.len()));
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            let serve = async {
                let (mut peer, _) = listener.accept().await.unwrap();
                let mut hello = String::new();
                while !hello.ends_with('\n') {
                    hello.push(char::from(peer.read_u8().await.unwrap()));
                }
                assert_eq!(hello, "{\"stdin\":false,\"stdout\":true,\"stderr\":true}\n");
                peer.write_all(answer.as_bytes()).await.unwrap();
            };
            let ask = connect(&path, AttachRequest { stdin: false, stdout: true, stderr: true });
            let ((), got) = tokio::join!(serve, ask);
            match (got, expected) {
                (Ok(mut stream), Some(expected)) => {
                    let mut rest = String::new();
                    stream.read_to_string(&mut rest).await.unwrap();
                    assert_eq!(rest, expected);
                }
                (Err(error), None) => assert!(error.to_string().ends_with(": busy")),
                (got, _) => panic!("{:?}", got.map(|_| ())),
            }
        }
    }
}
