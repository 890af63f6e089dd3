//! Hardware addresses: given by the user, or derived from the IPv4 address as Docker did (02:42 and the four bytes).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use errors::{ErrorKind, Kind};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address: {0}")]
pub struct MacError(pub String);

impl Kind for MacError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Mac {
    /// A reused address keeps its MAC, so that neighbours' ARP entries stay right.
    pub fn from_address(address: IpAddr) -> Self {
        let low = match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => {
                let octets = address.octets();
                [octets[12], octets[13], octets[14], octets[15]]
            }
        };
        Self([0x02, 0x42, low[0], low[1], low[2], low[3]])
    }

    /// For what has no address: by its random id.
    pub fn from_id(id: &str) -> Self {
        let low = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default().to_be_bytes();
        Self([0x02, 0x42, low[0], low[1], low[2], low[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let invalid = || MacError(text.chars().take(64).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        // The lowest bit of the first byte marks a group; no interface can have one.
        if parts.next().is_some() || bytes[0] & 1 != 0 {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_spells_the_address() {
        assert_eq!(Mac::from_address(IpAddr::from([172, 17, 0, 2])).to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn a_mac_is_six_bytes_and_no_group() {
        assert_eq!("02:42:AC:11:00:02".parse::<Mac>().map(|mac| mac.to_string()), Ok("02:42:ac:11:00:02".to_owned()));
        for text in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "01:42:ac:11:00:02", "2:42:ac:11:00:02", "zz:42:ac:11:00:02"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
