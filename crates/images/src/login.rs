//! Whether a registry knows somebody.

use registry_client::{Credentials, Secret};

use crate::error::ImagesError;
use crate::service::Images;

/// What clients call Docker Hub, by its first address.
const HUB: [&str; 4] = ["", "index.docker.io", "docker.io", "registry-1.docker.io"];

impl Images {
    /// Asks the registry at this address: a host with or without a scheme and a path; empty is Docker Hub.
    /// Answers the token to come back with, where the registry has given one.
    pub async fn login(&self, server: &str, credentials: Credentials) -> Result<Option<Secret>, ImagesError> {
        Ok(self.shared.registries.login(&domain(server), credentials).await?)
    }
}

fn domain(server: &str) -> String {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    if HUB.contains(&host) { "docker.io".to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_registries_come_in_many_shapes() {
        for (server, expected) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry.lan:5000", "registry.lan:5000"),
            ("http://registry.lan/v2/", "registry.lan"),
        ] {
            assert_eq!(domain(server), expected);
        }
    }
}
