//! GELF 1.1: JSON by UDP, compressed and in chunks where it is long, or by TCP with a zero byte behind each message.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use logs::{Entry, Stream};
use serde_json::{Map, Value};

use crate::address::Address;
use crate::batch::Batch;
use crate::info::{DEFAULT_TAG, host_name};
use crate::messages::{gelf_value, wrong};
use crate::retry::Retry;
use crate::transport::Endpoint;
use crate::{Error, Info, Options};

pub(crate) const OPTIONS: [&str; 5] = [
    "gelf-address",
    "gelf-compression-level",
    "gelf-compression-type",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];
/// Below what a network without jumbo frames takes.
const CHUNK: usize = 1420;
const CHUNK_HEAD: usize = 12;
/// More chunks than this are no message.
const MAX_CHUNKS: usize = 128;
const ERROR: u8 = 3;
const INFORMATION: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zlib,
    Plain,
}

#[derive(Debug)]
pub(crate) struct Gelf {
    pub endpoint: Endpoint,
    pub retry: Retry,
    host: String,
    /// Members that are the same in every message.
    extra: Map<String, Value>,
    packing: Packing,
    level: Compression,
    is_tcp: bool,
}

/// The address, which Docker looks at before all else.
pub(crate) fn check_address(options: &Options) -> Result<(), Error> {
    address(options).map(drop)
}

