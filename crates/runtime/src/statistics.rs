//! `events --stats`: what a container uses, in runc's JSON (its `types` package).

use crate::{Root, RuntimeError, Status};
use cgroup::Statistics;
use cgroup::statistics::{
    BlockIoStatistics, Counter, CpuStatistics, CpusetStatistics, IoEntry, MemoryStatistics, NO_LIMIT, Pressure, Stall,
    Version,
};
use serde_json::{Map, Value, json};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};
use sys::process;

pub fn event(root: &Root, id: &str) -> Result<Value, RuntimeError> {
    let record = root.load(id)?;
    if root.status(&record) == Status::Stopped {
        return Err(RuntimeError::NotRunning);
    }
    Ok(json!({ "type": "stats", "id": id, "data": data(&record.group.statistics()?) }))
}

/// Tells what a container uses at every interval, and each kill for want of memory, until it ends or `tell` answers false.
pub fn follow(
    root: &Root,
    id: &str,
    interval: Duration,
    mut tell: impl FnMut(&Value) -> bool,
) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    let pidfd = record.pidfd()?;
    let mut memory = cgroup::OomWatch::new(&record.group)?;
    loop {
        match event(root, id) {
            Ok(event) if tell(&event) => {}
            // It has ended meanwhile, and may be deleted.
            Ok(_) | Err(RuntimeError::NotRunning | RuntimeError::NotFound) => return Ok(()),
            Err(_) if !record.is_alive() => return Ok(()),
            Err(error) => return Err(error),
        }
        let until = Instant::now() + interval;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let wanted = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let watched = memory.as_ref().map_or(-1, |memory| memory.as_fd().as_raw_fd());
            let mut polls = [wanted(pidfd.raw()), wanted(watched)];
            let timeout = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            process::poll(&mut polls, timeout).map_err(RuntimeError::system("poll"))?;
            if polls[1].revents != 0 && memory.as_mut().is_some_and(cgroup::OomWatch::take) {
                tell(&json!({ "type": "oom", "id": id }));
            }
            if polls[0].revents != 0 {
                return Ok(());
            }
        }
    }
}

fn data(statistics: &Statistics) -> Value {
    let hugetlb: Map<String, Value> = statistics
        .hugetlb
        .iter()
        .map(|(size, pages)| {
            let mut entry = Map::new();
            put(&mut entry, "usage", pages.usage);
            put(&mut entry, "max", pages.max_usage);
            entry.insert("failcnt".into(), pages.fail_count.into());
            (size.clone(), entry.into())
        })
        .collect();
    let mut pids = Map::new();
    put(&mut pids, "current", statistics.pids.current);
    put(&mut pids, "limit", statistics.pids.limit);
    json!({
        "cpu": cpu(&statistics.cpu),
        "cpuset": cpuset(&statistics.cpuset.clone().unwrap_or_default()),
        "memory": memory(&statistics.memory, statistics.version),
        "pids": pids,
        "blkio": block_io(&statistics.block_io),
        "hugetlb": hugetlb,
        "intel_rdt": {},
        // The network belongs to who made its namespace.
        "network_interfaces": null,
    })
}

/// Zero is left out, as Go's omitempty does.
fn put(map: &mut Map<String, Value>, key: &str, value: u64) {
    if value != 0 {
        map.insert(key.into(), value.into());
    }
}

fn put_pressure(map: &mut Map<String, Value>, pressure: Option<Pressure>) {
    let stall = |stall: Stall| {
        let percent = |hundredths: u64| hundredths as f64 / 100.0;
        json!({
            "avg10": percent(stall.avg10), "avg60": percent(stall.avg60), "avg300": percent(stall.avg300),
            "total": stall.total_us
        })
    };
    if let Some(Pressure { some, full }) = pressure {
        map.insert("psi".into(), json!({ "some": stall(some), "full": stall(full) }));
    }
}

fn cpu(cpu: &CpuStatistics) -> Value {
    let mut usage = Map::new();
    put(&mut usage, "total", cpu.total_ns);
    let lists =
        [("percpu", &cpu.per_cpu_ns), ("percpu_kernel", &cpu.per_cpu_kernel_ns), ("percpu_user", &cpu.per_cpu_user_ns)];
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        usage.insert(key.into(), list.as_slice().into());
    }
    usage.insert("kernel".into(), cpu.kernel_ns.into());
    usage.insert("user".into(), cpu.user_ns.into());
    let mut throttling = Map::new();
    put(&mut throttling, "periods", cpu.periods);
    put(&mut throttling, "throttledPeriods", cpu.throttled_periods);
    put(&mut throttling, "throttledTime", cpu.throttled_ns);
    let mut map = Map::from_iter([("usage".to_string(), usage.into()), ("throttling".to_string(), throttling.into())]);
    put_pressure(&mut map, cpu.pressure);
    map.into()
}

