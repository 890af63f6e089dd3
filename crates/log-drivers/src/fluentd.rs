//! fluentd's forward protocol, version 1: MessagePack over TCP, TLS or a Unix socket
//! (github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1).
//!
//! Without acknowledgements each message is an event of its own, as Docker sends it; with them a batch is one chunk, which
//! the receiver acknowledges as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use go_text::size::Base;
use logs::{Entry, Timestamp};

use crate::address::Address;
use crate::batch::{BATCH_MESSAGES, Batch};
use crate::info::DEFAULT_TAG;
use crate::messages::{wrapped, wrong};
use crate::retry::Retry;
use crate::tls::Tls;
use crate::transport::Endpoint;
use crate::values::{parse_bool, parse_duration, parse_size};
use crate::{Error, Info, Options};

pub(crate) const OPTIONS: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 24224;
/// Docker's; its library's limit is a minute, and the factor one and a half.
const RETRY_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FACTOR: f64 = 1.5;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Fluentd {
    pub endpoint: Endpoint,
    pub settings: Settings,
    tag: String,
    /// Of the container: in every record.
    record: BTreeMap<String, String>,
}

/// What the options say beside the address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// A receiver that is not there keeps no container from starting.
    pub is_async: bool,
    pub reconnect_every: Option<Duration>,
    /// Messages that are on their way at the same time.
    pub buffer_limit: usize,
    pub retry: Retry,
    pub wants_ack: bool,
    pub sub_second: bool,
    pub write_limit: Option<Duration>,
}

impl Fluentd {
    pub fn check(options: &Options) -> Result<(), Error> {
        endpoint(options)?;
        Settings::read(options).map(drop)
    }

    pub fn new(info: &Info) -> Result<Self, Error> {
        let (endpoint, settings) = (endpoint(&info.options)?, Settings::read(&info.options)?);
        let mut record = BTreeMap::from([
            ("container_id".to_owned(), info.container_id.clone()),
            ("container_name".to_owned(), format!("/{}", info.name)),
        ]);
        record.extend(info.attributes(str::to_owned)?);
        Ok(Self { endpoint, settings, tag: info.tag(DEFAULT_TAG)?, record })
    }

    pub fn encode(&self, entry: &Entry, batch: &mut Batch) {
        let out = &mut batch.bytes;
        if self.settings.wants_ack {
            put_array(out, 2);
        } else {
            put_array(out, 4);
            put_text(out, self.tag.as_bytes());
        }
        self.put_time(out, entry.time);
        self.put_record(out, entry);
        if !self.settings.wants_ack {
            put_map(out, 0);
        }
        batch.end_message();
    }

    /// What stands before and behind the entries of a chunk that is to be acknowledged.
    pub fn chunk(&self, batch: &Batch, id: &str) -> (Vec<u8>, Vec<u8>) {
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        put_array(&mut head, 3);
        put_text(&mut head, self.tag.as_bytes());
        put_array(&mut head, batch.ends.len());
        put_map(&mut tail, 2);
        put_text(&mut tail, b"chunk");
        put_text(&mut tail, id.as_bytes());
        put_text(&mut tail, b"size");
        put_number(&mut tail, batch.ends.len() as u64);
        (head, tail)
    }

    /// Whole seconds, or EventTime: an extension of type 0 with seconds and nanoseconds.
    fn put_time(&self, out: &mut Vec<u8>, time: Timestamp) {
        if self.settings.sub_second {
            out.extend_from_slice(&[0xd7, 0]);
            out.extend_from_slice(&(time.seconds as u32).to_be_bytes());
            out.extend_from_slice(&time.nanos.to_be_bytes());
        } else {
            put_number(out, u64::try_from(time.seconds).unwrap_or(0));
        }
    }

    fn put_record(&self, out: &mut Vec<u8>, entry: &Entry) {
        let parts = if entry.part.is_some() { 4 } else { 0 };
        put_map(out, self.record.len() + 2 + parts);
        for (name, value) in &self.record {
            put_text(out, name.as_bytes());
            put_text(out, value.as_bytes());
        }
        put_text(out, b"source");
        put_text(out, entry.stream.name().as_bytes());
        put_text(out, b"log");
        put_text(out, entry.text());
        if let Some(part) = &entry.part {
            let number = part.number.to_string();
            let members = [
                ("partial_message", "true"),
                ("partial_id", &part.id),
                ("partial_ordinal", &number),
                ("partial_last", if part.last { "true" } else { "false" }),
            ];
            for (name, value) in members {
                put_text(out, name.as_bytes());
                put_text(out, value.as_bytes());
            }
        }
    }
}

