//! Where a registry is reached: its host, its port, and whether it may be spoken to without verified TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// What the daemon's configuration says about registries.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// `host`, `host:port` or a network in CIDR form, as `insecure-registries` has them. Loopback always is.
    pub insecure: Vec<String>,
    /// Folders of certificates by registry: `/etc/docker/certs.d`.
    pub certificates: PathBuf,
    pub user_agent: String,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            certificates: PathBuf::from("/etc/docker/certs.d"),
            user_agent: concat!("docker/28.2.2 longshore/", env!("CARGO_PKG_VERSION")).to_owned(),
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
}

impl Endpoint {
    pub fn of(domain: &str, options: &RegistryOptions) -> Self {
        let authority = if domain == "docker.io" { "registry-1.docker.io" } else { domain }.to_owned();
        Self { domain: domain.to_owned(), authority, insecure: is_insecure(domain, &options.insecure) }
    }

    /// In the order in which Docker tries them.
    pub fn schemes(&self) -> &'static [Scheme] {
        if self.insecure { &[Scheme::Https, Scheme::Http] } else { &[Scheme::Https] }
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

fn contains(network: &str, address: IpAddr) -> bool {
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
    fn docker_hub_has_a_server_of_its_own() {
        assert_eq!(Endpoint::of("docker.io", &RegistryOptions::default()).authority, "registry-1.docker.io");
        assert_eq!(Endpoint::of("gcr.io", &RegistryOptions::default()).authority, "gcr.io");
    }
}
