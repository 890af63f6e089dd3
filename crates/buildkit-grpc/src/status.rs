//! The one place where a solve's error becomes a gRPC status, with its place in the Dockerfile as BuildKit's clients read it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use buildkit::{SolveError, Source};
use buildkit_api::prost::Message;
use buildkit_api::{Any, rpc};
use errors::{ErrorKind, Kind};
use serde_json::json;
use tonic::{Code, Status};

/// What a detail with a place is called; its value is JSON.
const SOURCE_TYPE: &str = "github.com/moby/buildkit/errdefs.Source+json";

pub(crate) fn of(error: &SolveError) -> Status {
    let details = rpc_status(error).encode_to_vec();
    Status::with_details(code(error.kind()), error.message.clone(), details.into())
}

pub(crate) fn of_kind<E: Kind + std::error::Error + 'static>(error: E) -> Status {
    Status::new(code(error.kind()), errors::chain(&error))
}

/// The same as a message, which a record of the past has.
pub(crate) fn rpc_status(error: &SolveError) -> rpc::Status {
    let details = error.source_place.iter().map(|source| detail(source)).collect();
    rpc::Status { code: code(error.kind()) as i32, message: error.message.clone(), details }
}

fn detail(source: &Source) -> Any {
    let position = |line: u32| json!({ "line": line });
    let value = json!({
        "info": { "filename": source.filename, "data": STANDARD.encode(&source.text), "language": "Dockerfile" },
        "ranges": [{ "start": position(source.first_line), "end": position(source.last_line) }],
    });
    Any { type_url: SOURCE_TYPE.to_owned(), value: value.to_string().into_bytes() }
}

/// What a client says why there is no result.
pub(crate) fn of_client(status: rpc::Status) -> SolveError {
    let kind = match Code::from(status.code) {
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::NotFound => ErrorKind::NotFound,
        Code::Unimplemented => ErrorKind::NotImplemented,
        Code::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Internal,
    };
    SolveError { kind, message: status.message, source_place: None }
}

pub(crate) fn unsupported(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not supported by this engine"))
}

pub(crate) fn invalid(message: &str) -> Status {
    Status::invalid_argument(message)
}

pub(crate) fn not_found(message: String) -> Status {
    Status::not_found(message)
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        // BuildKit's builds fail without a code; clients show every other one.
        ErrorKind::InvalidArgument | ErrorKind::Internal => Code::Unknown,
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_travels_as_clients_read_it() {
        let source =
            Source { filename: "Dockerfile".to_owned(), text: b"FROM x\n".to_vec(), first_line: 2, last_line: 3 };
        let message = "process failed".to_owned();
        let error = SolveError { kind: ErrorKind::InvalidArgument, message, source_place: Some(Box::new(source)) };
        let status = of(&error);
        assert_eq!((status.code(), status.message()), (Code::Unknown, "process failed"));
        let told = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(told.details[0].type_url, SOURCE_TYPE);
        let value: serde_json::Value = serde_json::from_slice(&told.details[0].value).unwrap();
        assert_eq!(value["info"]["data"], "RlJPTSB4Cg==");
        assert_eq!(
            (value["ranges"][0]["start"]["line"].as_i64(), value["ranges"][0]["end"]["line"].as_i64()),
            (Some(2), Some(3))
        );
    }
}
