//! syslog: RFC 3164, RFC 5424 and the form that local daemons take, with Docker's choice of fields.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use logs::{Entry, Stream, Timestamp};

use crate::address::Address;
use crate::batch::Batch;
use crate::info::{DEFAULT_TAG, host_name};
use crate::messages::{unsupported_scheme, wrong};
use crate::tls::Tls;
use crate::transport::{Endpoint, lower};
use crate::{Error, Info, Options};

pub(crate) const OPTIONS: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];
const DEFAULT_PORT: u16 = 514;
const SECURE: &str = "tcp+tls";
/// By number, RFC 5424, 6.2.1; those between 11 and 16 have no name here.
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const ERROR: u8 = 3;
const INFORMATION: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// No host: read on the same host.
    Unix,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

#[derive(Debug)]
pub(crate) struct Syslog {
    pub endpoint: Endpoint,
    facility: u8,
    format: Format,
    /// The length goes before each message (RFC 5425, 4.3).
    counted: bool,
    tag: String,
    host: String,
    pid: u32,
    zone: TimeZone,
}

/// The options' values, as far as they are looked at before a container exists.
pub(crate) fn check(options: &Options) -> Result<(), Error> {
    let value = |name: &str| options.get(name).map_or("", String::as_str);
    endpoint(value("syslog-address"), &Tls::default())?;
    facility(value("syslog-facility"))?;
    format(value("syslog-format")).map(drop)
}

impl Syslog {
    pub fn new(info: &Info) -> Result<Self, Error> {
        let file = |name: &str| info.option(name).map(PathBuf::from);
        let tls = Tls {
            ca: file("syslog-tls-ca-cert"),
            cert: file("syslog-tls-cert"),
            key: file("syslog-tls-key"),
            // Given at all, whatever its value, as in Docker.
            skip_verify: info.options.contains_key("syslog-tls-skip-verify"),
        };
        let endpoint = endpoint(info.option("syslog-address").unwrap_or_default(), &tls)?;
        let format = format(info.option("syslog-format").unwrap_or_default())?;
        let is_secure = matches!(endpoint, Endpoint::Tls { .. });
        let counted = is_secure && matches!(format, Format::Rfc5424 | Format::Rfc5424Micro);
        let facility = facility(info.option("syslog-facility").unwrap_or_default())?;
        let (host, pid, zone) = (host_name(), std::process::id(), TimeZone::system());
        Ok(Self { endpoint, facility, format, counted, tag: info.tag(DEFAULT_TAG)?, host, pid, zone })
    }

    pub fn encode(&self, entry: &Entry, batch: &mut Batch) {
        if entry.text().is_empty() {
            return;
        }
        let severity = if entry.stream == Stream::Stderr { ERROR } else { INFORMATION };
        let head = self.head(self.facility << 3 | severity, entry.time);
        let length = head.len() + entry.text().len() + 1;
        if self.counted {
            batch.bytes.extend_from_slice(format!("{length} ").as_bytes());
        }
        batch.bytes.extend_from_slice(head.as_bytes());
        batch.bytes.extend_from_slice(entry.text());
        batch.bytes.push(b'\n');
        batch.end_message();
    }

    fn head(&self, priority: u8, time: Timestamp) -> String {
        let Self { host, tag, pid, .. } = self;
        let time = |pattern: &str| local_time(time, &self.zone, pattern);
        match self.format {
            Format::Unix => format!("<{priority}>{} {tag}[{pid}]: ", time("%b %e %H:%M:%S")),
            Format::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", time("%b %e %H:%M:%S")),
            Format::Rfc5424 => {
                format!("<{priority}>1 {} {host} {tag} {pid} {tag} - ", time("%Y-%m-%dT%H:%M:%S%:z"))
            }
            Format::Rfc5424Micro => {
                format!("<{priority}>1 {} {host} {tag} {pid} {tag} - ", time("%Y-%m-%dT%H:%M:%S%.6f%:z"))
            }
        }
    }
}

/// The time at which the container printed, which may be long before it is sent.
fn local_time(time: Timestamp, zone: &TimeZone, pattern: &str) -> String {
    let time = jiff::Timestamp::new(time.seconds, time.nanos as i32).unwrap_or_default();
    let text = time.to_zoned_datetime(zone.clone()).strftime(pattern).to_string();
    match text.strip_suffix("+00:00") {
        Some(utc) => format!("{utc}Z"),
        None => text,
    }
}

