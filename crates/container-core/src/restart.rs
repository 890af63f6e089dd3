//! Whether and when a container that ended is started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// At most so many times in a row; 0 means without limit.
    OnFailure {
        maximum: u32,
    },
}

/// The first wait; it doubles with each restart in a row.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A run of this length clears the history.
pub const GOOD_RUN: Duration = Duration::from_secs(10);

/// The restarts in a row so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub restarts: u32,
    #[serde(skip)]
    pub wait: Option<Duration>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub ran_for: Duration,
    /// By `docker stop` or `docker kill`, or because the daemon is going down.
    pub stopped_by_user: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    No,
    After { wait: Duration, history: History },
}

/// The decision after an exit.
pub fn decide(policy: RestartPolicy, history: History, exit: Exit) -> Restart {
    let wait = match history.wait {
        Some(last) if exit.ran_for < GOOD_RUN => (last * 2).min(LONGEST_WAIT),
        _ => FIRST_WAIT,
    };
    let restarts = if exit.ran_for < GOOD_RUN { history.restarts } else { 0 };
    let wanted = match policy {
        _ if exit.stopped_by_user => false,
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { maximum } => exit.code != 0 && (maximum == 0 || restarts < maximum),
    };
    if wanted {
        Restart::After { wait, history: History { restarts: restarts.saturating_add(1), wait: Some(wait) } }
    } else {
        Restart::No
    }
}

/// What a daemon that comes up knows of a container that is not running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub ever_started: bool,
    pub stopped_by_user: bool,
    pub code: i32,
    /// In a row.
    pub restarts: u32,
}

/// Whether a daemon that comes up starts this container.
pub fn starts_with_daemon(policy: RestartPolicy, before: Before) -> bool {
    before.ever_started
        && match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !before.stopped_by_user,
            RestartPolicy::OnFailure { maximum } => {
                !before.stopped_by_user && before.code != 0 && (maximum == 0 || before.restarts < maximum)
            }
        }
}

impl RestartPolicy {
    /// Docker's name: `no`, `always`, `unless-stopped`, `on-failure`.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure { .. } => "on-failure",
        }
    }

    pub fn maximum_retries(self) -> u32 {
        match self {
            Self::OnFailure { maximum } => maximum,
            _ => 0,
        }
    }

    /// From the two fields of the Engine API.
    pub fn parse(name: &str, maximum: i64) -> Result<Self, crate::ConfigError> {
        let policy = match name {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                let maximum = u32::try_from(maximum).map_err(|_| crate::ConfigError::NegativeRetries)?;
                return Ok(Self::OnFailure { maximum });
            }
            _ => return Err(crate::ConfigError::UnknownRestartPolicy(name.to_owned())),
        };
        if maximum != 0 {
            return Err(crate::ConfigError::RetriesWithoutOnFailure(maximum < 0));
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> Exit {
        Exit { code: 1, ran_for: Duration::from_millis(5), stopped_by_user: false }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_a_good_run_resets_them() {
        let mut history = History::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let Restart::After { wait, history: next } = decide(RestartPolicy::Always, history, failing()) else {
                panic!("always restarts");
            };
            waits.push(wait.as_millis());
            history = next;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        let good = Exit { ran_for: GOOD_RUN, ..failing() };
        assert!(matches!(
            decide(RestartPolicy::Always, history, good),
            Restart::After { wait: FIRST_WAIT, history: History { restarts: 1, .. } }
        ));
    }

    #[test]
    fn on_failure_gives_up_after_its_limit_and_ignores_success() {
        let policy = RestartPolicy::OnFailure { maximum: 2 };
        let at = |restarts| History { restarts, wait: None };
        assert!(matches!(decide(policy, at(1), failing()), Restart::After { .. }));
        assert_eq!(decide(policy, at(2), failing()), Restart::No);
        assert_eq!(decide(policy, at(0), Exit { code: 0, ..failing() }), Restart::No);
        assert!(matches!(decide(RestartPolicy::OnFailure { maximum: 0 }, at(99), failing()), Restart::After { .. }));
    }

    #[test]
    fn what_a_user_stopped_stays_stopped() {
        let stopped = Exit { stopped_by_user: true, ..failing() };
        for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped, RestartPolicy::OnFailure { maximum: 0 }] {
            assert_eq!(decide(policy, History::default(), stopped), Restart::No);
        }
    }

    #[test]
    fn with_the_daemon_always_comes_back_and_unless_stopped_only_unless_stopped() {
        let before = Before { ever_started: true, stopped_by_user: false, code: 1, restarts: 2 };
        let stopped = Before { stopped_by_user: true, ..before };
        assert!(starts_with_daemon(RestartPolicy::Always, stopped));
        assert!(!starts_with_daemon(RestartPolicy::UnlessStopped, stopped));
        assert!(starts_with_daemon(RestartPolicy::UnlessStopped, before));
        assert!(!starts_with_daemon(RestartPolicy::Always, Before { ever_started: false, ..before }));
        assert!(!starts_with_daemon(RestartPolicy::OnFailure { maximum: 3 }, Before { code: 0, ..before }));
        assert!(starts_with_daemon(RestartPolicy::OnFailure { maximum: 3 }, before));
        assert!(!starts_with_daemon(RestartPolicy::OnFailure { maximum: 2 }, before));
    }

    #[test]
    fn policies_are_read_with_dockers_words() {
        assert_eq!(RestartPolicy::parse("on-failure", 3), Ok(RestartPolicy::OnFailure { maximum: 3 }));
        assert!(RestartPolicy::parse("sometimes", 0).is_err());
        assert!(RestartPolicy::parse("always", 3).is_err());
        assert!(RestartPolicy::parse("on-failure", -1).is_err());
    }
}
