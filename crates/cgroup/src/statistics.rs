//! What a group uses, typed, whichever version has the controller.
//!
//! [`Group::statistics`] reads each controller where it is: v1's hierarchy of it, else the v2 folder. [`Group::plan`] with an
//! absolute path gives the group of any cgroup path. Files that a kernel does not have count as zero, so that one answer fits
//! all; what only one version knows is an `Option` or stays empty there.

mod v1;
mod v2;

use crate::{CgroupError, Group};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// v2's "max": no limit. v1 says the same with a number near 2^63.
pub const NO_LIMIT: u64 = u64::MAX;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    pub version: Version,
    pub cpu: CpuStatistics,
    pub memory: MemoryStatistics,
    pub pids: PidsStatistics,
    pub block_io: BlockIoStatistics,
    /// By page size, as the files are named: `2MB`.
    pub hugetlb: BTreeMap<String, HugetlbStatistics>,
    pub rdma: Vec<RdmaEntry>,
    /// v1 alone.
    pub cpuset: Option<CpusetStatistics>,
}

/// Which version's words and semantics the figures have.
pub use runtime_core::cgroup_values::Version;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStatistics {
    pub total_ns: u64,
    pub user_ns: u64,
    pub kernel_ns: u64,
    /// Empty on v2, which does not count so.
    pub per_cpu_ns: Vec<u64>,
    pub per_cpu_user_ns: Vec<u64>,
    pub per_cpu_kernel_ns: Vec<u64>,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
    pub bursts: u64,
    pub burst_ns: u64,
    pub pressure: Option<Pressure>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStatistics {
    pub memory: Counter,
    /// v1: memory and swap together. v2: swap alone.
    pub swap: Counter,
    /// v1 alone.
    pub kernel: Option<Counter>,
    pub kernel_tcp: Option<Counter>,
    /// memory.stat as the kernel writes it.
    pub details: BTreeMap<String, u64>,
    /// v1 alone.
    pub use_hierarchy: bool,
    pub oom: OomStatistics,
    /// memory.events of v2: low, high, max, oom, oom_kill.
    pub events: BTreeMap<String, u64>,
    pub pressure: Option<Pressure>,
}

/// A thing that is counted against a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    pub usage: u64,
    pub max_usage: u64,
    /// [`NO_LIMIT`]: none.
    pub limit: u64,
    pub fail_count: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomStatistics {
    /// The killer is switched off (v1).
    pub disabled: bool,
    /// Processes wait for memory (v1 with the killer off).
    pub under_oom: bool,
    /// How many processes were killed.
    pub kills: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsStatistics {
    pub current: u64,
    /// Zero: none.
    pub limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpusetStatistics {
    pub cpus: Vec<u16>,
    pub memory_nodes: Vec<u16>,
    /// The other files by their names: `cpu_exclusive`, `sched_load_balance` …
    pub settings: BTreeMap<&'static str, i64>,
}

/// One list a file of v1; v2 has the first two, with the operations `Read` and `Write`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockIoStatistics {
    pub service_bytes: Vec<IoEntry>,
    pub serviced: Vec<IoEntry>,
    pub queued: Vec<IoEntry>,
    pub service_time: Vec<IoEntry>,
    pub wait_time: Vec<IoEntry>,
    pub merged: Vec<IoEntry>,
    pub time: Vec<IoEntry>,
    pub sectors: Vec<IoEntry>,
    pub pressure: Option<Pressure>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoEntry {
    pub major: u64,
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Total` …; empty in lists that do not tell.
    pub operation: String,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugetlbStatistics {
    pub usage: u64,
    /// v1 alone.
    pub max_usage: u64,
    pub limit: u64,
    pub fail_count: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdmaEntry {
    pub device: String,
    pub current_handles: u32,
    pub current_objects: u32,
    /// `u32::MAX`: none.
    pub limit_handles: u32,
    pub limit_objects: u32,
}

/// Pressure stall information (accounting/psi.rst). Averages are hundredths of a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    pub avg10: u64,
    pub avg60: u64,
    pub avg300: u64,
    pub total_us: u64,
}

impl Group {
    /// Reads all figures. A group whose folders are gone is an error; a missing controller is not.
    pub fn statistics(&self) -> Result<Statistics, CgroupError> {
        if !self.exists() {
            let path = self.any_path().map(Path::to_path_buf).unwrap_or_default();
            return Err(CgroupError::Read { path, source: io::ErrorKind::NotFound.into() });
        }
        let mut statistics =
            Statistics { version: if self.is_v2() { Version::V2 } else { Version::V1 }, ..Statistics::default() };
        if let Some(folder) = self.v2.as_deref() {
            v2::read(folder, &mut statistics);
        }
        v1::read(self, &mut statistics);
        Ok(statistics)
    }

    /// How often the kernel killed a process for want of memory.
    pub fn oom_kills(&self) -> u64 {
        match (self.member("memory"), &self.v2) {
            (Some(folder), _) => lookup(&pairs(&folder.join("memory.oom_control")), "oom_kill"),
            (None, Some(folder)) => lookup(&pairs(&folder.join("memory.events")), "oom_kill"),
            (None, None) => 0,
        }
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn parse_number(text: &str) -> u64 {
    match text.trim() {
        "max" => NO_LIMIT,
        text => text.parse().unwrap_or(0),
    }
}

fn number(path: &Path) -> u64 {
    text(path).map_or(0, |text| parse_number(&text))
}

fn numbers(path: &Path) -> Vec<u64> {
    text(path).unwrap_or_default().split_whitespace().filter_map(|value| value.parse().ok()).collect()
}

fn parse_pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_string(), parse_number(value)));
    text.lines().filter_map(pair).collect()
}

fn pairs(path: &Path) -> BTreeMap<String, u64> {
    parse_pairs(&text(path).unwrap_or_default())
}

fn lookup(pairs: &BTreeMap<String, u64>, key: &str) -> u64 {
    pairs.get(key).copied().unwrap_or(0)
}

fn read_pids(folder: &Path) -> PidsStatistics {
    let limit = number(&folder.join("pids.max"));
    PidsStatistics { current: number(&folder.join("pids.current")), limit: if limit == NO_LIMIT { 0 } else { limit } }
}

/// The page sizes for which a folder has files `hugetlb.SIZE.SUFFIX`.
fn page_sizes(folder: &Path, suffix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| Some(name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?.to_string()))
        .filter(|size| !size.contains('.'))
        .collect()
}

/// `mlx5_0 hca_handle=2 hca_object=max` a line, in the same form in both versions.
fn read_rdma(folder: &Path) -> Vec<RdmaEntry> {
    let limits = text(&folder.join("rdma.max")).unwrap_or_default();
    let current = text(&folder.join("rdma.current")).unwrap_or_default();
    let value = |line: &str, key: &str| {
        let pair = line.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        pair.map_or(0, |value| if value == "max" { u32::MAX } else { value.parse().unwrap_or(0) })
    };
    let device = |line: &str| line.split(' ').next().unwrap_or("").to_string();
    let line_of = |name: &str| limits.lines().find(|line| device(line) == name).unwrap_or("").to_string();
    current
        .lines()
        .map(|line| {
            let name = device(line);
            let limit = line_of(&name);
            RdmaEntry {
                current_handles: value(line, "hca_handle"),
                current_objects: value(line, "hca_object"),
                limit_handles: value(&limit, "hca_handle"),
                limit_objects: value(&limit, "hca_object"),
                device: name,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
