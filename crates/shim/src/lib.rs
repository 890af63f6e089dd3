//! Parent of one container: serves containerd's shim v2, keeps its output and its exit status.
//!
//! [`run`] is the whole program: `start` leaves a serving copy of itself behind and prints its address, `delete` cleans
//! up after a dead one. Documented in containerd's core/runtime/v2/README.md. `fork-server`, for our own docker-containerd,
//! leaves a copy behind for every start that it is asked for ([`fork_server`]).
//!
//! Invariants of the serving process: one container, one thread, one epoll loop ([`server`]) that never waits for
//! anything but its next event; what the runtime does is done by child processes whose exits are events ([`operation`]); an exit is
//! kept until Delete asks for it; neither a dead containerd nor a client that does not read holds up the container.
//!
//! Facts it owns: whether a process of the container runs, its exit status and time, and its output.

mod arguments;
mod connections;
mod console;
mod container;
mod delete;
mod exits;
pub mod fork_server;
mod info;
mod inside;
mod logger;
mod messages;
mod metrics;
mod operation;
mod outcome;
mod process;
mod publisher;
mod relay;
mod rootfs;
mod runtime;
mod server;
mod service;
mod start;
mod stdio;
mod work;

use arguments::{Action, Arguments};
use std::ffi::OsString;

/// Why the program failed; the chain is one line on stderr, which containerd shows its user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Arguments(#[from] arguments::ArgumentError),
    #[error("cannot {what}")]
    System { what: &'static str, source: std::io::Error },
    #[error("cannot read what is asked for")]
    Asked(#[from] serde_json::Error),
    #[error("failed to join shim to cgroup {path:?}")]
    Cgroup { path: String, source: cgroup::CgroupError },
}

impl errors::Kind for Error {
    fn kind(&self) -> errors::ErrorKind {
        match self {
            Self::Arguments(_) | Self::Asked(_) => errors::ErrorKind::InvalidArgument,
            Self::System { .. } | Self::Cgroup { .. } => errors::ErrorKind::Internal,
        }
    }
}

/// Attaches what was being done to a system error.
pub(crate) fn failed_to<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::System { what, source: source.into() }
}

/// Runs the program with its arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let arguments = Arguments::parse(args)?;
    match arguments.action {
        Action::Version => info::print_version(&arguments),
        Action::Info => info::print_info(&arguments),
        Action::Start => start::start(&arguments),
        Action::Delete => delete::delete(&arguments),
        Action::ForkServer => fork_server::run(&arguments),
    }
}