fn cpuset(cpuset: &CpusetStatistics) -> Value {
    let mut map = Map::new();
    let setting = |name: &str| cpuset.settings.get(name).copied().unwrap_or(0);
    if !cpuset.cpus.is_empty() {
        map.insert("cpus".into(), cpuset.cpus.as_slice().into());
    }
    map.insert("cpu_exclusive".into(), setting("cpu_exclusive").into());
    if !cpuset.memory_nodes.is_empty() {
        map.insert("mems".into(), cpuset.memory_nodes.as_slice().into());
    }
    for name in [
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ] {
        map.insert(name.into(), setting(name).into());
    }
    map.into()
}

fn counter(counter: Counter) -> Value {
    let mut map = Map::from_iter([("limit".to_string(), counter.limit.into())]);
    put(&mut map, "usage", counter.usage);
    put(&mut map, "max", counter.max_usage);
    map.insert("failcnt".into(), counter.fail_count.into());
    map.into()
}

fn memory(memory: &MemoryStatistics, version: Version) -> Value {
    let mut map = Map::new();
    let detail = |key: &str| memory.details.get(key).copied();
    put(&mut map, "cache", detail("cache").or_else(|| detail("file")).unwrap_or(0));
    map.insert("usage".into(), counter(memory.memory));
    map.insert("swap".into(), counter(swap(memory, version)));
    map.insert("kernel".into(), counter(memory.kernel.unwrap_or_default()));
    map.insert("kernelTCP".into(), counter(memory.kernel_tcp.unwrap_or_default()));
    if !memory.details.is_empty() {
        map.insert("raw".into(), json!(memory.details));
    }
    put_pressure(&mut map, memory.pressure);
    map.into()
}

/// Readers know swap as v1 counts it, with the memory: v2's own is added to it.
fn swap(memory: &MemoryStatistics, version: Version) -> Counter {
    match version {
        Version::V1 => memory.swap,
        Version::V2 => Counter {
            usage: memory.swap.usage.saturating_add(memory.memory.usage),
            limit: match memory.swap.limit {
                NO_LIMIT => NO_LIMIT,
                limit => limit.saturating_add(memory.memory.limit),
            },
            ..memory.swap
        },
    }
}

fn block_io(io: &BlockIoStatistics) -> Value {
    let mut map = Map::new();
    let lists = [
        ("ioServiceBytesRecursive", &io.service_bytes),
        ("ioServicedRecursive", &io.serviced),
        ("ioQueueRecursive", &io.queued),
        ("ioServiceTimeRecursive", &io.service_time),
        ("ioWaitTimeRecursive", &io.wait_time),
        ("ioMergedRecursive", &io.merged),
        ("ioTimeRecursive", &io.time),
        ("sectorsRecursive", &io.sectors),
    ];
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        map.insert(key.into(), list.iter().map(io_entry).collect());
    }
    put_pressure(&mut map, io.pressure);
    map.into()
}

fn io_entry(entry: &IoEntry) -> Value {
    let mut map = Map::new();
    put(&mut map, "major", entry.major);
    put(&mut map, "minor", entry.minor);
    if !entry.operation.is_empty() {
        map.insert("op".into(), entry.operation.as_str().into());
    }
    put(&mut map, "value", entry.value);
    map.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_of_v2_is_shown_with_the_memory() {
        let part = |usage, limit| Counter { usage, limit, ..Counter::default() };
        let figures = MemoryStatistics { memory: part(10, 100), swap: part(5, 50), ..MemoryStatistics::default() };
        assert_eq!((swap(&figures, Version::V2).usage, swap(&figures, Version::V2).limit), (15, 150));
        assert_eq!(swap(&figures, Version::V1), figures.swap);
        let endless = MemoryStatistics { swap: part(5, NO_LIMIT), ..figures };
        assert_eq!(swap(&endless, Version::V2).limit, NO_LIMIT);
    }
}
