//! The flags of `run` and `create` to the request that makes a container.
//!
//! What the client decides: which streams are attached, what is exposed, in which form addresses travel. Everything else
//! is the daemon's to accept or refuse.

use std::collections::BTreeMap;
use std::io::Read;

use engine_api::container::{Config, CreateRequest};
use engine_api::host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use engine_api::{Empty, StringMap};

use super::{attachments, health, mounts, ports};
use crate::command::Matches;
use crate::text::size::{parse_bytes, parse_nano_cpus};

/// Largest file of environment variables or labels.
const MAX_FILE: u64 = 16 << 20;

/// The request, or words about what cannot be.
pub fn create_request(flags: &Matches) -> Result<CreateRequest, String> {
    let attached = attached_streams(flags)?;
    let published = ports::parse(flags.list("publish"))?;
    let mut exposed: BTreeMap<String, Empty> = published.keys().map(|port| (port.clone(), Empty {})).collect();
    for port in ports::parse_exposed(flags.list("expose"))? {
        exposed.insert(port, Empty {});
    }
    let (binds, volumes) = mounts::split_volumes(flags.list("volume"))?;
    let (network_mode, networking_config) = attachments::networking(flags)?;
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
        env: some_if_any(environment(flags.list("env-file"), flags.list("env"))?),
        cmd: (flags.args.len() > 1).then(|| flags.args[1..].to_vec().into()),
        healthcheck: health::parse(flags)?,
        image: flags.arg(0).to_owned(),
        volumes: Some(volumes),
        working_dir: flags.text("workdir").to_owned(),
        entrypoint: flags.given("entrypoint").then(|| vec![flags.text("entrypoint").to_owned()].into()),
        labels: Some(labels(flags.list("label-file"), flags.list("label"))?),
        stop_signal: flags.text("stop-signal").to_owned(),
        stop_timeout: flags.given("stop-timeout").then(|| flags.int("stop-timeout")),
        ..Config::default()
    };
    let mut host_config = host_config(flags)?;
    host_config.binds = some_if_any(binds);
    host_config.network_mode = network_mode;
    host_config.port_bindings = Some(published);
    Ok(CreateRequest { config, host_config, networking_config })
}