/// The chunk that an answer acknowledges: `{"ack": id}`. `None` while it is not whole; an error for anything else.
pub(crate) fn acknowledged(answer: &[u8]) -> Result<Option<&str>, ()> {
    let Some(rest) = answer.strip_prefix(b"\x81\xa3ack") else {
        return if answer.len() < 5 { Ok(None) } else { Err(()) };
    };
    let (length, rest) = match rest {
        [] => return Ok(None),
        [short @ 0xa0..=0xbf, rest @ ..] => (usize::from(short & 0x1f), rest),
        [0xd9, length, rest @ ..] => (usize::from(*length), rest),
        [0xd9] => return Ok(None),
        _ => return Err(()),
    };
    match rest.get(..length) {
        Some(id) => std::str::from_utf8(id).map(Some).map_err(|_| ()),
        None => Ok(None),
    }
}

impl Settings {
    fn read(options: &Options) -> Result<Self, Error> {
        let value = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let flag = |name: &str| value(name).map_or(Ok(false), parse_bool).map_err(wrong);
        let buffer_limit = value("fluentd-buffer-limit").map(|text| parse_size(text, Base::Binary)).transpose();
        let buffer_limit = buffer_limit.map_err(wrong)?.map_or(BATCH_MESSAGES, |limit| limit.max(1) as usize);
        let wait = value("fluentd-retry-wait").map(parse_duration).transpose().map_err(wrong)?;
        let attempts = value("fluentd-max-retries").map(max_retries).transpose()?;
        let retry =
            Retry { first: wait.unwrap_or(RETRY_WAIT), factor: FACTOR, longest: LONGEST_WAIT, fixed: None, attempts };
        Ok(Self {
            is_async: flag("fluentd-async")?,
            reconnect_every: value("fluentd-async-reconnect-interval").map(interval).transpose()?.flatten(),
            buffer_limit,
            retry,
            wants_ack: flag("fluentd-request-ack")?,
            sub_second: flag("fluentd-sub-second-precision")?,
            write_limit: value("fluentd-write-timeout").map(write_limit).transpose()?.flatten(),
        })
    }
}

