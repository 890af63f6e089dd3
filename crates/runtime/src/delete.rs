//! `delete`: everything that a container has left behind.

use crate::{Notes, Record, Root, RuntimeError, Status, hooks, unit};
use sys::process;

/// How long a killed first process may need to end.
const KILL_TIMEOUT_MS: i32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    Yes,
    No,
}

pub fn delete(root: &Root, id: &str, force: Force, notes: &mut Notes) -> Result<(), RuntimeError> {
    let record = match root.load(id) {
        Err(RuntimeError::NotFound) if force == Force::Yes => return root.remove(id),
        other => other?,
    };
    match (root.status(&record), force) {
        (Status::Stopped, _) => {}
        // Nothing of the program has run yet: it goes without force.
        (Status::Created, _) | (_, Force::Yes) => end(&record)?,
        (status, Force::No) => return Err(RuntimeError::NotStopped { id: id.into(), status: status.name() }),
    }
    remove(root, &record, notes)
}

fn end(record: &Record) -> Result<(), RuntimeError> {
    let Ok(pidfd) = record.pidfd() else { return Ok(()) };
    process::pidfd_send_signal(pidfd.raw(), libc::SIGKILL).or_else(|errno| match errno {
        sys::Errno::ESRCH => Ok(()),
        errno => Err(RuntimeError::System { what: "cannot kill the container".into(), errno }),
    })?;
    if record.group.frozen() == cgroup::freeze::Frozen::Yes {
        record.group.set_frozen(cgroup::freeze::Frozen::No)?;
    }
    let mut wait = [libc::pollfd { fd: pidfd.raw(), events: libc::POLLIN, revents: 0 }];
    match process::poll(&mut wait, KILL_TIMEOUT_MS) {
        Ok(0) => Err(RuntimeError::InvalidArgument("the container does not end after SIGKILL".into())),
        _ => Ok(()),
    }
}

/// Removes cgroups and folder of a container whose first process has ended, and runs its poststop hooks.
pub(crate) fn remove(root: &Root, record: &Record, notes: &mut Notes) -> Result<(), RuntimeError> {
    // Without a pid namespace its processes outlive the first one.
    if !record.group.pids()?.is_empty() {
        record.group.signal_all(libc::SIGKILL)?;
    }
    if let Some(unit) = &record.unit {
        unit::stop(unit, record.owner)?;
    }
    record.group.remove()?;
    if let Some(class) = &record.resctrl {
        class.remove()?;
    }
    root.remove(&record.id)?;
    notes.warnings.extend(hooks::run_all("poststop", &record.hooks.poststop, record, Status::Stopped));
    Ok(())
}
