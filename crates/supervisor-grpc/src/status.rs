//! The one place where kinds of errors become gRPC codes (and those of ttrpc, which are the same).

use errors::{ErrorKind, Kind};
use tonic::{Code, Status};

/// An error as a client gets it: the code of its kind, all its causes in one line.
pub fn status<E: Kind + std::error::Error + 'static>(error: E) -> Status {
    Status::new(code(error.kind()), errors::chain(&error))
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::NotModified | ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::NotImplemented => Code::Unimplemented,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::DataLoss => Code::DataLoss,
        ErrorKind::Internal => Code::Unknown,
    }
}

/// An error as a ttrpc client gets it.
pub fn ttrpc_status<E: Kind + std::error::Error + 'static>(error: E) -> ttrpc::Status {
    let code = match error.kind() {
        ErrorKind::InvalidArgument => ttrpc::Code::InvalidArgument,
        ErrorKind::NotFound => ttrpc::Code::NotFound,
        ErrorKind::Unavailable => ttrpc::Code::Unavailable,
        _ => ttrpc::Code::Unknown,
    };
    ttrpc::Status::new(code, errors::chain(&error))
}

pub fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use supervisor::messages;

    #[test]
    fn words_and_codes_are_containerds() {
        let status = status(messages::container_not_found("default", "x"));
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "container \"x\" in namespace \"default\": not found");
    }
}
