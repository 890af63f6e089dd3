//! Which token servers are a registry's own: only they receive the credentials that were given for it (CVE-2026-33540,
//! CVE-2020-15157). A registry that was taken over, or a mirror, could name any other.

use std::fs;
use std::path::Path;

use crate::endpoint::{Endpoint, host_of};

/// In a registry's folder of certificates: further token servers, one host a line.
pub(crate) const LIST: &str = "token-servers";
const MAX_LIST_BYTES: u64 = 64 << 10;

/// Whether the realm is on the registry's host, or under the domain that the registry's host is in itself.
pub(crate) fn is_own(realm: &str, registry: &str) -> bool {
    let Some((realm, registry)) = host_in(realm).zip(Some(host_of(registry).to_ascii_lowercase())) else {
        return false;
    };
    if realm == registry {
        return true;
    }
    let is_address = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
    if is_address(&realm) || is_address(&registry) {
        return false;
    }
    // registry-1.docker.io and auth.docker.io; registry.gitlab.com and gitlab.com.
    let parent = registry.split_once('.').map_or("", |(_, parent)| parent);
    let below = |host: &str, domain: &str| {
        is_domain(domain) && (host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
    };
    below(&realm, parent) || below(&realm, &registry)
}

/// Whether the host's owner has listed it in the registry's folder.
pub(crate) fn is_listed(realm: &str, certificates: &Path, endpoint: &Endpoint) -> bool {
    let path = certificates.join(&endpoint.domain).join(LIST);
    let small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_LIST_BYTES);
    let Some(text) = small.then(|| fs::read_to_string(&path).ok()).flatten() else { return false };
    let Some(host) = host_in(realm) else { return false };
    text.lines().map(str::trim).any(|line| line.eq_ignore_ascii_case(&host))
}

pub(crate) fn host_in(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    // `user@host` is no host.
    (!authority.contains('@') && !authority.is_empty()).then(|| host_of(authority).to_ascii_lowercase())
}

/// What somebody can own: at least two labels, and not a suffix under which anybody registers.
fn is_domain(domain: &str) -> bool {
    const SHARED: &[&str] = &[
        "co.uk",
        "org.uk",
        "com.au",
        "co.jp",
        "com.br",
        "co.nz",
        "com.cn",
        "co.in",
        "co.za",
        "com.tr",
        "co.kr",
        "github.io",
        "gitlab.io",
        "azurecr.io",
        "amazonaws.com",
        "azurewebsites.net",
        "cloudfront.net",
        "run.app",
        "web.app",
        "appspot.com",
        "herokuapp.com",
        "fly.dev",
        "pages.dev",
        "workers.dev",
        "vercel.app",
        "netlify.app",
        "ngrok.io",
        "ngrok.app",
        "onrender.com",
        "jfrog.io",
    ];
    domain.split('.').filter(|label| !label.is_empty()).count() >= 2 && !SHARED.contains(&domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_server_is_at_home_on_the_registry_s_host_or_in_its_domain() {
        for (realm, registry) in [
            ("https://auth.docker.io/token", "registry-1.docker.io"),
            ("https://gitlab.com/jwt/auth", "registry.gitlab.com"),
            ("https://ghcr.io/token", "ghcr.io"),
            ("http://127.0.0.1:5001/token", "127.0.0.1:5000"),
            ("https://REG.lan:5001/x", "reg.lan"),
            ("https://auth.reg.example.org", "reg.example.org:5000"),
        ] {
            assert!(is_own(realm, registry), "{realm} {registry}");
        }
        for (realm, registry) in [
            ("https://evil.example/token", "registry-1.docker.io"),
            ("https://docker.io.evil.example/", "registry-1.docker.io"),
            ("https://auth.docker.io@evil.example/", "registry-1.docker.io"),
            ("https://evil.azurecr.io/", "mine.azurecr.io"),
            ("https://io/", "ghcr.io"),
            ("https://x.io/", "ghcr.io"),
            ("https://10.0.0.2/", "10.0.0.1:5000"),
            ("https://other/", "registry"),
            ("nonsense", "registry"),
        ] {
            assert!(!is_own(realm, registry), "{realm} {registry}");
        }
    }

    #[test]
    fn a_host_on_the_list_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::of("reg.lan:5000", &crate::RegistryOptions::default());
        std::fs::create_dir(folder.path().join("reg.lan:5000")).unwrap();
        std::fs::write(folder.path().join("reg.lan:5000").join(LIST), "sso.example\n").unwrap();
        assert!(is_listed("https://sso.example/token", folder.path(), &endpoint));
        assert!(!is_listed("https://evil.example/token", folder.path(), &endpoint));
    }
}