fn host_config(flags: &Matches) -> Result<HostConfig, String> {
    let text = |name: &str| flags.text(name).to_owned();
    let list = |name: &str| some_if_any(flags.list(name).to_vec());
    let always = |name: &str| Some(flags.list(name).to_vec());
    let bytes = |name: &str| parse_bytes(flags.text(name)).unwrap_or(if flags.text(name) == "-1" { -1 } else { 0 });
    let swappiness = flags.int("memory-swappiness");
    if !(-1..=100).contains(&swappiness) {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    Ok(HostConfig {
        container_id_file: text("cidfile"),
        log_config: log_config(flags)?,
        restart_policy: parse_restart_policy(flags.text("restart"))?,
        auto_remove: flags.is_set("rm"),
        volume_driver: text("volume-driver"),
        volumes_from: list("volumes-from"),
        annotations: some_if_any(pairs(flags.list("annotation"))),
        cap_add: some_if_any(capabilities(flags.list("cap-add"))),
        cap_drop: some_if_any(capabilities(flags.list("cap-drop"))),
        cgroupns_mode: checked_word(flags, "cgroupns", &["", "private", "host"], "--cgroupns: invalid CGROUP mode")?,
        dns: always("dns"),
        dns_options: always("dns-option"),
        dns_search: always("dns-search"),
        extra_hosts: some_if_any(extra_hosts(flags.list("add-host"))?),
        group_add: list("group-add"),
        ipc_mode: text("ipc"),
        links: list("link"),
        oom_score_adj: flags.int("oom-score-adj"),
        pid_mode: checked_mode(flags, "pid", "--pid: invalid PID mode")?,
        privileged: flags.is_set("privileged"),
        publish_all_ports: flags.is_set("publish-all"),
        readonly_rootfs: flags.is_set("read-only"),
        security_opt: some_if_any(security_options(flags.list("security-opt"))?),
        storage_opt: some_if_any(storage_options(flags.list("storage-opt"))?),
        tmpfs: some_if_any(tmpfs(flags.list("tmpfs"))),
        uts_mode: checked_word(flags, "uts", &["", "host"], "--uts: invalid UTS mode")?,
        userns_mode: checked_word(flags, "userns", &["", "host"], "--userns: invalid USER mode")?,
        shm_size: bytes("shm-size"),
        sysctls: some_if_any(pairs(flags.list("sysctl"))),
        runtime: text("runtime"),
        isolation: text("isolation"),
        mounts: some_if_any(mounts::parse_all(flags.list("mount"))?),
        init: flags.given("init").then(|| flags.is_set("init")),
        ..resources(flags, &bytes)?
    })
}

fn resources(flags: &Matches, bytes: &dyn Fn(&str) -> i64) -> Result<HostConfig, String> {
    let cpus = flags.text("cpus");
    Ok(HostConfig {
        cpu_shares: flags.int("cpu-shares"),
        memory: bytes("memory"),
        nano_cpus: if cpus.is_empty() { 0 } else { parse_nano_cpus(cpus)? },
        cgroup_parent: flags.text("cgroup-parent").to_owned(),
        blkio_weight: flags.text("blkio-weight").parse().unwrap_or(0),
        blkio_weight_device: Some(weights(flags.list("blkio-weight-device"))?),
        blkio_device_read_bps: Some(throttles(flags.list("device-read-bps"), Unit::Bytes)?),
        blkio_device_write_bps: Some(throttles(flags.list("device-write-bps"), Unit::Bytes)?),
        blkio_device_read_iops: Some(throttles(flags.list("device-read-iops"), Unit::Operations)?),
        blkio_device_write_iops: Some(throttles(flags.list("device-write-iops"), Unit::Operations)?),
        cpu_period: flags.int("cpu-period"),
        cpu_quota: flags.int("cpu-quota"),
        cpu_realtime_period: flags.int("cpu-rt-period"),
        cpu_realtime_runtime: flags.int("cpu-rt-runtime"),
        cpuset_cpus: flags.text("cpuset-cpus").to_owned(),
        cpuset_mems: flags.text("cpuset-mems").to_owned(),
        devices: Some(flags.list("device").iter().map(|device| parse_device(device)).collect::<Result<_, _>>()?),
        device_cgroup_rules: some_if_any(flags.list("device-cgroup-rule").to_vec()),
        device_requests: some_if_any(flags.list("gpus").iter().map(|gpus| parse_gpus(gpus)).collect::<Result<_, _>>()?),
        memory_reservation: bytes("memory-reservation"),
        memory_swap: bytes("memory-swap"),
        memory_swappiness: Some(flags.int("memory-swappiness")),
        oom_kill_disable: Some(flags.is_set("oom-kill-disable")),
        pids_limit: Some(flags.int("pids-limit")),
        ulimits: Some(ulimits(flags.list("ulimit"))?),
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

fn attached_streams(flags: &Matches) -> Result<Attached, String> {
    let asked: Vec<String> = flags.list("attach").iter().map(|name| name.to_lowercase()).collect();
    let has = |name: &str| asked.iter().any(|asked| asked == name);
    let none = asked.is_empty();
    Ok(Attached {
        stdin: has("stdin") || flags.is_set("interactive"),
        stdout: none || has("stdout"),
        stderr: none || has("stderr"),
    })
}

/// `--attach`.
pub fn check_stream(name: &str) -> Result<(), String> {
    match name.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// `--sysctl`: Docker lets the namespaced ones through.
pub fn check_sysctl(value: &str) -> Result<(), String> {
    const NAMED: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let allowed = value
        .split_once('=')
        .is_some_and(|(key, _)| NAMED.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue."));
    if allowed { Ok(()) } else { Err(format!("sysctl '{value}' is not allowed")) }
}

/// `-e`, and files of such lines in front. A name alone takes the value it has here, if any.
pub fn environment(files: &[String], variables: &[String]) -> Result<Vec<String>, String> {
    let mut environment = Vec::new();
    for file in files {
        for line in lines_of(file)? {
            match line.split_once('=') {
                Some(_) => environment.push(line),
                None => environment.extend(std::env::var(&line).ok().map(|value| format!("{line}={value}"))),
            }
        }
    }
    for variable in variables {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(format!("invalid environment variable: {variable}"));
        }
        environment.push(match variable.split_once('=') {
            Some(_) => variable.clone(),
            None => std::env::var(variable).map_or(variable.clone(), |value| format!("{variable}={value}")),
        });
    }
    Ok(environment)
}

fn labels(files: &[String], labels: &[String]) -> Result<StringMap, String> {
    let mut all = StringMap::new();
    for file in files {
        all.extend(lines_of(file)?.iter().filter_map(|line| line.split_once('=')).map(owned));
    }
    all.extend(pairs(labels));
    Ok(all)
}

/// Lines that say something, without leading blanks; `#` starts a comment.
fn lines_of(file: &str) -> Result<Vec<String>, String> {
    let open = std::fs::File::open(file).map_err(|error| format!("open {file}: {}", os_words(&error)))?;
    let mut text = String::new();
    let mut limited = open.take(MAX_FILE + 1);
    limited.read_to_string(&mut text).map_err(|_| format!("env file {file} contains invalid utf8 bytes"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("file {file} is larger than {MAX_FILE} bytes"));
    }
    let mut lines = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
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

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// In capitals, with their prefix, each once, sorted.
fn capabilities(list: &[String]) -> Vec<String> {
    let normal = |name: &String| {
        let name = name.trim().to_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let all: std::collections::BTreeSet<String> = list.iter().map(normal).collect();
    if all.contains("ALL") { vec!["ALL".to_owned()] } else { all.into_iter().collect() }
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

/// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
pub fn parse_restart_policy(text: &str) -> Result<RestartPolicy, String> {
    if text.is_empty() {
        return Ok(RestartPolicy::default());
    }
    let (name, count) = match text.split_once(':') {
        None => (text, 0),
        Some((_, count)) if count.contains(':') => {
            return Err("invalid restart policy format: maximum retry count must be an integer".to_owned());
        }
        Some((name, count)) => {
            let count = count
                .parse()
                .map_err(|_| "invalid restart policy format: maximum retry count must be an integer".to_owned())?;
            (name, count)
        }
    };
    if name.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count: count })
}

/// `name:address` or `name=address`, brackets around an IPv6 address dropped.
fn extra_hosts(list: &[String]) -> Result<Vec<String>, String> {
    let one = |item: &String| {
        let (name, address) = item
            .split_once('=')
            .or_else(|| item.split_once(':'))
            .filter(|(name, address)| !name.is_empty() && !address.is_empty())
            .ok_or_else(|| format!("bad format for add-host: {item:?}"))?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("invalid IP address in add-host: {address:?}"));
        }
        Ok(format!("{name}:{bare}"))
    };
    list.iter().map(one).collect()
}

/// `--add-host`, checked while the line is read.
pub fn check_extra_host(value: &str) -> Result<(), String> {
    extra_hosts(&[value.to_owned()]).map(drop)
}

/// A seccomp profile's path is replaced by its text: the daemon may be on another host.
fn security_options(list: &[String]) -> Result<Vec<String>, String> {
    let one = |option: &String| {
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        let Some((key, value)) = split else {
            return if option == "no-new-privileges" {
                Ok(option.clone())
            } else {
                Err(format!("Invalid --security-opt: {option:?}"))
            };
        };
        if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
            return Ok(option.clone());
        }
        let text = std::fs::read_to_string(value)
            .map_err(|error| format!("opening seccomp profile ({value}) failed: open {value}: {}", os_words(&error)))?;
        let profile: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| format!("compacting json for seccomp profile ({value}) failed: {error}"))?;
        Ok(format!("seccomp={profile}"))
    };
    list.iter().map(one).collect()
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

/// `/dev/sda`, `/dev/sda:/dev/xvda`, `/dev/sda:rwm`, `/dev/sda:/dev/xvda:r`.
fn parse_device(text: &str) -> Result<DeviceMapping, String> {
    let valid_mode = |mode: &str| !mode.is_empty() && mode.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if valid_mode(mode) => (host, host, mode),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, mode] => (host, inside, mode),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: mode.to_owned(),
    })
}

