//! `GET /containers/x/stats`: samples become Docker's lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_api::stats as wire;
use futures_util::stream::{self, Stream};
use http::HeaderValue;

use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};
use ::containers::cgroup::statistics::{Counter, IoEntry, MemoryStatistics, Version};
use ::containers::{InterfaceCounters, Sample, Samples};
use container_core::rfc3339;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What Docker shows of memory.stat on cgroup v1.
const MEMORY_V1: [&str; 32] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    "total_cache",
    "total_rss",
    "total_rss_huge",
    "total_mapped_file",
    "total_dirty",
    "total_writeback",
    "total_pgpgin",
    "total_pgpgout",
    "total_pgfault",
    "total_pgmajfault",
    "total_inactive_anon",
    "total_active_anon",
    "total_inactive_file",
    "total_active_file",
    "total_unevictable",
];
/// The same on cgroup v2.
const MEMORY_V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// A line a second; with `stream=0` the second of two, so that differences can be taken, or, with `one-shot`, one at once.
pub async fn stats(api: Arc<Api>, request: &Request) -> Answer {
    let stream = request.query.flag_or("stream", true);
    let one_shot = request.query.flag("one-shot");
    if stream && one_shot {
        return Err(Failure::bad_request("cannot have stream=true and one-shot=true"));
    }
    let statistics = &api.containers.statistics;
    let (id, name, running) = statistics.subject(&request.name)?;
    let mut series = Series { id, name, before: None };
    if !stream && (!running || one_shot) {
        let sample = if running { statistics.sample(&request.name).await? } else { Sample::default() };
        return Ok(reply::ok(&series.next(&sample)));
    }
    let mut samples = statistics.listen(&request.name)?;
    if stream {
        return Ok(reply::chunks(JSON, lines(samples, series)));
    }
    let mut line = None;
    for _ in 0..2 {
        let Some(sample) = samples.next().await else { break };
        line = Some(series.next(&sample));
    }
    Ok(reply::ok(&line.unwrap_or_else(|| series.next(&Sample::default()))))
}

fn lines(samples: Samples, series: Series) -> impl Stream<Item = std::io::Result<bytes::Bytes>> {
    stream::unfold((samples, series), |(mut samples, mut series)| async move {
        let sample = samples.next().await?;
        let mut line = serde_json::to_vec(&series.next(&sample)).unwrap_or_default();
        line.push(b'\n');
        Some((Ok(line.into()), (samples, series)))
    })
}

/// One listener's samples: each goes with the processor times of the one before.
struct Series {
    id: String,
    name: String,
    before: Option<(String, wire::CpuStats)>,
}

impl Series {
    fn next(&mut self, sample: &Sample) -> wire::Stats {
        let mut stats = to_wire(sample);
        stats.id.clone_from(&self.id);
        stats.name = format!("/{}", self.name);
        let (preread, precpu) = self.before.take().unwrap_or_else(|| (rfc3339(None), wire::CpuStats::default()));
        stats.preread = preread;
        stats.precpu_stats = precpu;
        self.before = Some((stats.read.clone(), stats.cpu_stats.clone()));
        stats
    }
}

fn to_wire(sample: &Sample) -> wire::Stats {
    if sample.read.is_none() {
        return wire::Stats { read: rfc3339(None), ..wire::Stats::default() };
    }
    let figures = &sample.cgroup;
    wire::Stats {
        read: rfc3339(sample.read),
        pids_stats: wire::PidsStats { current: figures.pids.current, limit: figures.pids.limit },
        blkio_stats: block_io(sample),
        cpu_stats: wire::CpuStats {
            cpu_usage: wire::CpuUsage {
                total_usage: figures.cpu.total_ns,
                percpu_usage: figures.cpu.per_cpu_ns.clone(),
                usage_in_kernelmode: figures.cpu.kernel_ns,
                usage_in_usermode: figures.cpu.user_ns,
            },
            system_cpu_usage: sample.system_cpu_ns,
            online_cpus: sample.online_cpus,
            throttling_data: wire::ThrottlingData {
                periods: figures.cpu.periods,
                throttled_periods: figures.cpu.throttled_periods,
                throttled_time: figures.cpu.throttled_ns,
            },
        },
        memory_stats: memory(&figures.memory, figures.version, sample.machine_memory),
        networks: sample.networks.iter().flatten().map(|(name, counters)| (name.clone(), network(counters))).collect(),
        ..wire::Stats::default()
    }
}

fn memory(figures: &MemoryStatistics, version: Version, machine: u64) -> wire::MemoryStats {
    let Counter { usage, max_usage, limit, fail_count } = figures.memory;
    let limit = if machine > 0 { limit.min(machine) } else { limit };
    let keys: &[&str] = if version == Version::V1 { &MEMORY_V1 } else { &MEMORY_V2 };
    let get = |key: &str| figures.details.get(key).copied().unwrap_or(0);
    let stats: BTreeMap<String, u64> = keys.iter().map(|key| ((*key).to_owned(), get(key))).collect();
    let events = figures.events.get("oom").copied().unwrap_or(0);
    match version {
        Version::V1 => wire::MemoryStats { usage, max_usage, stats, failcnt: fail_count, limit },
        Version::V2 => wire::MemoryStats { usage, max_usage: 0, stats, failcnt: events, limit },
    }
}

