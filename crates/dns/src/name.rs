//! Domain names: read from a message, and the names under which addresses are looked up backwards.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 1035, 2.3.4.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// A name in lower case, labels joined by dots, without the final dot.
///
/// Bytes that no host name has are kept as they are, one character each: they match nothing in the table, and a name
/// is never written back from here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// Reads the name at the start of `bytes`; answers it and its length there. A question's name cannot be compressed:
    /// nothing stands before it that a pointer could mean.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut text = String::new();
        let mut at = 0usize;
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                return Some((Self(text), at));
            }
            if length > 63 || at + length > MAX_NAME_BYTES {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            for byte in bytes.get(at..at + length)? {
                // A dot inside a label would make two labels of it.
                text.push(if *byte == b'.' { '\u{fffd}' } else { char::from(byte.to_ascii_lowercase()) });
            }
            at += length;
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Passes over a name anywhere in a message, compressed or not; answers the offset behind it.
pub(crate) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + length,
            0xc0..=0xff => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
        if at - start > MAX_NAME_BYTES {
            return None;
        }
    }
}

/// Writes a name uncompressed. None where a label does not fit.
pub(crate) fn encode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let length = u8::try_from(label.len()).ok().filter(|length| *length <= 63)?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= MAX_NAME_BYTES).then_some(bytes)
}

/// The address that `4.3.2.1.in-addr.arpa` or its like under `ip6.arpa` asks for.
pub fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0u8; 4];
        let mut labels = labels.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let mut number = 0u128;
    let mut count = 0;
    for label in labels.split('.') {
        if label.len() != 1 || count == 32 {
            return None;
        }
        number |= u128::from(u8::from_str_radix(label, 16).ok()?) << (4 * count);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(number).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_lower_case() {
        let (name, length) = Name::read(b"\x03WeB\x07example\x00rest").expect("a name");
        assert_eq!((name.as_str(), length), ("web.example", 13));
        assert_eq!(Name::read(b"\x00").map(|(name, length)| (name.to_string(), length)), Some((String::new(), 1)));
    }

    #[test]
    fn names_that_lie_about_their_length_are_refused() {
        let endless = b"\x3f".iter().chain([b'a'; 63].iter()).copied().collect::<Vec<u8>>().repeat(5);
        for bytes in [&b""[..], b"\x05web", b"\x03web", b"\xc0\x0c", b"\x40aaaa", &endless] {
            assert!(Name::read(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn a_dot_inside_a_label_does_not_make_two_labels() {
        let (name, _) = Name::read(b"\x07web.net\x00").expect("a name");
        assert_ne!(name.as_str(), "web.net");
    }

    #[test]
    fn reverse_names_give_their_address() {
        assert_eq!(reverse_address("2.0.17.172.in-addr.arpa"), Some(IpAddr::from([172, 17, 0, 2])));
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reverse_address(six), "fd00::2".parse().ok());
        for text in
            ["in-addr.arpa", "1.2.3.in-addr.arpa", "0.1.2.3.4.in-addr.arpa", "256.0.0.1.in-addr.arpa", "1.ip6.arpa"]
        {
            assert_eq!(reverse_address(text), None, "{text}");
        }
    }
}
