//! One process of the container: the init process or an exec.

use crate::messages;
use crate::outcome::Outcome;
use crate::stdio::{ChildEnds, Stdio, StdioUris};
use containerd_api::v1::types::Status as Wire;
use ttrpc::Status;

/// Where to send the answer of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub connection: u64,
    pub stream: u32,
}

/// The life of a process. The outcome appears in the log's wake: `Ending` until everything it wrote is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The runtime is creating the container; an exec has not been started.
    New,
    /// Waiting for Start (init only).
    Created,
    /// The runtime is starting it; it may have ended already.
    Starting {
        early: Option<Outcome>,
    },
    Running,
    Ending(Outcome),
    Stopped(Outcome),
}

impl Life {
    pub fn word(self) -> &'static str {
        match self {
            Self::New | Self::Created => "created",
            Self::Starting { .. } | Self::Running | Self::Ending(_) => "running",
            Self::Stopped(_) => "stopped",
        }
    }

    pub fn wire(self) -> Wire {
        match self {
            Self::New | Self::Created => Wire::Created,
            Self::Starting { .. } | Self::Running | Self::Ending(_) => Wire::Running,
            Self::Stopped(_) => Wire::Stopped,
        }
    }

    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Stopped(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether the process is there, or will be in a moment.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Running | Self::Ending(_))
    }
}

#[derive(Debug)]
pub struct Process {
    pub life: Life,
    /// 0 until the runtime has told it.
    pub pid: i32,
    pub uris: StdioUris,
    pub stdio: Stdio,
    /// Tokens of its descriptors are `base | slot`.
    pub base: u64,
    /// An exec's ends of its pipes, until it is started.
    pub ends: Option<ChildEnds>,
    /// An exec's process, in the runtime spec's JSON.
    pub spec: Vec<u8>,
    pub waiters: Vec<Reply>,
}

impl Process {
    pub fn new(uris: StdioUris, stdio: Stdio, ends: ChildEnds, base: u64) -> Self {
        let ends = Some(ends);
        Self { life: Life::New, pid: 0, uris, stdio, base, ends, spec: Vec::new(), waiters: Vec::new() }
    }

    /// Sends a signal to this process alone. It is our child, so that its number is its own until it was reaped.
    pub fn signal(&self, signal: u32) -> Result<(), Status> {
        match self.life {
            Life::New => return Err(messages::not_started()),
            Life::Ending(_) | Life::Stopped(_) | Life::Starting { early: Some(_) } => {
                return Err(messages::already_finished());
            }
            Life::Starting { early: None } if self.pid == 0 => return Err(messages::not_started()),
            Life::Created | Life::Starting { .. } | Life::Running => {}
        }
        let signal = i32::try_from(signal).map_err(|_| messages::invalid("no such signal"))?;
        sys::process::kill(self.pid, signal).map_err(|errno| match errno {
            sys::Errno::ESRCH => messages::already_finished(),
            sys::Errno::EINVAL => messages::invalid(format!("no such signal: {signal}")),
            _ => messages::unknown(format!("unknown error after kill: {errno}")),
        })
    }
}
