//! A proxy in front of a daemon on TCP: `HTTP_PROXY` for plain daemons, `HTTPS_PROXY` for those with TLS, `NO_PROXY` for
//! exceptions, as Go's `http.ProxyFromEnvironment` reads them. Loopback never has one.
//!
//! A proxy of a plain daemon gets requests with the daemon's whole URL; through one of a daemon with TLS a tunnel is made.

use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::host::split_port;

/// Longest answer of a proxy to CONNECT.
const MAX_ANSWER: usize = 16 << 10;

/// Where requests go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub name: String,
    pub port: String,
    /// `Proxy-Authorization`, from the URL's user and password.
    pub authorization: Option<String>,
}

impl Proxy {
    /// The one that the environment names for this daemon. One that this client cannot speak to is an error.
    pub fn of(scheme: &str, authority: &str, variable: impl Fn(&str) -> Option<String>) -> io::Result<Option<Self>> {
        let either = |upper: &str| {
            let value = variable(upper).filter(|value| !value.is_empty());
            value.or_else(|| variable(&upper.to_lowercase()).filter(|value| !value.is_empty()))
        };
        let named = match scheme {
            "https" => either("HTTPS_PROXY"),
            _ => either("HTTP_PROXY"),
        };
        let Some(url) = named else { return Ok(None) };
        if is_excepted(authority, &either("NO_PROXY").unwrap_or_default()) {
            return Ok(None);
        }
        Self::parse(&url).map(Some)
    }

    fn parse(url: &str) -> io::Result<Self> {
        let refused = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("proxyconnect tcp: {reason}"));
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(refused(&format!("proxies of the scheme {scheme} are not supported"))),
            None => url,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = authority.rsplit_once('@').map_or((None, authority), |(user, rest)| (Some(user), rest));
        let (name, port) = split_port(authority);
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() {
            return Err(refused(&format!("invalid proxy address {url:?}")));
        }
        let decoded = user.map(|user| {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            percent_decode_str(&user).collect::<Vec<u8>>()
        });
        Ok(Self {
            name: name.to_owned(),
            port: if port.is_empty() { "80".to_owned() } else { port.to_owned() },
            authorization: decoded.map(|user| format!("Basic {}", STANDARD.encode(user))),
        })
    }

    /// Asks the proxy on this connection for a tunnel to the daemon (RFC 9110, 9.3.6).
    pub async fn tunnel(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), authority: &str) -> io::Result<()> {
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            // Byte by byte: what follows belongs to the daemon.
            answer.push(stream.read_u8().await?);
        }
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.lines().next().unwrap_or_default().split_once(' ').map(|(_, status)| status);
        match status {
            Some(status) if status.starts_with('2') => Ok(()),
            // As Go says it: the words behind the number.
            Some(status) => Err(io::Error::other(status.split_once(' ').map_or(status, |(_, words)| words).to_owned())),
            None => Err(io::Error::other("malformed HTTP response")),
        }
    }
}

/// Loopback, and what `NO_PROXY` lists: `*`, names with their subdomains, `.only.subdomains`, addresses, networks; each
/// but the first and the networks with a port or without.
fn is_excepted(authority: &str, exceptions: &str) -> bool {
    let (name, port) = split_port(authority);
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = name.parse().ok();
    if name == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exceptions.split(',').map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty()).any(|one| {
        if one == "*" {
            return true;
        }
        if let (Some(address), Some((network, bits))) = (address, one.split_once('/')) {
            return network.parse().is_ok_and(|network| contains(network, bits.parse().unwrap_or(u32::MAX), address));
        }
        let is_bare_address = one.parse::<IpAddr>().is_ok();
        let (pattern, wanted_port) = if is_bare_address { (one.as_str(), "") } else { split_port(&one) };
        if !wanted_port.is_empty() && wanted_port != port {
            return false;
        }
        let pattern = pattern.trim_start_matches('[').trim_end_matches(']');
        match (pattern.strip_prefix("*.").or_else(|| pattern.strip_prefix('.')), address) {
            (_, Some(address)) => pattern.parse() == Ok(address),
            (Some(parent), None) => name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
            (None, None) => name == pattern || name.strip_suffix(pattern).is_some_and(|rest| rest.ends_with('.')),
        }
    })
}

fn contains(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            let shift = 32 - bits;
            u64::from(network.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            (network.to_bits() ^ address.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(scheme: &str, authority: &str, variables: &[(&str, &str)]) -> String {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        match Proxy::of(scheme, authority, variable) {
            Ok(Some(proxy)) => format!("{}:{} {}", proxy.name, proxy.port, proxy.authorization.unwrap_or_default()),
            Ok(None) => "direct".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let plain = [("HTTP_PROXY", "http://u:p%40@proxy:3128/x")];
        assert_eq!(found("http", "10.0.0.1:2375", &plain), "proxy:3128 Basic dTpwQA==");
        assert_eq!(found("https", "10.0.0.1:2376", &plain), "direct");
        assert_eq!(found("https", "10.0.0.1:2376", &[("https_proxy", "proxy")]), "proxy:80 ");
        assert_eq!(
            found("http", "10.0.0.1:2375", &[("HTTP_PROXY", "socks5://x:1")]),
            "proxyconnect tcp: proxies of the scheme socks5 are not supported"
        );
    }

    #[test]
    fn loopback_and_exceptions_are_reached_directly() {
        let found = |authority: &str, exceptions: &str| {
            found("http", authority, &[("HTTP_PROXY", "proxy"), ("NO_PROXY", exceptions)]) == "direct"
        };
        for loopback in ["localhost:2375", "127.0.0.1:2375", "[::1]:2375"] {
            assert!(found(loopback, ""), "{loopback}");
        }
        assert!(found("a.example.com:1", "x, example.com") && found("example.com:1", "example.com"));
        assert!(found("a.example.com:1", ".example.com") && !found("example.com:1", ".example.com"));
        assert!(!found("badexample.com:1", "example.com") && found("anything:1", "*"));
        assert!(found("10.1.2.3:1", "10.0.0.0/8") && !found("11.1.2.3:1", "10.0.0.0/8"));
        assert!(found("[fd00::1]:1", "fd00::/16") && found("[fd00::1]:1", "fd00::1"));
        assert!(found("host:99", "host:99") && !found("host:98", "host:99"));
    }
}
