//! Limits: cgroup values, device rules, rlimits.

use super::{DeviceNode, Host, Input};
use crate::config::{Resources, Ulimit};
use crate::error::ConfigError;
use crate::oci;
use kernel_names::ResourceLimit;

pub(super) fn all(input: &Input<'_>) -> Result<oci::Resources, ConfigError> {
    let (wanted, host) = (&input.host_config.resources, input.host);
    let rules = if input.host_config.privileged {
        vec![oci::DeviceRule { allow: true, access: "rwm".to_owned(), ..oci::DeviceRule::default() }]
    } else {
        let mut rules = default_rules();
        rules.extend(input.devices.iter().map(|device| oci::DeviceRule {
            allow: true,
            kind: device.kind.to_owned(),
            major: Some(device.major),
            minor: Some(device.minor),
            access: if device.permissions.is_empty() { "rwm".to_owned() } else { device.permissions.clone() },
        }));
        rules.extend(device_rules(&wanted.device_cgroup_rules)?);
        rules
    };
    let weight = Some(wanted.blkio_weight).filter(|weight| *weight != 0);
    let block_io = oci::BlockIo { weight, ..input.block_io.clone() };
    Ok(oci::Resources {
        devices: rules,
        memory: memory(wanted, host),
        cpu: cpu(wanted),
        pids: wanted.pids_limit.filter(|limit| *limit != 0).map(|limit| oci::Pids { limit: limit.max(-1) }),
        block_io: (block_io != oci::BlockIo::default()).then_some(block_io),
    })
}

pub(super) fn nodes(devices: &[DeviceNode]) -> Vec<oci::Device> {
    let node = |device: &DeviceNode| oci::Device {
        kind: device.kind.to_owned(),
        path: device.path_in_container.clone(),
        major: device.major,
        minor: device.minor,
        file_mode: device.mode,
        uid: device.uid,
        gid: device.gid,
    };
    devices.iter().map(node).collect()
}

/// Nothing but the harmless ones of the default devices (runtime-spec config-linux.md); not /dev/fuse.
fn default_rules() -> Vec<oci::DeviceRule> {
    let everything = oci::DeviceRule { allow: false, access: "rwm".to_owned(), ..oci::DeviceRule::default() };
    let numbers =
        [(true, 1, 5), (true, 1, 3), (true, 1, 9), (true, 1, 8), (true, 5, 0), (true, 5, 1), (false, 10, 229)];
    let rule = |(allow, major, minor)| oci::DeviceRule {
        allow,
        kind: "c".to_owned(),
        major: Some(major),
        minor: Some(minor),
        access: "rwm".to_owned(),
    };
    std::iter::once(everything).chain(numbers.map(rule)).collect()
}

/// `--device-cgroup-rule`: `c 42:* rmw`.
pub(crate) fn device_rules(rules: &[String]) -> Result<Vec<oci::DeviceRule>, ConfigError> {
    let number = |text: &str| if text == "*" { Some(-1) } else { text.parse::<u32>().ok().map(i64::from) };
    let parse = |rule: &String| {
        let mut words = rule.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let good = words.next().is_none()
            && matches!(kind, "a" | "b" | "c")
            && (1..=3).contains(&access.len())
            && access.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
        let (major, minor) = (number(major)?, number(minor)?);
        good.then(|| oci::DeviceRule {
            allow: true,
            kind: kind.to_owned(),
            major: Some(major),
            minor: Some(minor),
            access: access.to_owned(),
        })
    };
    rules.iter().map(|rule| parse(rule).ok_or_else(|| ConfigError::DeviceRule(rule.clone()))).collect()
}

/// What of the limits a running container is told when they change: those that are asked for, devices apart.
pub fn updated(wanted: &Resources) -> oci::Resources {
    let given = |value: i64| Some(value).filter(|value| *value != 0);
    let memory = oci::Memory {
        limit: given(wanted.memory),
        reservation: given(wanted.memory_reservation),
        swap: Some(wanted.memory_swap).filter(|swap| *swap > 0),
        ..oci::Memory::default()
    };
    oci::Resources {
        devices: Vec::new(),
        memory: (memory != oci::Memory::default()).then_some(memory),
        cpu: cpu(wanted),
        pids: wanted.pids_limit.map(|limit| oci::Pids { limit: if limit <= 0 { -1 } else { limit } }),
        block_io: (wanted.blkio_weight != 0)
            .then(|| oci::BlockIo { weight: Some(wanted.blkio_weight), ..oci::BlockIo::default() }),
    }
}

fn memory(wanted: &Resources, host: &Host) -> Option<oci::Memory> {
    let memory = oci::Memory {
        limit: Some(wanted.memory).filter(|limit| *limit > 0),
        reservation: Some(wanted.memory_reservation).filter(|limit| *limit > 0),
        // Memory and swap together; as much swap as memory unless told otherwise.
        swap: match wanted.memory_swap {
            0 if wanted.memory > 0 => Some(wanted.memory.saturating_mul(2)),
            0 => None,
            swap => Some(swap.max(-1)),
        },
        kernel_tcp: Some(wanted.kernel_memory_tcp).filter(|limit| *limit > 0),
        swappiness: wanted.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        // cgroup v2 has no such switch.
        disable_oom_killer: wanted.oom_kill_disable.filter(|off| *off && !host.cgroup_v2),
    };
    (memory != oci::Memory::default()).then_some(memory)
}

fn cpu(wanted: &Resources) -> Option<oci::Cpu> {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let mut cpu = oci::Cpu {
        shares: positive(wanted.cpu_shares),
        quota: Some(wanted.cpu_quota_us).filter(|quota| *quota != 0),
        period: positive(wanted.cpu_period_us),
        realtime_runtime: Some(wanted.cpu_realtime_runtime_us).filter(|runtime| *runtime != 0),
        realtime_period: positive(wanted.cpu_realtime_period_us),
        cpus: wanted.cpuset_cpus.clone(),
        mems: wanted.cpuset_mems.clone(),
    };
    if wanted.nano_cpus > 0 {
        // `--cpus 1.5` is 150 ms of every 100 ms.
        const PERIOD_US: i64 = 100_000;
        cpu.period = positive(PERIOD_US);
        cpu.quota = Some(
            i64::try_from(i128::from(wanted.nano_cpus) * i128::from(PERIOD_US) / 1_000_000_000).unwrap_or(i64::MAX),
        );
    }
    (cpu != oci::Cpu::default()).then_some(cpu)
}

pub(crate) fn check_ulimit(limit: &Ulimit) -> Result<(), ConfigError> {
    if !ResourceLimit::by_ulimit(&limit.name).is_some_and(ResourceLimit::is_for_containers) {
        return Err(ConfigError::Ulimit(format!("invalid ulimit type: {}", limit.name)));
    }
    let above = limit.hard != -1 && (limit.soft > limit.hard || limit.soft == -1);
    if above {
        return Err(ConfigError::Ulimit(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        )));
    }
    Ok(())
}

/// The container's limits, and those of the daemon's that it does not name.
pub(super) fn rlimits(own: &[Ulimit], daemon: &[Ulimit]) -> Result<Vec<oci::Rlimit>, ConfigError> {
    let rlimit = |limit: &Ulimit| {
        check_ulimit(limit)?;
        // -1 is RLIM_INFINITY.
        let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
        let kind = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
        Ok(oci::Rlimit { kind, hard: value(limit.hard), soft: value(limit.soft) })
    };
    let defaults = daemon.iter().filter(|limit| !own.iter().any(|known| known.name == limit.name));
    own.iter().chain(defaults).map(rlimit).collect()
}
