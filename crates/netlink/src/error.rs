//! What the kernel may refuse.

use std::path::PathBuf;

use errors::{ErrorKind, Kind};
use rustix::io::Errno;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A netlink socket could not be opened, written or read.
    #[error("cannot {action} a netlink socket")]
    Socket { action: &'static str, source: Errno },
    /// The kernel refused one message of a batch.
    #[error("cannot {step}")]
    Refused { step: String, source: Errno },
    /// The kernel's answer is not what its headers announce.
    #[error("malformed netlink answer to {step}")]
    Malformed { step: String },
    /// A namespace could not be made or entered.
    #[error("cannot {action} network namespace {path}")]
    Namespace { action: &'static str, path: PathBuf, source: std::io::Error },
    /// The thread that works inside a namespace could not run to its end.
    #[error("the thread in network namespace {path} ended early")]
    Thread { path: PathBuf },
    /// A value under `/proc/sys` could not be written.
    #[error("cannot write sysctl {name}")]
    Sysctl { name: String, source: std::io::Error },
}

impl Error {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Socket { source, .. } | Self::Refused { source, .. } => Some(*source),
            Self::Namespace { source, .. } | Self::Sysctl { source, .. } => {
                source.raw_os_error().map(Errno::from_raw_os_error)
            }
            Self::Malformed { .. } | Self::Thread { .. } => None,
        }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self.errno() {
            Some(Errno::EXIST) => ErrorKind::AlreadyExists,
            Some(Errno::NOENT | Errno::NODEV | Errno::SRCH) => ErrorKind::NotFound,
            Some(Errno::PERM | Errno::ACCESS) => ErrorKind::PermissionDenied,
            Some(Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => ErrorKind::NotImplemented,
            Some(Errno::NOMEM | Errno::NOBUFS | Errno::MFILE | Errno::NFILE) => ErrorKind::ResourceExhausted,
            _ => ErrorKind::Internal,
        }
    }
}
