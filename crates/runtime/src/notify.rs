//! The listener of a filter with SCMP_ACT_NOTIFY: it goes to whoever the profile names (runtime-spec config-linux.md,
//! The Container Process State).

use crate::fd::Fd;
use crate::{Record, RuntimeError, Status};
use serde_json::json;
use sys::socket;

/// Connects to the socket of the profile and hands the listener of this process over.
pub fn send(record: &Record, status: Status, pid: i32, listener: &Fd) -> Result<(), RuntimeError> {
    let Some(wanted) = &record.listener else { return Ok(()) };
    let what = format!("failed to connect with seccomp agent specified in the seccomp profile: {}", wanted.path);
    let state = json!({
        "ociVersion": record.oci_version,
        "fds": [ "seccompFd" ],
        "pid": pid,
        "metadata": wanted.metadata,
        "state": record.oci_state(status, record.pid),
    });
    let socket = socket::connect(wanted.path.as_bytes()).map(Fd::new).map_err(RuntimeError::system(what.clone()))?;
    socket::send_fd(socket.raw(), state.to_string().as_bytes(), listener.raw()).map_err(RuntimeError::system(what))
}
