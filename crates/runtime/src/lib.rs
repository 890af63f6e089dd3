//! The OCI runtime's operations: create, start, exec, kill, delete, state and their files.
//!
//! Each operation is a function that takes a [`Root`] (the folder with one folder a container) and its request. Facts it
//! owns: `ROOT/ID/state.json` ([`record::Record`]), `ROOT/ID/exec.fifo` (there as long as the container is created and not
//! started), `ROOT/ID/seccomp.bpf` (the compiled filter, for execs), `ROOT/:filters` (those of all profiles so far). No thread is ever made: the process that clones must be alone.

pub mod bundle;
pub mod create;
pub mod criu;
pub mod delete;
pub mod error;
pub mod exec;
pub mod fd;
pub mod features;
pub mod filter;
pub mod foreground;
pub mod hooks;
pub mod idmaps;
pub mod kill;
pub mod launch;
pub mod list;
pub mod messages;
pub mod net_devices;
pub mod notify;
pub mod pause;
pub mod points;
pub mod protect;
pub mod record;
pub mod resctrl;
pub mod start;
pub mod statistics;
pub mod time;
pub mod trees;
pub mod unit;
pub mod update;

pub use error::RuntimeError;
pub use record::{Record, Root, Status};

/// What an operation says besides its answer, for the log.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    pub warnings: Vec<String>,
    /// What was done, where somebody wants to know.
    pub details: Vec<String>,
    pub wants_details: bool,
}

impl Notes {
    pub(crate) fn detail(&mut self, text: impl FnOnce() -> String) {
        if self.wants_details {
            self.details.push(text());
        }
    }
}
