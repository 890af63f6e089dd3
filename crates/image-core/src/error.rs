//! Why a document is no image. The wording is Docker's where Docker has one.

use errors::{ErrorKind, Kind};
use ids::Digest;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author \
         of {0} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information at \
         https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1(String),
    #[error("unsupported manifest media type and no default available: {}", .0.escape_debug())]
    MediaType(String),
    #[error("unsupported schema version {0}")]
    SchemaVersion(u64),
    #[error("invalid manifest: {0}")]
    Manifest(&'static str),
    #[error("invalid manifest")]
    ManifestJson(#[source] serde_json::Error),
    #[error("invalid image config: {0}")]
    Config(&'static str),
    #[error("invalid image config")]
    ConfigJson(#[source] serde_json::Error),
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoMatch(String),
    #[error("number of layers and diffIDs don't match: {layers} != {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("manifest verification failed for digest {0}")]
    ManifestDigest(Digest),
    #[error("image config verification failed for digest {0}")]
    ConfigDigest(Digest),
    #[error("\"{0}\": unknown operating system or architecture: invalid argument")]
    Platform(String),
    #[error("{0} is not a valid change command")]
    ChangeCommand(String),
    #[error("{0}")]
    Change(String),
}

impl Kind for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoMatch(_) => ErrorKind::NotFound,
            Self::ManifestDigest(_) | Self::ConfigDigest(_) => ErrorKind::DataLoss,
            _ => ErrorKind::InvalidArgument,
        }
    }
}
