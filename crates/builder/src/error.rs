//! Why a build ended.

use std::io;

use dockerfile::{ExpandError, Lines, ParseError};
use errors::{ErrorKind, Kind};

use crate::ports::PortError;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// In Docker's words.
    #[error("{message}")]
    Refused { kind: ErrorKind, message: String },
    /// A path that a step copies from the context; the message is in Docker's words.
    #[error("{message}")]
    NotInContext { path: String, message: String },
    #[error(transparent)]
    Port(#[from] PortError),
    /// A RUN's program failed.
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Exit { command: String, code: i32 },
    #[error("cannot read the build context")]
    Context(#[source] archive::ArchiveError),
    #[error("cannot {action}")]
    File { action: String, source: io::Error },
    #[error("cannot keep the build cache")]
    Cache(#[from] metadata::Error),
    #[error("context canceled")]
    Cancelled,
    /// A layer that the cache knows is not there any more.
    #[error("a layer of the build cache is gone")]
    Lost,
    /// A step failed; the lines are those of the Dockerfile.
    #[error("{source}")]
    Step { lines: Lines, instruction: String, source: Box<BuildError> },
    /// The same with what may have been meant, on a line of its own.
    #[error("{}\nhint: {hint}", errors::chain(.error.as_ref()))]
    Hinted { error: Box<BuildError>, hint: String },
}

impl BuildError {
    pub(crate) fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Refused { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn file(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::File { action: action.into(), source: source.into() }
    }

    /// The same with a hint, unless it has one or is none of the Dockerfile's.
    pub(crate) fn hinting(self, hint: Option<String>) -> Self {
        match (self, hint) {
            (error @ (Self::Cancelled | Self::Lost | Self::Step { .. } | Self::Hinted { .. }), _) => error,
            (error, None) => error,
            (error, Some(hint)) => Self::Hinted { error: Box::new(error), hint },
        }
    }

    /// The same in the words of BuildKit, whose clients show where it was by themselves.
    pub fn of_step(&self) -> String {
        match self {
            Self::Step { source, .. } => source.of_step(),
            Self::Hinted { error, hint } => format!("{}\nhint: {hint}", error.of_step()),
            Self::Exit { command, code } => {
                format!("process {command:?} did not complete successfully: exit code: {code}")
            }
            other => errors::chain(other),
        }
    }

    /// The exit code of the program that failed; 0 where none did.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Exit { code, .. } => *code,
            Self::Step { source, .. } => source.exit_code(),
            Self::Hinted { error, .. } => error.exit_code(),
            _ => 0,
        }
    }

    /// The instruction that failed, and its lines.
    pub fn place(&self) -> Option<(&str, Lines)> {
        match self {
            Self::Step { lines, instruction, .. } => Some((instruction, *lines)),
            Self::Parse(error) => Some(("", error.lines?)),
            _ => None,
        }
    }
}

impl From<ExpandError> for BuildError {
    fn from(error: ExpandError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl Kind for BuildError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Parse(error) => error.kind(),
            Self::Refused { kind, .. } => *kind,
            Self::Port(error) => error.kind(),
            Self::Exit { .. } | Self::Context(_) | Self::NotInContext { .. } => ErrorKind::InvalidArgument,
            Self::File { .. } | Self::Cache(_) | Self::Lost => ErrorKind::Internal,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Step { source, .. } => source.kind(),
            Self::Hinted { error, .. } => error.kind(),
        }
    }
}
