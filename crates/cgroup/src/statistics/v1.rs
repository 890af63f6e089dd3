//! v1's files (cgroup-v1/cpuacct.rst, memory.rst, blkio-controller.rst, pids.rst, hugetlb.rst).

use super::{
    BlockIoStatistics, Counter, CpusetStatistics, HugetlbStatistics, IoEntry, MemoryStatistics, OomStatistics,
    Statistics, lookup, number, numbers, page_sizes, pairs, read_pids, read_rdma, text,
};
use crate::Group;
use std::path::Path;

pub(super) fn read(group: &Group, statistics: &mut Statistics) {
    if let Some(folder) = group.member("cpuacct") {
        read_cpuacct(folder, statistics);
    }
    if let Some(folder) = group.member("cpu") {
        let found = pairs(&folder.join("cpu.stat"));
        let cpu = &mut statistics.cpu;
        cpu.periods = lookup(&found, "nr_periods");
        cpu.throttled_periods = lookup(&found, "nr_throttled");
        cpu.throttled_ns = lookup(&found, "throttled_time");
        cpu.bursts = lookup(&found, "nr_bursts");
        cpu.burst_ns = lookup(&found, "burst_time");
    }
    if let Some(folder) = group.member("memory") {
        statistics.memory = memory(folder);
    }
    if let Some(folder) = group.member("pids") {
        statistics.pids = read_pids(folder);
    }
    if let Some(folder) = group.member("blkio") {
        statistics.block_io = block_io(folder);
    }
    if let Some(folder) = group.member("hugetlb") {
        statistics.hugetlb = page_sizes(folder, ".usage_in_bytes")
            .into_iter()
            .map(|size| {
                let file = |name: &str| number(&folder.join(format!("hugetlb.{size}.{name}")));
                let found = HugetlbStatistics {
                    usage: file("usage_in_bytes"),
                    max_usage: file("max_usage_in_bytes"),
                    limit: file("limit_in_bytes"),
                    fail_count: file("failcnt"),
                };
                (size, found)
            })
            .collect();
    }
    if let Some(folder) = group.member("rdma") {
        statistics.rdma = read_rdma(folder);
    }
    statistics.cpuset = group.member("cpuset").map(cpuset);
}

const CPUSET_SETTINGS: [&str; 9] = [
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
];

fn cpuset(folder: &Path) -> CpusetStatistics {
    let list = |name: &str| parse_list(&text(&folder.join(name)).unwrap_or_default());
    let setting = |name: &str| text(&folder.join(format!("cpuset.{name}")))?.trim().parse().ok();
    CpusetStatistics {
        cpus: list("cpuset.cpus"),
        memory_nodes: list("cpuset.mems"),
        settings: CPUSET_SETTINGS.iter().filter_map(|name| Some((*name, setting(name)?))).collect(),
    }
}

/// `0-2,7`.
pub(super) fn parse_list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn read_cpuacct(folder: &Path, statistics: &mut Statistics) {
    let cpu = &mut statistics.cpu;
    cpu.total_ns = number(&folder.join("cpuacct.usage"));
    cpu.user_ns = number(&folder.join("cpuacct.usage_user"));
    cpu.kernel_ns = number(&folder.join("cpuacct.usage_sys"));
    cpu.per_cpu_ns = numbers(&folder.join("cpuacct.usage_percpu"));
    cpu.per_cpu_user_ns = numbers(&folder.join("cpuacct.usage_percpu_user"));
    cpu.per_cpu_kernel_ns = numbers(&folder.join("cpuacct.usage_percpu_sys"));
}

fn memory(folder: &Path) -> MemoryStatistics {
    let counter = |part: &str| {
        let file = |name: &str| number(&folder.join(format!("memory.{part}{name}")));
        Counter {
            usage: file("usage_in_bytes"),
            max_usage: file("max_usage_in_bytes"),
            limit: file("limit_in_bytes"),
            fail_count: file("failcnt"),
        }
    };
    // A kernel of 6.1 and later has no limit of kernel memory any more.
    let optional = |part: &str| folder.join(format!("memory.{part}usage_in_bytes")).exists().then(|| counter(part));
    let oom = pairs(&folder.join("memory.oom_control"));
    MemoryStatistics {
        memory: counter(""),
        swap: counter("memsw."),
        kernel: optional("kmem."),
        kernel_tcp: optional("kmem.tcp."),
        details: pairs(&folder.join("memory.stat")),
        use_hierarchy: number(&folder.join("memory.use_hierarchy")) == 1,
        oom: OomStatistics {
            disabled: lookup(&oom, "oom_kill_disable") == 1,
            under_oom: lookup(&oom, "under_oom") == 1,
            kills: lookup(&oom, "oom_kill"),
        },
        ..MemoryStatistics::default()
    }
}

/// CFQ's files where there are some, else BFQ's, else the throttling layer's, which counts whatever the scheduler is.
fn block_io(folder: &Path) -> BlockIoStatistics {
    let read = |name: &str| text(&folder.join(name)).map(|text| entries(&text)).unwrap_or_default();
    let first =
        |names: [&str; 3]| names.iter().map(|name| read(name)).find(|list| !list.is_empty()).unwrap_or_default();
    BlockIoStatistics {
        service_bytes: first([
            "blkio.io_service_bytes_recursive",
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ]),
        serviced: first([
            "blkio.io_serviced_recursive",
            "blkio.bfq.io_serviced_recursive",
            "blkio.throttle.io_serviced_recursive",
        ]),
        queued: read("blkio.io_queued_recursive"),
        service_time: read("blkio.io_service_time_recursive"),
        wait_time: read("blkio.io_wait_time_recursive"),
        merged: read("blkio.io_merged_recursive"),
        time: read("blkio.time_recursive"),
        sectors: read("blkio.sectors_recursive"),
        pressure: None,
    }
}

/// `8:0 Read 4096` or `8:0 4096` a line; the last, `Total N`, belongs to no device.
pub(super) fn entries(text: &str) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let (operation, value) = rest.split_once(' ').unwrap_or(("", rest));
        Some(IoEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            operation: operation.to_string(),
            value: value.trim().parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}
