//! How many files and sockets the daemon may have open: as many as the hard limit allows.
//!
//! The soft limit that we were started with is what containers get, in the end: every program that this one starts goes back
//! to it (as Go's runtime does, and so Docker's containers know it).

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();
/// Where there is no limit at all.
const MANY: u64 = 1 << 20;

/// Raises the soft limit; the number of descriptors that there are now.
pub fn raise_limit() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            // A second call would remember what the first one set.
            let _ = BEFORE.set(before);
            raised.current.unwrap_or(MANY)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            before.current.unwrap_or(MANY)
        }
    }
}

/// A child gets the limit that we were started with.
pub fn restore_limit(child: Pid) {
    let Some(before) = BEFORE.get() else { return };
    if let Err(error) = prlimit(Some(child), Resource::Nofile, before.clone()) {
        tracing::debug!(%error, "a child keeps the raised limit of open files");
    }
}