fn block_io(sample: &Sample) -> wire::BlkioStats {
    let figures = &sample.cgroup.block_io;
    let lower = sample.cgroup.version == Version::V2;
    let list = |entries: &Vec<IoEntry>| {
        let entry = |entry: &IoEntry| wire::BlkioEntry {
            major: entry.major,
            minor: entry.minor,
            op: if lower { entry.operation.to_lowercase() } else { entry.operation.clone() },
            value: entry.value,
        };
        Some(entries.iter().map(entry).collect::<Vec<_>>())
    };
    if lower {
        let bytes = list(&figures.service_bytes).filter(|entries| !entries.is_empty());
        return wire::BlkioStats { io_service_bytes_recursive: bytes, ..wire::BlkioStats::default() };
    }
    wire::BlkioStats {
        io_service_bytes_recursive: list(&figures.service_bytes),
        io_serviced_recursive: list(&figures.serviced),
        io_queue_recursive: list(&figures.queued),
        io_service_time_recursive: list(&figures.service_time),
        io_wait_time_recursive: list(&figures.wait_time),
        io_merged_recursive: list(&figures.merged),
        io_time_recursive: list(&figures.time),
        sectors_recursive: list(&figures.sectors),
    }
}

fn network(counters: &InterfaceCounters) -> wire::NetworkStats {
    wire::NetworkStats {
        rx_bytes: counters.rx_bytes,
        rx_packets: counters.rx_packets,
        rx_errors: counters.rx_errors,
        rx_dropped: counters.rx_dropped,
        tx_bytes: counters.tx_bytes,
        tx_packets: counters.tx_packets,
        tx_errors: counters.tx_errors,
        tx_dropped: counters.tx_dropped,
    }
}

#[cfg(test)]
mod tests {
    use container_core::Timestamp;

    use super::*;

    fn sample(version: Version) -> Sample {
        let mut sample = Sample { read: Some(Timestamp(1_000_000_000)), machine_memory: 100, ..Sample::default() };
        sample.cgroup.version = version;
        sample.cgroup.cpu.total_ns = 7;
        sample.cgroup.memory.memory = Counter { usage: 5, max_usage: 9, limit: u64::MAX, fail_count: 3 };
        sample.cgroup.memory.events = [("oom".to_owned(), 4)].into();
        let entry = IoEntry { major: 8, minor: 0, operation: "Read".to_owned(), value: 11 };
        sample.cgroup.block_io.service_bytes = vec![entry.clone()];
        sample.cgroup.block_io.serviced = vec![entry];
        sample
    }

    #[test]
    fn a_sample_goes_with_the_one_before() {
        let mut series = Series { id: "abc".to_owned(), name: "web".to_owned(), before: None };
        let first = series.next(&sample(Version::V1));
        assert_eq!((first.name.as_str(), first.preread.as_str()), ("/web", "0001-01-01T00:00:00Z"));
        assert_eq!(first.precpu_stats, wire::CpuStats::default());
        let second = series.next(&sample(Version::V1));
        assert_eq!(second.precpu_stats, first.cpu_stats);
        assert_eq!(second.preread, "1970-01-01T00:00:01Z");
    }

    #[test]
    fn each_version_of_the_cgroups_has_docker_s_words() {
        let one = to_wire(&sample(Version::V1));
        assert_eq!((one.memory_stats.limit, one.memory_stats.failcnt, one.memory_stats.max_usage), (100, 3, 9));
        assert_eq!(one.blkio_stats.io_service_bytes_recursive.unwrap()[0].op, "Read");
        assert_eq!(one.blkio_stats.io_queue_recursive, Some(Vec::new()));
        assert!(one.memory_stats.stats.contains_key("total_rss"));
        let two = to_wire(&sample(Version::V2));
        assert_eq!((two.memory_stats.limit, two.memory_stats.failcnt, two.memory_stats.max_usage), (100, 4, 0));
        assert_eq!(two.blkio_stats.io_service_bytes_recursive.unwrap()[0].op, "read");
        assert_eq!(two.blkio_stats.io_serviced_recursive, None);
        assert!(two.memory_stats.stats.contains_key("slab_reclaimable"));
    }

    #[test]
    fn what_does_not_run_has_a_name_and_nothing_else() {
        let mut series = Series { id: "abc".to_owned(), name: "web".to_owned(), before: None };
        let empty = serde_json::to_value(series.next(&Sample::default())).unwrap();
        assert_eq!(empty["read"], "0001-01-01T00:00:00Z");
        assert_eq!(empty["cpu_stats"]["cpu_usage"]["total_usage"], 0);
        assert_eq!(empty["memory_stats"], serde_json::json!({}));
        assert_eq!(empty.get("networks"), None);
    }
}
