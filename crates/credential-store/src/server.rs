//! Which keys mean the same registry.
//!
//! Docker asks for Docker Hub by `https://index.docker.io/v1/` and for others by `host:port`; podman and skopeo ask by
//! `docker.io`, by `host:port`, and by `host:port/path` for credentials of a part of a registry.

const HUB: &str = "docker.io";
const HUB_NAMES: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// `host:port` or `host:port/path` of a key, which may be a URL of the registry's API; of Docker Hub's names always the same.
pub fn canonical(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let host = host.to_ascii_lowercase();
    let host = if HUB_NAMES.contains(&host.as_str()) { HUB } else { &host };
    match path.trim_end_matches('/') {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

/// The key itself, then what it lies in, up to its host.
pub fn scopes(canonical: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(canonical), |scope| scope.rsplit_once('/').map(|(outer, _)| outer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_the_same_by_all_its_names() {
        for (key, expected) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("R.example:5000", "r.example:5000"),
            ("http://r.example:5000/v2/", "r.example:5000"),
            ("https://r.example", "r.example"),
            ("r.example/Team/app", "r.example/Team/app"),
            ("docker.io.evil.example", "docker.io.evil.example"),
        ] {
            assert_eq!(canonical(key), expected, "{key}");
        }
        assert_eq!(scopes("r/a/b").collect::<Vec<_>>(), ["r/a/b", "r/a", "r"]);
    }
}
