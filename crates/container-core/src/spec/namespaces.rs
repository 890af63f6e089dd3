//! Namespaces of a container: its own, the host's, or another's by path (namespaces(7)).

use std::collections::BTreeMap;

use crate::config::HostConfig;
use crate::error::ConfigError;
use crate::oci;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Join {
    /// A new one, made by the runtime.
    #[default]
    Own,
    Host,
    /// One that exists.
    Path(String),
}

/// The mount namespace is always the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub network: Join,
    pub ipc: Join,
    pub pid: Join,
    pub uts: Join,
    pub cgroup: Join,
    /// The network namespace is this container's and not another's, whoever made it.
    pub network_is_own: bool,
}

impl Namespaces {
    /// In the order of Docker's specification.
    pub(super) fn listed(&self) -> Vec<oci::Namespace> {
        let mount = Join::Own;
        let all = [
            ("mount", &mount),
            ("network", &self.network),
            ("uts", &self.uts),
            ("pid", &self.pid),
            ("ipc", &self.ipc),
            ("cgroup", &self.cgroup),
        ];
        all.into_iter()
            .filter_map(|(kind, join)| match join {
                Join::Own => Some(oci::Namespace { kind, path: String::new() }),
                Join::Path(path) => Some(oci::Namespace { kind, path: path.clone() }),
                Join::Host => None,
            })
            .collect()
    }
}

/// Words that are no modes, and modes that this engine does not build yet.
pub fn check_modes(host: &HostConfig) -> Result<(), ConfigError> {
    let wrong = |namespace: &'static str, mode: &str| ConfigError::NamespaceMode { namespace, mode: mode.to_owned() };
    match host.ipc_mode.as_str() {
        "" | "private" | "host" | "none" => {}
        "shareable" => return Err(ConfigError::NotBuilt("--ipc shareable".to_owned())),
        mode if mode.starts_with("container:") => return Err(ConfigError::NotBuilt(format!("--ipc {mode}"))),
        mode => return Err(wrong("IPC", mode)),
    }
    match host.pid_mode.as_str() {
        "" | "private" | "host" => {}
        mode if mode.strip_prefix("container:").is_some_and(|id| !id.is_empty()) => {}
        mode => return Err(wrong("PID", mode)),
    }
    match host.cgroupns_mode.as_str() {
        "" | "private" | "host" => {}
        mode => return Err(wrong("cgroup namespace", mode)),
    }
    // The daemon maps no users, so that the host's namespace is what a container gets anyway.
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(wrong("USER", &host.userns_mode));
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return Err(wrong("UTS", &host.uts_mode));
    }
    Ok(())
}

/// Docker's two network settings in a namespace of the container's own, then the user's: ping without CAP_NET_RAW, and
/// ports below 1024 without CAP_NET_BIND_SERVICE.
pub(super) fn sysctls(namespaces: &Namespaces, host: &HostConfig) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if namespaces.network_is_own {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    }
    sysctls.extend(host.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())));
    sysctls
}
