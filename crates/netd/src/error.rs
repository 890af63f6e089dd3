//! What can keep docker-netd from serving.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use errors::{ErrorKind, Kind};
use network_core::Protocol;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another docker-netd holds {path}")]
    AlreadyRunning { path: PathBuf },
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {action}")]
    Loop { action: &'static str, source: io::Error },
    #[error("cannot bind {address}/{protocol}")]
    Bind { address: SocketAddr, protocol: Protocol, source: io::Error },
    #[error("cannot serve names in namespace {path}")]
    Namespace { path: PathBuf, source: io::Error },
    #[error("cannot lead port 53 of the namespace to the resolver")]
    Rules(#[from] netlink::Error),
    #[error("more than {limit} {what}")]
    Limit { what: &'static str, limit: usize },
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::AlreadyRunning { .. } => ErrorKind::AlreadyExists,
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => ErrorKind::Conflict,
            Self::Limit { .. } => ErrorKind::ResourceExhausted,
            Self::Rules(error) => error.kind(),
            _ => ErrorKind::Internal,
        }
    }
}
