//! What can go wrong in the store.

use std::path::PathBuf;

use errors::{ErrorKind, Kind};

/// An error of the database; `source` has what redb or the kernel said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database {} is in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("database {} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("database {} has schema version {found}, this program knows {known}", path.display())]
    SchemaNewer { path: PathBuf, found: u32, known: u32 },
    #[error("cannot open database {}", path.display())]
    Open { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot read from the database")]
    Read { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot write to the database: {reason}")]
    Write { reason: String },
    #[error("record {key:?} in the database cannot be decoded")]
    Decode { key: String, source: serde_json::Error },
    #[error("record {key:?} cannot be encoded")]
    Encode { key: String, source: serde_json::Error },
    #[error("record {key:?} of {bytes} bytes is larger than {limit} bytes")]
    TooLarge { key: String, bytes: usize, limit: usize },
    #[error("the database is closed")]
    Closed,
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Damaged { .. } | Self::Decode { .. } => ErrorKind::DataLoss,
            Self::SchemaNewer { .. } => ErrorKind::FailedPrecondition,
            Self::TooLarge { .. } | Self::Encode { .. } => ErrorKind::InvalidArgument,
            Self::Open { .. } | Self::Read { .. } | Self::Write { .. } => ErrorKind::Internal,
        }
    }
}

impl Error {
    pub(crate) fn read(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Read { source: source.into() }
    }

    pub(crate) fn write(source: &(dyn std::error::Error + 'static)) -> Self {
        Self::Write { reason: errors::chain(source) }
    }
}
