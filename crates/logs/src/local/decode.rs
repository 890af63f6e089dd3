//! Bytes to messages. Unknown fields are skipped, as protobuf has it.

use crate::{Entry, Part, Stream, Timestamp};

/// `None` for what is no message, and for the empty one that a run of zeros looks like.
pub(crate) fn decode(bytes: &[u8]) -> Option<Entry> {
    let mut entry = Entry {
        stream: Stream::Stdout,
        time: Timestamp::default(),
        bytes: Vec::new(),
        attrs: Vec::new(),
        part: None,
        ordinal: 0,
    };
    let (mut partial, mut metadata) = (false, Part::default());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(b"stderr")) => entry.stream = Stream::Stderr,
            (2, Value::Number(nanos)) => entry.time = time(nanos as i64),
            (3, Value::Bytes(line)) => line.clone_into(&mut entry.bytes),
            (4, Value::Number(value)) => partial = value != 0,
            (5, Value::Bytes(fields)) => metadata = part(fields)?,
            (6, Value::Bytes(fields)) => entry.attrs.push(attr(fields)?),
            (15, Value::Number(ordinal)) => entry.ordinal = ordinal,
            _ => {}
        }
    }
    if bytes.is_empty() {
        return None;
    }
    if !partial || metadata.last {
        entry.bytes.push(b'\n');
    }
    entry.part = partial.then_some(metadata);
    Some(entry)
}

fn time(nanos: i64) -> Timestamp {
    Timestamp { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as u32 }
}

fn part(bytes: &[u8]) -> Option<Part> {
    let mut part = Part::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(last)) => part.last = last != 0,
            (2, Value::Bytes(id)) => part.id = String::from_utf8_lossy(id).into_owned(),
            (3, Value::Number(number)) => part.number = number as u32,
            _ => {}
        }
    }
    Some(part)
}

fn attr(bytes: &[u8]) -> Option<(String, String)> {
    let mut attr = (String::new(), String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(key)) => attr.0 = String::from_utf8_lossy(key).into_owned(),
            (2, Value::Bytes(value)) => attr.1 = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }
    Some(attr)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message by number; `Some(None)` where it is malformed, which is the last item.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
