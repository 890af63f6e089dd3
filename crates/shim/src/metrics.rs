//! Stats: what the container's cgroups count, in containerd's messages for v1 and v2.

use cgroup::Statistics;
use cgroup::statistics::{BlockIoStatistics, Counter, IoEntry, MemoryStatistics, NO_LIMIT, Pressure, Stall, Version};
use containerd_api::cgroups::{v1, v2};
use containerd_api::{Any, any};
use std::collections::BTreeMap;
use std::fs;

pub fn pack(statistics: &Statistics) -> Any {
    match statistics.version {
        Version::V1 => any::pack(&metrics_v1(statistics)),
        Version::V2 => any::pack(&metrics_v2(statistics)),
    }
}

fn metrics_v1(statistics: &Statistics) -> v1::Metrics {
    let cpu = &statistics.cpu;
    let oom = statistics.memory.oom;
    let hugetlb = statistics.hugetlb.iter().map(|(size, pages)| v1::HugetlbStat {
        usage: pages.usage,
        max: pages.max_usage,
        failcnt: pages.fail_count,
        pagesize: size.clone(),
    });
    v1::Metrics {
        hugetlb: hugetlb.collect(),
        pids: Some(v1::PidsStat { current: statistics.pids.current, limit: statistics.pids.limit }),
        cpu: Some(v1::CpuStat {
            usage: Some(v1::CpuUsage {
                total: cpu.total_ns,
                kernel: cpu.kernel_ns,
                user: cpu.user_ns,
                per_cpu: cpu.per_cpu_ns.clone(),
            }),
            throttling: Some(v1::Throttle {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled_ns,
            }),
        }),
        memory: Some(memory_v1(&statistics.memory)),
        blkio: Some(block_io_v1(&statistics.block_io)),
        rdma: Some(v1::RdmaStat {
            current: rdma(statistics, |entry| (entry.current_handles, entry.current_objects)),
            limit: rdma(statistics, |entry| (entry.limit_handles, entry.limit_objects)),
        }),
        memory_oom_control: Some(v1::MemoryOomControl {
            oom_kill_disable: oom.disabled.into(),
            under_oom: oom.under_oom.into(),
            oom_kill: oom.kills,
        }),
    }
}

fn rdma(statistics: &Statistics, of: fn(&cgroup::statistics::RdmaEntry) -> (u32, u32)) -> Vec<v1::RdmaEntry> {
    let entry = |entry: &cgroup::statistics::RdmaEntry| {
        let (hca_handles, hca_objects) = of(entry);
        v1::RdmaEntry { device: entry.device.clone(), hca_handles, hca_objects }
    };
    statistics.rdma.iter().map(entry).collect()
}

