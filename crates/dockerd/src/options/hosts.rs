//! `--host`: where the API is served.

use std::fmt;
use std::path::PathBuf;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Sockets that the service manager opened: `*`, a descriptor's number, or a name.
    Inherited(String),
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Host {
    /// `unix://path`, `tcp://host:port`, `host:port`, `fd://`; empty is the default.
    pub fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(if tls {
                Self::Tcp { host: "localhost".to_owned(), port: TLS_PORT }
            } else {
                Self::Unix(DEFAULT_SOCKET.into())
            });
        }
        let invalid = |why: String| format!("invalid bind address ({text}): {why}");
        match text.split_once("://") {
            Some(("unix", path)) if path.contains("://") => Err(invalid(format!("invalid unix address: {path}"))),
            Some(("unix", "")) => Ok(Self::Unix(DEFAULT_SOCKET.into())),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("fd", name)) => Ok(Self::Inherited(if name.is_empty() { "*" } else { name }.to_owned())),
            Some(("tcp", address)) => tcp(address).map_err(invalid),
            Some((other, _)) => Err(invalid(format!("unsupported proto '{other}'"))),
            None => tcp(text).map_err(invalid),
        }
    }
}

fn tcp(address: &str) -> Result<Host, String> {
    if address.contains('/') {
        return Err("should not contain a path element".to_owned());
    }
    // IPv6 stands in brackets.
    let behind = address.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match address[behind..].find(':') {
        Some(at) => (&address[..behind + at], &address[behind + at + 1..]),
        None => (address, ""),
    };
    let port = match port {
        "" => PLAIN_PORT,
        text => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("invalid port: {text}"))?,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("invalid host: {host}"));
    }
    Ok(Host::Tcp { host: if host.is_empty() { "localhost" } else { host }.to_owned(), port })
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited(name) => write!(f, "fd://{name}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_as_docker_does() {
        for (text, host) in [
            ("", "unix:///var/run/docker.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("unix:///a/b.sock", "unix:///a/b.sock"),
            ("tcp://", "tcp://localhost:2375"),
            ("tcp://:2376", "tcp://localhost:2376"),
            ("tcp://0.0.0.0", "tcp://0.0.0.0:2375"),
            ("127.0.0.1:4000", "tcp://127.0.0.1:4000"),
            ("tcp://[::1]:4000", "tcp://[::1]:4000"),
            ("tcp://[::]", "tcp://[::]:2375"),
            ("fd://", "fd://*"),
            ("fd://4", "fd://4"),
        ] {
            assert_eq!(Host::parse(text, false).map(|host| host.to_string()), Ok(host.to_owned()), "{text}");
        }
        assert_eq!(Host::parse("", true).unwrap().to_string(), "tcp://localhost:2376");
    }

    #[test]
    fn what_is_no_address_gets_docker_s_words() {
        for (text, why) in [
            ("udp://1.2.3.4", "invalid bind address (udp://1.2.3.4): unsupported proto 'udp'"),
            ("tcp://1.2.3.4:0", "invalid bind address (tcp://1.2.3.4:0): invalid port: 0"),
            ("tcp://a:1/b", "invalid bind address (tcp://a:1/b): should not contain a path element"),
            ("unix://unix://x", "invalid bind address (unix://unix://x): invalid unix address: unix://x"),
        ] {
            assert_eq!(Host::parse(text, false), Err(why.to_owned()));
        }
    }
}
