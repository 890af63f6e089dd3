//! Namespaces of a container: its own, the host's, or another's by path (namespaces(7)).

use std::collections::BTreeMap;

use super::{Host, Remap};
use crate::config::{Config, HostConfig};
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
    pub user: UserNamespace,
}

/// Whose users a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UserNamespace {
    #[default]
    Host,
    /// One that exists, with these mappings: older runtimes want them told, too.
    Mapped { path: String, remap: Remap },
}

impl Namespaces {
    pub(super) fn mappings(&self) -> (Vec<oci::IdMapping>, Vec<oci::IdMapping>) {
        match &self.user {
            UserNamespace::Mapped { remap, .. } => (remap.uids.clone(), remap.gids.clone()),
            UserNamespace::Host => (Vec::new(), Vec::new()),
        }
    }

    /// In the order of Docker's specification.
    pub(super) fn listed(&self) -> Vec<oci::Namespace> {
        let mount = Join::Own;
        let user = match &self.user {
            UserNamespace::Host => Join::Host,
            UserNamespace::Mapped { path, .. } => Join::Path(path.clone()),
        };
        let all = [
            ("mount", &mount),
            ("network", &self.network),
            ("uts", &self.uts),
            ("pid", &self.pid),
            ("ipc", &self.ipc),
            ("user", &user),
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

/// Words that are no modes, and what a remapping daemon cannot share with the host.
pub fn check_modes(host_config: &HostConfig, host: &Host) -> Result<(), ConfigError> {
    let wrong =
        |namespace: &'static str, mode: &str| Err(ConfigError::NamespaceMode { namespace, mode: mode.to_owned() });
    let of_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|id| !id.is_empty());
    match host_config.ipc_mode.as_str() {
        "" | "private" | "host" | "none" | "shareable" => {}
        mode if of_container(mode) => {}
        mode => return wrong("IPC", mode),
    }
    match host_config.pid_mode.as_str() {
        "" | "private" | "host" => {}
        mode if of_container(mode) => {}
        mode => return wrong("PID", mode),
    }
    if !matches!(host_config.cgroupns_mode.as_str(), "" | "private" | "host") {
        return wrong("cgroup namespace", &host_config.cgroupns_mode);
    }
    if !matches!(host_config.userns_mode.as_str(), "" | "host") {
        return wrong("USER", &host_config.userns_mode);
    }
    if !matches!(host_config.uts_mode.as_str(), "" | "host") {
        return wrong("UTS", &host_config.uts_mode);
    }
    if host.remap.is_none() || host_config.userns_mode == "host" {
        return Ok(());
    }
    let refuse = |message: &str| Err(ConfigError::Value(message.to_owned()));
    if host_config.privileged {
        return refuse(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when \
             running privileged mode",
        );
    }
    if host_config.network_mode == "host" {
        return refuse("cannot share the host's network namespace when user namespaces are enabled");
    }
    if host_config.pid_mode == "host" {
        return refuse("cannot share the host PID namespace when user namespaces are enabled");
    }
    Ok(())
}

/// Docker's two network settings in a namespace of the container's own, then the user's: ping without CAP_NET_RAW, and
/// ports below 1024 without CAP_NET_BIND_SERVICE.
pub(super) fn sysctls(namespaces: &Namespaces, config: &Config, host: &HostConfig) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if namespaces.uts == Join::Own && !config.domainname.is_empty() {
        // Older runtimes do not know the member of the specification.
        sysctls.insert("kernel.domainname".to_owned(), config.domainname.clone());
    }
    if namespaces.network_is_own {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        // Groups of a user namespace do not reach that far (icmp(7)).
        if namespaces.user == UserNamespace::Host {
            sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
        }
    }
    sysctls.extend(host.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())));
    sysctls
}