fn memory_v1(memory: &MemoryStatistics) -> v1::MemoryStat {
    let get = |key: &str| memory.details.get(key).copied().unwrap_or(0);
    let entry = |counter: Counter| v1::MemoryEntry {
        limit: counter.limit,
        usage: counter.usage,
        max: counter.max_usage,
        failcnt: counter.fail_count,
    };
    v1::MemoryStat {
        cache: get("cache"),
        rss: get("rss"),
        rss_huge: get("rss_huge"),
        mapped_file: get("mapped_file"),
        dirty: get("dirty"),
        writeback: get("writeback"),
        pg_pg_in: get("pgpgin"),
        pg_pg_out: get("pgpgout"),
        pg_fault: get("pgfault"),
        pg_maj_fault: get("pgmajfault"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        hierarchical_memory_limit: get("hierarchical_memory_limit"),
        hierarchical_swap_limit: get("hierarchical_memsw_limit"),
        total_cache: get("total_cache"),
        total_rss: get("total_rss"),
        total_rss_huge: get("total_rss_huge"),
        total_mapped_file: get("total_mapped_file"),
        total_dirty: get("total_dirty"),
        total_writeback: get("total_writeback"),
        total_pg_pg_in: get("total_pgpgin"),
        total_pg_pg_out: get("total_pgpgout"),
        total_pg_fault: get("total_pgfault"),
        total_pg_maj_fault: get("total_pgmajfault"),
        total_inactive_anon: get("total_inactive_anon"),
        total_active_anon: get("total_active_anon"),
        total_inactive_file: get("total_inactive_file"),
        total_active_file: get("total_active_file"),
        total_unevictable: get("total_unevictable"),
        usage: Some(entry(memory.memory)),
        swap: Some(entry(memory.swap)),
        kernel: Some(entry(memory.kernel.unwrap_or_default())),
        kernel_tcp: Some(entry(memory.kernel_tcp.unwrap_or_default())),
    }
}

fn block_io_v1(io: &BlockIoStatistics) -> v1::BlkIoStat {
    let names = if io.service_bytes.is_empty() && io.serviced.is_empty() { BTreeMap::new() } else { device_names() };
    let list = |entries: &[IoEntry]| -> Vec<v1::BlkIoEntry> {
        let entry = |entry: &IoEntry| v1::BlkIoEntry {
            op: entry.operation.clone(),
            device: names.get(&(entry.major, entry.minor)).cloned().unwrap_or_default(),
            major: entry.major,
            minor: entry.minor,
            value: entry.value,
        };
        entries.iter().map(entry).collect()
    };
    v1::BlkIoStat {
        io_service_bytes_recursive: list(&io.service_bytes),
        io_serviced_recursive: list(&io.serviced),
        io_queued_recursive: list(&io.queued),
        io_service_time_recursive: list(&io.service_time),
        io_wait_time_recursive: list(&io.wait_time),
        io_merged_recursive: list(&io.merged),
        io_time_recursive: list(&io.time),
        sectors_recursive: list(&io.sectors),
    }
}

/// Block devices by their numbers, from /proc/diskstats (proc(5)): major, minor, name.
fn device_names() -> BTreeMap<(u64, u64), String> {
    let text = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let device = |line: &str| {
        let mut fields = line.split_whitespace();
        let number = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((number, format!("/dev/{}", fields.next()?)))
    };
    text.lines().filter_map(device).collect()
}

fn pressure(pressure: Option<Pressure>) -> Option<v2::PsiStats> {
    let stall = |stall: Stall| {
        let percent = |hundredths: u64| hundredths as f64 / 100.0;
        let (avg10, avg60, avg300) = (percent(stall.avg10), percent(stall.avg60), percent(stall.avg300));
        Some(v2::PsiData { avg10, avg60, avg300, total: stall.total_us })
    };
    pressure.map(|pressure| v2::PsiStats { some: stall(pressure.some), full: stall(pressure.full) })
}

fn metrics_v2(statistics: &Statistics) -> v2::Metrics {
    let cpu = &statistics.cpu;
    let event = |key: &str| statistics.memory.events.get(key).copied().unwrap_or(0);
    let rdma = |of| {
        let entries: Vec<v1::RdmaEntry> = rdma(statistics, of);
        let entry = |entry: v1::RdmaEntry| v2::RdmaEntry {
            device: entry.device,
            hca_handles: entry.hca_handles,
            hca_objects: entry.hca_objects,
        };
        entries.into_iter().map(entry).collect()
    };
    let hugetlb = statistics.hugetlb.iter().map(|(size, pages)| v2::HugeTlbStat {
        current: pages.usage,
        max: pages.limit,
        pagesize: size.clone(),
        failcnt: pages.fail_count,
    });
    v2::Metrics {
        pids: Some(v2::PidsStat { current: statistics.pids.current, limit: statistics.pids.limit }),
        cpu: Some(v2::CpuStat {
            usage_usec: cpu.total_ns / 1000,
            user_usec: cpu.user_ns / 1000,
            system_usec: cpu.kernel_ns / 1000,
            nr_periods: cpu.periods,
            nr_throttled: cpu.throttled_periods,
            throttled_usec: cpu.throttled_ns / 1000,
            psi: pressure(cpu.pressure),
            nr_bursts: cpu.bursts,
            burst_usec: cpu.burst_ns / 1000,
        }),
        memory: Some(memory_v2(&statistics.memory)),
        rdma: Some(v2::RdmaStat {
            current: rdma(|entry| (entry.current_handles, entry.current_objects)),
            limit: rdma(|entry| (entry.limit_handles, entry.limit_objects)),
        }),
        io: Some(v2::IoStat { usage: io_v2(&statistics.block_io), psi: pressure(statistics.block_io.pressure) }),
        hugetlb: hugetlb.collect(),
        memory_events: Some(v2::MemoryEvents {
            low: event("low"),
            high: event("high"),
            max: event("max"),
            oom: event("oom"),
            oom_kill: event("oom_kill"),
            oom_group_kill: event("oom_group_kill"),
        }),
    }
}

fn memory_v2(memory: &MemoryStatistics) -> v2::MemoryStat {
    let get = |key: &str| memory.details.get(key).copied().unwrap_or(0);
    let limit = |counter: Counter| if counter.limit == NO_LIMIT { u64::MAX } else { counter.limit };
    v2::MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        workingset_refault: get("workingset_refault"),
        workingset_activate: get("workingset_activate"),
        workingset_nodereclaim: get("workingset_nodereclaim"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: memory.memory.usage,
        usage_limit: limit(memory.memory),
        swap_usage: memory.swap.usage,
        swap_limit: limit(memory.swap),
        max_usage: memory.memory.max_usage,
        swap_max_usage: memory.swap.max_usage,
        psi: pressure(memory.pressure),
        workingset_refault_anon: get("workingset_refault_anon"),
        workingset_refault_file: get("workingset_refault_file"),
        workingset_activate_anon: get("workingset_activate_anon"),
        workingset_activate_file: get("workingset_activate_file"),
    }
}

fn io_v2(io: &BlockIoStatistics) -> Vec<v2::IoEntry> {
    let mut devices: BTreeMap<(u64, u64), v2::IoEntry> = BTreeMap::new();
    for (bytes, entries) in [(true, &io.service_bytes), (false, &io.serviced)] {
        for entry in entries {
            let found = devices.entry((entry.major, entry.minor)).or_default();
            (found.major, found.minor) = (entry.major, entry.minor);
            match (entry.operation.as_str(), bytes) {
                ("Read", true) => found.rbytes = entry.value,
                ("Write", true) => found.wbytes = entry.value,
                ("Read", false) => found.rios = entry.value,
                _ => found.wios = entry.value,
            }
        }
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_v2_have_one_entry_each() {
        let entry = |operation: &str, value| IoEntry { major: 8, minor: 0, operation: operation.into(), value };
        let io = BlockIoStatistics {
            service_bytes: vec![entry("Read", 1), entry("Write", 2)],
            serviced: vec![entry("Read", 3), entry("Write", 4)],
            ..Default::default()
        };
        let found = io_v2(&io);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].rbytes, found[0].wbytes, found[0].rios, found[0].wios), (1, 2, 3, 4));
    }

    #[test]
    fn the_versions_have_messages_of_their_own() {
        let of = |version| pack(&Statistics { version, ..Statistics::default() }).type_url;
        assert_eq!(of(Version::V1), "io.containerd.cgroups.v1.Metrics");
        assert_eq!(of(Version::V2), "io.containerd.cgroups.v2.Metrics");
    }
}