/// `all`, a number, or `device=0,1` with a driver and capabilities.
pub fn parse_gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest { options: Some(StringMap::new()), ..DeviceRequest::default() };
    let mut capabilities = vec!["gpu".to_owned()];
    let count = |value: &str| match value {
        "all" => Ok(-1),
        value => value.parse().map_err(|_| {
            format!("invalid count ({value}): value must be either \"all\" or an integer: invalid syntax")
        }),
    };
    for field in mounts::comma_fields(text)? {
        match field.split_once('=') {
            None => request.count = count(&field)?,
            Some(("count", value)) => request.count = count(value)?,
            Some(("driver", value)) => value.clone_into(&mut request.driver),
            Some(("device", value)) => request.device_ids = Some(value.split(',').map(str::to_owned).collect()),
            Some(("capabilities", value)) => capabilities.extend(value.split(',').map(str::to_owned)),
            Some(("options", value)) => request.options = Some(pairs(&mounts::comma_fields(value)?)),
            Some((key, _)) => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    capabilities.sort();
    capabilities.dedup();
    request.capabilities = Some(vec![capabilities]);
    if request.count == 0 && request.device_ids.is_none() {
        request.count = 1;
    }
    Ok(request)
}

fn ulimits(list: &[String]) -> Result<Vec<Ulimit>, String> {
    let all: Result<BTreeMap<String, Ulimit>, String> =
        list.iter().map(|text| parse_ulimit(text).map(|limit| (limit.name.clone(), limit))).collect();
    Ok(all?.into_values().collect())
}

/// `nofile=1024` or `nofile=1024:2048`.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, String> {
    const NAMES: &[&str] = &[
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number =
        |part: &str| part.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing {part:?}: invalid syntax"));
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Operations,
}

fn throttles(list: &[String], unit: Unit) -> Result<Vec<ThrottleDevice>, String> {
    let one = |text: &String| {
        let (path, rate) = device_and_value(text)?;
        let value = match unit {
            Unit::Bytes => parse_bytes(rate).and_then(|rate| u64::try_from(rate).ok()),
            Unit::Operations => rate.parse().ok(),
        };
        let hint = match unit {
            Unit::Bytes => {
                ". The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            }
            Unit::Operations => ". The correct format is <device-path>:<number>. Number must be a positive integer",
        };
        let rate = value.ok_or_else(|| format!("invalid rate for device: {text}{hint}"))?;
        Ok(ThrottleDevice { path: path.to_owned(), rate })
    };
    list.iter().map(one).collect()
}

fn weights(list: &[String]) -> Result<Vec<WeightDevice>, String> {
    let one = |text: &String| {
        let (path, weight) = device_and_value(text)?;
        let weight = weight.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
        let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
        Ok(WeightDevice { path: path.to_owned(), weight })
    };
    list.iter().map(one).collect()
}

/// `--blkio-weight-device`, checked while the line is read.
pub fn check_weight(value: &str) -> Result<(), String> {
    weights(&[value.to_owned()]).map(drop)
}

/// `--device-read-bps` and its sibling.
pub fn check_bytes_rate(value: &str) -> Result<(), String> {
    throttles(&[value.to_owned()], Unit::Bytes).map(drop)
}

/// `--device-read-iops` and its sibling.
pub fn check_operations_rate(value: &str) -> Result<(), String> {
    throttles(&[value.to_owned()], Unit::Operations).map(drop)
}

fn device_and_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) =
        text.split_once(':').filter(|(path, _)| !path.is_empty()).ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
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

    #[test]
    fn extra_hosts_take_colon_and_equals_sign() {
        let read = |text: &str| extra_hosts(&[text.to_owned()]).map(|mut list| list.remove(0));
        assert_eq!(read("h:1.2.3.4").unwrap(), "h:1.2.3.4");
        assert_eq!(read("h=[::1]").unwrap(), "h:::1");
        assert_eq!(read("h:host-gateway").unwrap(), "h:host-gateway");
        assert!(read("h").is_err() && read("h:x").is_err());
    }

    #[test]
    fn devices_limits_and_gpus_are_read() {
        assert_eq!(parse_device("/dev/a:/dev/b:r").unwrap().cgroup_permissions, "r");
        assert_eq!(parse_device("/dev/a:rw").unwrap().path_in_container, "/dev/a");
        assert_eq!(parse_ulimit("nofile=1:2").unwrap(), Ulimit { name: "nofile".into(), hard: 2, soft: 1 });
        assert!(parse_ulimit("nofile=2:1").is_err());
        assert_eq!(parse_ulimit("x=1").unwrap_err(), "invalid ulimit type: x");
        assert_eq!(parse_gpus("all").unwrap().count, -1);
        let two = parse_gpus("\"device=0,1\",driver=nv").unwrap();
        assert_eq!(two.device_ids.unwrap(), ["0", "1"]);
        assert_eq!(two.driver, "nv");
    }

    #[test]
    fn files_of_variables_skip_comments_and_take_what_is_set_here() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A=1\n# no\n\n  B= x \nDOCKER_CLI_NOT_SET\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        assert_eq!(environment(std::slice::from_ref(&path), &["C=2".into()]).unwrap(), ["A=1", "B= x ", "C=2"]);
        std::fs::write(file.path(), "a b=1\n").unwrap();
        assert_eq!(environment(&[path], &[]).unwrap_err(), "variable 'a b' contains whitespaces");
        assert_eq!(environment(&[], &["NOT_SET_EITHER".into()]).unwrap(), ["NOT_SET_EITHER"]);
    }
}
