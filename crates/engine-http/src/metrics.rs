//! What Prometheus reads: Docker's names, in the text format.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine_api::endpoint::Operation;
use http::Method;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::status::Failure;
use crate::{Api, reply};

/// How long a client of the metrics may be silent.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Upper ends of the histograms' buckets, in seconds: the client library's defaults.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Docker's label values, and the operations behind them.
const CONTAINER_ACTIONS: [(&str, Operation); 5] = [
    ("changes", Operation::ContainerChanges),
    ("commit", Operation::ContainerCommit),
    ("create", Operation::ContainerCreate),
    ("delete", Operation::ContainerDelete),
    ("start", Operation::ContainerStart),
];
const NETWORK_ACTIONS: [(&str, Operation); 3] = [
    ("connect", Operation::NetworkConnect),
    ("create", Operation::NetworkCreate),
    ("disconnect", Operation::NetworkDisconnect),
];

#[derive(Debug, Default, Clone, Copy)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// How long actions took, since the daemon's start.
#[derive(Default)]
pub struct Actions {
    containers: Mutex<[Histogram; CONTAINER_ACTIONS.len()]>,
    networks: Mutex<[Histogram; NETWORK_ACTIONS.len()]>,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        for (count, end) in self.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= end);
        }
        self.count += 1;
        self.sum += seconds;
    }
}

impl Actions {
    /// Counts an operation that succeeded; most have no histogram.
    pub fn record(&self, operation: Operation, took: Duration) {
        let place = |table: &[(&str, Operation)]| table.iter().position(|(_, counted)| *counted == operation);
        if let Some(at) = place(&CONTAINER_ACTIONS) {
            self.containers.lock().unwrap_or_else(PoisonError::into_inner)[at].add(took.as_secs_f64());
        } else if let Some(at) = place(&NETWORK_ACTIONS) {
            self.networks.lock().unwrap_or_else(PoisonError::into_inner)[at].add(took.as_secs_f64());
        }
    }

    fn write(&self, text: &mut String) {
        let containers = *self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        let networks = *self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let container_names = CONTAINER_ACTIONS.map(|(name, _)| name);
        histograms(
            text,
            "engine_daemon_container_actions_seconds",
            "The number of seconds it takes to process each container action",
            &container_names,
            &containers,
        );
        let network_names = NETWORK_ACTIONS.map(|(name, _)| name);
        histograms(
            text,
            "engine_daemon_network_actions_seconds",
            "The number of seconds it takes to process each network action",
            &network_names,
            &networks,
        );
    }
}

fn histograms(text: &mut String, name: &str, help: &str, actions: &[&str], values: &[Histogram]) {
    header(text, name, help, "histogram");
    for (action, histogram) in actions.iter().zip(values) {
        for (count, end) in histogram.counts.iter().zip(BUCKETS) {
            line(text, &format!("{name}_bucket{{action=\"{action}\",le=\"{end}\"}}"), *count as f64);
        }
        line(text, &format!("{name}_bucket{{action=\"{action}\",le=\"+Inf\"}}"), histogram.count as f64);
        line(text, &format!("{name}_sum{{action=\"{action}\"}}"), histogram.sum);
        line(text, &format!("{name}_count{{action=\"{action}\"}}"), histogram.count as f64);
    }
}

/// Serves one client of `--metrics-addr`; `more` is what the program tells of itself.
pub async fn serve_metrics(api: Arc<Api>, stream: TcpStream, more: fn() -> String) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let reply = match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => reply::exposition(exposition(&api) + &more()),
            _ => Failure::no_such_page().into_reply(),
        };
        async move { Ok::<_, Infallible>(reply) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection of the metrics ended");
    }
}

/// Everything that the engine tells of itself.
fn exposition(api: &Api) -> String {
    let mut text = String::with_capacity(16 * 1024);
    api.actions.write(&mut text);
    let counts = api.containers.containers.counts();
    header(
        &mut text,
        "engine_daemon_container_states_containers",
        "The count of containers in various states",
        "gauge",
    );
    for (state, count) in [("paused", counts.paused), ("running", counts.running), ("stopped", counts.stopped)] {
        line(&mut text, &format!("engine_daemon_container_states_containers{{state=\"{state}\"}}"), count as f64);
    }
    let (info, version) = (api.engine.info(), api.engine.version());
    let labels = [
        ("architecture", info.architecture.as_str()),
        ("commit", &version.git_commit),
        ("daemon_id", &info.id),
        ("graphdriver", &info.driver),
        ("kernel", &info.kernel_version),
        ("os", &info.operating_system),
        ("os_type", &info.os_type),
        ("os_version", &info.os_version),
        ("version", &version.version),
    ];
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    header(
        &mut text,
        "engine_daemon_engine_info",
        "The information related to the engine and the OS it is running on",
        "gauge",
    );
    line(&mut text, &format!("engine_daemon_engine_info{{{}}}", labels.join(",")), 1.0);
    let gauges = [
        (
            "engine_daemon_engine_cpus_cpus",
            "The number of cpus that the host system of the engine has",
            info.cpus as f64,
        ),
        (
            "engine_daemon_engine_memory_bytes",
            "The number of bytes of memory that the host system of the engine has",
            info.memory_total as f64,
        ),
        (
            "engine_daemon_events_subscribers_total",
            "The number of current subscribers to events",
            api.events.subscribers() as f64,
        ),
    ];
    for (name, help, value) in gauges {
        header(&mut text, name, help, "gauge");
        line(&mut text, name, value);
    }
    header(&mut text, "engine_daemon_events_total", "The number of events logged", "counter");
    line(&mut text, "engine_daemon_events_total", api.events.published() as f64);
    text
}

fn header(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(text: &mut String, name: &str, value: f64) {
    let _ = writeln!(text, "{name} {value}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_bucket_above_the_time() {
        let actions = Actions::default();
        actions.record(Operation::ContainerStart, Duration::from_millis(30));
        actions.record(Operation::ContainerStart, Duration::from_secs(20));
        actions.record(Operation::Ping, Duration::from_secs(1));
        let mut text = String::new();
        actions.write(&mut text);
        for expected in [
            "# TYPE engine_daemon_container_actions_seconds histogram\n",
            "engine_daemon_container_actions_seconds_bucket{action=\"start\",le=\"0.025\"} 0\n",
            "engine_daemon_container_actions_seconds_bucket{action=\"start\",le=\"0.05\"} 1\n",
            "engine_daemon_container_actions_seconds_bucket{action=\"start\",le=\"10\"} 1\n",
            "engine_daemon_container_actions_seconds_bucket{action=\"start\",le=\"+Inf\"} 2\n",
            "engine_daemon_container_actions_seconds_sum{action=\"start\"} 20.03\n",
            "engine_daemon_network_actions_seconds_count{action=\"create\"} 0\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
