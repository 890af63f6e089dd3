//! `list`, `state` and `ps`.

use crate::{Record, Root, RuntimeError, Status};

/// One row of `list`.
#[derive(Debug, Clone)]
pub struct Row {
    pub record: Record,
    pub status: Status,
}

impl Row {
    /// Zero when it has ended.
    pub fn pid(&self) -> i32 {
        if self.status == Status::Stopped { 0 } else { self.record.pid }
    }

    /// As runc prints a container in `state` and `list --format json`.
    pub fn json(&self, owner: &str) -> serde_json::Value {
        let record = &self.record;
        let mut row = serde_json::json!({
            "ociVersion": record.oci_version,
            "id": record.id,
            "pid": self.pid(),
            "status": self.status.name(),
            "bundle": record.bundle,
            "rootfs": record.rootfs,
            "created": record.created,
        });
        if !record.annotations.is_empty() {
            row["annotations"] = serde_json::json!(record.annotations);
        }
        row["owner"] = owner.into();
        row
    }
}

pub fn state(root: &Root, id: &str) -> Result<Row, RuntimeError> {
    let record = root.load(id)?;
    let status = root.status(&record);
    Ok(Row { record, status })
}

/// All containers. One that vanishes meanwhile is left out; one whose record is broken is told of by the second list.
pub fn list(root: &Root) -> Result<(Vec<Row>, Vec<String>), RuntimeError> {
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for id in root.ids()? {
        match state(root, &id) {
            Ok(row) => rows.push(row),
            Err(RuntimeError::NotFound) => {}
            Err(error) => broken.push(format!("load container {id}: {}", errors::chain(&error))),
        }
    }
    Ok((rows, broken))
}

/// The container's processes by their numbers on the host.
pub fn processes(root: &Root, id: &str) -> Result<Vec<i32>, RuntimeError> {
    Ok(root.load(id)?.group.pids()?)
}
