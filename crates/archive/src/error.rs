//! The one error of this crate.

use std::io;
use std::path::PathBuf;

use errors::{ErrorKind, Kind};

/// Why an archive could not be read, unpacked or made. Paths are those of the archive's entries.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("archive/tar: {0}")]
    Malformed(&'static str),
    #[error("unexpected EOF")]
    Truncated,
    #[error("archive/tar: {what} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("invalid path {0:?} in archive")]
    Path(PathBuf),
    #[error("{name:?} is outside of {root:?}")]
    Outside { name: PathBuf, root: PathBuf },
    #[error("invalid hardlink {name:?} -> {target:?}")]
    HardLink { name: PathBuf, target: PathBuf },
    /// An archive may not turn a directory into something else, nor the other way round.
    #[error("cannot overwrite {old} {path:?} with {new} {root:?}")]
    Overwrite { old: &'static str, new: &'static str, path: PathBuf, root: PathBuf },
    #[error("unhandled tar header type {kind:?} of {path:?}")]
    Unsupported { kind: char, path: PathBuf },
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    #[error("cannot {operation} {path:?}")]
    Entry { operation: &'static str, path: PathBuf, source: io::Error },
}

impl Kind for ArchiveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(_) | Self::Truncated | Self::Limit { .. } | Self::Path(_) | Self::Unsupported { .. } => {
                ErrorKind::InvalidArgument
            }
            // Docker answers these as its own failures.
            Self::Outside { .. } | Self::HardLink { .. } | Self::Overwrite { .. } => ErrorKind::Internal,
            Self::Entry { source, .. } | Self::Write(source) => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            },
            Self::Read(source) => match source.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                    ErrorKind::DataLoss
                }
                _ => ErrorKind::Internal,
            },
        }
    }
}
