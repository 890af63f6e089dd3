//! The configuration as values.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::hosts::Host;

/// Docker's word for the profile that comes with it.
pub const BUILTIN_PROFILE: &str = "builtin";

/// What the daemon was told, flags and file together. Unset means Docker's default.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    pub allow_direct_routing: Option<bool>,
    pub allow_nondistributable_artifacts: Vec<String>,
    pub api_cors_header: Option<String>,
    pub authorization_plugins: Vec<String>,
    pub bip: Option<String>,
    pub bip6: Option<String>,
    pub bridge: Option<String>,
    pub bridge_accept_fwmark: Option<String>,
    pub builder: Option<serde_json::Value>,
    pub cdi_spec_dirs: Option<Vec<String>>,
    pub cgroup_parent: Option<String>,
    pub containerd: Option<PathBuf>,
    pub containerd_namespace: Option<String>,
    pub containerd_plugins_namespace: Option<String>,
    pub cpu_rt_period: Option<i64>,
    pub cpu_rt_runtime: Option<i64>,
    pub cri_containerd: Option<bool>,
    pub data_root: Option<PathBuf>,
    pub debug: Option<bool>,
    pub default_address_pools: Vec<AddressPool>,
    pub default_cgroupns_mode: Option<String>,
    pub default_gateway: Option<IpAddr>,
    pub default_gateway_v6: Option<IpAddr>,
    pub default_ipc_mode: Option<String>,
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    pub default_runtime: Option<String>,
    #[serde(deserialize_with = "super::bytes::from_json")]
    pub default_shm_size: Option<i64>,
    pub default_ulimits: BTreeMap<String, Ulimit>,
    pub dns: Vec<IpAddr>,
    pub dns_opts: Vec<String>,
    pub dns_search: Vec<String>,
    pub exec_opts: Vec<String>,
    pub exec_root: Option<PathBuf>,
    pub experimental: Option<bool>,
    pub features: BTreeMap<String, bool>,
    pub firewall_backend: Option<String>,
    pub fixed_cidr: Option<String>,
    pub fixed_cidr_v6: Option<String>,
    pub group: Option<String>,
    pub host_gateway_ips: Vec<IpAddr>,
    pub hosts: Vec<String>,
    pub http_proxy: Option<String>,
    pub https_proxy: Option<String>,
    pub icc: Option<bool>,
    #[serde(deserialize_with = "super::bytes::from_json")]
    pub image_store_limit: Option<i64>,
    pub init: Option<bool>,
    pub init_path: Option<PathBuf>,
    pub insecure_registries: Vec<String>,
    pub ip: Option<IpAddr>,
    pub ip_forward: Option<bool>,
    pub ip_forward_no_drop: Option<bool>,
    pub ip_masq: Option<bool>,
    pub ip6tables: Option<bool>,
    pub iptables: Option<bool>,
    pub ipv6: Option<bool>,
    pub labels: Vec<String>,
    pub live_restore: Option<bool>,
    pub log_driver: Option<String>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
    pub log_opts: BTreeMap<String, String>,
    pub max_concurrent_downloads: Option<i64>,
    pub max_concurrent_uploads: Option<i64>,
    pub max_download_attempts: Option<i64>,
    pub metrics_addr: Option<String>,
    pub mtu: Option<i64>,
    pub network_control_plane_mtu: Option<i64>,
    pub network_diagnostic_port: Option<i64>,
    pub no_new_privileges: Option<bool>,
    pub no_proxy: Option<String>,
    pub node_generic_resources: Vec<String>,
    pub pidfile: Option<PathBuf>,
    pub raw_logs: Option<bool>,
    pub registry_mirrors: Vec<String>,
    pub restart: Option<bool>,
    pub rootless: Option<bool>,
    pub runtimes: BTreeMap<String, Runtime>,
    pub seccomp_profile: Option<String>,
    pub selinux_enabled: Option<bool>,
    pub shutdown_timeout: Option<i64>,
    pub storage_driver: Option<String>,
    pub storage_opts: Vec<String>,
    pub swarm_default_advertise_addr: Option<String>,
    pub tls: Option<bool>,
    pub tlscacert: Option<PathBuf>,
    pub tlscert: Option<PathBuf>,
    pub tlskey: Option<PathBuf>,
    pub tlsverify: Option<bool>,
    pub userland_proxy: Option<bool>,
    pub userland_proxy_path: Option<PathBuf>,
    pub userns_remap: Option<String>,
    /// `hosts`, understood; filled in when everything else is known.
    #[serde(skip)]
    pub listen_on: Vec<Host>,
}

/// Where new networks take their addresses.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub struct AddressPool {
    #[serde(alias = "Base")]
    pub base: String,
    #[serde(alias = "Size")]
    pub size: u8,
}

/// A limit that containers get unless they name it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ulimit {
    #[serde(rename = "Name", alias = "name")]
    pub name: String,
    #[serde(rename = "Hard", alias = "hard")]
    pub hard: i64,
    #[serde(rename = "Soft", alias = "soft")]
    pub soft: i64,
}

/// An OCI runtime beside our own.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Runtime {
    pub path: String,
    #[serde(rename = "runtimeArgs")]
    pub args: Vec<String>,
    #[serde(rename = "runtimeType")]
    pub kind: String,
    pub options: Option<serde_json::Value>,
}

impl Config {
    pub fn debug(&self) -> bool {
        self.debug.unwrap_or_default()
    }

    /// Containers outlive the daemon unless the configuration says otherwise: docs/decisions/live-restore.md.
    pub fn live_restore(&self) -> bool {
        self.live_restore.unwrap_or(true)
    }

    pub fn experimental(&self) -> bool {
        self.experimental.unwrap_or_default()
    }

    /// `builtin`, `unconfined` or a path.
    pub fn seccomp_profile(&self) -> &str {
        self.seccomp_profile.as_deref().filter(|profile| !profile.is_empty()).unwrap_or(BUILTIN_PROFILE)
    }

    /// Docker's rule: who says anything of tlsverify has TLS, and TLS verifies unless told not to.
    pub fn tls(&self) -> bool {
        self.tlsverify.is_some() || self.tls.unwrap_or_default()
    }

    pub fn tls_verify(&self) -> bool {
        self.tls() && self.tlsverify.unwrap_or(true)
    }

    /// Whether somebody said in as many words that TCP needs no client certificates.
    pub fn is_tls_settled(&self) -> bool {
        self.tls.is_some() || self.tlsverify.is_some()
    }

    /// Empty where the devices of CDI are switched off.
    pub fn cdi_folders(&self) -> Vec<PathBuf> {
        if self.features.get("cdi") == Some(&false) {
            return Vec::new();
        }
        match self.cdi_spec_dirs.as_deref() {
            None => vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            Some(folders) => folders.iter().filter(|folder| !folder.is_empty()).map(PathBuf::from).collect(),
        }
    }
}
