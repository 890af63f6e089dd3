//! Keys and elements of sets and maps, as bytes in the layout the registers have.

use std::net::IpAddr;

use crate::address::octets;

/// Longest interface name with its terminator, `IFNAMSIZ`.
const NAME_BYTES: usize = 16;

/// The bytes of a key or of a map's value; concatenated parts are padded to words of four bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Key(pub(crate) Vec<u8>);

impl Key {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn address(mut self, address: IpAddr) -> Self {
        self.0.extend_from_slice(&octets(address));
        self
    }

    /// `IPPROTO_TCP` and its like.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.0.extend_from_slice(&[protocol, 0, 0, 0]);
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.0.extend_from_slice(&port.to_be_bytes());
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    /// An interface name, cut where the kernel would not take it anyway.
    pub fn interface(mut self, name: &str) -> Self {
        let mut bytes = [0; NAME_BYTES];
        let length = name.len().min(NAME_BYTES - 1);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        self.0.extend_from_slice(&bytes);
        self
    }
}

/// What is added to or taken out of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Element {
    Key(Key),
    Entry(Key, Key),
    /// All addresses of a network; only for sets with intervals.
    Network {
        first: IpAddr,
        length: u8,
    },
    /// The same with a value, for maps with intervals.
    NetworkEntry {
        first: IpAddr,
        length: u8,
        value: Key,
    },
}

/// One element on the wire: key, value, whether it ends an interval.
pub(super) struct Part {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub ends_interval: bool,
}

impl Element {
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Self::Key(key) => vec![Part { key: key.0.clone(), value: None, ends_interval: false }],
            Self::Entry(key, value) => {
                vec![Part { key: key.0.clone(), value: Some(value.0.clone()), ends_interval: false }]
            }
            Self::Network { first, length } => interval(*first, *length, None),
            Self::NetworkEntry { first, length, value } => interval(*first, *length, Some(value.0.clone())),
        }
    }
}

fn interval(first: IpAddr, length: u8, value: Option<Vec<u8>>) -> Vec<Part> {
    let mut parts = vec![Part { key: octets(first), value, ends_interval: false }];
    // The end of an interval is the first key behind it; a network up to the last address has none.
    if let Some(key) = address_behind(first, length) {
        parts.push(Part { key, value: None, ends_interval: true });
    }
    parts
}

fn address_behind(first: IpAddr, length: u8) -> Option<Vec<u8>> {
    match first {
        IpAddr::V4(first) => {
            let size = 1u32.checked_shl(32 - u32::from(length))?;
            Some(u32::from(first).checked_add(size)?.to_be_bytes().to_vec())
        }
        IpAddr::V6(first) => {
            let size = 1u128.checked_shl(128 - u32::from(length))?;
            Some(u128::from(first).checked_add(size)?.to_be_bytes().to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concatenated_key_pads_each_part_to_four_bytes() {
        let key = Key::new().address(IpAddr::from([10, 0, 0, 1])).protocol(6).port(0x1234);
        assert_eq!(key.0, [10, 0, 0, 1, 6, 0, 0, 0, 0x12, 0x34, 0, 0]);
    }

    #[test]
    fn a_network_is_an_interval_that_ends_before_the_next_network() {
        let parts = Element::Network { first: IpAddr::from([172, 17, 0, 0]), length: 16 }.parts();
        assert_eq!((parts[0].key.as_slice(), parts[0].ends_interval), ([172, 17, 0, 0].as_slice(), false));
        assert_eq!((parts[1].key.as_slice(), parts[1].ends_interval), ([172, 18, 0, 0].as_slice(), true));
    }

    #[test]
    fn a_network_at_the_end_of_the_address_space_has_no_end_key() {
        assert_eq!(Element::Network { first: IpAddr::from([255, 0, 0, 0]), length: 8 }.parts().len(), 1);
        assert_eq!(Element::Network { first: IpAddr::from([0, 0, 0, 0]), length: 0 }.parts().len(), 1);
    }
}
