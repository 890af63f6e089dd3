//! D-Bus's marshalling, little-endian: every value at a multiple of its size, containers at multiples of eight.

use crate::SystemdError;
use runtime_core::unit::{Property, Value};

/// No message that this client waits for comes near it.
pub const MAX_MESSAGE: usize = 1 << 20;
pub const CALL: u8 = 1;
pub const RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;
const VERSION: u8 = 1;
const NO_AUTO_START: u8 = 2;

/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// The fixed part of a header: endianness, kind, flags, version, length of the body, serial, length of the fields.
pub const FIXED: usize = 16;

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'static str,
    /// Types of the arguments.
    pub signature: &'static str,
}

#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements begin at multiples of `alignment`; the padding before the first is not counted.
    pub fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        let signature = match value {
            Value::Text(_) => "s",
            Value::Switch(_) => "b",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::Bytes(_) => "ay",
            Value::Numbers(_) => "au",
            Value::Texts(_) => "as",
            Value::Pairs(_) => "a(ss)",
        };
        self.signature(signature);
        match value {
            Value::Text(text) => self.text(text),
            Value::Switch(on) => self.u32(u32::from(*on)),
            Value::I32(number) => self.u32(number.cast_unsigned()),
            Value::U32(number) => self.u32(*number),
            Value::I64(number) => self.u64(number.cast_unsigned()),
            Value::U64(number) => self.u64(*number),
            Value::Bytes(bytes) => self.array(1, |array| array.0.extend_from_slice(bytes)),
            Value::Numbers(numbers) => self.array(4, |array| numbers.iter().for_each(|number| array.u32(*number))),
            Value::Texts(texts) => self.array(4, |array| texts.iter().for_each(|text| array.text(text))),
            Value::Pairs(pairs) => self.array(8, |array| {
                for (first, second) in pairs {
                    array.align(8);
                    array.text(first);
                    array.text(second);
                }
            }),
        }
    }

    /// `a(sv)`.
    pub fn properties(&mut self, properties: &[Property]) {
        self.array(8, |array| {
            for (name, value) in properties {
                array.align(8);
                array.text(name);
                array.variant(value);
            }
        });
    }

    pub fn switch(&mut self, on: bool) {
        self.u32(u32::from(on));
    }

    /// `a(sa(sv))` without elements: no units besides.
    pub fn no_more_units(&mut self) {
        self.array(8, |_| {});
    }

    /// The whole message around this body.
    pub fn into_call(self, serial: u32, method: &Method<'_>) -> Vec<u8> {
        let body = self.0;
        let mut message = Writer(vec![b'l', CALL, NO_AUTO_START, VERSION]);
        message.u32(body.len() as u32);
        message.u32(serial);
        message.array(8, |fields| {
            let mut field = |code: u8, signature: &str, text: &str| {
                if text.is_empty() {
                    return;
                }
                fields.align(8);
                fields.0.push(code);
                fields.signature(signature);
                if signature == "g" { fields.signature(text) } else { fields.text(text) }
            };
            field(PATH, "o", method.path);
            field(INTERFACE, "s", method.interface);
            field(MEMBER, "s", method.member);
            field(DESTINATION, "s", method.destination);
            field(SIGNATURE, "g", method.signature);
        });
        message.align(8);
        message.0.extend_from_slice(&body);
        message.0
    }
}

/// Reads values from a message; what is not there is an error, never a panic.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], SystemdError> {
        let end = self.at.checked_add(length).ok_or(SystemdError::Malformed("a length"))?;
        let taken = self.bytes.get(self.at..end).ok_or(SystemdError::Malformed("it ends early"))?;
        self.at = end;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, SystemdError> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    pub fn u32(&mut self) -> Result<u32, SystemdError> {
        self.align(4);
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    pub fn text(&mut self) -> Result<&'a str, SystemdError> {
        let length = self.u32()? as usize;
        self.text_of(length)
    }

    pub fn signature(&mut self) -> Result<&'a str, SystemdError> {
        let length = self.byte()?.into();
        self.text_of(length)
    }

    fn text_of(&mut self, length: usize) -> Result<&'a str, SystemdError> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| SystemdError::Malformed("a text"))?;
        self.take(1)?;
        Ok(text)
    }
}

