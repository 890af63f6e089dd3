//! Proxies between us and a registry, chosen as Go's programs choose them (golang.org/x/net/http/httpproxy).

use std::net::IpAddr;

use base64::Engine;
use http::Uri;

use crate::credentials::Secret;
use crate::endpoint::{contains, host_of};

/// What is reached through which proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// URL of the proxy for http; none if empty.
    pub http: String,
    /// The same for https.
    pub https: String,
    /// Hosts that are reached directly, with commas between: names with their subdomains, addresses, networks, `*`.
    pub none: String,
}

/// A proxy that is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub kind: ProxyKind,
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    /// The same over TLS.
    Https,
    Socks5,
}

/// Who we are to a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub user: String,
    pub password: Secret,
}

impl Login {
    /// The value of Proxy-Authorization.
    pub fn basic(&self) -> Secret {
        let pair = format!("{}:{}", self.user, self.password.reveal());
        Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }
}

impl Proxies {
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, or the same in lower case.
    pub fn from_environment() -> Self {
        let read = |name: &str| {
            let found = std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase()));
            found.unwrap_or_default()
        };
        Self { http: read("HTTP_PROXY"), https: read("HTTPS_PROXY"), none: read("NO_PROXY") }
    }

    /// The proxy on the way to this host; an error if its URL says nothing.
    pub(crate) fn towards(&self, secure: bool, host: &str, port: u16) -> Result<Option<Proxy>, String> {
        let url = if secure { &self.https } else { &self.http };
        if url.is_empty() || self.is_direct(host, port) {
            return Ok(None);
        }
        parse(url).map(Some)
    }

    fn is_direct(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        if host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.none.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            if entry == "*" {
                return true;
            }
            if let Some(address) = address
                && (contains(entry, address) || entry.parse() == Ok(address))
            {
                return true;
            }
            let (name, wanted) = match entry.rsplit_once(':') {
                Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
                _ => (entry, None),
            };
            let name = name.trim_start_matches('*').to_ascii_lowercase();
            let host = host.to_ascii_lowercase();
            let matches = match name.strip_prefix('.') {
                Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
                None => host == name || host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.')),
            };
            matches && wanted.is_none_or(|wanted| wanted == port)
        })
    }
}

fn parse(url: &str) -> Result<Proxy, String> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    // Never the URL itself: it may have a password.
    let invalid = || "invalid proxy URL".to_owned();
    let uri: Uri = whole.parse().map_err(|_| invalid())?;
    let (kind, default_port) = match uri.scheme_str() {
        Some("http") => (ProxyKind::Http, 80),
        Some("https") => (ProxyKind::Https, 443),
        // Go's programs let the proxy look names up by either.
        Some("socks5" | "socks5h") => (ProxyKind::Socks5, 1080),
        Some(other) => return Err(format!("unsupported proxy scheme {other:?}")),
        None => return Err(invalid()),
    };
    let authority = uri.authority().ok_or_else(invalid)?.as_str();
    let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let login = user.map(|user| {
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        Login { user: decode(user), password: Secret::new(decode(password)) }
    });
    let host = host_of(place).to_owned();
    if host.is_empty() {
        return Err(invalid());
    }
    Ok(Proxy { kind, host, port: uri.port_u16().unwrap_or(default_port), login })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_on_the_list_and_loopback_are_reached_directly() {
        let proxies = Proxies {
            https: "http://user:p%40ss@proxy.lan:3128".into(),
            none: "internal.lan, .sub.example, 10.0.0.0/8,one.example:5000, fd00::1".into(),
            ..Proxies::default()
        };
        for direct in
            ["internal.lan", "a.internal.lan", "x.sub.example", "10.1.2.3", "localhost", "127.0.0.1", "fd00::1"]
        {
            assert_eq!(proxies.towards(true, direct, 443).unwrap(), None, "{direct}");
        }
        assert_eq!(proxies.towards(true, "one.example", 5000).unwrap(), None);
        for through in ["one.example", "sub.example", "notinternal.lan", "11.0.0.1", "docker.io"] {
            assert!(proxies.towards(true, through, 443).unwrap().is_some(), "{through}");
        }
        assert_eq!(proxies.towards(false, "docker.io", 80).unwrap(), None, "no proxy for http");
        let proxy = proxies.towards(true, "docker.io", 443).unwrap().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port, proxy.kind), ("proxy.lan", 3128, ProxyKind::Http));
        assert_eq!(proxy.login.map(|login| login.basic()), Some(Secret::new("Basic dXNlcjpwQHNz")));
    }

    #[test]
    fn a_proxy_is_what_the_scheme_of_its_url_says() {
        for (url, kind, port) in [
            ("proxy.lan", ProxyKind::Http, 80),
            ("https://proxy.lan", ProxyKind::Https, 443),
            ("socks5://proxy.lan", ProxyKind::Socks5, 1080),
            ("socks5h://proxy.lan:9050", ProxyKind::Socks5, 9050),
        ] {
            let proxies = Proxies { https: url.into(), ..Proxies::default() };
            let proxy = proxies.towards(true, "reg.lan", 443).unwrap().unwrap();
            assert_eq!((proxy.kind, proxy.port, proxy.login), (kind, port, None), "{url}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_its_password() {
        for url in ["socks4://me:secret@proxy", "http://", "http://me:secret@ x"] {
            let proxies = Proxies { http: url.into(), ..Proxies::default() };
            let error = proxies.towards(false, "reg.lan", 80).unwrap_err();
            assert!(error.contains("proxy") && !error.contains("secret"), "{error}");
        }
        let everything = Proxies { http: "proxy".into(), none: "*".into(), ..Proxies::default() };
        assert_eq!(everything.towards(false, "reg.lan", 80).unwrap(), None);
    }
}
