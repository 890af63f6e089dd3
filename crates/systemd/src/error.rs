//! Why the service manager did not do it.

use errors::{ErrorKind, Kind};
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    #[error("cannot connect to systemd's bus at {path}")]
    Connect { path: String, source: io::Error },
    #[error("systemd's bus does not let this user in: {0:?}")]
    Refused(String),
    #[error("systemd's bus does not answer")]
    Io(#[source] io::Error),
    #[error("systemd's bus sent what is no message: {0}")]
    Malformed(&'static str),
    #[error("{method} of unit {unit}: {name}: {message}")]
    Answer { method: &'static str, unit: String, name: String, message: String },
    #[error("systemd could not {method} unit {unit}: the job ended as {result:?}")]
    Job { method: &'static str, unit: String, result: String },
}

impl SystemdError {
    /// Whether the answer was an error of this name.
    pub fn is_named(&self, wanted: &str) -> bool {
        matches!(self, Self::Answer { name, .. } if name == wanted)
    }
}

impl Kind for SystemdError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Answer { name, .. } if name.ends_with(".UnitExists") => ErrorKind::AlreadyExists,
            Self::Answer { name, .. } if name.ends_with(".NoSuchUnit") => ErrorKind::NotFound,
            Self::Connect { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }
}
