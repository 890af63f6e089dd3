//! `pause` and `resume`.

use crate::{Root, RuntimeError, Status};
use cgroup::freeze::Frozen;

pub fn pause(root: &Root, id: &str) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    match root.status(&record) {
        Status::Running | Status::Created => Ok(record.group.set_frozen(Frozen::Yes)?),
        Status::Paused => Err(RuntimeError::InvalidArgument("container already paused".into())),
        _ => Err(RuntimeError::InvalidArgument("container not running or created: not paused".into())),
    }
}

pub fn resume(root: &Root, id: &str) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    match root.status(&record) {
        Status::Paused => Ok(record.group.set_frozen(Frozen::No)?),
        _ => Err(RuntimeError::InvalidArgument("container not paused".into())),
    }
}