pub(crate) fn check(options: &Options) -> Result<(), Error> {
    let is_udp = address(options)?.scheme == "udp";
    for (name, value) in options {
        match name.as_str() {
            "gelf-compression-level" | "gelf-compression-type" if !is_udp => {
                return Err(wrong("compression is only supported on UDP"));
            }
            "gelf-compression-level" if !value.parse().is_ok_and(|level: i32| (-1..=9).contains(&level)) => {
                return Err(gelf_value(name, value));
            }
            "gelf-compression-type" if !matches!(value.as_str(), "gzip" | "zlib" | "none") => {
                return Err(gelf_value(name, value));
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay" => {
                if is_udp {
                    return Err(wrong(format!("{name:?} is only valid for TCP")));
                }
                if value.parse::<u32>().is_err() {
                    return Err(wrong(format!("{name:?} must be a positive integer")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

impl Gelf {
    pub fn new(info: &Info) -> Result<Self, Error> {
        let address = address(&info.options)?;
        let is_tcp = address.scheme == "tcp";
        let (host, port) = address.host_and_port().ok_or_else(no_port)?;
        let endpoint = if is_tcp { Endpoint::Tcp { host, port } } else { Endpoint::Udp { host, port } };
        let number = |name: &str| info.option(name).and_then(|value| value.parse::<u32>().ok());
        let retry = Retry {
            attempts: number("gelf-tcp-max-reconnect"),
            fixed: number("gelf-tcp-reconnect-delay").map(|seconds| Duration::from_secs(seconds.into())),
            ..Retry::default()
        };
        let packing = match info.option("gelf-compression-type") {
            _ if is_tcp => Packing::Plain,
            Some("zlib") => Packing::Zlib,
            Some("none") => Packing::Plain,
            _ => Packing::Gzip,
        };
        let level = match info.option("gelf-compression-level").and_then(|level| level.parse::<i32>().ok()) {
            None => Compression::fast(),
            Some(level) => u32::try_from(level).map_or(Compression::default(), Compression::new),
        };
        Ok(Self { endpoint, retry, host: host_name(), extra: extra(info)?, packing, level, is_tcp })
    }

    /// False for a message that is too long for the protocol.
    pub fn encode(&self, entry: &Entry, batch: &mut Batch) -> bool {
        if entry.text().is_empty() {
            return true;
        }
        let message = self.message(entry);
        if self.is_tcp {
            batch.bytes.extend_from_slice(&message);
            batch.bytes.push(0);
            batch.end_message();
            return true;
        }
        let packed = self.pack(message);
        if packed.len() <= CHUNK {
            batch.bytes.extend_from_slice(&packed);
            batch.end_message();
            return true;
        }
        put_chunks(&packed, batch)
    }

    fn message(&self, entry: &Entry) -> Vec<u8> {
        let level = if entry.stream == Stream::Stderr { ERROR } else { INFORMATION };
        // Milliseconds, as Docker has it.
        let time = entry.time.seconds as f64 + f64::from(entry.time.nanos / 1_000_000) / 1000.0;
        let mut members = Map::new();
        members.insert("version".to_owned(), "1.1".into());
        members.insert("host".to_owned(), self.host.clone().into());
        members.insert("short_message".to_owned(), String::from_utf8_lossy(entry.text()).into());
        members.insert("timestamp".to_owned(), time.into());
        members.insert("level".to_owned(), level.into());
        members.extend(self.extra.clone());
        Value::Object(members).to_string().into_bytes()
    }

    fn pack(&self, message: Vec<u8>) -> Vec<u8> {
        // Into memory nothing fails; were it otherwise, receivers take the message as it is, too.
        let packed = match self.packing {
            Packing::Plain => return message,
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), self.level);
                encoder.write_all(&message).and_then(|()| encoder.finish())
            }
            Packing::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), self.level);
                encoder.write_all(&message).and_then(|()| encoder.finish())
            }
        };
        packed.unwrap_or(message)
    }
}

fn extra(info: &Info) -> Result<Map<String, Value>, Error> {
    let mut extra = BTreeMap::from([
        ("_container_id".to_owned(), info.container_id.clone()),
        ("_container_name".to_owned(), info.name.clone()),
        ("_image_id".to_owned(), info.image_id.clone()),
        ("_image_name".to_owned(), info.image_name.clone()),
        ("_command".to_owned(), info.command()),
        ("_tag".to_owned(), info.tag(DEFAULT_TAG)?),
        ("_created".to_owned(), info.created.to_string()),
    ]);
    let underscored = |name: &str| if name.starts_with('_') { name.to_owned() } else { format!("_{name}") };
    extra.extend(info.attributes(underscored)?);
    Ok(extra.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

/// Two bytes of magic, eight of an id, the chunk's number and how many there are.
fn put_chunks(packed: &[u8], batch: &mut Batch) -> bool {
    let parts = packed.chunks(CHUNK - CHUNK_HEAD);
    let count = parts.len();
    if count > MAX_CHUNKS {
        return false;
    }
    let mut id = [0; 8];
    // Only has to differ from those of the same few seconds: should the kernel have no random numbers, the length does.
    if getrandom::fill(&mut id).is_err() {
        id = (batch.bytes.len() as u64).to_le_bytes();
    }
    for (number, part) in parts.enumerate() {
        batch.bytes.extend_from_slice(&[0x1e, 0x0f]);
        batch.bytes.extend_from_slice(&id);
        batch.bytes.extend_from_slice(&[number as u8, count as u8]);
        batch.bytes.extend_from_slice(part);
        batch.end_message();
    }
    true
}

fn address(options: &Options) -> Result<Address, Error> {
    let text = options.get("gelf-address").map_or("", String::as_str);
    if text.is_empty() {
        return Err(wrong("gelf-address is a required parameter"));
    }
    let address = Address::parse(text).map_err(wrong)?;
    if !matches!(address.scheme.as_str(), "udp" | "tcp") {
        return Err(wrong("gelf: endpoint needs to be TCP or UDP"));
    }
    match address.host_and_port() {
        Some(_) => Ok(address),
        None => Err(no_port()),
    }
}

fn no_port() -> Error {
    wrong("gelf: please provide gelf-address as proto://host:port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::tests::info;
    use logs::Timestamp;
    use std::io::Read;

    fn entry(text: Vec<u8>) -> Entry {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 123_999_999 };
        Entry { stream: Stream::Stdout, time, bytes: text, attrs: Vec::new(), part: None, ordinal: 1 }
    }

    fn encode(options: &[(&str, &str)], text: &[u8]) -> (Batch, bool) {
        let mut gelf = Gelf::new(&info(options)).unwrap();
        gelf.host = "host".into();
        let mut batch = Batch::default();
        let fits = gelf.encode(&entry([text, b"\n"].concat()), &mut batch);
        (batch, fits)
    }

    #[test]
    fn a_message_has_dockers_members() {
        let (batch, _) = encode(&[("gelf-address", "tcp://h:1"), ("env", "A"), ("tag", "t")], b"hi");
        let text = std::str::from_utf8(&batch.bytes).unwrap();
        let id = "0123456789abcdef".repeat(4);
        let image = format!("sha256:{}", "fedcba9876543210".repeat(4));
        let wanted = format!(
            "{{\"version\":\"1.1\",\"host\":\"host\",\"short_message\":\"hi\",\"timestamp\":1700000000.123,\"level\":6,\
             \"_A\":\"1\",\"_command\":\"/bin/sh -c true\",\"_container_id\":\"{id}\",\"_container_name\":\"web\",\
             \"_created\":\"2023-11-14T22:13:20Z\",\"_image_id\":\"{image}\",\"_image_name\":\"busybox:1\",\"_tag\":\"t\"}}\0"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_long_message_goes_in_chunks_that_make_it_up_again() {
        let options = [("gelf-address", "udp://h:1"), ("gelf-compression-type", "none")];
        let (batch, fits) = encode(&options, "é".repeat(5000).as_bytes());
        assert!(fits);
        let datagrams: Vec<_> = batch.datagrams().collect();
        assert!(datagrams.len() == 8 && datagrams.iter().all(|datagram| datagram.len() <= CHUNK));
        let ids: Vec<_> = datagrams.iter().map(|datagram| &datagram[2..10]).collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(datagrams.iter().map(|datagram| datagram[10]).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        let whole: Vec<u8> = datagrams.iter().flat_map(|datagram| datagram[12..].to_vec()).collect();
        let value: Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(value["short_message"].as_str().unwrap().chars().count(), 5000);
        assert!(!encode(&options, &vec![b'x'; 200_000]).1, "more than 128 chunks");
    }

    #[test]
    fn udp_is_compressed() {
        let inflated = |bytes: Vec<u8>, zlib: bool| {
            let mut text = String::new();
            if zlib {
                flate2::read::ZlibDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            } else {
                flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            }
            text
        };
        let udp = ("gelf-address", "udp://h:1");
        assert!(inflated(encode(&[udp], b"hello").0.bytes, false).contains("\"hello\""));
        let zlib = [udp, ("gelf-compression-type", "zlib"), ("gelf-compression-level", "-1")];
        assert!(inflated(encode(&zlib, b"hello").0.bytes, true).contains("\"hello\""));
    }
}
