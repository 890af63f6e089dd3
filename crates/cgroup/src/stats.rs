//! What a group uses. Files that this kernel does not have count as zero.

use crate::Group;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Limits at or above this are v1's way of saying that there is none.
const NO_LIMIT: u64 = u64::MAX;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    pub pids_current: u64,
    /// Zero: no limit.
    pub pids_limit: u64,
    pub io: Vec<IoEntry>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    pub total_ns: u64,
    pub user_ns: u64,
    pub system_ns: u64,
    pub per_cpu_ns: Vec<u64>,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    pub usage: u64,
    pub max_usage: u64,
    /// u64::MAX: no limit.
    pub limit: u64,
    pub fail_count: u64,
    pub swap_usage: u64,
    pub swap_limit: u64,
    /// memory.stat as the kernel writes it.
    pub details: BTreeMap<String, u64>,
}

/// Bytes and operations of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoEntry {
    pub major: u64,
    pub minor: u64,
    /// `Read`, `Write`, …
    pub operation: String,
    pub bytes: u64,
    pub operations: u64,
}

impl Group {
    pub fn stats(&self) -> Stats {
        match (&self.v2, self.is_v2()) {
            (Some(path), true) => v2(path),
            _ => v1(self),
        }
    }
}

fn number(path: &Path) -> u64 {
    match fs::read_to_string(path).unwrap_or_default().trim() {
        "max" => NO_LIMIT,
        text => text.parse().unwrap_or(0),
    }
}

fn pairs(path: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let pair =
        |line: &str| line.split_once(' ').and_then(|(key, value)| Some((key.to_string(), value.trim().parse().ok()?)));
    text.lines().filter_map(pair).collect()
}

fn v1(group: &Group) -> Stats {
    let mut stats = Stats::default();
    if let Some(dir) = group.member("cpuacct") {
        stats.cpu.total_ns = number(&dir.join("cpuacct.usage"));
        stats.cpu.user_ns = number(&dir.join("cpuacct.usage_user"));
        stats.cpu.system_ns = number(&dir.join("cpuacct.usage_sys"));
        let per_cpu = fs::read_to_string(dir.join("cpuacct.usage_percpu")).unwrap_or_default();
        stats.cpu.per_cpu_ns = per_cpu.split_whitespace().filter_map(|value| value.parse().ok()).collect();
    }
    if let Some(dir) = group.member("cpu") {
        let found = pairs(&dir.join("cpu.stat"));
        let get = |key: &str| found.get(key).copied().unwrap_or(0);
        (stats.cpu.periods, stats.cpu.throttled_periods) = (get("nr_periods"), get("nr_throttled"));
        stats.cpu.throttled_ns = get("throttled_time");
    }
    if let Some(dir) = group.member("memory") {
        stats.memory = MemoryStats {
            usage: number(&dir.join("memory.usage_in_bytes")),
            max_usage: number(&dir.join("memory.max_usage_in_bytes")),
            limit: number(&dir.join("memory.limit_in_bytes")),
            fail_count: number(&dir.join("memory.failcnt")),
            swap_usage: number(&dir.join("memory.memsw.usage_in_bytes")),
            swap_limit: number(&dir.join("memory.memsw.limit_in_bytes")),
            details: pairs(&dir.join("memory.stat")),
        };
    }
    if let Some(dir) = group.member("pids") {
        pids(&mut stats, dir);
    }
    if let Some(dir) = group.member("blkio") {
        stats.io = io_v1(dir);
    }
    stats
}

fn pids(stats: &mut Stats, dir: &Path) {
    stats.pids_current = number(&dir.join("pids.current"));
    stats.pids_limit = match number(&dir.join("pids.max")) {
        NO_LIMIT => 0,
        limit => limit,
    };
}

/// `8:0 Read 4096` a line, of the throttling layer, which counts whatever the scheduler is.
fn io_v1(dir: &Path) -> Vec<IoEntry> {
    let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let mut found: BTreeMap<(u64, u64, String), IoEntry> = BTreeMap::new();
    for (text, is_bytes) in [
        (read("blkio.throttle.io_service_bytes_recursive"), true),
        (read("blkio.throttle.io_serviced_recursive"), false),
    ] {
        for line in text.lines() {
            let mut fields = line.split([':', ' ']);
            let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
            let (Some(major), Some(minor)) = (next(), next()) else { continue };
            let (Some(operation), Some(value)) = (fields.next(), fields.next().and_then(|f| f.parse().ok())) else {
                continue;
            };
            let entry = found.entry((major, minor, operation.to_string())).or_insert_with(|| IoEntry {
                major,
                minor,
                operation: operation.to_string(),
                ..IoEntry::default()
            });
            *(if is_bytes { &mut entry.bytes } else { &mut entry.operations }) = value;
        }
    }
    found.into_values().collect()
}

fn v2(dir: &Path) -> Stats {
    let cpu = pairs(&dir.join("cpu.stat"));
    let us = |key: &str| cpu.get(key).copied().unwrap_or(0);
    let memory_events = pairs(&dir.join("memory.events"));
    let mut stats = Stats {
        cpu: CpuStats {
            total_ns: us("usage_usec") * 1000,
            user_ns: us("user_usec") * 1000,
            system_ns: us("system_usec") * 1000,
            per_cpu_ns: Vec::new(),
            periods: us("nr_periods"),
            throttled_periods: us("nr_throttled"),
            throttled_ns: us("throttled_usec") * 1000,
        },
        memory: MemoryStats {
            usage: number(&dir.join("memory.current")),
            max_usage: number(&dir.join("memory.peak")),
            limit: number(&dir.join("memory.max")),
            fail_count: memory_events.get("max").copied().unwrap_or(0),
            swap_usage: number(&dir.join("memory.swap.current")),
            swap_limit: number(&dir.join("memory.swap.max")),
            details: pairs(&dir.join("memory.stat")),
        },
        io: io_v2(&fs::read_to_string(dir.join("io.stat")).unwrap_or_default()),
        ..Stats::default()
    };
    pids(&mut stats, dir);
    stats
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` a line.
fn io_v2(text: &str) -> Vec<IoEntry> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((device, rest)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        let value = |key: &str| {
            let pair = rest.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            pair.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        for (operation, bytes, operations) in [("Read", "rbytes", "rios"), ("Write", "wbytes", "wios")] {
            let operation = operation.to_string();
            found.push(IoEntry { major, minor, operation, bytes: value(bytes), operations: value(operations) });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_of_v2_is_read_by_device_and_direction() {
        let found = io_v2("8:16 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        assert_eq!((found[0].major, found[0].minor, found[0].bytes, found[0].operations), (8, 16, 4096, 1));
        assert_eq!(found[1].operation, "Write");
    }
}
