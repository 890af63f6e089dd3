//! Checks of a wanted container before anything is written, with Docker's words; and the warnings that come with success.

use crate::capabilities::capabilities_of;
use crate::config::{Config, HostConfig, Resources};
use crate::error::ConfigError;
use crate::restart::RestartPolicy;
use crate::signal::parse_signal;
use crate::spec::{Host, SecurityOptions, namespaces};

/// Docker's smallest memory limit.
const SMALLEST_MEMORY: i64 = 6 * 1024 * 1024;

/// Where a container's network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode<'a> {
    Host,
    None,
    Container(&'a str),
    /// A network by name or id; `default` and empty are the one named `bridge`.
    Network(&'a str),
}

impl<'a> NetworkMode<'a> {
    pub fn parse(mode: &'a str) -> Self {
        match mode {
            "" | "default" | "bridge" => Self::Network("bridge"),
            "host" => Self::Host,
            "none" => Self::None,
            _ => mode.strip_prefix("container:").map_or(Self::Network(mode), Self::Container),
        }
    }
}

/// Checks a configuration (image merged in); answers warnings.
pub fn validate(config: &Config, host_config: &HostConfig, host: &Host) -> Result<Vec<String>, ConfigError> {
    check_config(config)?;
    if host_config.auto_remove && host_config.restart_policy != RestartPolicy::No {
        return Err(ConfigError::AutoRemoveWithRestart);
    }
    check_network(config, host_config)?;
    namespaces::check_modes(host_config)?;
    capabilities_of(host_config.privileged, &host_config.cap_add, &host_config.cap_drop, host.bounding)?;
    SecurityOptions::parse(&host_config.security_opt)?;
    for name in host_config.sysctls.keys() {
        check_sysctl(name, host_config)?;
    }
    if !(-1000..=1000).contains(&host_config.oom_score_adj) {
        let value = host_config.oom_score_adj;
        return Err(ConfigError::Value(format!("Invalid value {value}, range for oom score adj is [-1000, 1000]")));
    }
    if host_config.shm_size < 0 {
        return Err(ConfigError::Value("SHM size can not be less than 0".to_owned()));
    }
    check_resources(&host_config.resources, host)
}

fn check_config(config: &Config) -> Result<(), ConfigError> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(ConfigError::RelativeWorkingDir(config.working_dir.clone()));
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|signal| !signal.is_empty()) {
        parse_signal(signal)?;
    }
    for variable in &config.env {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(ConfigError::Environment(variable.clone()));
        }
        if variable.contains('\0') {
            return Err(ConfigError::Environment("contains a null byte".to_owned()));
        }
    }
    // sethostname(2) takes 64 bytes; the name becomes a line of files, too.
    let hostname = &config.hostname;
    if hostname.len() > 64 || hostname.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(ConfigError::Hostname(hostname.clone()));
    }
    for port in &config.exposed_ports {
        check_port(port)?;
    }
    Ok(())
}

/// `80`, `80/tcp`; ranges are the client's to unfold.
fn check_port(port: &str) -> Result<(), ConfigError> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let good = number.parse::<u16>().is_ok_and(|n| n > 0) && matches!(protocol, "tcp" | "udp" | "sctp");
    if good { Ok(()) } else { Err(ConfigError::Port(port.to_owned())) }
}

fn check_network(config: &Config, host: &HostConfig) -> Result<(), ConfigError> {
    for binding in &host.port_bindings {
        check_port(&binding.container)?;
        let (first, last) = binding.host_port.split_once('-').unwrap_or((&binding.host_port, &binding.host_port));
        let good = binding.host_port.is_empty()
            || matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last);
        if !good {
            return Err(ConfigError::Port(binding.host_port.clone()));
        }
    }
    for extra in &host.extra_hosts {
        // `name:ip` or `name=ip`; the address may be IPv6 in brackets, or the word host-gateway.
        let (name, address) = extra.split_once(['=', ':']).unwrap_or((extra, ""));
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() || (bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err()) {
            return Err(ConfigError::ExtraHost(extra.clone()));
        }
    }
    let NetworkMode::Container(_) = NetworkMode::parse(&host.network_mode) else { return Ok(()) };
    let conflict = |what: &str| Err(ConfigError::Conflicting(what.to_owned()));
    if !config.hostname.is_empty() {
        return conflict("hostname and the network mode");
    }
    if !host.dns.is_empty() {
        return conflict("dns and the network mode");
    }
    if !host.extra_hosts.is_empty() {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if !host.port_bindings.is_empty() || host.publish_all_ports {
        return conflict("port publishing and the container type network mode");
    }
    Ok(())
}

/// Only what belongs to a namespace of the container's own (sysctl(8); the list is runc's).
fn check_sysctl(name: &str, host: &HostConfig) -> Result<(), ConfigError> {
    const IPC: [&str; 7] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    ];
    let refuse = |why: &str| Err(ConfigError::Sysctl(format!("sysctl '{name}' {why}")));
    if name.is_empty() || name.contains(['\0', '\n']) || name.contains("..") {
        return refuse("is not whitelisted");
    }
    let is_ipc = IPC.contains(&name) || name.starts_with("fs.mqueue.") || name == "kernel.shm_rmid_forced";
    match () {
        () if is_ipc && host.ipc_mode == "host" => refuse("is not allowed when ipc mode is set to host"),
        () if name.starts_with("net.") && host.network_mode == "host" => {
            refuse("is not allowed when network mode is set to host")
        }
        () if is_ipc || name.starts_with("net.") || name == "kernel.domainname" => Ok(()),
        () => refuse("is not whitelisted"),
    }
}

