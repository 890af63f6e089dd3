//! Limits against what this host has: errors in Docker's words, and what the kernel lacks discarded with a warning.

use crate::config::Resources;
use crate::error::ConfigError;
use crate::spec::Host;

/// Docker's smallest memory limit.
const SMALLEST_MEMORY: i64 = 6 * 1024 * 1024;
/// Larger CPU and memory node numbers are refused before they are looked at.
const LARGEST_SET: u32 = 8192;

/// Checks the limits and takes away those that the host cannot keep; each of these leaves a warning.
pub fn check(wanted: &mut Resources, host: &Host) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    memory(wanted, host, &mut warnings)?;
    cpu(wanted, host, &mut warnings)?;
    cpuset(wanted, host, &mut warnings)?;
    block_io(wanted, host, &mut warnings)?;
    for limit in &wanted.ulimits {
        crate::spec::check_ulimit(limit)?;
    }
    crate::spec::device_rules(&wanted.device_cgroup_rules)?;
    Ok(warnings)
}

fn memory(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let has = &host.supports;
    // Older clients say so for "not asked for".
    if wanted.memory_swappiness == Some(-1) {
        wanted.memory_swappiness = None;
    }
    if wanted.memory != 0 && wanted.memory < SMALLEST_MEMORY {
        return Err(ConfigError::MemoryTooSmall);
    }
    if wanted.memory > 0 && !has.memory {
        warnings.push(lacking("memory limit capabilities", "Limitation discarded."));
        wanted.memory = 0;
        wanted.memory_swap = -1;
    }
    if wanted.memory > 0 && wanted.memory_swap != -1 && !has.swap {
        warnings.push(lacking("swap limit capabilities", "Memory limited without swap."));
        wanted.memory_swap = -1;
    }
    if wanted.memory > 0 && wanted.memory_swap > 0 && wanted.memory_swap < wanted.memory {
        return Err(ConfigError::SwapBelowMemory);
    }
    if wanted.memory == 0 && wanted.memory_swap > 0 {
        return Err(ConfigError::SwapWithoutMemory);
    }
    if wanted.memory_swappiness.is_some() && !has.swappiness {
        warnings.push(lacking("memory swappiness capabilities", "Memory swappiness discarded."));
        wanted.memory_swappiness = None;
    }
    if let Some(value) = wanted.memory_swappiness.filter(|value| !(0..=100).contains(value)) {
        return Err(ConfigError::Value(format!("Invalid value: {value}, valid memory swappiness range is 0-100")));
    }
    if wanted.memory_reservation > 0 && !has.reservation {
        warnings.push(lacking("memory soft limit capabilities", "Limitation discarded."));
        wanted.memory_reservation = 0;
    }
    if wanted.memory_reservation > 0 && wanted.memory_reservation < SMALLEST_MEMORY {
        return Err(ConfigError::Value("Minimum memory reservation allowed is 6MB".to_owned()));
    }
    if wanted.memory > 0 && wanted.memory_reservation > wanted.memory {
        return Err(ConfigError::ReservationAboveMemory);
    }
    if std::mem::take(&mut wanted.kernel_memory) > 0 {
        // Gone from Linux with 5.16 and from the API with 1.42.
        warnings.push(lacking("kernel memory limit capabilities", "Limitation discarded."));
    }
    if wanted.kernel_memory_tcp > 0 && (host.cgroup_v2 || !has.memory) {
        warnings.push(lacking("kernel memory TCP limit capabilities", "Limitation discarded."));
        wanted.kernel_memory_tcp = 0;
    }
    out_of_memory(wanted, host, warnings);
    Ok(())
}

fn out_of_memory(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) {
    if !host.supports.oom_kill_disable {
        if wanted.oom_kill_disable == Some(true) {
            warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
        }
        wanted.oom_kill_disable = None;
    }
    if wanted.oom_kill_disable == Some(true) && wanted.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources."
                .to_owned(),
        );
    }
    if let Some(limit) = wanted.pids_limit.filter(|_| !host.supports.pids) {
        if limit > 0 {
            warnings.push(lacking("PIDs limit capabilities", "PIDs limit discarded."));
        }
        wanted.pids_limit = None;
    }
}

