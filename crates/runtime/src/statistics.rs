//! `events --stats`: what a container uses, in runc's JSON.

use crate::{Root, RuntimeError, Status};
use cgroup::Stats;
use serde_json::{Value, json};

pub fn event(root: &Root, id: &str) -> Result<Value, RuntimeError> {
    let record = root.load(id)?;
    if root.status(&record) == Status::Stopped {
        return Err(RuntimeError::NotRunning);
    }
    Ok(json!({ "type": "stats", "id": id, "data": data(&record.group.stats()) }))
}

fn data(stats: &Stats) -> Value {
    let cpu = &stats.cpu;
    let memory = &stats.memory;
    let io = |value: fn(&cgroup::stats::IoEntry) -> u64| -> Vec<Value> {
        let entry = |entry: &cgroup::stats::IoEntry| json!({ "major": entry.major, "minor": entry.minor, "op": entry.operation, "value": value(entry) });
        stats.io.iter().map(entry).collect()
    };
    let cache = memory.details.get("cache").or_else(|| memory.details.get("file")).copied().unwrap_or(0);
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total_ns,
                "percpu": cpu.per_cpu_ns,
                "kernel": cpu.system_ns,
                "user": cpu.user_ns,
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "cache": cache,
            "usage": { "limit": memory.limit, "usage": memory.usage, "max": memory.max_usage, "failcnt": memory.fail_count },
            "swap": { "limit": memory.swap_limit, "usage": memory.swap_usage, "failcnt": 0 },
            "raw": memory.details,
        },
        "pids": { "current": stats.pids_current, "limit": stats.pids_limit },
        "blkio": {
            "ioServiceBytesRecursive": io(|entry| entry.bytes),
            "ioServicedRecursive": io(|entry| entry.operations),
        },
        "hugetlb": {},
        "intel_rdt": {},
    })
}
