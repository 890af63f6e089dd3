//! The answer to a call that failed: a gRPC code and a message, and what the code means here.

use errors::ErrorKind;
use std::fmt;

/// gRPC's status codes, which ttrpc uses unchanged (google/rpc/code.proto).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Why a call failed, as the server says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    pub message: String,
}

impl Status {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The answer to a method that is not there, in the words of containerd's servers, which its clients look for.
    pub fn unknown_method(service: &str, method: &str) -> Self {
        Self::new(Code::Unimplemented, format!("method {service}/{method} is not implemented"))
    }

    pub fn kind(&self) -> ErrorKind {
        match self.code {
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
            Code::DataLoss => ErrorKind::DataLoss,
            Code::Cancelled | Code::DeadlineExceeded => ErrorKind::Cancelled,
            Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
        }
    }

    /// What a response says; `None` is success.
    pub(crate) fn from_wire(status: containerd_api::rpc::Status) -> Option<Self> {
        let code = Code::from_number(status.code);
        (code != Code::Ok).then_some(Self { code, message: status.message })
    }

    pub(crate) fn to_wire(&self) -> containerd_api::rpc::Status {
        containerd_api::rpc::Status {
            code: self.code as i32,
            message: self.message.clone(),
            ..containerd_api::rpc::Status::default()
        }
    }
}

impl Code {
    /// A number that no one knows is UNKNOWN, as gRPC asks.
    fn from_number(number: i32) -> Self {
        const CODES: [Code; 17] = [
            Code::Ok,
            Code::Cancelled,
            Code::Unknown,
            Code::InvalidArgument,
            Code::DeadlineExceeded,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
            Code::Unauthenticated,
        ];
        usize::try_from(number).ok().and_then(|index| CODES.get(index)).copied().unwrap_or(Code::Unknown)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_wire_and_a_foreign_one_is_unknown() {
        for number in 1..=16 {
            assert_eq!(Code::from_number(number) as i32, number);
        }
        assert_eq!(Code::from_number(-1), Code::Unknown);
        assert_eq!(Code::from_number(99), Code::Unknown);
    }
}
