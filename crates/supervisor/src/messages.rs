//! The words of containerd that its clients know.

use crate::error::Error;

pub fn container_not_found(namespace: &str, id: &str) -> Error {
    Error::NotFound(format!("container {id:?} in namespace {namespace:?}: not found"))
}

pub fn container_exists(id: &str) -> Error {
    Error::AlreadyExists(format!("container {id:?}: already exists"))
}

pub fn task_not_found(id: &str) -> Error {
    Error::NotFound(format!("task {id} not found: not found"))
}

pub fn task_exists(id: &str) -> Error {
    Error::AlreadyExists(format!("task {id}: already exists"))
}

pub fn task_running(id: &str) -> Error {
    Error::FailedPrecondition(format!("cannot delete running task {id}: failed precondition"))
}

pub fn task_being_deleted(id: &str) -> Error {
    Error::FailedPrecondition(format!("task {id} is being deleted: failed precondition"))
}

pub fn process_finished() -> Error {
    Error::NotFound("process already finished: not found".to_owned())
}

pub fn exec_not_found(exec: &str) -> Error {
    Error::NotFound(format!("process {exec}: not found"))
}

pub fn image_not_found(name: &str) -> Error {
    Error::NotFound(format!("image {name:?}: not found"))
}

pub fn image_exists(name: &str) -> Error {
    Error::AlreadyExists(format!("image {name:?}: already exists"))
}

pub fn lease_not_found(id: &str) -> Error {
    Error::NotFound(format!("lease {id:?}: not found"))
}

pub fn lease_exists(id: &str) -> Error {
    Error::AlreadyExists(format!("lease {id:?}: already exists"))
}

pub fn namespace_not_found(name: &str) -> Error {
    Error::NotFound(format!("namespace {name:?}: not found"))
}

pub fn namespace_exists(name: &str) -> Error {
    Error::AlreadyExists(format!("namespace {name:?}: already exists"))
}

pub fn namespace_not_empty(name: &str, what: &[&str]) -> Error {
    Error::FailedPrecondition(format!(
        "namespace {name:?} must be empty, but it still has {}: failed precondition",
        what.join(", ")
    ))
}

pub fn namespace_required() -> Error {
    Error::FailedPrecondition("namespace is required: failed precondition".to_owned())
}

pub fn snapshotter_not_loaded(name: &str) -> Error {
    Error::InvalidArgument(format!("snapshotter not loaded: {name}: invalid argument"))
}

pub fn field_immutable(object: &str, path: &str) -> Error {
    Error::InvalidArgument(format!("cannot update {path:?} field on {object:?}: invalid argument"))
}

pub fn runtime_not_found(runtime: &str, binary: &str) -> Error {
    Error::NotFound(format!("runtime {runtime:?} binary not installed {binary:?}: file does not exist: not found"))
}

pub fn checkpoint_not_implemented() -> Error {
    Error::NotImplemented("checkpoint and restore are not supported: not implemented".to_owned())
}
