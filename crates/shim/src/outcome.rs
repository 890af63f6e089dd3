//! How a process ended.

use nix::sys::wait::WaitStatus;
use prost_types::Timestamp;
use std::time::SystemTime;

/// Exit status as a shell reports it, and when it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub status: u32,
    pub at: SystemTime,
}

impl Outcome {
    pub fn now(status: u32) -> Self {
        Self { status, at: SystemTime::now() }
    }

    pub fn timestamp(self) -> Option<Timestamp> {
        Some(Timestamp::from(self.at))
    }
}

/// The process and its status if it has ended: its code, or 128 and the signal.
pub fn ended(status: WaitStatus) -> Option<(i32, u32)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw(), code as u32)),
        WaitStatus::Signaled(pid, signal, _) => Some((pid.as_raw(), 128 + signal as u32)),
        _ => None,
    }
}
