//! `--metrics-addr`: what Prometheus reads, on an address of its own.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use engine_http::Api;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bound before the daemon starts, so that a mistake is told at once.
pub async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to start metrics server: listen tcp {address}"))
}

/// Serves until the handle is aborted.
pub fn serve(listener: TcpListener, api: Arc<Api>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // It ends with its client.
                    drop(tokio::spawn(engine_http::serve_metrics(Arc::clone(&api), stream, process)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client of the metrics");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    })
}

/// This process, by the names of Prometheus's client libraries (proc(5)).
fn process() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets; the first number there is field 3.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as f64;
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count()) as f64;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or_default() as f64;
    let rows = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            (field(14) + field(15)) / ticks,
        ),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", most),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", field(24) * page),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            boot + field(22) / ticks,
        ),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", field(23)),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_of_itself() {
        let text = process();
        let value =
            |name: &str| -> f64 { text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap() };
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_start_time_seconds ") > 1.0e9);
    }
}
