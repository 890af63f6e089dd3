//! Ids of containers, execs and networks: 32 random bytes in hexadecimal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// From random bytes. Docker draws again while the first 12 digits are all decimal, since such a host name confuses
    /// programs that take it for a number; the caller does the same with [`ContainerId::is_numeric`].
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(crate::digest::hex(&bytes))
    }

    /// An id that was stored or received; `None` unless it is 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits: the container's host name and what tables show.
    pub fn short(&self) -> &str {
        short(&self.0)
    }

    pub fn is_numeric(&self) -> bool {
        self.short().bytes().all(|b| b.is_ascii_digit())
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 12 characters of an id, without a leading `sha256:`.
pub fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_64_hexadecimal_digits_and_its_short_form_12() {
        let id = ContainerId::from_random([0xab; 32]);
        assert_eq!(id.as_str().len(), 64);
        assert_eq!(id.short(), "abababababab");
        assert!(!id.is_numeric());
        assert!(ContainerId::from_random([0x11; 32]).is_numeric());
        assert_eq!(ContainerId::parse(id.as_str()), Some(id));
        assert_eq!(ContainerId::parse("abc"), None);
    }

    #[test]
    fn a_short_id_drops_the_algorithm() {
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("0123"), "0123");
    }
}
