//! BuildKit's words.

use crate::error::SolveError;
use errors::ErrorKind;

pub(crate) fn no_dockerfile(name: &str) -> SolveError {
    SolveError::refused(
        ErrorKind::InvalidArgument,
        format!("failed to read dockerfile: open {name}: no such file or directory"),
    )
}

pub(crate) fn unknown_exporter(kind: &str) -> SolveError {
    SolveError::refused(ErrorKind::InvalidArgument, format!("exporter {kind:?} could not be found"))
}

pub(crate) fn unknown_frontend(name: &str) -> SolveError {
    SolveError::refused(ErrorKind::NotImplemented, format!("frontend {name} not found"))
}

pub(crate) fn no_definitions() -> SolveError {
    SolveError::unsupported(
        "builds from LLB definitions are not supported by this engine: only the frontend dockerfile.v0 is",
    )
}

pub(crate) fn no_job(reference: &str) -> SolveError {
    SolveError::refused(ErrorKind::NotFound, format!("no such job {reference}"))
}

pub(crate) fn no_attribute(name: &str, value: &str) -> SolveError {
    SolveError::unsupported(format!("the frontend attribute {name}={value} is not supported by this engine"))
}

pub(crate) fn cancelled() -> SolveError {
    SolveError::refused(ErrorKind::Cancelled, "context canceled")
}
