//! The flags of `run` and `create` to the request that makes a container.
//!
//! What the client decides: which streams are attached, what is exposed, in which form addresses travel. Everything else
//! is the daemon's to accept or refuse.

use std::collections::BTreeMap;

use engine_api::container::{Config, CreateRequest};
use engine_api::host_config::{HostConfig, LogConfig, RestartPolicy};
use engine_api::{Empty, StringMap};

use super::devices::{self, Unit};
use super::environment::{environment, labels};
use super::security::{self, SecurityOptions};
use super::{attachments, health, hosts, mounts, ports, proxies};
use crate::command::Matches;
use crate::context::Context;
use crate::text::size::{parse_bytes, parse_nano_cpus};

/// How far a memory limit reaches.
const SWAPPINESS: std::ops::RangeInclusive<i64> = -1..=100;

/// The request, or words about what cannot be; checked in the order in which Docker's client complains.
pub fn create_request(context: &Context, flags: &Matches) -> Result<CreateRequest, String> {
    let attached = attached_streams(flags);
    attachments::check_hardware_address(flags.text("mac-address"))?;
    let swappiness = flags.int("memory-swappiness");
    if !SWAPPINESS.contains(&swappiness) {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    let (binds, volumes) = mounts::split_volumes(flags.list("volume"))?;
    let published = ports::parse(flags.list("publish"))?;
    let mut exposed: BTreeMap<String, Empty> = published.keys().map(|port| (port.clone(), Empty {})).collect();
    exposed.extend(ports::parse_exposed(flags.list("expose"))?.into_iter().map(|port| (port, Empty {})));
    let resources = resources(flags)?;
    let interactive = flags.is_set("interactive");
    let config = Config {
        hostname: flags.text("hostname").to_owned(),
        domainname: flags.text("domainname").to_owned(),
        user: flags.text("user").to_owned(),
        attach_stdin: attached.stdin,
        attach_stdout: attached.stdout,
        attach_stderr: attached.stderr,
        exposed_ports: some_if_any(exposed),
        tty: flags.is_set("tty"),
        open_stdin: interactive,
        stdin_once: interactive && attached.stdin,
        env: some_if_any(proxies::add_to(context, environment(flags.list("env-file"), flags.list("env"))?)),
        cmd: (flags.args.len() > 1).then(|| flags.args[1..].to_vec().into()),
        image: flags.arg(0).to_owned(),
        volumes: Some(volumes),
        working_dir: flags.text("workdir").to_owned(),
        entrypoint: flags.given("entrypoint").then(|| vec![flags.text("entrypoint").to_owned()].into()),
        labels: Some(labels(flags.list("label-file"), flags.list("label"))?),
        stop_signal: flags.text("stop-signal").to_owned(),
        stop_timeout: flags.given("stop-timeout").then(|| flags.int("stop-timeout")),
        ..Config::default()
    };
    let mut host_config = host_config(flags, resources)?;
    let config = Config { healthcheck: health::parse(flags)?, ..config };
    if host_config.auto_remove && !matches!(host_config.restart_policy.name.as_str(), "" | "no") {
        return Err(crate::messages::RESTART_AND_RM.to_owned());
    }
    let (network_mode, networking_config) = attachments::networking(flags)?;
    host_config.binds = some_if_any(binds);
    host_config.network_mode = network_mode;
    host_config.port_bindings = Some(published);
    Ok(CreateRequest { config, host_config, networking_config })
}

fn host_config(flags: &Matches, resources: HostConfig) -> Result<HostConfig, String> {
    let text = |name: &str| flags.text(name).to_owned();
    let list = |name: &str| some_if_any(flags.list(name).to_vec());
    let pid_mode = checked_mode(flags, "pid", "--pid: invalid PID mode")?;
    let uts_mode = checked_word(flags, "uts", &["", "host"], "--uts: invalid UTS mode")?;
    let userns_mode = checked_word(flags, "userns", &["", "host"], "--userns: invalid USER mode")?;
    let cgroupns_mode = checked_word(flags, "cgroupns", &["", "private", "host"], "--cgroupns: invalid CGROUP mode")?;
    let restart_policy = parse_restart_policy(flags.text("restart"))?;
    let log_config = log_config(flags)?;
    let SecurityOptions { options, bare_system_paths } = security::security_options(flags.list("security-opt"))?;
    Ok(HostConfig {
        container_id_file: text("cidfile"),
        log_config,
        restart_policy,
        auto_remove: flags.is_set("rm"),
        volume_driver: text("volume-driver"),
        volumes_from: list("volumes-from"),
        annotations: some_if_any(pairs(flags.list("annotation"))),
        cap_add: some_if_any(security::capabilities(flags.list("cap-add"))),
        cap_drop: some_if_any(security::capabilities(flags.list("cap-drop"))),
        cgroupns_mode,
        dns: Some(hosts::servers(flags.list("dns"))),
        dns_options: Some(flags.list("dns-option").to_vec()),
        dns_search: Some(hosts::domains(flags.list("dns-search"))),
        extra_hosts: some_if_any(hosts::extra_hosts(flags.list("add-host"))?),
        group_add: list("group-add"),
        ipc_mode: text("ipc"),
        links: list("link"),
        oom_score_adj: flags.int("oom-score-adj"),
        pid_mode,
        privileged: flags.is_set("privileged"),
        publish_all_ports: flags.is_set("publish-all"),
        readonly_rootfs: flags.is_set("read-only"),
        security_opt: options,
        storage_opt: some_if_any(storage_options(flags.list("storage-opt"))?),
        tmpfs: some_if_any(tmpfs(flags.list("tmpfs"))),
        uts_mode,
        userns_mode,
        shm_size: bytes(flags, "shm-size"),
        sysctls: some_if_any(pairs(flags.list("sysctl"))),
        runtime: text("runtime"),
        isolation: text("isolation"),
        mounts: some_if_any(mounts::parse_all(flags.list("mount"))?),
        masked_paths: bare_system_paths.then(Vec::new),
        readonly_paths: bare_system_paths.then(Vec::new),
        init: flags.given("init").then(|| flags.is_set("init")),
        ..resources
    })
}

/// A size, 0 when none was given; -1 is a size of its own for swap.
pub fn bytes(flags: &Matches, name: &str) -> i64 {
    let text = flags.text(name);
    parse_bytes(text).unwrap_or(if text == "-1" { -1 } else { 0 })
}

fn resources(flags: &Matches) -> Result<HostConfig, String> {
    let cpus = flags.text("cpus");
    let bytes = |name: &str| bytes(flags, name);
    let throttles = |name: &str, unit: Unit| devices::throttles(flags.list(name), unit).map(Some);
    let (mapped, named) = devices::split_devices(flags.list("device"))?;
    Ok(HostConfig {
        cpu_shares: flags.int("cpu-shares"),
        memory: bytes("memory"),
        nano_cpus: if cpus.is_empty() { 0 } else { parse_nano_cpus(cpus)? },
        cgroup_parent: flags.text("cgroup-parent").to_owned(),
        blkio_weight: flags.text("blkio-weight").parse().unwrap_or(0),
        blkio_weight_device: Some(devices::weights(flags.list("blkio-weight-device"))?),
        blkio_device_read_bps: throttles("device-read-bps", Unit::Bytes)?,
        blkio_device_write_bps: throttles("device-write-bps", Unit::Bytes)?,
        blkio_device_read_iops: throttles("device-read-iops", Unit::Operations)?,
        blkio_device_write_iops: throttles("device-write-iops", Unit::Operations)?,
        cpu_period: flags.int("cpu-period"),
        cpu_quota: flags.int("cpu-quota"),
        cpu_realtime_period: flags.int("cpu-rt-period"),
        cpu_realtime_runtime: flags.int("cpu-rt-runtime"),
        cpuset_cpus: flags.text("cpuset-cpus").to_owned(),
        cpuset_mems: flags.text("cpuset-mems").to_owned(),
        devices: Some(mapped),
        device_cgroup_rules: some_if_any(flags.list("device-cgroup-rule").to_vec()),
        device_requests: some_if_any(devices::requests(flags.list("gpus"), named)?),
        memory_reservation: bytes("memory-reservation"),
        memory_swap: bytes("memory-swap"),
        memory_swappiness: Some(flags.int("memory-swappiness")),
        oom_kill_disable: Some(flags.is_set("oom-kill-disable")),
        pids_limit: Some(flags.int("pids-limit")),
        ulimits: Some(devices::ulimits(flags.list("ulimit"))?),
        cpu_count: flags.int("cpu-count"),
        cpu_percent: flags.int("cpu-percent"),
        io_maximum_iops: flags.text("io-maxiops").parse().unwrap_or(0),
        io_maximum_bandwidth: u64::try_from(bytes("io-maxbandwidth")).unwrap_or(0),
        ..HostConfig::default()
    })
}

/// Which streams a client is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attached {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

fn attached_streams(flags: &Matches) -> Attached {
    let asked: Vec<String> = flags.list("attach").iter().map(|name| name.to_lowercase()).collect();
    let has = |name: &str| asked.iter().any(|asked| asked == name);
    let none = asked.is_empty();
    Attached {
        stdin: has("stdin") || flags.is_set("interactive"),
        stdout: none || has("stdout"),
        stderr: none || has("stderr"),
    }
}

/// `--attach`.
pub fn check_stream(name: &str) -> Result<(), String> {
    match name.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// The system's words for an error, as Go prints them.
pub fn os_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let bare = text.split(" (os error").next().unwrap_or(&text);
    bare.to_lowercase()
}

/// `key=value`; a key alone has the empty value.
pub fn pairs(list: &[String]) -> StringMap {
    list.iter().map(|item| owned(item.split_once('=').unwrap_or((item, "")))).collect()
}

pub fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// A collection, or nothing when it is empty.
pub fn some_if_any<T: Default + PartialEq>(collection: T) -> Option<T> {
    (collection != T::default()).then_some(collection)
}

fn checked_word(flags: &Matches, name: &str, words: &[&str], refusal: &str) -> Result<String, String> {
    let word = flags.text(name);
    if words.contains(&word) { Ok(word.to_owned()) } else { Err(refusal.to_owned()) }
}

fn checked_mode(flags: &Matches, name: &str, refusal: &str) -> Result<String, String> {
    let mode = flags.text(name);
    let container = mode.strip_prefix("container:").is_some_and(|id| !id.is_empty());
    if mode.is_empty() || mode == "host" || container { Ok(mode.to_owned()) } else { Err(refusal.to_owned()) }
}

fn log_config(flags: &Matches) -> Result<LogConfig, String> {
    let driver = flags.text("log-driver").to_owned();
    let options = flags.list("log-opt");
    if driver == "none" && !options.is_empty() {
        return Err(format!("invalid logging opts for driver {driver}"));
    }
    Ok(LogConfig { driver, config: Some(pairs(options)) })
}

/// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`; which words there are is the daemon's to say.
pub fn parse_restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && text.contains(':') {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let not_a_number = |_| "invalid restart policy format: maximum retry count must be an integer".to_owned();
    let maximum_retry_count = if count.is_empty() { 0 } else { count.parse().map_err(not_a_number)? };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

fn storage_options(list: &[String]) -> Result<StringMap, String> {
    if list.iter().any(|option| !option.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    Ok(pairs(list))
}

fn tmpfs(list: &[String]) -> StringMap {
    list.iter().map(|item| owned(item.split_once(':').unwrap_or((item, "")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_policy_may_have_a_count() {
        assert_eq!(parse_restart_policy("on-failure:3").unwrap().maximum_retry_count, 3);
        assert_eq!(parse_restart_policy("always").unwrap().name, "always");
        assert!(parse_restart_policy("on-failure:x").is_err());
        assert!(parse_restart_policy(":3").is_err());
    }
}
