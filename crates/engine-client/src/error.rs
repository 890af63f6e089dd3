//! What can go wrong between a client and its daemon.

use std::io;

use errors::{ErrorKind, Kind};

/// `Display` is what Docker's client prints.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")]
    Connect {
        host: String,
        #[source]
        source: io::Error,
    },
    /// The socket is there and not for this user.
    #[error(
        "permission denied while trying to connect to the Docker daemon socket at {host}: {method} \"http://{authority}{path}\": dial unix {socket}: connect: permission denied"
    )]
    Permission { host: String, method: String, authority: String, path: String, socket: String },
    /// The daemon understood and refused.
    #[error("Error response from daemon: {message}")]
    Daemon { status: u16, message: String },
    #[error("{0}")]
    Host(String),
    /// A bare connection could not be made.
    #[error("failed to open the raw stream connection: {0}")]
    Dial(String),
    /// The connection broke, and the reason is known.
    #[error("{0}")]
    Plain(String),
    /// The connection broke or spoke no HTTP.
    #[error("error during connect: {0}")]
    Http(String),
    #[error("invalid answer from the daemon: {0}")]
    Decode(String),
    #[error("the daemon's answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("unable to upgrade to tcp, received {0}")]
    NotUpgraded(u16),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect { .. } | Self::Http(_) | Self::Io(_) | Self::Dial(_) | Self::Plain(_) => {
                ErrorKind::Unavailable
            }
            Self::Permission { .. } => ErrorKind::PermissionDenied,
            Self::Host(_) => ErrorKind::InvalidArgument,
            Self::Decode(_) | Self::TooLarge(_) | Self::NotUpgraded(_) => ErrorKind::DataLoss,
            Self::Daemon { status, .. } => match status {
                304 => ErrorKind::NotModified,
                400 => ErrorKind::InvalidArgument,
                401 => ErrorKind::Unauthenticated,
                403 => ErrorKind::PermissionDenied,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                412 => ErrorKind::FailedPrecondition,
                501 => ErrorKind::NotImplemented,
                503 => ErrorKind::Unavailable,
                507 => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Internal,
            },
        }
    }
}

impl Error {
    /// Whether the daemon says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        Self::Http(errors::chain(&error))
    }
}
