//! What an operation on a container can end with.

use std::io;
use std::path::{Path, PathBuf};

use container_core::{ConfigError, UserError};
use errors::{ErrorKind, Kind};

use crate::ports::PortError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Made in `messages.rs`.
    #[error("{message}")]
    Refused { kind: ErrorKind, message: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Name(#[from] ids::NameError),
    #[error(transparent)]
    User(#[from] UserError),
    /// Images or networks refused; their words.
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("cannot store the container")]
    Store(#[from] metadata::Error),
    #[error("{action}")]
    Containerd { action: &'static str, source: containerd_client::Error },
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot attach to {}: {reason}", path.display())]
    Attach { path: PathBuf, reason: String },
    /// A log driver's options; Docker's words.
    #[error(transparent)]
    LogDriver(#[from] log_drivers::Error),
    #[error("cannot read the container's log")]
    Log(#[from] logs::ReadError),
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    #[error("cannot get random bytes")]
    Random(#[from] getrandom::Error),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::Config(error) => error.kind(),
            Self::Name(error) => error.kind(),
            Self::User(error) => error.kind(),
            Self::Port(error) => error.kind,
            Self::Store(error) => error.kind(),
            Self::Containerd { source, .. } => source.kind(),
            Self::LogDriver(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Archive(error) => error.kind(),
            Self::File { .. } | Self::Attach { .. } | Self::Random(_) => ErrorKind::Internal,
        }
    }
}
