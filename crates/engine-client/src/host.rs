//! Where the daemon is: `unix:///path`, `tcp://host:port/base`, `ssh://user@host:port/path`, and what of it goes into a
//! request.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;

/// Where Docker's daemon listens when nobody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The same when a TLS connection is asked for.
const DEFAULT_TLS_HOST: &str = "tcp://localhost:2376";

/// In the place of a host that is not named.
const DEFAULT_NAME: &str = "localhost";
/// Plain HTTP when a TCP host names no port.
const DEFAULT_PORT: u16 = 2375;

/// Longest host text that is looked at.
const MAX_HOST: usize = 4096;

/// `Host:` of a request to a socket, which has no name. Docker's client sends this one, and so do we.
const SOCKET_AUTHORITY: &str = "api.moby.localhost";
/// The same for a daemon that another program connects us to.
const PROGRAM_AUTHORITY: &str = "docker.example.com";

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    Tcp {
        /// Name or address, with port.
        authority: String,
        /// What stands before the API's own path, as it was written.
        base: String,
    },
    Ssh(SshHost),
}

/// A daemon on another machine, behind `docker system dial-stdio` there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshHost {
    pub user: String,
    pub name: String,
    pub port: String,
    /// The socket there; empty for the other side's own choice.
    pub path: String,
}

/// Completes what was typed after `-H`: empty text is the default (a TLS one when asked for), a bare `host:port` is TCP,
/// and a missing name or port is Docker's.
pub fn complete(text: &str, tls: bool) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(if tls { DEFAULT_TLS_HOST } else { DEFAULT_HOST }.to_owned());
    }
    if text.len() > MAX_HOST {
        return Err(Error::Host("host is too long".to_owned()));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    match scheme {
        "unix" if rest.is_empty() => Ok(DEFAULT_HOST.to_owned()),
        "unix" | "ssh" | "npipe" | "fd" => Ok(text.to_owned()),
        "tcp" => complete_tcp(rest),
        _ => Err(Error::Host(format!("invalid bind address format: {text}"))),
    }
}

fn complete_tcp(rest: &str) -> Result<String, Error> {
    let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let refused = |reason: String| Error::Host(format!("parse \"tcp://{rest}\": {reason}"));
    if let Some(c) = authority.chars().find(|c| *c == ' ' || *c == '"' || *c == '<' || *c == '>' || c.is_control()) {
        return Err(refused(format!("invalid character {:?} in host name", c.to_string())));
    }
    if authority.ends_with(']') {
        return Err(Error::Host(format!("invalid bind address format: {authority}")));
    }
    let (name, port) = split_port(authority);
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused(format!("invalid port \":{port}\" after host")));
    }
    if name.contains(':') && !name.starts_with('[') {
        return Err(Error::Host(format!("invalid bind address format: {authority}")));
    }
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    let port = if port.is_empty() { DEFAULT_PORT.to_string() } else { port.to_owned() };
    Ok(format!("tcp://{name}:{port}{base}"))
}

