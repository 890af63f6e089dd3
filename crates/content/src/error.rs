//! What can go wrong with a blob or a write.

use std::path::{Path, PathBuf};

use errors::{ErrorKind, Kind};
use ids::Digest;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("content {digest}: not found")]
    NotFound { digest: Digest },
    #[error("content {digest}: already exists")]
    AlreadyExists { digest: Digest },
    #[error("reference {reference}: not found")]
    NoSuchWrite { reference: String },
    #[error("reference {reference} is being written: locked")]
    Locked { reference: String },
    #[error("ref must not be empty")]
    EmptyReference,
    #[error("reference or namespace too long or with a slash or zero byte where none may be")]
    BadReference,
    #[error("unexpected commit size {found}, expected {expected}")]
    Size { found: u64, expected: u64 },
    #[error("unexpected commit digest {found}, expected {expected}")]
    Digest { found: Digest, expected: Digest },
    #[error("cannot truncate to {size} bytes, {offset} are written")]
    Truncate { size: u64, offset: u64 },
    #[error("offset {offset} is beyond the {size} bytes of content {digest}")]
    Range { offset: u64, size: u64, digest: Digest },
    #[error("cannot {what} {}", path.display())]
    Disk { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Labels(#[from] metadata::labels::LabelError),
    #[error(transparent)]
    Filter(#[from] metadata::filter::FilterError),
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoSuchWrite { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::Locked { .. } => ErrorKind::Unavailable,
            Self::EmptyReference | Self::BadReference | Self::Truncate { .. } | Self::Range { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Size { .. } | Self::Digest { .. } => ErrorKind::FailedPrecondition,
            Self::Disk { source, .. } if is_full(source) => ErrorKind::ResourceExhausted,
            Self::Disk { .. } => ErrorKind::Internal,
            Self::Labels(error) => error.kind(),
            Self::Filter(error) => error.kind(),
            Self::Metadata(error) => error.kind(),
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Adds what was done to which file.
pub(crate) fn disk<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::Disk { what, path: path.to_owned(), source }
}