fn endpoint(text: &str, tls: &Tls) -> Result<Endpoint, Error> {
    if text.is_empty() {
        return Ok(Endpoint::SystemLog);
    }
    let address = Address::parse(text).map_err(wrong)?;
    let scheme = address.scheme.as_str();
    if matches!(scheme, "unix" | "unixgram") {
        let path = PathBuf::from(&address.path);
        std::fs::metadata(&path).map_err(|error| wrong(format!("stat {}: {}", path.display(), lower(&error))))?;
        return Ok(if scheme == "unix" { Endpoint::Unix(path) } else { Endpoint::Datagram(path) });
    }
    if !matches!(scheme, "udp" | "tcp" | SECURE) {
        return Err(unsupported_scheme(scheme));
    }
    let port = address
        .port()
        .map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong(format!("address {port}: invalid port"))))?;
    let host = Some(address.host_name()).filter(|host| !host.is_empty()).unwrap_or_else(|| "localhost".to_owned());
    Ok(match scheme {
        "udp" => Endpoint::Udp { host, port },
        "tcp" => Endpoint::Tcp { host, port },
        _ => Endpoint::Tls { host, port, tls: tls.clone() },
    })
}

fn facility(text: &str) -> Result<u8, Error> {
    let name = if text.is_empty() { "daemon" } else { text };
    let named = FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let numbered = || text.parse().ok().filter(|number| *number <= 23);
    named.or_else(numbered).ok_or_else(|| wrong("invalid syslog facility"))
}

fn format(text: &str) -> Result<Format, Error> {
    match text {
        "" => Ok(Format::Unix),
        "rfc3164" => Ok(Format::Rfc3164),
        "rfc5424" => Ok(Format::Rfc5424),
        "rfc5424micro" => Ok(Format::Rfc5424Micro),
        _ => Err(wrong("Invalid syslog format")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::tests::info;

    fn encoded(options: &[(&str, &str)], stream: Stream, text: &[u8]) -> String {
        let mut syslog = Syslog::new(&info(options)).unwrap();
        (syslog.host, syslog.pid, syslog.zone) = ("host".into(), 7, TimeZone::fixed(jiff::tz::offset(2)));
        let time = Timestamp { seconds: 1_709_251_201, nanos: 123_456_789 };
        let bytes = [text, b"\n"].concat();
        let entry = Entry { stream, time, bytes, attrs: Vec::new(), part: None, ordinal: 1 };
        let mut batch = Batch::default();
        syslog.encode(&entry, &mut batch);
        String::from_utf8(batch.bytes).unwrap()
    }

    #[test]
    fn each_format_has_its_head() {
        let udp = ("syslog-address", "udp://127.0.0.1");
        assert_eq!(encoded(&[udp], Stream::Stdout, b"hello"), "<30>Mar  1 02:00:01 0123456789ab[7]: hello\n");
        let rfc3164 = [udp, ("syslog-format", "rfc3164"), ("syslog-facility", "local7"), ("tag", "t")];
        assert_eq!(encoded(&rfc3164, Stream::Stderr, b"x"), "<187>Mar  1 02:00:01 host t[7]: x\n");
        let rfc5424 = [udp, ("syslog-format", "rfc5424"), ("syslog-facility", "1"), ("tag", "t")];
        assert_eq!(encoded(&rfc5424, Stream::Stdout, b"x"), "<14>1 2024-03-01T02:00:01+02:00 host t 7 t - x\n");
        let micro = [("syslog-address", "tcp+tls://h"), ("syslog-format", "rfc5424micro"), ("tag", "t")];
        let message = "<30>1 2024-03-01T02:00:01.123456+02:00 host t 7 t - x\n";
        assert_eq!(encoded(&micro, Stream::Stdout, b"x"), format!("{} {message}", message.len()));
        assert_eq!(encoded(&[udp], Stream::Stdout, b""), "", "empty lines are left out, as in Docker");
    }

    #[test]
    fn utc_is_written_as_z() {
        let time = Timestamp { seconds: 0, nanos: 0 };
        assert_eq!(local_time(time, &TimeZone::UTC, "%Y-%m-%dT%H:%M:%S%:z"), "1970-01-01T00:00:00Z");
    }
}
