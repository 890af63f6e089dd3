//! Where this daemon's networks live and how the default ones look.

use std::net::IpAddr;
use std::path::PathBuf;

use network_core::{Pool, Subnet, names, pool};

#[derive(Debug, Clone)]
pub struct Config {
    /// Namespaces are mounted under `netns` below it.
    pub exec_root: PathBuf,
    /// Tells this daemon's bridge and table from others on the host; none for the default roots.
    pub roots_hash: Option<String>,
    pub netd_socket: PathBuf,
    /// Started when its socket does not answer; none where somebody else sees to that.
    pub netd_program: Option<PathBuf>,
    pub bridge: BridgeConfig,
    /// Where networks without a subnet get theirs from; empty: Docker's ranges.
    pub pools: Vec<Pool>,
    pub host_resolv_conf: PathBuf,
    pub host_hosts: PathBuf,
}

/// The default bridge network (`--bip`, `--bridge`, `--mtu`, `--icc`, `--ip-masq`).
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    pub name: Option<String>,
    /// Gateway address and subnet.
    pub address: Option<(IpAddr, Subnet)>,
    pub mtu: u32,
    pub talks_inside: bool,
    pub masquerades: bool,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self { name: None, address: None, mtu: 1500, talks_inside: true, masquerades: true }
    }
}

impl Config {
    /// Docker's defaults below an execution root.
    pub fn new(exec_root: PathBuf, roots_hash: Option<String>) -> Self {
        Self {
            netd_socket: exec_root.join("netd.sock"),
            exec_root,
            roots_hash,
            netd_program: None,
            bridge: BridgeConfig::default(),
            pools: Vec::new(),
            host_resolv_conf: "/etc/resolv.conf".into(),
            host_hosts: "/etc/hosts".into(),
        }
    }

    pub(crate) fn pools(&self) -> Vec<Pool> {
        if self.pools.is_empty() { pool::default_ipv4() } else { self.pools.clone() }
    }

    pub(crate) fn netns_folder(&self) -> PathBuf {
        self.exec_root.join("netns")
    }

    pub(crate) fn default_bridge(&self) -> String {
        self.bridge.name.clone().unwrap_or_else(|| names::default_bridge(self.roots_hash.as_deref()))
    }

    pub(crate) fn table(&self) -> String {
        names::table(self.roots_hash.as_deref())
    }
}
