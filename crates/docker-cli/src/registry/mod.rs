//! `docker login` and `docker logout`: who we are at a registry.

pub mod login;
pub mod logout;
mod note;
mod web_login;

use crate::config::HUB_KEY;

/// Docker Hub's short name.
const HUB_NAME: &str = "docker.io";

/// The key under which credentials of a server are stored: a bare host, or Docker Hub's.
fn key_of(server: &str) -> String {
    if server.is_empty() || server == HUB_NAME || server == HUB_KEY {
        return HUB_KEY.to_owned();
    }
    let bare = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    bare.split('/').next().unwrap_or(bare).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_kept_by_host() {
        assert_eq!(key_of(""), HUB_KEY);
        assert_eq!(key_of("docker.io"), HUB_KEY);
        assert_eq!(key_of("https://r.example:5000/v2/"), "r.example:5000");
        assert_eq!(key_of("r.example/x"), "r.example");
    }
}
