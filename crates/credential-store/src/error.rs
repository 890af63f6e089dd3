//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use errors::{ErrorKind, Kind};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("neither HOME nor the XDG folders are set: no place for credentials")]
    NoHome,
    #[error("cannot use {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} may be read by others than its owner (mode {mode:o}): use chmod 600", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is missing: without it the credentials in {} cannot be opened", key.display(), sealed.display())]
    KeyMissing { key: PathBuf, sealed: PathBuf },
    #[error("{} is no key", .0.display())]
    Key(PathBuf),
    #[error("{} was changed, or sealed with another key", .0.display())]
    Sealed(PathBuf),
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("the kernel gives no random bytes")]
    Random,
}

impl Kind for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHome | Self::Exposed { .. } => ErrorKind::FailedPrecondition,
            Self::KeyMissing { .. } | Self::Key(_) | Self::Sealed(_) => ErrorKind::DataLoss,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::PermissionDenied
            }
            Self::File { .. } | Self::Random => ErrorKind::Internal,
        }
    }
}
