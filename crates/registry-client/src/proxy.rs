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
    pub host: String,
    pub port: u16,
    /// Whether it is spoken to over TLS.
    pub secure: bool,
    /// The value of Proxy-Authorization.
    pub authorization: Option<Secret>,
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
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(other) => return Err(format!("unsupported proxy scheme {other:?}")),
        None => return Err(invalid()),
    };
    let authority = uri.authority().ok_or_else(invalid)?.as_str();
    let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let authorization = user.map(|user| {
        let decoded = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
        let pair = if decoded.contains(':') { decoded.into_owned() } else { format!("{decoded}:") };
        Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    });
    let host = host_of(place).to_owned();
    if host.is_empty() {
        return Err(invalid());
    }
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok(Proxy { host, port, secure, authorization })
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
        assert_eq!((proxy.host.as_str(), proxy.port, proxy.secure), ("proxy.lan", 3128, false));
        assert_eq!(proxy.authorization, Some(Secret::new("Basic dXNlcjpwQHNz")));
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_its_password() {
        for url in ["socks5://me:secret@proxy", "http://", "http://me:secret@ x"] {
            let proxies = Proxies { http: url.into(), ..Proxies::default() };
            let error = proxies.towards(false, "reg.lan", 80).unwrap_err();
            assert!(error.contains("proxy") && !error.contains("secret"), "{error}");
        }
        let everything = Proxies { http: "proxy".into(), none: "*".into(), ..Proxies::default() };
        assert_eq!(everything.towards(false, "reg.lan", 80).unwrap(), None);
    }
}
