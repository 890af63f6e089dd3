//! What can go wrong in a use case of the supervisor.
//!
//! The texts of the first group are containerd's own words (made in [`crate::messages`]), because clients look into them.

use errors::{ErrorKind, Kind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    AlreadyExists(String),
    #[error("{0}")]
    FailedPrecondition(String),
    #[error("{0}")]
    NotImplemented(String),
    #[error("{0}")]
    Unavailable(String),
    /// A shim, or what it started, said no: its kind and its words.
    #[error("{message}")]
    Shim { kind: ErrorKind, message: String },
    /// A file, folder or process of ours.
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error("{what}")]
    Stored { what: String, source: prost::DecodeError },
    #[error(transparent)]
    Filter(#[from] crate::filter::FilterError),
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    #[error(transparent)]
    Content(#[from] content::Error),
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    /// Blocking work ended without an answer: it panicked, or the daemon stops.
    #[error("a blocking operation was given up")]
    GivenUp,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An I/O error and what it happened to.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument(_) | Self::Filter(_) => ErrorKind::InvalidArgument,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::FailedPrecondition(_) => ErrorKind::FailedPrecondition,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Shim { kind, .. } => *kind,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Internal,
            },
            Self::Stored { .. } => ErrorKind::DataLoss,
            Self::Metadata(error) => error.kind(),
            Self::Content(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Archive(error) => error.kind(),
            Self::GivenUp => ErrorKind::Internal,
        }
    }
}
