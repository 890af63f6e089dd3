//! Where this daemon's networks live and how the default ones look.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use network_core::{Pool, Subnet, names, pool};
use plugin_client::Plugins;

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
    /// Options of new networks that do not set them, by driver (`--default-network-opt`).
    pub default_options: BTreeMap<String, BTreeMap<String, String>>,
    pub firewall: FirewallConfig,
    /// Where network and IPAM plugins are found.
    pub plugins: Plugins,
    pub host_resolv_conf: PathBuf,
    pub host_hosts: PathBuf,
}

/// The default bridge network.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// `--bridge`; `none`: there is no default network.
    pub name: Option<String>,
    /// Address of the bridge and subnet (`--bip`, `--bip6`).
    pub address: Option<(IpAddr, Subnet)>,
    pub address6: Option<(IpAddr, Subnet)>,
    /// Where containers get their addresses from (`--fixed-cidr`, `--fixed-cidr-v6`).
    pub range: Option<Subnet>,
    pub range6: Option<Subnet>,
    /// What containers have for a gateway instead of the bridge (`--default-gateway`, `--default-gateway-v6`).
    pub gateway: Option<IpAddr>,
    pub gateway6: Option<IpAddr>,
    pub enable_ipv6: bool,
    pub mtu: u32,
    pub talks_inside: bool,
    pub masquerades: bool,
    /// Host address of ports that are published without one (`--ip`).
    pub host_binding: Option<IpAddr>,
}

/// What the daemon may do to the host's packet filter.
#[derive(Debug, Clone, Copy)]
pub struct FirewallConfig {
    /// `--iptables`, `--ip6tables`: without, the family has no rules of ours.
    pub ipv4: bool,
    pub ipv6: bool,
    /// `--ip-forward`: switch forwarding on.
    pub forwards: bool,
    /// `--allow-direct-routing`: published ports are reached at the containers' addresses, too.
    pub direct_routing: bool,
    /// `"firewall-backend": "iptables"`: Docker's chains in the tables of iptables, too.
    pub docker_chains: bool,
    /// `--bridge-accept-fwmark`: packets with this mark may enter every bridge.
    pub accept_mark: Option<Mark>,
}

/// A packet's mark, the bits of the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub value: u32,
    pub mask: u32,
}

impl std::str::FromStr for Mark {
    type Err = String;

    /// `0x1` or `1/3`: value and mask, each decimal or hexadecimal.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let (value, mask) = match text.split_once('/') {
            Some((value, mask)) => (number(value), number(mask)),
            None => (number(text), Ok(u32::MAX)),
        };
        match (value, mask) {
            (Ok(value), Ok(mask)) => Ok(Self { value: value & mask, mask }),
            _ => Err(format!("invalid firewall mark {:?}: expected MARK or MARK/MASK", short(text))),
        }
    }
}

fn short(text: &str) -> &str {
    text.get(..64).unwrap_or(text)
}

impl Default for FirewallConfig {
    fn default() -> Self {
        Self { ipv4: true, ipv6: true, forwards: true, direct_routing: false, docker_chains: false, accept_mark: None }
    }
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            name: None,
            address: None,
            address6: None,
            range: None,
            range6: None,
            gateway: None,
            gateway6: None,
            enable_ipv6: false,
            mtu: 1500,
            talks_inside: true,
            masquerades: true,
            host_binding: None,
        }
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
            default_options: BTreeMap::new(),
            firewall: FirewallConfig::default(),
            plugins: Plugins::default(),
            host_resolv_conf: "/etc/resolv.conf".into(),
            host_hosts: "/etc/hosts".into(),
        }
    }

    /// Configured pools of a family; of IPv4 Docker's ranges where none are configured at all.
    pub(crate) fn pools(&self, is_ipv4: bool) -> Vec<Pool> {
        let configured: Vec<Pool> = self.pools.iter().filter(|pool| pool.base.is_ipv4() == is_ipv4).copied().collect();
        if configured.is_empty() && is_ipv4 { pool::default_ipv4() } else { configured }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_number_and_perhaps_a_mask() {
        assert_eq!("1".parse(), Ok(Mark { value: 1, mask: u32::MAX }));
        assert_eq!("0x11/0x10".parse(), Ok(Mark { value: 0x10, mask: 0x10 }));
        for text in ["", "x", "1/", "-1", "0x"] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }
}
