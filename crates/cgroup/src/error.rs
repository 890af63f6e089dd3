//! What can go wrong with control groups.

use errors::{ErrorKind, Kind};
use runtime_core::SpecError;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {value:?} to {path}")]
    Write { path: PathBuf, value: String, source: io::Error },
    #[error("cannot create the cgroup {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot give {path} to the container's user")]
    Delegate { path: PathBuf, source: io::Error },
    #[error("cannot remove the cgroup {path}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("the cgroup controller {0} is not available on this host")]
    MissingController(String),
    #[error("the cgroup path {0:?} is not valid")]
    InvalidPath(String),
    #[error("processes of the cgroup cannot be frozen")]
    Freeze,
    #[error("cannot restrict devices with a BPF program on {path}")]
    Devices { path: PathBuf, source: io::Error },
    #[error("rejecting {what} limit {limit} <= usage {usage}")]
    BelowUsage { what: &'static str, limit: i64, usage: i64 },
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    MemoryInUse { limit: String, usage: String, peak: String, source: io::Error },
    #[error("the {bound} allowed cpu-shares is {set}")]
    Shares { bound: &'static str, set: u64 },
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl CgroupError {
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_path_buf(), source }
    }
}

impl Kind for CgroupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidPath(_) | Self::BelowUsage { .. } | Self::Shares { .. } => ErrorKind::InvalidArgument,
            Self::MissingController(_) => ErrorKind::NotImplemented,
            Self::Spec(error) => error.kind(),
            _ => ErrorKind::Internal,
        }
    }
}
