//! Checks of a wanted container before anything is written, with Docker's words; and the warnings that come with success.

mod resources;

use crate::capabilities::capabilities_of;
use crate::config::{Config, Healthcheck, HostConfig};
use crate::error::ConfigError;
use crate::restart::RestartPolicy;
use crate::signal::parse_signal;
use crate::spec::{Host, SecurityOptions, namespaces};

pub use resources::check as check_resources;

/// Docker's shortest time between two probes, and for one.
const SHORTEST_PROBE_NS: i64 = 1_000_000;

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

/// Checks a configuration (image merged in); answers warnings. What the host cannot keep is taken out of it.
pub fn validate(config: &Config, host_config: &mut HostConfig, host: &Host) -> Result<Vec<String>, ConfigError> {
    check_config(config)?;
    if host_config.auto_remove && host_config.restart_policy != RestartPolicy::No {
        return Err(ConfigError::AutoRemoveWithRestart);
    }
    check_network(config, host_config)?;
    capabilities_of(host_config.privileged, &host_config.cap_add, &host_config.cap_drop, host.bounding)?;
    check_words(host_config)?;
    let mut warnings = resources::check(&mut host_config.resources, host)?;
    namespaces::check_modes(host_config, host)?;
    let security = SecurityOptions::parse(&host_config.security_opt)?;
    warnings.extend(security.check(host)?);
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
    if host_config.network_mode == "host" && !host_config.port_bindings.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let on_bridge = matches!(host_config.network_mode.as_str(), "" | "default" | "bridge");
    if on_bridge && !host_config.links.is_empty() {
        warnings.push(
            "Links on the default bridge network are deprecated and will be removed in a future release. Use a custom \
             network instead."
                .to_owned(),
        );
    }
    Ok(warnings)
}

/// Members that have one meaning on Linux, or none.
fn check_words(host_config: &HostConfig) -> Result<(), ConfigError> {
    if !matches!(host_config.isolation.as_str(), "" | "default") {
        return Err(ConfigError::Value(format!("invalid isolation '{}' on linux", host_config.isolation)));
    }
    if host_config.annotations.contains_key("") {
        let message = "invalid Annotations: the empty string is not permitted as an annotation key";
        return Err(ConfigError::Value(message.to_owned()));
    }
    if !host_config.storage_opt.is_empty() {
        // Docker's words for overlay2 on a file system without project quotas; ours never sets one.
        let message = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        return Err(ConfigError::Value(message.to_owned()));
    }
    if !host_config.cgroup.is_empty() {
        return Err(ConfigError::NotBuilt("HostConfig.Cgroup".to_owned()));
    }
    Ok(())
}

fn check_healthcheck(check: &Healthcheck) -> Result<(), ConfigError> {
    let refuse = |message: String| Err(ConfigError::Value(message));
    let times = [
        ("Interval", check.interval_ns),
        ("Timeout", check.timeout_ns),
        ("StartPeriod", check.start_period_ns),
        ("StartInterval", check.start_interval_ns),
    ];
    for (name, time) in times {
        if time != 0 && time < SHORTEST_PROBE_NS {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if check.retries < 0 {
        return refuse("Retries in Healthcheck cannot be negative".to_owned());
    }
    Ok(())
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
    if hostname.len() > 64 {
        return Err(ConfigError::Value(format!("hostname {hostname:?} is too long (maximum 64 bytes)")));
    }
    if hostname.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(ConfigError::Hostname(hostname.clone()));
    }
    let domain = &config.domainname;
    if domain.len() > 64 || domain.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(ConfigError::Value(format!("invalid domain name format: {domain}")));
    }
    for port in &config.exposed_ports {
        check_port(port)?;
    }
    config.healthcheck.as_ref().map_or(Ok(()), check_healthcheck)
}

/// `80`, `80/tcp`; ranges are the client's to unfold.
fn check_port(port: &str) -> Result<(), ConfigError> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let good = number.parse::<u16>().is_ok_and(|n| n > 0) && matches!(protocol, "tcp" | "udp" | "sctp");
    if good { Ok(()) } else { Err(ConfigError::Port(number.to_owned())) }
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
    let mode = NetworkMode::parse(&host.network_mode);
    let conflict = |what: &str| Err(ConfigError::Conflicting(what.to_owned()));
    if mode == NetworkMode::Host && !host.links.is_empty() {
        return conflict("host type networking can't be used with links. This would result in undefined behavior");
    }
    let NetworkMode::Container(_) = mode else { return Ok(()) };
    if !host.links.is_empty() {
        return conflict("container type network can't be used with links. This would result in undefined behavior");
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortBinding;

    fn refuse(config: Config, host_config: HostConfig) -> String {
        let host = Host { cpus: 2, bounding: (1 << 41) - 1, ..Host::default() };
        let mut host_config = host_config;
        validate(&config, &mut host_config, &host).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_container_is_good() {
        let host = Host { cpus: 2, bounding: u64::MAX, ..Host::default() };
        assert_eq!(validate(&Config::default(), &mut HostConfig::default(), &host), Ok(Vec::new()));
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
    fn probes_that_cannot_be_made_are_refused() {
        let with = |healthcheck| Config { healthcheck: Some(healthcheck), ..Config::default() };
        let quick = Healthcheck { interval_ns: 5, ..Healthcheck::default() };
        assert_eq!(refuse(with(quick), HostConfig::default()), "Interval in Healthcheck cannot be less than 1ms");
        let negative = Healthcheck { retries: -1, ..Healthcheck::default() };
        assert_eq!(refuse(with(negative), HostConfig::default()), "Retries in Healthcheck cannot be negative");
    }

    #[test]
    fn members_without_a_meaning_here_are_refused() {
        let windows = HostConfig { isolation: "hyperv".into(), ..HostConfig::default() };
        assert_eq!(refuse(Config::default(), windows), "invalid isolation 'hyperv' on linux");
        let quota = HostConfig { storage_opt: [("size".to_owned(), "1G".to_owned())].into(), ..HostConfig::default() };
        assert!(refuse(Config::default(), quota).starts_with("--storage-opt is supported only for overlay over xfs"));
        let cgroup = HostConfig { cgroup: "container:x".into(), ..HostConfig::default() };
        assert_eq!(refuse(Config::default(), cgroup), "HostConfig.Cgroup is not supported by this engine yet");
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
        assert_eq!(refuse(Config::default(), port("0/tcp", "")), "invalid port specification: \"0\"");
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
