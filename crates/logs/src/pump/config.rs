//! The stdio URI of the scheme `pump` (ARCHITECTURE.md, "The pump").

use crate::WriterConfig;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Rotation when the URI names none: Longshore's default, 100 MB × 5.
const DEFAULT_MAX_SIZE: u64 = 100 << 20;
const DEFAULT_MAX_FILE: u32 = 5;

/// What becomes of a process's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdinMode {
    /// The process reads /dev/null.
    Absent,
    /// Closed when the first client that sends it ends.
    Once,
    /// Open as long as the process runs.
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PumpConfig {
    /// Where clients attach.
    pub socket: PathBuf,
    pub log: Option<WriterConfig>,
    pub stdin: StdinMode,
    /// Output is a terminal's: sent raw, all of it stdout.
    pub terminal: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("not a URI of the scheme pump: {0}")]
    Scheme(String),
    #[error("the socket of {0} is not an absolute path")]
    Socket(String),
    #[error("unknown value of {key} in {uri}")]
    Value { key: String, uri: String },
}

impl errors::Kind for UriError {
    fn kind(&self) -> errors::ErrorKind {
        errors::ErrorKind::InvalidArgument
    }
}

impl PumpConfig {
    pub fn is_pump(uri: &str) -> bool {
        uri.starts_with("pump://")
    }

    pub fn parse(uri: &str, terminal: bool) -> Result<Self, UriError> {
        let rest = uri.strip_prefix("pump://").ok_or_else(|| UriError::Scheme(uri.to_owned()))?;
        let (socket, query) = rest.split_once('?').unwrap_or((rest, ""));
        let socket = path(socket).filter(|path| path.is_absolute()).ok_or_else(|| UriError::Socket(uri.to_owned()))?;
        let (mut log, mut stdin) = (None, StdinMode::Absent);
        let (mut max_size, mut max_file, mut attrs) = (Some(DEFAULT_MAX_SIZE), DEFAULT_MAX_FILE, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let failed = || UriError::Value { key: key.to_owned(), uri: uri.to_owned() };
            match key {
                "log" => log = Some(path(value).filter(|path| path.is_absolute()).ok_or_else(failed)?),
                // Docker's own default, an endless log, is said by -1.
                "max-size" if value == "-1" => max_size = None,
                "max-size" => max_size = Some(value.parse().ok().filter(|&size| size > 0).ok_or_else(failed)?),
                "max-file" => max_file = value.parse().ok().filter(|&count| count > 0).ok_or_else(failed)?,
                "attr" => attrs.push(attribute(value).ok_or_else(failed)?),
                "stdin" => {
                    stdin = match value {
                        "open" => StdinMode::Open,
                        "once" => StdinMode::Once,
                        _ => return Err(failed()),
                    }
                }
                _ => return Err(failed()),
            }
        }
        let log = log.map(|path| WriterConfig { path, max_size, max_file, attrs });
        Ok(Self { socket, log, stdin, terminal })
    }
}

fn path(encoded: &str) -> Option<PathBuf> {
    let bytes = percent_decode(encoded)?;
    (!bytes.contains(&0)).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

/// `name=value`, encoded as a whole.
fn attribute(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(percent_decode(encoded)?).ok()?;
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn percent_decode(encoded: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_of_the_architecture_page_is_understood() {
        let uri = "pump:///run/x/attach/ab.sock?log=/var/a%20b/ab-json.log&max-size=104857600&max-file=5&stdin=once&attr=tag%3Dx%26y";
        let config = PumpConfig::parse(uri, true).expect("uri");
        let log = WriterConfig {
            path: "/var/a b/ab-json.log".into(),
            max_size: Some(104_857_600),
            max_file: 5,
            attrs: vec![("tag".into(), "x&y".into())],
        };
        let socket = "/run/x/attach/ab.sock".into();
        assert_eq!(config, PumpConfig { socket, log: Some(log), stdin: StdinMode::Once, terminal: true });
    }

    #[test]
    fn without_a_query_nothing_is_logged_and_stdin_is_null() {
        let config = PumpConfig::parse("pump:///a.sock", false).expect("uri");
        assert_eq!((config.log, config.stdin), (None, StdinMode::Absent));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for uri in [
            "fifo:///a",
            "pump://a.sock",
            "pump:///a?stdin=maybe",
            "pump:///a?max-size=0",
            "pump:///a?max-file=x",
            "pump:///a?other=1",
            "pump:///a%0",
            "pump:///a%00",
            "pump:///a?log=relative",
        ] {
            assert!(PumpConfig::parse(uri, false).is_err(), "{uri}");
        }
    }
}
