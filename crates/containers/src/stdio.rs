//! The pump: the URI that names it to the shim, and the socket that serves it (ARCHITECTURE.md, the pump).

use std::path::{Path, PathBuf};

use log_drivers::LocalLog;
use logs::Format;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::error::Error;
use crate::request::AttachRequest;

/// Longest line of the handshake.
const HANDSHAKE_LIMIT: usize = 4096;
/// What would end a value early or be taken for something else.
const IN_VALUES: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'=').add(b'#').add(b'?').add(b'+').add(b'"');
const IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'?').add(b'"');

/// What becomes of a process's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Streams {
    pub socket: PathBuf,
    pub log: Option<LocalLog>,
    pub stdin: Stdin,
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
        let mut values = self.log.as_ref().map(log_values).unwrap_or_default();
        match self.stdin {
            Stdin::None => {}
            Stdin::Once => values.push("stdin=once".to_owned()),
            Stdin::Open => values.push("stdin=open".to_owned()),
        }
        let query = if values.is_empty() { String::new() } else { format!("?{}", values.join("&")) };
        format!("pump://{}{query}", encode(&self.socket, IN_PATHS))
    }
}

fn log_values(log: &LocalLog) -> Vec<String> {
    let path = utf8_percent_encode(&log.path.to_string_lossy(), IN_VALUES).to_string();
    let format = match log.format {
        Format::JsonFile => "json-file",
        Format::Local => "local",
    };
    let max_size = log.max_size.map_or_else(|| "-1".to_owned(), |size| size.to_string());
    let mut values = vec![
        format!("log={path}"),
        format!("format={format}"),
        format!("max-size={max_size}"),
        format!("max-file={}", log.max_file),
        format!("compress={}", u8::from(log.compress)),
        format!("numbered={}", u8::from(log.numbered)),
    ];
    values.extend(log.buffer.map(|bytes| format!("buffer={bytes}")));
    let attrs = log.attrs.iter().map(|(name, value)| format!("{name}={value}"));
    values.extend(attrs.map(|attr| format!("attr={}", utf8_percent_encode(&attr, IN_VALUES))));
    values
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
        let log = LocalLog {
            path: "/l/a&b%.log".into(),
            format: Format::Local,
            max_size: None,
            max_file: 2,
            compress: true,
            numbered: true,
            attrs: vec![("tag".into(), "x&y".into())],
            buffer: Some(7),
        };
        let streams = Streams { socket: "/s/my dir/x.sock".into(), log: Some(log), stdin: Stdin::Once };
        let values = "format=local&max-size=-1&max-file=2&compress=1&numbered=1&buffer=7&attr=tag%3Dx%26y&stdin=once";
        assert_eq!(streams.uri(), format!("pump:///s/my%20dir/x.sock?log=/l/a%26b%25.log&{values}"));
        let config = logs::pump::PumpConfig::parse(&streams.uri(), false).unwrap();
        assert_eq!(config.log.unwrap().attrs, [("tag".to_owned(), "x&y".to_owned())]);
        let plain = Streams { socket: "/x".into(), log: None, stdin: Stdin::None };
        assert_eq!(plain.uri(), "pump:///x");
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
