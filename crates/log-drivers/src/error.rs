//! What a log driver can end with.

use errors::ErrorKind;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Options that no driver has, or values that it cannot take; made in `messages.rs`.
    #[error("{0}")]
    Invalid(String),
    /// A receiver that is not there; in the words that Docker has for it.
    #[error("{0}")]
    Unreachable(String),
}

impl errors::Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::Unreachable(_) => ErrorKind::Unavailable,
        }
    }
}
