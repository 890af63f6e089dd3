//! Health of a container: when it is probed, and what the probes come to. A machine without clock.
//!
//! The driver waits [`Check::wait`], runs the probe, and takes its result into [`Health::after`].

use std::time::Duration;

use go_text::duration::go_duration;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::time::Timestamp;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// Results that are kept.
const MOST_RESULTS: usize = 5;
/// Bytes of a probe's output that are kept.
pub const LONGEST_OUTPUT: usize = 4096;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a container is, as its probes found it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results, oldest first.
    pub log: Vec<ProbeResult>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    pub start: Timestamp,
    pub end: Timestamp,
    /// 0 is healthy, -1 a probe that could not be made or took too long.
    pub code: i32,
    pub output: String,
}

/// What a container's configuration says of probes, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What runs in the container.
    pub command: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub start_period: Duration,
    pub start_interval: Duration,
    pub retries: u32,
}

impl Check {
    /// `None` where nothing is probed.
    pub fn of(config: &Config) -> Option<Self> {
        let check = config.healthcheck.as_ref()?;
        let (kind, words) = check.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let own = config.shell.clone().filter(|shell| !shell.is_empty());
                let mut command = own.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                command.extend(words.iter().cloned());
                command
            }
            _ => return None,
        };
        let or = |time_ns: i64, default| {
            u64::try_from(time_ns).ok().filter(|time| *time > 0).map_or(default, Duration::from_nanos)
        };
        Some(Self {
            command,
            interval: or(check.interval_ns, DEFAULT_INTERVAL),
            timeout: or(check.timeout_ns, DEFAULT_TIMEOUT),
            start_period: or(check.start_period_ns, Duration::ZERO),
            start_interval: or(check.start_interval_ns, DEFAULT_START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(DEFAULT_RETRIES),
        })
    }

    /// A kind of probe that nobody knows: Docker takes it, says so in its log, and probes nothing.
    pub fn unknown_kind(config: &Config) -> Option<&str> {
        let kind = config.healthcheck.as_ref()?.test.first()?;
        Some(kind.as_str()).filter(|kind| !matches!(*kind, "NONE" | "CMD" | "CMD-SHELL"))
    }

    /// From the end of a probe (or the start of the container) to the next: shorter while the container starts.
    pub fn wait(&self, health: &Health, started: Timestamp, now: Timestamp) -> Duration {
        let starts = health.status == HealthStatus::Starting && now.since(started) < self.start_period;
        if starts { self.start_interval } else { self.interval }
    }

    /// The result of a probe that was ended because it took too long.
    pub fn too_long(&self, start: Timestamp, end: Timestamp, output: &str) -> ProbeResult {
        let limit = go_duration(i64::try_from(self.timeout.as_nanos()).unwrap_or(i64::MAX));
        let output = match output {
            "" => format!("Health check exceeded timeout ({limit})"),
            text => format!("Health check exceeded timeout ({limit}): {text}"),
        };
        ProbeResult { start, end, code: -1, output }
    }
}

impl Health {
    /// One more result. A failure within the start period of a container that was never healthy does not count.
    pub fn after(&self, check: &Check, started: Timestamp, result: ProbeResult) -> Self {
        let mut health = self.clone();
        if result.code == 0 {
            health.failing_streak = 0;
            health.status = HealthStatus::Healthy;
        } else if self.status != HealthStatus::Starting || result.start.since(started) >= check.start_period {
            health.failing_streak = health.failing_streak.saturating_add(1);
            if health.failing_streak >= check.retries {
                health.status = HealthStatus::Unhealthy;
            }
        }
        let surplus = (health.log.len() + 1).saturating_sub(MOST_RESULTS);
        health.log.drain(..surplus);
        health.log.push(result);
        health
    }

    /// Of a container that starts again: its old results stay to be looked at.
    pub fn restarted(previous: Option<&Self>) -> Self {
        Self { log: previous.map(|health| health.log.clone()).unwrap_or_default(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Healthcheck;

    fn check(test: &[&str], start_period_s: i64, retries: i64) -> Check {
        let test = test.iter().map(|word| (*word).to_owned()).collect();
        let healthcheck =
            Healthcheck { test, start_period_ns: start_period_s * 1_000_000_000, retries, ..Healthcheck::default() };
        Check::of(&Config { healthcheck: Some(healthcheck), ..Config::default() }).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_parts(second, 0)
    }

    fn probe(second: i64, code: i32) -> ProbeResult {
        ProbeResult { start: at(second), end: at(second), code, output: code.to_string() }
    }

    #[test]
    fn three_failures_in_a_row_are_unhealthy_and_one_success_is_healthy_again() {
        let check = check(&["CMD", "true"], 0, 0);
        let mut health = Health::default();
        let mut seen = Vec::new();
        for code in [1, 1, 0, 1, 1, 1, 0] {
            health = health.after(&check, at(0), probe(1, code));
            seen.push((health.status.as_str(), health.failing_streak));
        }
        assert_eq!(
            seen,
            [
                ("starting", 1),
                ("starting", 2),
                ("healthy", 0),
                ("healthy", 1),
                ("healthy", 2),
                ("unhealthy", 3),
                ("healthy", 0)
            ]
        );
        assert_eq!(health.log.len(), 5);
        assert_eq!(health.log[4].code, 0);
    }

    #[test]
    fn failures_of_a_container_that_still_starts_do_not_count_and_probes_come_sooner() {
        let check = check(&["CMD", "true"], 60, 1);
        let health = Health::default().after(&check, at(0), probe(59, 1));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        assert_eq!(check.wait(&health, at(0), at(59)), Duration::from_secs(5));
        assert_eq!(check.wait(&health, at(0), at(60)), Duration::from_secs(30));
        assert_eq!(health.after(&check, at(0), probe(60, 1)).status, HealthStatus::Unhealthy);
        // Once healthy, a failure counts at once.
        let healthy = health.after(&check, at(0), probe(10, 0));
        assert_eq!(check.wait(&healthy, at(0), at(10)), Duration::from_secs(30));
        assert_eq!(healthy.after(&check, at(0), probe(11, 1)).status, HealthStatus::Unhealthy);
    }

    #[test]
    fn a_shell_runs_one_line_and_none_means_no_probe() {
        assert_eq!(check(&["CMD-SHELL", "a | b"], 0, 0).command, ["/bin/sh", "-c", "a | b"]);
        for test in [&["NONE"][..], &[]] {
            let test = test.iter().map(|word| (*word).to_owned()).collect();
            let healthcheck = Some(Healthcheck { test, ..Healthcheck::default() });
            assert_eq!(Check::of(&Config { healthcheck, ..Config::default() }), None);
        }
    }

    #[test]
    fn a_kind_of_probe_that_nobody_knows_is_no_probe() {
        let config = |word: &str| Config {
            healthcheck: Some(Healthcheck { test: vec![word.to_owned()], ..Healthcheck::default() }),
            ..Config::default()
        };
        assert_eq!((Check::of(&config("HTTP")), Check::unknown_kind(&config("HTTP"))), (None, Some("HTTP")));
        assert_eq!(Check::unknown_kind(&config("NONE")), None);
    }

    #[test]
    fn a_probe_that_took_too_long_says_so_in_dockers_words() {
        let check = Check { timeout: Duration::from_millis(1500), ..check(&["CMD", "x"], 0, 0) };
        assert_eq!(check.too_long(at(0), at(2), "").output, "Health check exceeded timeout (1.5s)");
        assert_eq!(check.too_long(at(0), at(2), "abc").output, "Health check exceeded timeout (1.5s): abc");
    }
}
