//! Names of links, tables and namespace files, derived from ids and from the hash of a daemon's roots.

/// `IFNAMSIZ` less its terminator.
pub const MAX_INTERFACE_NAME: usize = 15;

/// The default bridge: `docker0`, or of another daemon on the same host one with the hash of its roots.
pub fn default_bridge(roots_hash: Option<&str>) -> String {
    match roots_hash {
        None => "docker0".to_owned(),
        Some(hash) => format!("br-{}", head(hash, 12)),
    }
}

/// The bridge of a user-defined network, as Docker names it.
pub fn network_bridge(network_id: &str) -> String {
    format!("br-{}", head(network_id, 12))
}

/// The host's end of an endpoint's veth pair.
pub fn host_link(endpoint_id: &str) -> String {
    format!("veth{}", head(endpoint_id, 8))
}

/// The daemon's nftables table.
pub fn table(roots_hash: Option<&str>) -> String {
    match roots_hash {
        None => "longshore".to_owned(),
        Some(hash) => format!("longshore-{}", head(hash, 12)),
    }
}

/// The file of a container's network namespace: the first twelve digits, as in Docker.
pub fn sandbox_file(container_id: &str) -> &str {
    head(container_id, 12)
}

fn head(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_name_fits_the_kernel() {
        let id = "0123456789abcdef".repeat(4);
        for name in [default_bridge(None), default_bridge(Some(&id)), network_bridge(&id), host_link(&id)] {
            assert!(name.len() <= MAX_INTERFACE_NAME, "{name}");
        }
    }
}
