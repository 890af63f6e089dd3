//! `update`: other limits for a running container.

use crate::{Notes, Root, RuntimeError, Status, unit};
use runtime_core::cgroup_values::Occasion;
use runtime_core::spec_resources::Resources;

pub fn update(root: &Root, id: &str, resources: &Resources, notes: &mut Notes) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    if root.status(&record) == Status::Stopped {
        return Err(RuntimeError::NotRunning);
    }
    if let Some(unit) = &record.unit {
        unit::update(unit, record.owner, resources, record.group.version())?;
    }
    notes.warnings.extend(record.group.apply(resources, Occasion::Update)?);
    Ok(())
}

pub fn parse_resources(bytes: &[u8]) -> Result<Resources, RuntimeError> {
    serde_json::from_slice(bytes).map_err(|source| RuntimeError::Json { what: "the resources".into(), source })
}
