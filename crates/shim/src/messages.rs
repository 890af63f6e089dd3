//! What containerd's clients look for word by word, mostly Docker's daemon and ctr.

use ttrpc::{Code, Status};

pub fn not_created() -> Status {
    Status::new(Code::NotFound, "container not created: not found")
}

pub fn container_exists(id: &str) -> Status {
    Status::new(Code::AlreadyExists, format!("container {id}: already exists"))
}

pub fn exec_exists(id: &str) -> Status {
    Status::new(Code::AlreadyExists, format!("id {id}: already exists"))
}

pub fn no_process(id: &str) -> Status {
    Status::new(Code::NotFound, format!("process does not exist {id}: not found"))
}

pub fn already_finished() -> Status {
    Status::new(Code::NotFound, "process already finished: not found")
}

pub fn no_such_container() -> Status {
    Status::new(Code::NotFound, "no such container: not found")
}

pub fn not_started() -> Status {
    Status::new(Code::FailedPrecondition, "process not created: failed precondition")
}

pub fn init_not_running(id: &str) -> Status {
    let text = format!("container {id} init process is not running: failed precondition");
    Status::new(Code::FailedPrecondition, text)
}

/// `cannot start a running process` and its like: containerd sends them without a code of their own.
pub fn wrong_state(verb: &str, state: &str) -> Status {
    let noun = if matches!(verb, "pause" | "resume" | "update") { "container" } else { "process" };
    Status::new(Code::Unknown, format!("cannot {verb} a {state} {noun}"))
}

pub fn no_checkpoints() -> Status {
    Status::new(Code::Unimplemented, "checkpoint is not supported by this shim: not implemented")
}

pub fn invalid(text: impl std::fmt::Display) -> Status {
    Status::new(Code::InvalidArgument, format!("{text}: invalid argument"))
}

/// A failure of the runtime or of this host.
pub fn unknown(text: impl Into<String>) -> Status {
    Status::new(Code::Unknown, text)
}

pub fn no_cgroup() -> Status {
    Status::new(Code::NotFound, "cgroup does not exist: not found")
}

/// An option of the runtime that is not built.
pub fn unsupported(option: &str) -> Status {
    Status::new(Code::Unimplemented, format!("the runtime option {option} is not supported: not implemented"))
}
