//! What goes wrong with a session; the client's status codes as error kinds.

use std::io;

use errors::{ErrorKind, Kind};
use fsutil::TransferError;
use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// In BuildKit's words.
    #[error("{message}")]
    Refused { kind: ErrorKind, message: String },
    /// What the client's service answered.
    #[error("{message}")]
    Answer { kind: ErrorKind, message: String },
    /// Something that no honest client sends.
    #[error("the client's files: {0}")]
    Hostile(String),
    #[error("the client has sent nothing for {seconds} seconds")]
    Silent { seconds: u64 },
    #[error("the client's session is over")]
    Over,
    #[error("cannot {action}")]
    File { action: &'static str, source: io::Error },
}

impl SessionError {
    pub(crate) fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Refused { kind, message: message.into() }
    }

    pub(crate) fn hostile(what: impl Into<String>) -> Self {
        Self::Hostile(what.into())
    }

    pub(crate) fn file(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, source }
    }
}

impl Kind for SessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } | Self::Answer { kind, .. } => *kind,
            Self::Hostile(_) => ErrorKind::InvalidArgument,
            Self::Silent { .. } | Self::Over => ErrorKind::Unavailable,
            Self::File { .. } => ErrorKind::Internal,
        }
    }
}

impl From<TransferError> for SessionError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Sender(_) => Self::refused(ErrorKind::InvalidArgument, error.to_string()),
            TransferError::Name(_) | TransferError::Hostile(_) => Self::hostile(error.to_string()),
        }
    }
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        // Only a status that was made on this side has a source: the connection broke.
        if std::error::Error::source(&status).is_some() {
            return Self::Over;
        }
        let kind = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::AlreadyExists,
            Code::PermissionDenied => ErrorKind::PermissionDenied,
            Code::Unauthenticated => ErrorKind::Unauthenticated,
            Code::ResourceExhausted => ErrorKind::ResourceExhausted,
            Code::FailedPrecondition => ErrorKind::FailedPrecondition,
            Code::Aborted => ErrorKind::Conflict,
            Code::Unimplemented => ErrorKind::NotImplemented,
            Code::Unavailable => ErrorKind::Unavailable,
            Code::Cancelled | Code::DeadlineExceeded => ErrorKind::Cancelled,
            Code::DataLoss => ErrorKind::DataLoss,
            Code::Internal | Code::Unknown | Code::Ok => ErrorKind::Internal,
        };
        Self::Answer { kind, message: status.message().to_owned() }
    }
}