fn check_resources(wanted: &Resources, host: &Host) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    if wanted.memory != 0 && wanted.memory < SMALLEST_MEMORY {
        return Err(ConfigError::MemoryTooSmall);
    }
    if wanted.memory_swap > 0 && wanted.memory == 0 {
        return Err(ConfigError::SwapWithoutMemory);
    }
    if wanted.memory > 0 && wanted.memory_swap > 0 && wanted.memory_swap < wanted.memory {
        return Err(ConfigError::SwapBelowMemory);
    }
    if wanted.memory > 0 && wanted.memory_reservation > wanted.memory {
        return Err(ConfigError::ReservationAboveMemory);
    }
    if wanted.memory_swappiness.is_some_and(|value| !(-1..=100).contains(&value)) {
        let value = wanted.memory_swappiness.unwrap_or(0);
        return Err(ConfigError::Value(format!("Invalid value: {value}, valid memory swappiness range is 0-100")));
    }
    if wanted.nano_cpus != 0 {
        if wanted.cpu_quota_us > 0 || wanted.cpu_period_us > 0 {
            return Err(ConfigError::Value(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned(),
            ));
        }
        if wanted.nano_cpus < 10_000_000 || wanted.nano_cpus > i64::from(host.cpus) * 1_000_000_000 {
            return Err(ConfigError::TooManyCpus { maximum: host.cpus });
        }
    }
    if wanted.cpu_period_us != 0 && !(1000..=1_000_000).contains(&wanted.cpu_period_us) {
        return Err(ConfigError::Value(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned(),
        ));
    }
    if wanted.cpu_quota_us > 0 && wanted.cpu_quota_us < 1000 {
        return Err(ConfigError::Value("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned()));
    }
    if wanted.blkio_weight != 0 && !(10..=1000).contains(&wanted.blkio_weight) {
        return Err(ConfigError::Value("Range of blkio weight is from 10 to 1000".to_owned()));
    }
    if wanted.oom_kill_disable == Some(true) && host.cgroup_v2 {
        warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
    }
    for limit in &wanted.ulimits {
        crate::spec::check_ulimit(limit)?;
    }
    crate::spec::device_rules(&wanted.device_cgroup_rules)?;
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortBinding;

    fn refuse(config: Config, host_config: HostConfig) -> String {
        let host = Host { cpus: 2, bounding: (1 << 41) - 1, ..Host::default() };
        validate(&config, &host_config, &host).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_container_is_good() {
        let host = Host { cpus: 2, bounding: u64::MAX, ..Host::default() };
        assert_eq!(validate(&Config::default(), &HostConfig::default(), &host), Ok(Vec::new()));
    }

    #[test]
    fn contradictions_get_dockers_words() {
        let auto = HostConfig { auto_remove: true, restart_policy: RestartPolicy::Always, ..HostConfig::default() };
        assert_eq!(refuse(Config::default(), auto), "can't create 'AutoRemove' container with restart policy");
        let shared =
            HostConfig { network_mode: "container:x".into(), dns: vec!["1.1.1.1".into()], ..HostConfig::default() };
        assert_eq!(refuse(Config::default(), shared), "conflicting options: dns and the network mode");
        let relative = Config { working_dir: "tmp".into(), ..Config::default() };
        assert!(refuse(relative, HostConfig::default()).starts_with("the working directory 'tmp' is invalid"));
    }

    #[test]
    fn resources_beyond_the_host_are_refused() {
        let with = |resources| HostConfig { resources, ..HostConfig::default() };
        let cpus = with(Resources { nano_cpus: 3_000_000_000, ..Resources::default() });
        assert_eq!(
            refuse(Config::default(), cpus),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        let small = with(Resources { memory: 4096, ..Resources::default() });
        assert_eq!(refuse(Config::default(), small), "Minimum memory limit allowed is 6MB");
        let swap = with(Resources { memory: 64 << 20, memory_swap: 32 << 20, ..Resources::default() });
        assert!(refuse(Config::default(), swap).starts_with("Minimum memoryswap limit"));
    }

    #[test]
    fn ports_hosts_and_sysctls_are_checked() {
        let port = |container: &str, host_port: &str| HostConfig {
            port_bindings: vec![PortBinding {
                container: container.into(),
                host_port: host_port.into(),
                ..PortBinding::default()
            }],
            ..HostConfig::default()
        };
        assert_eq!(refuse(Config::default(), port("0/tcp", "")), "invalid port specification: \"0/tcp\"");
        assert_eq!(refuse(Config::default(), port("80/tcp", "9-8")), "invalid port specification: \"9-8\"");
        let extra = HostConfig { extra_hosts: vec!["db".into()], ..HostConfig::default() };
        assert_eq!(refuse(Config::default(), extra), "bad format for add-host: \"db\"");
        let sysctl =
            HostConfig { sysctls: [("kernel.panic".to_owned(), "1".to_owned())].into(), ..HostConfig::default() };
        assert_eq!(refuse(Config::default(), sysctl), "invalid sysctl: sysctl 'kernel.panic' is not whitelisted");
    }

    #[test]
    fn network_modes_are_told_apart() {
        assert_eq!(NetworkMode::parse(""), NetworkMode::Network("bridge"));
        assert_eq!(NetworkMode::parse("container:abc"), NetworkMode::Container("abc"));
        assert_eq!(NetworkMode::parse("mine"), NetworkMode::Network("mine"));
    }
}
