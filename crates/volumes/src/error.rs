//! What an operation on a volume can end with.

use errors::{ErrorKind, Kind};
use volume::VolumeError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Made in `messages.rs`.
    #[error("{message}")]
    Refused { kind: ErrorKind, message: String },
    /// Docker's way to say what was done to which volume.
    #[error("{operation} {name}")]
    Operation { operation: &'static str, name: String, source: VolumeError },
    #[error("cannot read or write volume records")]
    Store(#[from] metadata::Error),
    #[error(transparent)]
    Driver(#[from] VolumeError),
    #[error("cannot get random bytes")]
    Random(#[from] getrandom::Error),
}

impl Error {
    pub(crate) fn operation(operation: &'static str, name: &str) -> impl FnOnce(VolumeError) -> Self {
        let name = name.to_owned();
        move |source| Self::Operation { operation, name, source }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::Operation { source, .. } | Self::Driver(source) => source.kind(),
            Self::Store(error) => error.kind(),
            Self::Random(_) => ErrorKind::Internal,
        }
    }
}
