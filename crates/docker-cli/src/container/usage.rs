//! What a container uses, from a sample of the daemon's, as `docker stats` shows it.

use engine_api::stats::{BlkioStats, CpuStats, MemoryStats, Stats};

use crate::format::{Column, Field};
use crate::template::Value;
use crate::text::ellipsis::short_id;
use crate::text::size::{binary_size, human_size_with_precision};

pub const TABLE: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

pub const COLUMNS: &[Column] = &[
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// In the place of a figure that is not known.
const UNKNOWN: &str = "--";

/// Figures of one moment; bytes and percent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    state: State,
    id: String,
    name: String,
    cpu: f64,
    memory: u64,
    memory_limit: u64,
    received: u64,
    sent: u64,
    read: u64,
    written: u64,
    processes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing came yet.
    #[default]
    Awaited,
    Known,
    /// What came is too old.
    Forgotten,
}

impl Usage {
    pub fn of(sample: &Stats) -> Self {
        let (read, written) = block_io(&sample.blkio_stats);
        Self {
            state: State::Known,
            id: sample.id.clone(),
            name: sample.name.clone(),
            cpu: cpu_percent(&sample.precpu_stats, &sample.cpu_stats),
            memory: memory(&sample.memory_stats),
            memory_limit: sample.memory_stats.limit,
            received: sample.networks.values().map(|one| one.rx_bytes).sum(),
            sent: sample.networks.values().map(|one| one.tx_bytes).sum(),
            read,
            written,
            processes: sample.pids_stats.current,
        }
    }

    pub fn is_known(&self) -> bool {
        self.state == State::Known
    }

    /// Keeps who it was and nothing else.
    pub fn forget(&mut self) {
        *self = Self {
            state: State::Forgotten,
            id: std::mem::take(&mut self.id),
            name: std::mem::take(&mut self.name),
            ..Self::default()
        };
    }
}

/// The share of all processors' time since the sample before, times their number: 200 % is two of them.
fn cpu_percent(before: &CpuStats, now: &CpuStats) -> f64 {
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let system = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        online => f64::from(online),
    };
    if own > 0.0 && system > 0.0 { own / system * processors * 100.0 } else { 0.0 }
}

/// Without the page cache that can be dropped: `total_inactive_file` of cgroup v1, `inactive_file` of v2.
fn memory(stats: &MemoryStats) -> u64 {
    let v1 = stats.stats.get("total_inactive_file").filter(|cache| **cache < stats.usage);
    let cache = v1.or_else(|| stats.stats.get("inactive_file").filter(|cache| **cache < stats.usage));
    stats.usage - cache.copied().unwrap_or(0)
}

fn block_io(stats: &BlkioStats) -> (u64, u64) {
    let entries = stats.io_service_bytes_recursive.as_deref().unwrap_or_default();
    let sum = |letters: [char; 2]| entries.iter().filter(|one| one.op.starts_with(letters)).map(|one| one.value).sum();
    (sum(['r', 'R']), sum(['w', 'W']))
}

/// A row; `asked` is the name that was typed.
pub fn row(asked: &str, usage: &Usage, full: bool) -> Vec<Field> {
    let is_invalid = usage.state == State::Forgotten;
    let known = |text: String| Value::text(if is_invalid { UNKNOWN.to_owned() } else { text });
    let size = |bytes: u64| human_size_with_precision(i64::try_from(bytes).unwrap_or(i64::MAX), 3);
    let memory = |bytes: u64| binary_size(i64::try_from(bytes).unwrap_or(i64::MAX));
    let percent = |value: f64| format!("{value:.2}%");
    let share = match usage.memory_limit {
        0 => 0.0,
        limit => usage.memory as f64 / limit as f64 * 100.0,
    };
    let name = usage.name.strip_prefix('/').filter(|name| !name.is_empty());
    vec![
        ("Container", Value::text(asked)),
        ("Name", Value::text(name.unwrap_or(UNKNOWN))),
        ("ID", Value::text(if full { usage.id.as_str() } else { short_id(&usage.id) })),
        ("CPUPerc", known(percent(usage.cpu))),
        (
            "MemUsage",
            Value::text(if is_invalid {
                format!("{UNKNOWN} / {UNKNOWN}")
            } else {
                format!("{} / {}", memory(usage.memory), memory(usage.memory_limit))
            }),
        ),
        ("MemPerc", known(percent(share))),
        ("NetIO", known(format!("{} / {}", size(usage.received), size(usage.sent)))),
        ("BlockIO", known(format!("{} / {}", size(usage.read), size(usage.written)))),
        ("PIDs", known(usage.processes.to_string())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(json: &str) -> Usage {
        Usage::of(&serde_json::from_str(json).unwrap())
    }

    fn shown(usage: &Usage) -> String {
        let cells = row("x", usage, false).into_iter().map(|(_, value)| value.to_string());
        cells.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn percent_counts_processors_and_memory_leaves_the_cache_out() {
        let usage = sample(
            r#"{"id":"0123456789abcdef","name":"/web","pids_stats":{"current":3},
            "precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":1000},
            "cpu_stats":{"cpu_usage":{"total_usage":200},"system_cpu_usage":2000,"online_cpus":4},
            "memory_stats":{"usage":3145728,"limit":10485760,"stats":{"inactive_file":1048576}},
            "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":1000},{"op":"write","value":5},{"op":"Total","value":9}]},
            "networks":{"eth0":{"rx_bytes":1500,"tx_bytes":10},"eth1":{"rx_bytes":500}}}"#,
        );
        assert_eq!(shown(&usage), "x | web | 0123456789ab | 40.00% | 2MiB / 10MiB | 20.00% | 2kB / 10B | 1kB / 5B | 3");
    }

    #[test]
    fn what_is_too_old_is_not_shown() {
        let mut usage = sample(r#"{"id":"0123456789abcdef","name":"/web","memory_stats":{"usage":5,"limit":10}}"#);
        usage.forget();
        assert_eq!(shown(&usage), "x | web | 0123456789ab | -- | -- / -- | -- | -- | -- | --");
        assert_eq!(shown(&Usage::default()), "x | -- |  | 0.00% | 0B / 0B | 0.00% | 0B / 0B | 0B / 0B | 0");
    }

    #[test]
    fn time_that_ran_backwards_is_no_load() {
        let usage = sample(
            r#"{"precpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":1000},
            "cpu_stats":{"cpu_usage":{"total_usage":200},"system_cpu_usage":2000,"online_cpus":4}}"#,
        );
        assert!(shown(&usage).contains("| 0.00% |"));
    }
}
