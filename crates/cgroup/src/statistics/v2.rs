//! v2's files (cgroup-v2.rst, controllers; accounting/psi.rst).

use super::{
    BlockIoStatistics, Counter, CpuStatistics, HugetlbStatistics, IoEntry, MemoryStatistics, NO_LIMIT, OomStatistics,
    Pressure, Stall, Statistics, lookup, number, page_sizes, pairs, read_pids, read_rdma, text,
};
use std::path::Path;

pub(super) fn read(folder: &Path, statistics: &mut Statistics) {
    statistics.cpu = cpu(folder);
    statistics.memory = memory(folder);
    statistics.pids = read_pids(folder);
    statistics.block_io = block_io(&text(&folder.join("io.stat")).unwrap_or_default());
    statistics.block_io.pressure = pressure(&folder.join("io.pressure"));
    statistics.hugetlb = page_sizes(folder, ".current")
        .into_iter()
        .map(|size| {
            let file = |name: &str| folder.join(format!("hugetlb.{size}.{name}"));
            let found = HugetlbStatistics {
                usage: number(&file("current")),
                max_usage: 0,
                limit: number(&file("max")),
                fail_count: lookup(&pairs(&file("events")), "max"),
            };
            (size, found)
        })
        .collect();
    statistics.rdma = read_rdma(folder);
}

fn cpu(folder: &Path) -> CpuStatistics {
    let found = pairs(&folder.join("cpu.stat"));
    let ns = |key: &str| lookup(&found, key).saturating_mul(1000);
    CpuStatistics {
        total_ns: ns("usage_usec"),
        user_ns: ns("user_usec"),
        kernel_ns: ns("system_usec"),
        periods: lookup(&found, "nr_periods"),
        throttled_periods: lookup(&found, "nr_throttled"),
        throttled_ns: ns("throttled_usec"),
        bursts: lookup(&found, "nr_bursts"),
        burst_ns: ns("burst_usec"),
        pressure: pressure(&folder.join("cpu.pressure")),
        ..CpuStatistics::default()
    }
}

fn memory(folder: &Path) -> MemoryStatistics {
    let details = pairs(&folder.join("memory.stat"));
    let events = pairs(&folder.join("memory.events"));
    let swap_events = pairs(&folder.join("memory.swap.events"));
    let counter = |part: &str, fail_count: u64| {
        let file = |name: &str| number(&folder.join(format!("memory.{part}{name}")));
        Counter { usage: file("current"), max_usage: file("peak"), limit: file("max"), fail_count }
    };
    let mut memory = counter("", lookup(&events, "max"));
    // The root has no memory.current: what it uses is the sum of its parts.
    if !folder.join("memory.current").exists() && !details.is_empty() {
        memory.usage = lookup(&details, "anon") + lookup(&details, "file");
        memory.limit = NO_LIMIT;
    }
    MemoryStatistics {
        memory,
        swap: counter("swap.", lookup(&swap_events, "max")),
        details,
        use_hierarchy: true,
        oom: OomStatistics { kills: lookup(&events, "oom_kill"), ..OomStatistics::default() },
        events,
        pressure: pressure(&folder.join("memory.pressure")),
        ..MemoryStatistics::default()
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` a line.
pub(super) fn block_io(text: &str) -> BlockIoStatistics {
    let mut found = BlockIoStatistics::default();
    for line in text.lines() {
        let Some((device, rest)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        let value = |key: &str| {
            let pair = rest.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            pair.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        for (operation, bytes, operations) in [("Read", "rbytes", "rios"), ("Write", "wbytes", "wios")] {
            let entry = |value| IoEntry { major, minor, operation: operation.to_string(), value };
            found.service_bytes.push(entry(value(bytes)));
            found.serviced.push(entry(value(operations)));
        }
    }
    found
}

fn pressure(path: &Path) -> Option<Pressure> {
    parse_pressure(&text(path)?)
}

/// `some avg10=0.00 avg60=1.25 avg300=0.00 total=123` and the same for `full`.
pub(super) fn parse_pressure(text: &str) -> Option<Pressure> {
    let mut found = Pressure::default();
    let mut lines = 0;
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let value = |key: &str| rest.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let hundredths = |key: &str| value(key).and_then(|value| value.replace('.', "").parse().ok()).unwrap_or(0);
        let stall = Stall {
            avg10: hundredths("avg10"),
            avg60: hundredths("avg60"),
            avg300: hundredths("avg300"),
            total_us: value("total").and_then(|value| value.parse().ok()).unwrap_or(0),
        };
        match kind {
            "some" => found.some = stall,
            "full" => found.full = stall,
            _ => continue,
        }
        lines += 1;
    }
    (lines > 0).then_some(found)
}
