//! What can go wrong with images. `Display` is what a user of Docker reads.

use archive::ArchiveError;
use errors::{ErrorKind, Kind};
use ids::{Digest, ReferenceError};
use image_core::ImageError;
use registry_client::RegistryError;

#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error("reference does not exist")]
    NoSuchReference,
    #[error("An image does not exist locally with the tag: {0}")]
    NothingToPush(String),
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A chart, a plugin, or whatever else registries have.
    #[error("Encountered remote {media_type:?}({class}) when fetching")]
    NoImage { media_type: String, class: &'static str },
    /// A registry's refusal, in the words for what was tried.
    #[error("{message}")]
    Refused { message: String, kind: ErrorKind },
    #[error(transparent)]
    Registry(RegistryError),
    #[error("filesystem layer verification failed for digest {0}")]
    LayerDigest(Digest),
    #[error("failed to register layer: wrong diff id calculated on extraction {found:?}: expected {expected}")]
    DiffId { found: String, expected: Digest },
    #[error("image operating system {0:?} cannot be used on this platform: operating system is not supported")]
    OperatingSystem(String),
    #[error(
        "image with reference {reference} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )]
    Platform { reference: String, found: String, wanted: String },
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} is using its \
         referenced image {image}"
    )]
    ReferenceInUse { reference: String, container: String, image: String },
    #[error("conflict: unable to delete {image} ({}) - {reason}", if *.hard { "cannot be forced" } else { "must be forced" })]
    DeleteConflict { image: String, hard: bool, reason: String },
    #[error("image with reference {reference} was found but does not provide the specified platform ({wanted})")]
    PlatformMissing { reference: String, wanted: String },
    #[error("unrecognized image format")]
    UnrecognizedArchive,
    #[error("{0:?} is missing from the archive")]
    NoMember(String),
    #[error("limit {0} is outside the range of [1, 100]")]
    SearchLimit(i64),
    #[error("invalid index name ({0:?}): a term has neither a scheme nor is it empty")]
    SearchTerm(String),
    #[error("invalid tag {0:?}")]
    InvalidTag(String),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The body of an import broke off.
    #[error("cannot read the archive")]
    Input(#[source] std::io::Error),
    /// containerd refused or was not there.
    #[error("{message}")]
    Backend { message: String, kind: ErrorKind },
    #[error("blob {0} is missing from the image store")]
    MissingBlob(Digest),
    #[error("{what} in the image store is broken: {reason}")]
    Store { what: &'static str, reason: String },
}

impl ImagesError {
    pub(crate) fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    pub(crate) fn already_exists(&self) -> bool {
        self.kind() == ErrorKind::AlreadyExists
    }
}

impl Kind for ImagesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage(_)
            | Self::NoSuchReference
            | Self::NothingToPush(_)
            | Self::NoSuchTag(_)
            | Self::Platform { .. }
            | Self::PlatformMissing { .. }
            | Self::MissingBlob(_) => ErrorKind::NotFound,
            Self::TagWithDigest
            | Self::Ambiguous(_)
            | Self::OperatingSystem(_)
            | Self::UnrecognizedArchive
            | Self::NoMember(_)
            | Self::SearchLimit(_)
            | Self::SearchTerm(_)
            | Self::NoImage { .. }
            | Self::InvalidTag(_) => ErrorKind::InvalidArgument,
            Self::Reference(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Refused { kind, .. } | Self::Backend { kind, .. } => *kind,
            Self::Registry(error) => error.kind(),
            Self::LayerDigest(_) | Self::DiffId { .. } => ErrorKind::DataLoss,
            Self::ReferenceInUse { .. } | Self::DeleteConflict { .. } => ErrorKind::Conflict,
            Self::Archive(error) => error.kind(),
            Self::Input(_) => ErrorKind::InvalidArgument,
            Self::Store { .. } => ErrorKind::Internal,
        }
    }
}

impl From<RegistryError> for ImagesError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<containerd_client::Error> for ImagesError {
    fn from(error: containerd_client::Error) -> Self {
        Self::Backend { kind: error.kind(), message: error.to_string() }
    }
}

impl From<tonic::Status> for ImagesError {
    fn from(status: tonic::Status) -> Self {
        containerd_client::Error::from(status).into()
    }
}
