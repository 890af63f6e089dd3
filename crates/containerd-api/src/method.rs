//! Names of the services and methods that are spoken over ttrpc.

/// The shim's service in containerd 1.x and 2.x (bootstrap version 2).
pub const TASK_V2: &str = "containerd.task.v2.Task";
/// The shim's service with bootstrap version 3; the messages are the same.
pub const TASK_V3: &str = "containerd.task.v3.Task";
/// Where a shim forwards its events to.
pub const EVENTS: &str = "containerd.services.events.ttrpc.v1.Events";

/// Methods of [`TASK_V2`] and [`TASK_V3`]; request and answer are in [`crate::task::v2`].
pub mod task {
    pub const STATE: &str = "State";
    pub const CREATE: &str = "Create";
    pub const START: &str = "Start";
    pub const DELETE: &str = "Delete";
    pub const PIDS: &str = "Pids";
    pub const PAUSE: &str = "Pause";
    pub const RESUME: &str = "Resume";
    pub const CHECKPOINT: &str = "Checkpoint";
    pub const KILL: &str = "Kill";
    pub const EXEC: &str = "Exec";
    pub const RESIZE_PTY: &str = "ResizePty";
    pub const CLOSE_IO: &str = "CloseIO";
    pub const UPDATE: &str = "Update";
    pub const WAIT: &str = "Wait";
    pub const STATS: &str = "Stats";
    pub const CONNECT: &str = "Connect";
    pub const SHUTDOWN: &str = "Shutdown";
}

/// Methods of [`EVENTS`].
pub mod events {
    pub const FORWARD: &str = "Forward";
}
