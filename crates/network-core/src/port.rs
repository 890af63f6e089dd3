//! Ports as users write them: `80/tcp` on the container's side, `8080` or `8000-8010` on the host's.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use errors::{ErrorKind, Kind};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// Inclusive on both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// One published port as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    pub container_port: u16,
    pub protocol: Protocol,
    /// None: all addresses of the host, both families.
    pub host_address: Option<IpAddr>,
    /// None: any free port.
    pub host_ports: Option<PortRange>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("invalid port specification: \"{0}\"")]
    Invalid(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
}

impl Kind for PortError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Protocol(_) => ErrorKind::InvalidArgument,
        }
    }
}

impl Protocol {
    /// `IPPROTO_TCP`, `IPPROTO_UDP`, `IPPROTO_SCTP`.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(PortError::Protocol(short(text))),
        }
    }
}

/// Reads `80/tcp` or `80`, the keys of `PortBindings` and `ExposedPorts`.
pub fn parse_container_port(text: &str) -> Result<(u16, Protocol), PortError> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let port = parse_port(port).filter(|port| *port != 0).ok_or_else(|| PortError::Invalid(short(text)))?;
    Ok((port, protocol.parse()?))
}

/// Reads the `HostPort` of a binding: empty or `0` for any, a port, or a range.
pub fn parse_host_port(text: &str) -> Result<Option<PortRange>, PortError> {
    let invalid = || PortError::Invalid(short(text));
    if text.is_empty() {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range =
        PortRange { first: parse_port(first).ok_or_else(invalid)?, last: parse_port(last).ok_or_else(invalid)? };
    match range {
        PortRange { first: 0, last: 0 } => Ok(None),
        PortRange { first, last } if first == 0 || last < first => Err(invalid()),
        range => Ok(Some(range)),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    // Rust's parser would take "+80".
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ports_name_their_protocol_or_mean_tcp() {
        assert_eq!(parse_container_port("80/tcp"), Ok((80, Protocol::Tcp)));
        assert_eq!(parse_container_port("53/UDP"), Ok((53, Protocol::Udp)));
        assert_eq!(parse_container_port("132/sctp"), Ok((132, Protocol::Sctp)));
        assert_eq!(parse_container_port("8080"), Ok((8080, Protocol::Tcp)));
        for text in ["", "0", "0/tcp", "65536", "+80", "80/", "80/icmp", "a/tcp"] {
            assert!(parse_container_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_ports_are_any_one_or_a_range() {
        assert_eq!(parse_host_port(""), Ok(None));
        assert_eq!(parse_host_port("0"), Ok(None));
        assert_eq!(parse_host_port("8080"), Ok(Some(PortRange { first: 8080, last: 8080 })));
        assert_eq!(parse_host_port("8000-8010"), Ok(Some(PortRange { first: 8000, last: 8010 })));
        for text in ["8010-8000", "0-5", "80-", "-80", "80-90-100", "70000"] {
            assert!(parse_host_port(text).is_err(), "{text}");
        }
    }
}