/// A message as far as this client reads it.
#[derive(Debug, Default)]
pub struct Message {
    pub kind: u8,
    pub reply_to: u32,
    pub member: String,
    pub error_name: String,
    pub body: Vec<u8>,
}

/// How many bytes follow the fixed part.
pub fn length_behind(fixed: &[u8; FIXED]) -> Result<usize, SystemdError> {
    if fixed[0] != b'l' || fixed[3] != VERSION {
        return Err(SystemdError::Malformed("neither this byte order nor this version"));
    }
    let mut reader = Reader::new(&fixed[4..]);
    let (body, _serial, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    let length = fields.saturating_add(7) / 8 * 8 + body;
    if fields > MAX_MESSAGE || body > MAX_MESSAGE || length > MAX_MESSAGE {
        return Err(SystemdError::Malformed("it is too long"));
    }
    Ok(length)
}

/// `rest`: what follows the fixed part.
pub fn parse(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Message, SystemdError> {
    let fields_length = Reader::new(&fixed[12..]).u32()? as usize;
    let fields = rest.get(..fields_length).ok_or(SystemdError::Malformed("it ends early"))?;
    let body = rest.get(fields_length.next_multiple_of(8)..).unwrap_or_default();
    let mut message = Message { kind: fixed[1], body: body.to_vec(), ..Message::default() };
    // The fixed part is sixteen bytes: alignment counts from here as from the beginning.
    let mut reader = Reader::new(fields);
    while reader.at < fields.len() {
        reader.align(8);
        if reader.at >= fields.len() {
            break;
        }
        let code = reader.byte()?;
        match reader.signature()? {
            "s" | "o" => {
                let text = reader.text()?;
                match code {
                    MEMBER => message.member = text.into(),
                    ERROR_NAME => message.error_name = text.into(),
                    _ => {}
                }
            }
            "u" => {
                let number = reader.u32()?;
                if code == REPLY_SERIAL {
                    message.reply_to = number;
                }
            }
            "g" => _ = reader.signature()?,
            _ => return Err(SystemdError::Malformed("an unknown field")),
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method<'static> = Method {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StopUnit",
        signature: "ss",
    };

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let mut body = Writer::default();
        body.text("a.scope");
        body.text("replace");
        let bytes = body.into_call(7, &METHOD);
        let (fixed, rest) = bytes.split_first_chunk().expect("longer than its fixed part");
        assert_eq!(length_behind(fixed).ok(), Some(rest.len()));
        let message = parse(fixed, rest).expect("valid");
        assert_eq!((message.kind, message.member.as_str()), (CALL, "StopUnit"));
        let mut reader = Reader::new(&message.body);
        assert_eq!((reader.text().ok(), reader.text().ok()), (Some("a.scope"), Some("replace")));
    }

    #[test]
    fn properties_lie_where_the_specification_has_them() {
        let mut writer = Writer::default();
        writer.properties(&[("A".into(), Value::U64(1)), ("PIDs".into(), Value::Numbers(vec![9]))]);
        let wanted: &[u8] = &[
            48, 0, 0, 0, 0, 0, 0, 0, // the length counts from behind the padding
            1, 0, 0, 0, b'A', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
            0, // (sv) with a number at 24
            4, 0, 0, 0, b'P', b'I', b'D', b's', 0, 2, b'a', b'u', 0, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0,
        ];
        assert_eq!(writer.0, wanted);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let mut fixed = [0; FIXED];
        assert!(length_behind(&fixed).is_err());
        (fixed[0], fixed[3]) = (b'l', VERSION);
        fixed[12..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(length_behind(&fixed).is_err());
        fixed[12..].copy_from_slice(&8_u32.to_le_bytes());
        for rest in [&[][..], &[1, 1, b's', 0, 255, 255, 255, 255], &[1, 1, b'v', 0, 0, 0, 0, 0], &[1; 8]] {
            assert!(parse(&fixed, rest).is_err(), "{rest:?}");
        }
    }
}
