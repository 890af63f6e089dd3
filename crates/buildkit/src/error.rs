//! Why a solve ended.

use builder::BuildError;
use buildkit_session::SessionError;
use dockerfile::Lines;
use errors::{ErrorKind, Kind};

/// In BuildKit's words, with the place in the Dockerfile where there is one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SolveError {
    pub kind: ErrorKind,
    pub message: String,
    pub source_place: Option<Box<Source>>,
}

/// A place in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub filename: String,
    pub text: Vec<u8>,
    pub first_line: u32,
    pub last_line: u32,
}

impl Kind for SolveError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl SolveError {
    pub(crate) fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source_place: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::NotImplemented, message)
    }

    /// A build's failure, which is about this file.
    pub(crate) fn of_build(error: &BuildError, filename: &str, text: &[u8]) -> Self {
        let place = error.place().map(|(_, Lines { first, last })| {
            let (filename, text) = (filename.to_owned(), text.to_vec());
            Box::new(Source { filename, text, first_line: first, last_line: last })
        });
        Self { kind: error.kind(), message: error.of_step(), source_place: place }
    }
}

impl From<SessionError> for SolveError {
    fn from(error: SessionError) -> Self {
        Self::refused(error.kind(), errors::chain(&error))
    }
}

impl From<BuildError> for SolveError {
    fn from(error: BuildError) -> Self {
        Self::refused(error.kind(), error.of_step())
    }
}