fn cpu(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let has = &host.supports;
    let refuse = |message: &str| Err(ConfigError::Value(message.to_owned()));
    if wanted.nano_cpus > 0 && wanted.cpu_period_us > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if wanted.nano_cpus > 0 && wanted.cpu_quota_us > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if wanted.nano_cpus > 0 && !has.cpu_quota {
        return refuse(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        );
    }
    if wanted.nano_cpus < 0 || wanted.nano_cpus > i64::from(host.cpus) * 1_000_000_000 {
        return Err(ConfigError::TooManyCpus { maximum: host.cpus });
    }
    if wanted.cpu_shares > 0 && !has.cpu_shares {
        warnings.push("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.".into());
        wanted.cpu_shares = 0;
    }
    if (wanted.cpu_period_us != 0 || wanted.cpu_quota_us != 0) && !has.cpu_quota {
        warnings.push("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.".to_owned());
        wanted.cpu_period_us = 0;
        wanted.cpu_quota_us = 0;
    }
    if wanted.cpu_period_us != 0 && !(1000..=1_000_000).contains(&wanted.cpu_period_us) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if wanted.cpu_quota_us > 0 && wanted.cpu_quota_us < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if wanted.cpu_realtime_period_us != 0 || wanted.cpu_realtime_runtime_us != 0 {
        if !has.cpu_realtime {
            return refuse("Your kernel does not support CPU real-time scheduler");
        }
        if wanted.cpu_realtime_runtime_us > wanted.cpu_realtime_period_us && wanted.cpu_realtime_period_us != 0 {
            return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
        }
    }
    if std::mem::take(&mut wanted.cpu_percent) > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
    }
    Ok(())
}

fn cpuset(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    if !host.supports.cpuset && !(wanted.cpuset_cpus.is_empty() && wanted.cpuset_mems.is_empty()) {
        warnings.push("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.".to_owned());
        wanted.cpuset_cpus.clear();
        wanted.cpuset_mems.clear();
    }
    let sets = [
        (&wanted.cpuset_cpus, &host.cpuset_cpus, "cpus", "CPUs"),
        (&wanted.cpuset_mems, &host.cpuset_mems, "mems", "memory nodes"),
    ];
    for (asked, available, name, noun) in sets {
        let set = parse_set(asked).ok_or_else(|| {
            ConfigError::Value(format!("Invalid value {asked} for cpuset {name}: invalid format: {asked}"))
        })?;
        let there = parse_set(available).unwrap_or_default();
        if !set.iter().all(|(first, last)| there.iter().any(|(low, high)| low <= first && last <= high)) {
            return Err(ConfigError::Value(format!(
                "Requested {noun} are not available - requested {asked}, available: {available}"
            )));
        }
    }
    Ok(())
}

/// `0-3,8`: ranges of cpuset(7), none for an empty text.
fn parse_set(text: &str) -> Option<Vec<(u32, u32)>> {
    let number = |word: &str| word.parse::<u32>().ok().filter(|number| *number <= LARGEST_SET);
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    text.split(',').filter(|_| !text.is_empty()).map(range).collect()
}

