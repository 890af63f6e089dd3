//! The stdio URI of the scheme `pump` (ARCHITECTURE.md, "The pump").

use crate::{Format, WriterConfig};
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
    pub log_mode: LogMode,
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

/// What becomes of output while the disk is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogMode {
    /// It waits in the process's pipe, as long as that takes.
    #[default]
    Blocking,
    /// It waits in so many bytes of memory; what has no room there is dropped.
    NonBlocking(usize),
}

impl PumpConfig {
    pub fn is_pump(uri: &str) -> bool {
        uri.starts_with("pump://")
    }

    pub fn parse(uri: &str, terminal: bool) -> Result<Self, UriError> {
        let rest = uri.strip_prefix("pump://").ok_or_else(|| UriError::Scheme(uri.to_owned()))?;
        let (socket, query) = rest.split_once('?').unwrap_or((rest, ""));
        let socket = path(socket).filter(|path| path.is_absolute()).ok_or_else(|| UriError::Socket(uri.to_owned()))?;
        let (mut has_log, mut stdin, mut log_mode) = (false, StdinMode::Absent, LogMode::default());
        let mut log = WriterConfig {
            max_size: Some(DEFAULT_MAX_SIZE),
            max_file: DEFAULT_MAX_FILE,
            ..WriterConfig::new(PathBuf::new())
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let failed = || UriError::Value { key: key.to_owned(), uri: uri.to_owned() };
            let flag = || match value {
                "0" => Ok(false),
                "1" => Ok(true),
                _ => Err(failed()),
            };
            match key {
                "log" => {
                    log.path = path(value).filter(|path| path.is_absolute()).ok_or_else(failed)?;
                    has_log = true;
                }
                "format" => {
                    log.format = match value {
                        "json-file" => Format::JsonFile,
                        "local" => Format::Local,
                        _ => return Err(failed()),
                    }
                }
                // Docker's own default, an endless log, is said by -1.
                "max-size" if value == "-1" => log.max_size = None,
                "max-size" => log.max_size = Some(value.parse().ok().filter(|&size| size > 0).ok_or_else(failed)?),
                "max-file" => log.max_file = value.parse().ok().filter(|&count| count > 0).ok_or_else(failed)?,
                "compress" => log.compress = flag()?,
                "numbered" => log.numbered = flag()?,
                "buffer" => log_mode = LogMode::NonBlocking(value.parse().map_err(|_| failed())?),
                "attr" => log.attrs.push(attribute(value).ok_or_else(failed)?),
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
        if log.numbered && log.format != Format::Local {
            return Err(UriError::Value { key: "numbered".to_owned(), uri: uri.to_owned() });
        }
        Ok(Self { socket, log: has_log.then_some(log), log_mode, stdin, terminal })
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
            max_size: Some(104_857_600),
            max_file: 5,
            attrs: vec![("tag".into(), "x&y".into())],
            ..WriterConfig::new("/var/a b/ab-json.log".into())
        };
        let (socket, log_mode) = ("/run/x/attach/ab.sock".into(), LogMode::Blocking);
        assert_eq!(config, PumpConfig { socket, log: Some(log), log_mode, stdin: StdinMode::Once, terminal: true });
    }

    #[test]
    fn the_log_of_a_shipper_is_understood() {
        let uri = "pump:///a.sock?log=/l&format=local&numbered=1&compress=1&max-size=-1&buffer=1000";
        let config = PumpConfig::parse(uri, false).expect("uri");
        let log = config.log.expect("log");
        assert!(log.format == Format::Local && log.numbered && log.compress && log.max_size.is_none());
        assert_eq!(config.log_mode, LogMode::NonBlocking(1000));
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
            "pump:///a?format=xml",
            "pump:///a?log=/l&numbered=1",
            "pump:///a?log=/l&compress=yes",
            "pump:///a%0",
            "pump:///a%00",
            "pump:///a?log=relative",
        ] {
            assert!(PumpConfig::parse(uri, false).is_err(), "{uri}");
        }
    }
}
