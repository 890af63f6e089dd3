//! The life of a container: one enum with its facts, one function of transitions.
//!
//! ```text
//! Created ──start──▶ Running ⇄ Paused
//!    │                 │exit ──▶ Restarting ──start──▶ Running
//!    │                 ▼exit         │stop
//!    │              Exited ◀─────────┘        any resting state ──remove──▶ Removing ──failed──▶ Dead
//! ```

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How the last run ended, or why it never began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub code: i32,
    /// `None` when the start failed on a container that never ran.
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub oom_killed: bool,
    /// Of a start that failed; empty otherwise.
    pub error: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum State {
    /// Never ran. A failed first start leaves its code and error here.
    Created {
        failed: Option<Ending>,
    },
    Running {
        pid: u32,
        started: Timestamp,
        oom_killed: bool,
        last: Option<Ending>,
    },
    Paused {
        pid: u32,
        started: Timestamp,
        oom_killed: bool,
    },
    /// Between two runs under a restart policy.
    Restarting {
        last: Ending,
    },
    Exited {
        last: Ending,
    },
    Removing {
        last: Option<Ending>,
    },
    /// A removal failed half-way; only another removal is possible.
    Dead {
        last: Option<Ending>,
        error: String,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Created { failed: None }
    }
}

/// What happened to a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Started {
        pid: u32,
        at: Timestamp,
    },
    /// The runtime did not get the process going.
    StartFailed {
        code: i32,
        error: String,
        at: Timestamp,
    },
    Paused,
    Unpaused,
    OutOfMemory,
    /// The process is gone. `restart` says that the policy brings it back.
    Exited {
        code: i32,
        at: Timestamp,
        restart: bool,
    },
    /// A restart that was due has been called off.
    RestartCancelled,
    RemovalBegun,
    RemovalFailed {
        error: String,
    },
}

/// An event that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a container that is {from} cannot take the event {event}")]
pub struct Forbidden {
    pub from: &'static str,
    pub event: &'static str,
}

impl State {
    /// The only place where a state changes.
    pub fn after(&self, event: Event) -> Result<Self, Forbidden> {
        let forbidden = Forbidden { from: self.word(), event: event.word() };
        match (self, event) {
            (Self::Created { .. } | Self::Exited { .. } | Self::Restarting { .. }, Event::Started { pid, at }) => {
                Ok(Self::Running { pid, started: at, oom_killed: false, last: self.last().cloned() })
            }
            (Self::Created { .. }, Event::StartFailed { code, error, .. }) => {
                Ok(Self::Created { failed: Some(Ending { code, error, ..Ending::default() }) })
            }
            (Self::Exited { last } | Self::Restarting { last }, Event::StartFailed { code, error, at }) => {
                let last = Ending { code, error, finished: Some(at), ..last.clone() };
                Ok(Self::Exited { last })
            }
            (&Self::Running { pid, started, oom_killed, .. }, Event::Paused) => {
                Ok(Self::Paused { pid, started, oom_killed })
            }
            (&Self::Paused { pid, started, oom_killed }, Event::Unpaused) => {
                Ok(Self::Running { pid, started, oom_killed, last: None })
            }
            (Self::Running { pid, started, last, .. }, Event::OutOfMemory) => {
                Ok(Self::Running { pid: *pid, started: *started, oom_killed: true, last: last.clone() })
            }
            (&Self::Paused { pid, started, .. }, Event::OutOfMemory) => {
                Ok(Self::Paused { pid, started, oom_killed: true })
            }
            (
                &Self::Running { started, oom_killed, .. } | &Self::Paused { started, oom_killed, .. },
                Event::Exited { code, at, restart },
            ) => {
                let last =
                    Ending { code, started: Some(started), finished: Some(at), oom_killed, error: String::new() };
                Ok(if restart { Self::Restarting { last } } else { Self::Exited { last } })
            }
            (Self::Restarting { last }, Event::RestartCancelled) => Ok(Self::Exited { last: last.clone() }),
            (
                Self::Created { .. } | Self::Exited { .. } | Self::Removing { .. } | Self::Dead { .. },
                Event::RemovalBegun,
            ) => Ok(Self::Removing { last: self.last().cloned() }),
            (Self::Removing { last }, Event::RemovalFailed { error }) => Ok(Self::Dead { last: last.clone(), error }),
            _ => Err(forbidden),
        }
    }

