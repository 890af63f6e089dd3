//! What can go wrong with a snapshot.

use std::path::{Path, PathBuf};

use errors::{ErrorKind, Kind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("snapshot {name} does not exist")]
    NotFound { name: String },
    #[error("parent snapshot {name} does not exist")]
    NoParent { name: String },
    #[error("snapshot {name} already exists")]
    AlreadyExists { name: String },
    #[error("parent {name:?} is not committed snapshot")]
    ParentNotCommitted { name: String },
    #[error("snapshot {name:?} is not active")]
    NotActive { name: String },
    #[error("requested snapshot {name} not active or view")]
    NoMounts { name: String },
    #[error("cannot remove snapshot with child")]
    HasChild,
    #[error("snapshot names have 1 to {limit} bytes")]
    Name { limit: usize },
    #[error("snapshot {name} has {depth} layers, overlayfs takes {limit}")]
    TooDeep { name: String, depth: usize, limit: usize },
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
            Self::NotFound { .. } | Self::NoParent { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::NotActive { .. } | Self::NoMounts { .. } | Self::HasChild => ErrorKind::FailedPrecondition,
            Self::ParentNotCommitted { .. } | Self::Name { .. } | Self::TooDeep { .. } => ErrorKind::InvalidArgument,
            Self::Disk { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Internal,
            },
            Self::Labels(error) => error.kind(),
            Self::Filter(error) => error.kind(),
            Self::Metadata(error) => error.kind(),
        }
    }
}

/// Adds what was done to which file.
pub(crate) fn disk<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::Disk { what, path: path.to_owned(), source }
}
