//! Status codes as error kinds.

use errors::{ErrorKind, Kind};
use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What containerd answered, in its words.
    #[error("{message}")]
    Status { kind: ErrorKind, message: String },
    #[error("content {digest} has more than {limit} bytes")]
    TooLarge { digest: String, limit: usize },
    #[error("containerd ended the stream of {what} early")]
    Ended { what: &'static str },
    #[error("namespace or lease {value:?} cannot be sent as a header")]
    Header { value: String },
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Status { kind, .. } => *kind,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Ended { .. } => ErrorKind::Unavailable,
            Self::Header { .. } => ErrorKind::InvalidArgument,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let mut kind = kind(status.code());
        let mut message = status.message().to_owned();
        // Only a status that was made on this side has a source: the connection broke, or was never made. tonic calls
        // that unknown, internal or (a stream that was cut off by the end of its connection) cancelled, and says "transport error" without the cause.
        if let Some(source) = std::error::Error::source(&status) {
            if matches!(kind, ErrorKind::Internal | ErrorKind::Cancelled) {
                kind = ErrorKind::Unavailable;
            }
            let cause = errors::chain(source);
            if !cause.is_empty() && cause != message {
                message = format!("{message}: {cause}");
            }
        }
        Self::Status { kind, message }
    }
}

/// containerd's own mapping read backwards (errdefs, grpc.go).
fn kind(code: Code) -> ErrorKind {
    match code {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_its_words_and_gets_a_kind() {
        let error = Error::from(Status::not_found("container \"x\" in namespace \"moby\": not found"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), "container \"x\" in namespace \"moby\": not found");
        assert_eq!(Error::from(Status::aborted("x")).kind(), ErrorKind::Conflict);
        assert_eq!(Error::from(Status::unknown("x")).kind(), ErrorKind::Internal);
        assert_eq!(Error::from(Status::cancelled("x")).kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn whatever_a_broken_connection_is_called_containerd_is_away() {
        for code in [Code::Cancelled, Code::Unknown, Code::Internal] {
            let mut status = Status::new(code, "h2 protocol error");
            status.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
            assert_eq!(Error::from(status).kind(), ErrorKind::Unavailable, "{code:?}");
        }
    }
}