    /// Docker's word: `State.Status` of inspect, `State` of list, the filter `status`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited { .. } => "exited",
            Self::Removing { .. } => "removing",
            Self::Dead { .. } => "dead",
        }
    }

    /// A process exists.
    pub fn has_process(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. })
    }

    /// `State.Running` of inspect: Docker counts a restarting container as running.
    pub fn counts_as_running(&self) -> bool {
        self.has_process() || matches!(self, Self::Restarting { .. })
    }

    /// 0 when there is no process.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Running { pid, .. } | Self::Paused { pid, .. } => *pid,
            _ => 0,
        }
    }

    pub fn started(&self) -> Option<Timestamp> {
        match self {
            Self::Running { started, .. } | Self::Paused { started, .. } => Some(*started),
            _ => self.last().and_then(|last| last.started),
        }
    }

    pub fn finished(&self) -> Option<Timestamp> {
        self.last().and_then(|last| last.finished)
    }

    /// 0 while it runs.
    pub fn exit_code(&self) -> i32 {
        if self.has_process() { 0 } else { self.last().map_or(0, |last| last.code) }
    }

    pub fn oom_killed(&self) -> bool {
        match self {
            Self::Running { oom_killed, .. } | Self::Paused { oom_killed, .. } => *oom_killed,
            _ => self.last().is_some_and(|last| last.oom_killed),
        }
    }

    pub fn error(&self) -> &str {
        match self {
            Self::Dead { error, .. } => error,
            _ if self.has_process() => "",
            _ => self.last().map_or("", |last| &last.error),
        }
    }

    fn last(&self) -> Option<&Ending> {
        match self {
            Self::Created { failed: last } | Self::Removing { last } | Self::Dead { last, .. } => last.as_ref(),
            Self::Running { last, .. } => last.as_ref(),
            Self::Restarting { last } | Self::Exited { last } => Some(last),
            Self::Paused { .. } => None,
        }
    }
}

impl Event {
    fn word(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::StartFailed { .. } => "start failed",
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
            Self::OutOfMemory => "out of memory",
            Self::Exited { .. } => "exited",
            Self::RestartCancelled => "restart cancelled",
            Self::RemovalBegun => "removal begun",
            Self::RemovalFailed { .. } => "removal failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> State {
        State::default().after(Event::Started { pid: 7, at: Timestamp(10) }).unwrap()
    }

    #[test]
    fn a_container_runs_and_ends_with_its_code_and_times() {
        let ended = running().after(Event::Exited { code: 3, at: Timestamp(20), restart: false }).unwrap();
        assert_eq!(ended.word(), "exited");
        assert_eq!((ended.exit_code(), ended.pid()), (3, 0));
        assert_eq!((ended.started(), ended.finished()), (Some(Timestamp(10)), Some(Timestamp(20))));
    }

    #[test]
    fn a_failed_first_start_leaves_it_created_with_the_error() {
        let failed = State::default()
            .after(Event::StartFailed { code: 127, error: "no such file".to_owned(), at: Timestamp(5) })
            .unwrap();
        assert_eq!((failed.word(), failed.exit_code(), failed.error()), ("created", 127, "no such file"));
        assert_eq!(failed.started(), None);
    }

    #[test]
    fn a_running_container_shows_no_old_exit_code_but_the_old_finish_time() {
        let again = running()
            .after(Event::Exited { code: 3, at: Timestamp(20), restart: true })
            .unwrap()
            .after(Event::Started { pid: 8, at: Timestamp(30) })
            .unwrap();
        assert_eq!((again.exit_code(), again.finished()), (0, Some(Timestamp(20))));
    }

    #[test]
    fn out_of_memory_is_remembered_through_pause_and_exit() {
        let ended = running()
            .after(Event::OutOfMemory)
            .unwrap()
            .after(Event::Paused)
            .unwrap()
            .after(Event::Exited { code: 137, at: Timestamp(9), restart: false })
            .unwrap();
        assert!(ended.oom_killed());
    }

    #[test]
    fn what_runs_cannot_be_removed_and_what_ended_cannot_end_again() {
        assert_eq!(
            running().after(Event::RemovalBegun).unwrap_err(),
            Forbidden { from: "running", event: "removal begun" }
        );
        let ended = running().after(Event::Exited { code: 0, at: Timestamp(2), restart: false }).unwrap();
        assert!(ended.after(Event::Exited { code: 1, at: Timestamp(3), restart: false }).is_err());
        assert!(ended.after(Event::Paused).is_err());
    }

    #[test]
    fn a_failed_removal_leaves_a_dead_container_that_can_be_removed_again() {
        let dead = State::default()
            .after(Event::RemovalBegun)
            .unwrap()
            .after(Event::RemovalFailed { error: "busy".to_owned() })
            .unwrap();
        assert_eq!((dead.word(), dead.error()), ("dead", "busy"));
        assert!(dead.after(Event::RemovalBegun).is_ok());
        assert!(dead.after(Event::Started { pid: 1, at: Timestamp(1) }).is_err());
    }

    #[test]
    fn a_state_survives_being_stored() {
        let state = running();
        let stored = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }
}
