//! Where a registry is reached: its host, its port, and whether it may be spoken to without verified TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::proxy::Proxies;
use crate::retry::MAX_TRIES;

/// What the daemon's configuration says about registries.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// `host`, `host:port` or a network in CIDR form, as `insecure-registries` has them. Loopback always is.
    pub insecure: Vec<String>,
    /// Folders of certificates by registry: `/etc/docker/certs.d`.
    pub certificates: PathBuf,
    pub user_agent: String,
    /// URLs that are asked before Docker Hub (`https://mirror.lan`), or before another registry
    /// (`quay.io=https://mirror.lan`), in this order.
    pub mirrors: Vec<String>,
    pub proxies: Proxies,
    /// Tries of each download, the first included.
    pub download_attempts: u32,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            certificates: PathBuf::from("/etc/docker/certs.d"),
            user_agent: concat!("docker/28.2.2 longshore/", env!("CARGO_PKG_VERSION")).to_owned(),
            mirrors: Vec::new(),
            proxies: Proxies::from_environment(),
            download_attempts: MAX_TRIES,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Https,
    Http,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// A registry by the name in references, and the address behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// `docker.io`, `localhost:5000`.
    pub domain: String,
    /// The same, or Docker Hub's registry server.
    pub authority: String,
    pub insecure: bool,
    /// The scheme that its URL names.
    pub only: Option<Scheme>,
}

impl Endpoint {
    pub fn of(domain: &str, options: &RegistryOptions) -> Self {
        let authority = if domain == "docker.io" { "registry-1.docker.io" } else { domain }.to_owned();
        Self { domain: domain.to_owned(), authority, insecure: is_insecure(domain, &options.insecure), only: None }
    }

    /// A mirror by its URL; `None` if that is none.
    pub fn mirror(url: &str, options: &RegistryOptions) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.trim_end_matches('/');
        let only = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return None;
        }
        let insecure = only == Scheme::Http || is_insecure(authority, &options.insecure);
        Some(Self { domain: authority.to_owned(), authority: authority.to_owned(), insecure, only: Some(only) })
    }

    /// In the order in which Docker tries them.
    pub fn schemes(&self) -> &'static [Scheme] {
        match self.only {
            Some(Scheme::Https) => return &[Scheme::Https],
            Some(Scheme::Http) => return &[Scheme::Http],
            None => {}
        }
        if self.insecure { &[Scheme::Https, Scheme::Http] } else { &[Scheme::Https] }
    }
}

impl RegistryOptions {
    /// The mirrors of a registry, those that are not written well left out.
    pub(crate) fn mirrors_of(&self, domain: &str) -> Vec<Endpoint> {
        let of = |entry: &String| match entry.split_once('=') {
            Some((registry, url)) if !registry.contains("://") => (registry == domain).then(|| url.to_owned()),
            _ => (domain == "docker.io").then(|| entry.clone()),
        };
        self.mirrors.iter().filter_map(of).filter_map(|url| Endpoint::mirror(&url, self)).collect()
    }
}

/// Loopback needs no TLS, as in Docker: who listens there is this host's own.
fn is_insecure(domain: &str, listed: &[String]) -> bool {
    let host = host_of(domain);
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address: Option<IpAddr> = host.parse().ok();
    if address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    listed.iter().any(|entry| {
        let in_network = || address.is_some_and(|address| contains(entry, address));
        entry == domain || entry == host || in_network()
    })
}

/// The host without its port and without an IPv6 address's brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

pub(crate) fn contains(network: &str, address: IpAddr) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let same =
        |one: u128, other: u128, bits: u32| length <= bits && (length == 0 || (one ^ other) >> (bits - length) == 0);
    let wide = |a: Ipv4Addr| u128::from(u32::from(a));
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => same(wide(base), wide(address), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => same(base.into(), address.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_listed_registries_need_no_tls() {
        let options = RegistryOptions {
            insecure: vec!["10.1.0.0/16".into(), "registry.lan".into(), "other.lan:5000".into(), "fd00::/8".into()],
            ..Default::default()
        };
        for domain in [
            "localhost:5000",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:5000",
            "10.1.2.3:5000",
            "registry.lan:99",
            "other.lan:5000",
            "[fd00::1]",
        ] {
            assert!(Endpoint::of(domain, &options).insecure, "{domain}");
        }
        for domain in ["docker.io", "10.2.0.1", "other.lan:5001", "128.0.0.1", "[fe80::1]", "localhost.example.org"] {
            assert!(!Endpoint::of(domain, &options).insecure, "{domain}");
        }
    }

    #[test]
    fn mirrors_are_docker_hub_s_or_the_registry_s_that_is_named() {
        let mirrors =
            ["https://one.lan/", "http://two.lan:5000", "quay.io=https://three.lan", "ftp://x", "https://a/b"];
        let options = RegistryOptions { mirrors: mirrors.map(str::to_owned).into(), ..Default::default() };
        let found = |domain| options.mirrors_of(domain).into_iter().map(|found| found.authority).collect::<Vec<_>>();
        assert_eq!(found("docker.io"), ["one.lan", "two.lan:5000"]);
        assert_eq!(found("quay.io"), ["three.lan"]);
        assert!(found("gcr.io").is_empty());
        assert_eq!(options.mirrors_of("docker.io")[1].schemes(), [Scheme::Http]);
    }

    #[test]
    fn docker_hub_has_a_server_of_its_own() {
        assert_eq!(Endpoint::of("docker.io", &RegistryOptions::default()).authority, "registry-1.docker.io");
        assert_eq!(Endpoint::of("gcr.io", &RegistryOptions::default()).authority, "gcr.io");
    }
}