impl Host {
    /// From a whole address, as [`complete`] makes it or a context stores it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Host(format!("unable to parse docker host `{text}`"));
        if text.len() > MAX_HOST {
            return Err(Error::Host("host is too long".to_owned()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        if rest.is_empty() && scheme != "ssh" {
            return Err(unknown());
        }
        match scheme {
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" | "http" | "https" => {
                let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                Ok(Self::Tcp { authority: authority.to_owned(), base: base.to_owned() })
            }
            "ssh" => SshHost::parse(rest, text).map(Self::Ssh),
            "npipe" => Err(Error::Host("protocol not available".to_owned())),
            _ => Err(Error::Host(format!("invalid bind address format: {text}"))),
        }
    }

    /// `Host:` of a request.
    pub(crate) fn authority(&self) -> &str {
        match self {
            Self::Unix(_) => SOCKET_AUTHORITY,
            Self::Tcp { authority, .. } => authority,
            Self::Ssh(_) => PROGRAM_AUTHORITY,
        }
    }

    /// What errors name in its place.
    pub(crate) fn shown_authority(&self) -> String {
        match self {
            Self::Unix(path) => crate::request::escape_all(&path.to_string_lossy()),
            Self::Tcp { .. } | Self::Ssh(_) => self.authority().to_owned(),
        }
    }

    pub(crate) fn base(&self) -> &str {
        match self {
            Self::Tcp { base, .. } => base.trim_end_matches('/'),
            Self::Unix(_) | Self::Ssh(_) => "",
        }
    }
}

impl SshHost {
    /// `user@name:port/path`. A password, a query and a fragment have no meaning here.
    fn parse(rest: &str, text: &str) -> Result<Self, Error> {
        let refused =
            |reason: &str| Error::Host(format!("ssh host connection is not valid: invalid SSH URL: {reason}"));
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if let Some(c) = authority.chars().find(|c| *c == ' ' || c.is_control()) {
            return Err(Error::Host(format!("parse {text:?}: invalid character {:?} in host name", c.to_string())));
        }
        let (user, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (name, port) = split_port(authority);
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::Host(format!("parse {text:?}: invalid port \":{port}\" after host")));
        }
        if user.contains(':') {
            return Err(refused("plain-text password is not supported"));
        }
        if name.is_empty() {
            return Err(refused("hostname is empty"));
        }
        if !query.is_empty() {
            return Err(refused(&format!("query parameters are not allowed: {query:?}")));
        }
        if !fragment.is_empty() {
            return Err(refused(&format!("fragments are not allowed: {fragment:?}")));
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        Ok(Self { user: user.to_owned(), name: name.to_owned(), port: port.to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, base } => write!(f, "tcp://{authority}{base}"),
            Self::Ssh(_) => write!(f, "http://{PROGRAM_AUTHORITY}"),
        }
    }
}

/// The port behind a name, an IPv4 address or a bracketed IPv6 address; empty when there is none.
pub(crate) fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (authority, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let host = complete(text, false).and_then(|text| Host::parse(&text));
        host.map_or_else(|error| error.to_string(), |host| host.to_string())
    }

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        assert_eq!(shown(""), DEFAULT_HOST);
        assert_eq!(shown("unix://"), DEFAULT_HOST);
        assert_eq!(shown("unix:///tmp/x.sock"), "unix:///tmp/x.sock");
        assert_eq!(shown("10.0.0.1"), "tcp://10.0.0.1:2375");
        assert_eq!(shown("tcp://"), "tcp://localhost:2375");
        assert_eq!(shown("tcp://x:"), "tcp://x:2375");
        assert_eq!(shown("tcp://[::1]:99/base/"), "tcp://[::1]:99/base/");
        assert_eq!(shown("tcp://:4243"), "tcp://localhost:4243");
        assert_eq!(complete(" ", true).unwrap(), "tcp://localhost:2376");
        assert_eq!(shown("foo://"), "invalid bind address format: foo://");
        assert_eq!(shown("http://127.0.0.1:1"), "invalid bind address format: http://127.0.0.1:1");
        assert_eq!(shown("tcp://a:b"), "parse \"tcp://a:b\": invalid port \":b\" after host");
        assert_eq!(shown("tcp://a b"), "parse \"tcp://a b\": invalid character \" \" in host name");
        assert_eq!(shown("tcp://[::1]"), "invalid bind address format: [::1]");
        assert_eq!(shown("npipe:////./pipe/x"), "protocol not available");
        assert_eq!(shown("fd://"), "unable to parse docker host `fd://`");
    }

    #[test]
    fn ssh_hosts_are_a_user_a_name_a_port_and_a_socket() {
        let read = |text: &str| match Host::parse(text).unwrap() {
            Host::Ssh(ssh) => [ssh.user, ssh.name, ssh.port, ssh.path].join("|"),
            other => other.to_string(),
        };
        assert_eq!(read("ssh://u@h:22/run/x.sock"), "u|h|22|/run/x.sock");
        assert_eq!(read("ssh://[fe80::1]:2"), "|fe80::1|2|");
        let refused = |text: &str| Host::parse(text).unwrap_err().to_string();
        let url = "ssh host connection is not valid: invalid SSH URL:";
        assert_eq!(refused("ssh://"), format!("{url} hostname is empty"));
        assert_eq!(refused("ssh://u:p@h"), format!("{url} plain-text password is not supported"));
        assert_eq!(refused("ssh://h?x=y"), format!("{url} query parameters are not allowed: \"x=y\""));
        assert_eq!(refused("ssh://h#f"), format!("{url} fragments are not allowed: \"f\""));
        assert_eq!(refused("ssh://a b"), "parse \"ssh://a b\": invalid character \" \" in host name");
    }
}
