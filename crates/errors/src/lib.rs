//! The closed set of error kinds that every layer speaks.
//!
//! Each family of operations has an enum of its own (`thiserror`), which answers [`Kind::kind`]. An edge turns a kind
//! into its protocol's status in exactly one file: HTTP in `engine-http`, gRPC in `supervisor-grpc`. Nothing below an
//! edge knows a status code. This crate does no I/O and owns no text.

use std::error::Error;
use std::fmt;

/// What went wrong, as a caller has to react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be carried out whatever the state (HTTP 400).
    InvalidArgument,
    /// The named thing does not exist (404).
    NotFound,
    /// The thing to be created is there already (409).
    AlreadyExists,
    /// The state of the thing forbids the operation now (409).
    Conflict,
    /// The wanted state holds already, nothing was done (304).
    NotModified,
    /// Who asks is known and may not (403).
    PermissionDenied,
    /// Who asks is not known (401).
    Unauthenticated,
    /// Something that was tried is not built, or not in this kernel (501).
    NotImplemented,
    /// Another part is not reachable at the moment (503).
    Unavailable,
    /// A condition that the caller named does not hold (412).
    FailedPrecondition,
    /// A limit of this host or a quota is reached (507).
    ResourceExhausted,
    /// The caller gave up, or the time it allowed is over.
    Cancelled,
    /// Stored or received bytes are not what their digest or format says.
    DataLoss,
    /// Everything else (500).
    Internal,
}

/// An error that knows its kind.
pub trait Kind {
    fn kind(&self) -> ErrorKind;
}

/// An error and all its sources, in one line: `what: because: because`.
///
/// `Display` of an error says only its own clause; the edge that shows it to a person uses this.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let clause = inner.to_string();
        if !line.ends_with(&clause) {
            line.push_str(": ");
            line.push_str(&clause);
        }
        source = inner.source();
    }
    line
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::InvalidArgument => "invalid argument",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "conflict",
            Self::NotModified => "not modified",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "unauthenticated",
            Self::NotImplemented => "not implemented",
            Self::Unavailable => "unavailable",
            Self::FailedPrecondition => "failed precondition",
            Self::ResourceExhausted => "resource exhausted",
            Self::Cancelled => "cancelled",
            Self::DataLoss => "data loss",
            Self::Internal => "internal error",
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "cannot open the store: disk on fire");
    }
}