fn max_retries(text: &str) -> Result<u32, Error> {
    let number: u64 =
        text.parse().map_err(|_| wrong(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")))?;
    if number > u64::from(u32::MAX) {
        return Err(wrong(format!("strconv.ParseUint: parsing {text:?}: value out of range")));
    }
    i32::try_from(number).map(i32::unsigned_abs).map_err(|_| wrong("invalid fluentd-max-retries: value out of range"))
}

fn interval(text: &str) -> Result<Option<Duration>, Error> {
    const OPTION: &str = "fluentd-async-reconnect-interval";
    let interval = parse_duration(text).map_err(|why| wrapped(OPTION, &why))?;
    if interval.is_zero() {
        return Ok(None);
    }
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        return Err(wrapped(OPTION, &format!("value ({text:?}) must be between 100ms and 10s")));
    }
    Ok(Some(interval))
}

fn write_limit(text: &str) -> Result<Option<Duration>, Error> {
    const OPTION: &str = "fluentd-write-timeout";
    if text.starts_with('-') && parse_duration(&text[1..]).is_ok() {
        return Err(wrapped(OPTION, "value must be a duration that is non-negative"));
    }
    let limit = parse_duration(text).map_err(|why| wrapped(OPTION, &format!("value must be a duration: {why}")))?;
    Ok(Some(limit).filter(|limit| !limit.is_zero()))
}

fn endpoint(options: &Options) -> Result<Endpoint, Error> {
    let text = options.get("fluentd-address").map_or("", String::as_str);
    parse_endpoint(text).map_err(|why| wrong(format!("invalid fluentd-address ({text}): {why}")))
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    if text.is_empty() {
        return Ok(Endpoint::Tcp { host: DEFAULT_HOST.to_owned(), port: DEFAULT_PORT });
    }
    let address = Address::parse(&if text.contains("://") { text.to_owned() } else { format!("tcp://{text}") })?;
    if address.scheme == "unix" {
        return match address.path.trim_start_matches('/') {
            "" => Err("path is empty".to_owned()),
            _ => Ok(Endpoint::Unix(PathBuf::from(address.path))),
        };
    }
    if !matches!(address.scheme.as_str(), "tcp" | "tls") {
        return Err(format!("unsupported scheme: '{}'", address.scheme));
    }
    if !address.path.is_empty() {
        return Err("should not contain a path element".to_owned());
    }
    let host = Some(address.host_name()).filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let port = match address.port() {
        None => DEFAULT_PORT,
        Some(port) => port
            .parse()
            .map_err(|_| format!("invalid port: strconv.ParseUint: parsing {port:?}: value out of range"))?,
    };
    Ok(match address.scheme.as_str() {
        "tls" => Endpoint::Tls { host, port, tls: Tls::default() },
        _ => Endpoint::Tcp { host, port },
    })
}

fn put_array(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=15 => out.push(0x90 | length as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn put_map(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=15 => out.push(0x80 | length as u8),
        16..=0xffff => {
            out.push(0xde);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        length @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::tests::info;
    use logs::{Part, Stream};

    fn entry(part: Option<Part>) -> Entry {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 7 };
        Entry { stream: Stream::Stderr, time, bytes: b"hi\n".to_vec(), attrs: Vec::new(), part, ordinal: 1 }
    }

    #[test]
    fn an_event_has_dockers_record() {
        let fluentd = Fluentd::new(&info(&[("tag", "t"), ("env", "A")])).unwrap();
        let mut batch = Batch::default();
        fluentd.encode(&entry(None), &mut batch);
        let id = "0123456789abcdef".repeat(4);
        let mut wanted = b"\x94\xa1t\xce\x65\x53\xf1\x00\x85\xa1A\xa11\xaccontainer_id\xd9\x40".to_vec();
        wanted.extend(id.as_bytes());
        wanted.extend(b"\xaecontainer_name\xa4/web\xa6source\xa6stderr\xa3log\xa2hi\x80");
        assert_eq!(batch.bytes, wanted);
    }

    #[test]
    fn a_chunk_has_event_times_and_asks_for_an_acknowledgement() {
        let options = [("tag", "t"), ("fluentd-request-ack", "true"), ("fluentd-sub-second-precision", "1")];
        let fluentd = Fluentd::new(&info(&options)).unwrap();
        let mut batch = Batch::default();
        fluentd.encode(&entry(Some(Part { id: "p".into(), number: 3, last: true })), &mut batch);
        assert!(batch.bytes.starts_with(b"\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x07\x88"));
        let end = b"\xafpartial_message\xa4true\xaapartial_id\xa1p\xafpartial_ordinal\xa13\xacpartial_last\xa4true";
        assert!(batch.bytes.ends_with(end));
        let (head, tail) = fluentd.chunk(&batch, "id");
        assert_eq!(head, b"\x93\xa1t\x91");
        assert_eq!(tail, b"\x82\xa5chunk\xa2id\xa4size\x01");
    }

    #[test]
    fn an_acknowledgement_is_read_however_it_comes() {
        let answer = b"\x81\xa3ack\xa3abc";
        for length in 0..answer.len() {
            assert_eq!(acknowledged(&answer[..length]), Ok(None), "cut at {length}");
        }
        assert_eq!(acknowledged(answer), Ok(Some("abc")));
        assert_eq!(acknowledged(b"\x81\xa3ack\xd9\x03abc"), Ok(Some("abc")));
        assert_eq!(acknowledged(b"HTTP/1.1"), Err(()));
    }

    #[test]
    fn addresses_and_values_are_checked_in_dockers_words() {
        let check = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            Fluentd::check(&options).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
        };
        for fine in ["", "host", "host:1", "tcp://host:1", "tls://host", "unix:///run/f.sock", "[::1]:5"] {
            assert_eq!(check(&[("fluentd-address", fine)]), "ok", "{fine}");
        }
        assert_eq!(
            check(&[("fluentd-address", "http://h")]),
            "invalid fluentd-address (http://h): unsupported scheme: 'http'"
        );
        assert_eq!(
            check(&[("fluentd-address", "h/x")]),
            "invalid fluentd-address (h/x): should not contain a path element"
        );
        assert_eq!(
            check(&[("fluentd-async-reconnect-interval", "1ms")]),
            "invalid value for fluentd-async-reconnect-interval: value (\"1ms\") must be between 100ms and 10s"
        );
        assert_eq!(check(&[("fluentd-max-retries", "3000000000")]), "invalid fluentd-max-retries: value out of range");
        assert_eq!(check(&[("fluentd-retry-wait", "1")]), "time: missing unit in duration \"1\"");
        assert_eq!(
            check(&[("fluentd-write-timeout", "-1s")]),
            "invalid value for fluentd-write-timeout: value must be a duration that is non-negative"
        );
        assert_eq!(check(&[("fluentd-buffer-limit", "x")]), "invalid size: 'x'");
    }
}
