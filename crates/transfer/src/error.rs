//! Why an image did not get where it should.

use containerd_api::any::UnpackError;
use errors::{ErrorKind, Kind};
use ids::Digest;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("{0}: invalid argument")]
    InvalidArgument(String),
    #[error("{0}: not implemented")]
    NotImplemented(String),
    #[error("{0}: not found")]
    NotFound(String),
    #[error("stream {0:?}: already exists")]
    StreamExists(String),
    #[error("too many open streams")]
    TooManyStreams,
    #[error("invalid transfer request")]
    Request(#[from] UnpackError),
    #[error("failed to resolve image {reference}")]
    Resolve { reference: String, source: registry_client::RegistryError },
    #[error("no credentials came for {0}")]
    Credentials(String),
    #[error("layer is {found} unpacked, its image says {expected}")]
    DiffId { found: String, expected: Digest },
    #[error("cannot read the archive")]
    Read(#[source] std::io::Error),
    #[error("cannot write the archive")]
    Write(#[source] std::io::Error),
    /// Blocking work ended without an answer.
    #[error("a blocking operation was given up")]
    GivenUp,
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    #[error(transparent)]
    Image(#[from] image_core::ImageError),
    #[error(transparent)]
    Registry(#[from] registry_client::RegistryError),
    #[error(transparent)]
    Store(#[from] supervisor::Error),
}

impl TransferError {
    pub(crate) fn missing(digest: &Digest) -> Self {
        Self::NotFound(format!("content {digest}"))
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    pub(crate) fn already_exists(&self) -> bool {
        self.kind() == ErrorKind::AlreadyExists
    }
}

impl Kind for TransferError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument(_) | Self::Request(_) => ErrorKind::InvalidArgument,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::StreamExists(_) => ErrorKind::AlreadyExists,
            Self::TooManyStreams => ErrorKind::ResourceExhausted,
            Self::Resolve { source, .. } => source.kind(),
            Self::Credentials(_) => ErrorKind::Unauthenticated,
            Self::DiffId { .. } => ErrorKind::FailedPrecondition,
            Self::Read(_) | Self::Write(_) => ErrorKind::Unavailable,
            Self::GivenUp => ErrorKind::Internal,
            Self::Archive(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}
