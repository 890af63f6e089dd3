//! Where the daemon is: `unix:///path`, `tcp://host:port`, and what of it goes into a request.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;

/// Where Docker's daemon listens when nobody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Plain HTTP when a TCP host names no port.
const DEFAULT_PORT: u16 = 2375;

/// Longest host text that is looked at.
const MAX_HOST: usize = 4096;

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    Tcp {
        /// Name or address, with port.
        authority: String,
        /// What stands before the API's own path, without a slash at its end.
        base: String,
    },
}

impl Host {
    /// From `DOCKER_HOST` or `-H`. A bare `host:port` is TCP, empty text the default.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Self::parse(DEFAULT_HOST);
        }
        if text.len() > MAX_HOST {
            return Err(Error::Host("host is too long".to_owned()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Self::parse(DEFAULT_HOST),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" | "http" => Self::parse_tcp(rest, text),
            _ => Err(Error::Host(format!("invalid bind address format: {text}"))),
        }
    }

    fn parse_tcp(rest: &str, text: &str) -> Result<Self, Error> {
        let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (name, port) = split_port(authority);
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| Error::Host(format!("invalid bind address format: {text}")))?,
        };
        let name = if name.is_empty() { "127.0.0.1" } else { name };
        Ok(Self::Tcp { authority: format!("{name}:{port}"), base: base.trim_end_matches('/').to_owned() })
    }

    /// `Host:` of a request. A socket has no name; Docker's client sends this one, and so do we.
    pub(crate) fn authority(&self) -> &str {
        match self {
            Self::Unix(_) => "api.moby.localhost",
            Self::Tcp { authority, .. } => authority,
        }
    }

    pub(crate) fn base(&self) -> &str {
        match self {
            Self::Unix(_) => "",
            Self::Tcp { base, .. } => base,
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Self::Tcp { authority, .. } => {
                let stream = TcpStream::connect(authority.as_str()).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, base } => write!(f, "tcp://{authority}{base}"),
        }
    }
}

/// The port behind a name, an IPv4 address or a bracketed IPv6 address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        let shown = |text: &str| Host::parse(text).map(|host| host.to_string()).map_err(|error| error.to_string());
        assert_eq!(shown("").unwrap(), DEFAULT_HOST);
        assert_eq!(shown("unix://").unwrap(), DEFAULT_HOST);
        assert_eq!(shown("unix:///tmp/x.sock").unwrap(), "unix:///tmp/x.sock");
        assert_eq!(shown("tcp://10.0.0.1").unwrap(), "tcp://10.0.0.1:2375");
        assert_eq!(shown("tcp://[::1]:99/base/").unwrap(), "tcp://[::1]:99/base");
        assert_eq!(shown("tcp://[::1]").unwrap(), "tcp://[::1]:2375");
        assert_eq!(shown("tcp://:4243").unwrap(), "tcp://127.0.0.1:4243");
        assert_eq!(shown("foo://").unwrap_err(), "invalid bind address format: foo://");
        assert!(shown("tcp://host:port").is_err());
    }
}
