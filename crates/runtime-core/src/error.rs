//! Why a configuration cannot become a plan.

use errors::{ErrorKind, Kind};

/// A `config.json` or `process.json` that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("{0} contains a NUL byte")]
    Nul(&'static str),
    #[error("seccomp: {0}")]
    Seccomp(String),
}

impl Kind for SpecError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Nul(_) | Self::Seccomp(_) => ErrorKind::InvalidArgument,
            Self::Unsupported(_) => ErrorKind::NotImplemented,
        }
    }
}

/// A C string of user text; an embedded NUL would silently cut it.
pub fn c_string(what: &'static str, text: impl Into<Vec<u8>>) -> Result<std::ffi::CString, SpecError> {
    std::ffi::CString::new(text).map_err(|_| SpecError::Nul(what))
}
