//! Why an operation failed. Words that go-runc, containerd and podman search for are runc's.

use cgroup::CgroupError;
use errors::{ErrorKind, Kind};
use runtime_core::SpecError;
use std::io;
use sys::Errno;
use systemd::SystemdError;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("container does not exist")]
    NotFound,
    #[error("container with id exists: {0}")]
    Exists(String),
    #[error("invalid container ID format: {0:?}")]
    InvalidId(String),
    #[error("container not running")]
    NotRunning,
    #[error("process already finished")]
    AlreadyFinished,
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped { id: String, status: &'static str },
    #[error("cannot start a container that has stopped")]
    StartStopped,
    #[error("cannot start an already running container")]
    StartRunning,
    #[error("cannot exec in a stopped container")]
    ExecStopped,
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    ExecPaused,
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("unable to start container process: {0}")]
    Start(String),
    #[error("error running {kind} hook #{index}: {reason}")]
    Hook { kind: &'static str, index: usize, reason: String },
    #[error("{what}")]
    File { what: String, source: io::Error },
    #[error("{what}: {errno}")]
    System { what: String, errno: Errno },
    #[error("{what} is not valid JSON")]
    Json { what: String, source: serde_json::Error },
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error("{first}; cleaning up also failed")]
    CleanUp { first: Box<RuntimeError>, source: Box<RuntimeError> },
}

impl RuntimeError {
    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what: what.into(), source }
    }

    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::System { what: what.into(), errno }
    }

    /// Keeps the first error in front and tells of the failed clean-up behind it.
    pub(crate) fn with_clean_up<T>(self, clean_up: Result<T, Self>) -> Self {
        match clean_up {
            Ok(_) => self,
            Err(source) => Self::CleanUp { first: Box::new(self), source: Box::new(source) },
        }
    }
}

impl Kind for RuntimeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Exists(_) => ErrorKind::AlreadyExists,
            Self::InvalidId(_) | Self::InvalidArgument(_) | Self::Json { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported(_) => ErrorKind::NotImplemented,
            Self::NotRunning
            | Self::AlreadyFinished
            | Self::NotStopped { .. }
            | Self::StartStopped
            | Self::StartRunning
            | Self::ExecStopped
            | Self::ExecPaused => ErrorKind::FailedPrecondition,
            Self::Spec(error) => error.kind(),
            Self::Cgroup(error) => error.kind(),
            Self::Systemd(error) => error.kind(),
            Self::Netlink(error) => error.kind(),
            Self::CleanUp { first, .. } => first.kind(),
            Self::Start(_) | Self::Hook { .. } | Self::File { .. } | Self::System { .. } => ErrorKind::Internal,
        }
    }
}