fn block_io(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let has = &host.supports;
    let discarded =
        |what: &str, rest: &str| format!("Your kernel does not support {what} or the cgroup is not mounted. {rest}");
    if wanted.blkio_weight > 0 && !has.block_io_weight {
        warnings.push(discarded("Block I/O weight", "Weight discarded."));
        wanted.blkio_weight = 0;
    }
    if wanted.blkio_weight != 0 && !(10..=1000).contains(&wanted.blkio_weight) {
        return Err(ConfigError::Value("Range of blkio weight is from 10 to 1000".to_owned()));
    }
    if wanted.io_maximum_bandwidth != 0 || wanted.io_maximum_iops != 0 {
        return Err(ConfigError::Value(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps".to_owned(),
        ));
    }
    if !wanted.blkio_weight_device.is_empty() && !has.block_io_weight {
        warnings.push(discarded("Block I/O weight_device", "Weight-device discarded."));
        wanted.blkio_weight_device.clear();
    }
    if has.block_io_throttle {
        return Ok(());
    }
    let throttles = [
        (&mut wanted.blkio_device_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit discarded."),
        (&mut wanted.blkio_device_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit discarded."),
        (&mut wanted.blkio_device_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit discarded."),
        (&mut wanted.blkio_device_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit discarded."),
    ];
    for (list, what, rest) in throttles {
        if !list.is_empty() {
            warnings.push(discarded(what, rest));
            list.clear();
        }
    }
    Ok(())
}

fn lacking(what: &str, rest: &str) -> String {
    format!("Your kernel does not support {what} or the cgroup is not mounted. {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ThrottleDevice;
    use crate::spec::Supports;

    fn host() -> Host {
        Host { cpus: 2, cpuset_cpus: "0-1".into(), cpuset_mems: "0".into(), ..Host::default() }
    }

    fn refused(mut wanted: Resources) -> String {
        check(&mut wanted, &host()).unwrap_err().to_string()
    }

    #[test]
    fn limits_that_contradict_each_other_get_dockers_words() {
        let of = Resources::default;
        let texts = [
            (Resources { memory: 4096, ..of() }, "Minimum memory limit allowed is 6MB"),
            (
                Resources { memory: 64 << 20, memory_swap: 32 << 20, ..of() },
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                Resources { memory_swap: 32 << 20, ..of() },
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                Resources { memory: 64 << 20, memory_reservation: 65 << 20, ..of() },
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (Resources { memory_reservation: 1, ..of() }, "Minimum memory reservation allowed is 6MB"),
            (
                Resources { memory_swappiness: Some(101), ..of() },
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (
                Resources { nano_cpus: 3_000_000_000, ..of() },
                "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (
                Resources { nano_cpus: 1, cpu_quota_us: 5000, ..of() },
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (
                Resources { cpu_period_us: 10, ..of() },
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (Resources { cpu_quota_us: 10, ..of() }, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
            (
                Resources { cpuset_cpus: "0-7".into(), ..of() },
                "Requested CPUs are not available - requested 0-7, available: 0-1",
            ),
            (Resources { cpuset_cpus: "a".into(), ..of() }, "Invalid value a for cpuset cpus: invalid format: a"),
            (
                Resources { cpuset_mems: "1".into(), ..of() },
                "Requested memory nodes are not available - requested 1, available: 0",
            ),
            (Resources { blkio_weight: 5, ..of() }, "Range of blkio weight is from 10 to 1000"),
            (
                Resources { io_maximum_iops: 5, ..of() },
                "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
            ),
        ];
        for (wanted, text) in texts {
            assert_eq!(refused(wanted), text);
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_discarded_with_a_warning() {
        let none = Supports {
            memory: false,
            swap: false,
            reservation: false,
            swappiness: false,
            oom_kill_disable: false,
            pids: false,
            cpu_shares: false,
            cpu_quota: false,
            cpu_realtime: false,
            cpuset: false,
            block_io_weight: false,
            block_io_throttle: false,
        };
        let mut wanted = Resources {
            memory: 64 << 20,
            memory_reservation: 32 << 20,
            memory_swappiness: Some(3),
            oom_kill_disable: Some(true),
            pids_limit: Some(5),
            cpu_shares: 2,
            cpu_quota_us: 2000,
            cpuset_cpus: "0".into(),
            blkio_weight: 20,
            blkio_device_read_bps: vec![ThrottleDevice { path: "/dev/sda".into(), rate: 1 }],
            cpu_percent: 3,
            ..Resources::default()
        };
        let warnings = check(&mut wanted, &Host { supports: none, ..host() }).unwrap();
        assert_eq!(wanted, Resources { memory_swap: -1, ..Resources::default() });
        insta::assert_snapshot!(warnings.join("\n"));
    }

    #[test]
    fn an_out_of_memory_killer_that_is_off_without_a_limit_is_warned_of() {
        let mut wanted = Resources { oom_kill_disable: Some(true), ..Resources::default() };
        let warnings = check(&mut wanted, &host()).unwrap();
        assert!(warnings[0].starts_with("OOM killer is disabled for the container, but no memory limit is set"));
    }
}
