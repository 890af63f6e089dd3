//! journald's native protocol: one datagram of fields a message (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::path::PathBuf;

use logs::{Entry, Place, Stream};

use crate::batch::Batch;
use crate::info::DEFAULT_TAG;
use crate::transport::Endpoint;
use crate::{Error, Info};

const SOCKET: &str = "/run/systemd/journal/socket";
const ERROR: u8 = 3;
const INFORMATION: u8 = 6;

#[derive(Debug)]
pub(crate) struct Journald {
    pub endpoint: Endpoint,
    /// The same in every message.
    fields: Vec<u8>,
}

impl Journald {
    pub fn new(info: &Info) -> Result<Self, Error> {
        let tag = info.tag(DEFAULT_TAG)?;
        let mut fields = Vec::new();
        let own = [
            ("CONTAINER_ID", info.short_id()),
            ("CONTAINER_ID_FULL", &info.container_id),
            ("CONTAINER_NAME", &info.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &info.image_name),
            ("SYSLOG_IDENTIFIER", &tag),
        ];
        let attributes = info.attributes(field_name)?;
        for (name, value) in own {
            if !attributes.contains_key(name) {
                put(&mut fields, name, value.as_bytes());
            }
        }
        for (name, value) in attributes.iter().filter(|(name, _)| !name.is_empty()) {
            put(&mut fields, name, value.as_bytes());
        }
        Ok(Self { endpoint: Endpoint::Datagram(PathBuf::from(SOCKET)), fields })
    }

    pub fn encode(&self, entry: &Entry, place: &Place, batch: &mut Batch) {
        let out = &mut batch.bytes;
        let priority = if entry.stream == Stream::Stderr { ERROR } else { INFORMATION };
        put(out, "PRIORITY", priority.to_string().as_bytes());
        put(out, "MESSAGE", entry.text());
        out.extend_from_slice(&self.fields);
        put(out, "SYSLOG_TIMESTAMP", entry.time.to_string().as_bytes());
        if let Some(part) = &entry.part {
            put(out, "CONTAINER_PARTIAL_ID", part.id.as_bytes());
            put(out, "CONTAINER_PARTIAL_ORDINAL", part.number.to_string().as_bytes());
            put(out, "CONTAINER_PARTIAL_LAST", part.last.to_string().as_bytes());
            if !part.last {
                put(out, "CONTAINER_PARTIAL_MESSAGE", b"true");
            }
        }
        put(out, "CONTAINER_LOG_EPOCH", place.epoch.as_bytes());
        put(out, "CONTAINER_LOG_ORDINAL", entry.ordinal.to_string().as_bytes());
        batch.end_message();
    }
}

/// A value with a line end goes by its length, little-endian in 64 bits.
fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Upper-case letters, digits and underscores, none of these first.
fn field_name(name: &str) -> String {
    let upper = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    upper.skip_while(|c| *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::tests::info;
    use logs::{Part, Timestamp};

    #[test]
    fn a_message_has_dockers_fields() {
        let journald = Journald::new(&info(&[("labels", "com.example.a"), ("env", "A"), ("tag", "t")])).unwrap();
        let part = Some(Part { id: "ab".into(), number: 2, last: false });
        let time = Timestamp { seconds: 1_700_000_000, nanos: 5_000 };
        let bytes = b"part".to_vec();
        let entry = Entry { stream: Stream::Stderr, time, bytes, attrs: Vec::new(), part, ordinal: 12 };
        let mut batch = Batch::default();
        journald.encode(&entry, &Place { epoch: "ee".into(), ordinal: 11 }, &mut batch);
        let id = "0123456789abcdef".repeat(4);
        let wanted = format!(
            "PRIORITY=3\nMESSAGE=part\nCONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL={id}\nCONTAINER_NAME=web\n\
             CONTAINER_TAG=t\nIMAGE_NAME=busybox:1\nSYSLOG_IDENTIFIER=t\nA=1\nCOM_EXAMPLE_A=la\n\
             SYSLOG_TIMESTAMP=2023-11-14T22:13:20.000005Z\nCONTAINER_PARTIAL_ID=ab\nCONTAINER_PARTIAL_ORDINAL=2\n\
             CONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\nCONTAINER_LOG_EPOCH=ee\n\
             CONTAINER_LOG_ORDINAL=12\n"
        );
        assert_eq!(String::from_utf8(batch.bytes).unwrap(), wanted);
    }

    #[test]
    fn a_value_with_a_line_end_has_its_length_before_it() {
        let mut out = Vec::new();
        put(&mut out, "MESSAGE", b"a\nb");
        assert_eq!(out, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }

    #[test]
    fn names_of_attributes_become_fields() {
        assert_eq!(field_name("__com.example-x9"), "COM_EXAMPLE_X9");
        assert_eq!(field_name("é_a"), "A");
    }
}
