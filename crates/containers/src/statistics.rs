//! `docker stats`: what a container uses, read once a second for as long as somebody listens.
//!
//! One collector a container, shared by all who listen to it; it ends with the last of them, or when the container is
//! removed. The figures are the kernel's: the cgroup that this daemon chose, /proc/stat, and the container's /proc/PID/net/dev.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cgroup::{Group, Layout};
use container_core::{NetworkMode, Timestamp, spec};
use tokio::sync::watch;

use crate::error::Error;
use crate::record::{Container, Record};
use crate::service::{Shared, now};

/// Docker's cadence.
const INTERVAL: Duration = Duration::from_secs(1);
/// USER_HZ, in which /proc/stat counts (proc(5)).
const TICK_NS: u64 = 1_000_000_000 / 100;

/// What a container uses at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// `None`: it does not run, and all figures are empty.
    pub read: Option<Timestamp>,
    pub cgroup: cgroup::Statistics,
    /// Of all processors together, since the machine came up.
    pub system_cpu_ns: u64,
    pub online_cpus: u32,
    /// What a container without limit is limited by.
    pub machine_memory: u64,
    /// By interface; `None` where the container has no network of its own.
    pub networks: Option<BTreeMap<String, InterfaceCounters>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// The statistics of all containers.
#[derive(Clone)]
pub struct Statistics {
    shared: Arc<Shared>,
    /// By container; dropped by its collector when that ends.
    collectors: Arc<Mutex<HashMap<String, watch::Sender<Arc<Sample>>>>>,
}

/// Somebody who listens.
pub struct Samples {
    pub id: String,
    /// Without the slash.
    pub name: String,
    samples: watch::Receiver<Arc<Sample>>,
}

impl Samples {
    /// The next sample; `None` when the container is gone.
    pub async fn next(&mut self) -> Option<Arc<Sample>> {
        self.samples.changed().await.ok()?;
        Some(self.samples.borrow_and_update().clone())
    }
}

impl Statistics {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, collectors: Arc::default() }
    }

    /// Id, name, and whether it runs: one that does not has nothing to show.
    pub fn subject(&self, reference: &str) -> Result<(String, String, bool), Error> {
        let record = self.shared.find(reference)?.record();
        Ok((record.id.clone(), record.name.clone(), record.state.has_process()))
    }

    /// One sample, taken now.
    pub async fn sample(&self, reference: &str) -> Result<Sample, Error> {
        let container = self.shared.find(reference)?;
        take(&self.shared, &container).await
    }

    /// All samples from now on.
    pub fn listen(&self, reference: &str) -> Result<Samples, Error> {
        let container = self.shared.find(reference)?;
        let record = container.record();
        let mut collectors = self.collectors();
        let samples = match collectors.get(&container.id) {
            Some(collector) => collector.subscribe(),
            None => {
                let (collector, samples) = watch::channel(Arc::default());
                collectors.insert(container.id.clone(), collector);
                // It ends by itself: without listeners, with the container, or with the daemon.
                tokio::spawn(collect(self.clone(), container));
                samples
            }
        };
        Ok(Samples { id: record.id.clone(), name: record.name.clone(), samples })
    }

    /// How many containers are being looked at.
    pub fn collecting(&self) -> usize {
        self.collectors().len()
    }

    fn collectors(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Arc<Sample>>>> {
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn collect(statistics: Statistics, container: Arc<Container>) {
    let mut closing = statistics.shared.closing.subscribe();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = closing.wait_for(|closing| *closing) => break,
        }
        let sample = match take(&statistics.shared, &container).await {
            Ok(sample) => sample,
            Err(error) => {
                tracing::debug!(container = container.id, error = errors::chain(&error), "no statistics");
                Sample::default()
            }
        };
        let mut collectors = statistics.collectors();
        let gone = container.progress.borrow().removed;
        match collectors.get(&container.id) {
            // Under the lock, so that nobody begins to listen between the look and the end.
            Some(collector) if collector.receiver_count() > 0 && !gone => drop(collector.send(Arc::new(sample))),
            _ => {
                collectors.remove(&container.id);
                return;
            }
        }
    }
    statistics.collectors().remove(&container.id);
}

async fn take(shared: &Arc<Shared>, container: &Container) -> Result<Sample, Error> {
    let record = container.record();
    if !record.state.has_process() {
        return Ok(Sample::default());
    }
    let path = spec::cgroup_of(&record.id, &record.host_config, &shared.host);
    let pid = interfaces_of(shared, &record);
    crate::service::blocking(move || read(&path, pid)).await
}

/// The process whose network is the container's; `None` for the host's, which is no one container's.
fn interfaces_of(shared: &Shared, record: &Record) -> Option<u32> {
    match NetworkMode::parse(&record.host_config.network_mode) {
        NetworkMode::Host => None,
        // The process is in the other's namespace; its own owner may share the host's.
        NetworkMode::Container(other) => {
            let other = shared.find(other).ok()?.record();
            let host = NetworkMode::parse(&other.host_config.network_mode) == NetworkMode::Host;
            (!host).then(|| record.state.pid())
        }
        _ => Some(record.state.pid()),
    }
}

/// Reads everything as close together as can be. What has ended meanwhile has nothing.
fn read(cgroup: &str, pid: Option<u32>) -> Sample {
    let figures =
        Layout::detect().and_then(|layout| Group::plan(&layout, cgroup, "")).and_then(|group| group.statistics());
    let Ok(figures) = figures else { return Sample::default() };
    let (system_cpu_ns, online_cpus) = system_cpu(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let networks = pid.map(|pid| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
        interfaces(&table)
    });
    Sample {
        read: Some(now()),
        cgroup: figures,
        system_cpu_ns,
        online_cpus,
        machine_memory: machine_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        networks,
    }
}

/// Time of all processors and their number (proc(5), /proc/stat): seven columns count, guests are in the first two.
fn system_cpu(text: &str) -> (u64, u32) {
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .map_or(0, |line| line.split_whitespace().take(7).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>());
    let is_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let processors = text.lines().filter(is_one).count();
    (total.saturating_mul(TICK_NS), u32::try_from(processors).unwrap_or(u32::MAX))
}

fn machine_memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
}

/// `eth0: rx_bytes packets errs drop fifo frame compressed multicast tx_bytes packets errs drop …` a line.
fn interfaces(table: &str) -> BTreeMap<String, InterfaceCounters> {
    let row = |line: &str| {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<u64> = figures.split_whitespace().map(|figure| figure.parse().unwrap_or(0)).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            figures[..]
        else {
            return None;
        };
        let counters = InterfaceCounters {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        Some((name.trim().to_owned(), counters))
    };
    table.lines().filter_map(row).filter(|(name, _)| name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_time_is_seven_columns_of_ticks() {
        let text = "cpu  1 2 3 4 5 6 7 100 200 300\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n";
        assert_eq!(system_cpu(text), (28 * 10_000_000, 2));
        assert_eq!(machine_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), 16 * 1024);
    }

    #[test]
    fn interfaces_are_counted_but_for_the_loopback() {
        let table = "Inter-|   Receive                |  Transmit\n face |bytes packets\n    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  \
                     eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        let found = interfaces(table);
        assert_eq!(found.len(), 1);
        let expected = InterfaceCounters {
            rx_bytes: 1,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 5,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        };
        assert_eq!(found["eth0"], expected);
    }

    #[test]
    fn a_cgroup_that_is_not_there_has_no_figures() {
        assert!(read("/no-such-group/of-anyone", None).read.is_none());
    }
}
