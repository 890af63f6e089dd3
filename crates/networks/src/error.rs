//! What can go wrong with a network, a sandbox or a port.

use std::io;

use errors::{ErrorKind, Kind};
use network_core::{AddressError, MacError, PortError, SubnetError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Docker's own words, with the kind that decides the status.
    #[error("{message}")]
    Docker { kind: ErrorKind, message: String },
    #[error("failed to set up container networking")]
    Address(#[from] AddressError),
    #[error(transparent)]
    Subnet(#[from] SubnetError),
    #[error(transparent)]
    Mac(#[from] MacError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("failed to set up container networking")]
    Kernel(#[from] netlink::Error),
    #[error("failed to read or write network records")]
    Store(#[from] metadata::Error),
    #[error("cannot {action} docker-netd")]
    Netd { action: &'static str, source: io::Error },
    /// docker-netd understood and could not do it.
    #[error("docker-netd: {message}")]
    NetdRefused { message: String },
    #[error("cannot prepare {path}")]
    Folder { path: std::path::PathBuf, source: io::Error },
    #[error("cannot watch the packet filter")]
    Watch { source: io::Error },
    /// Random bytes for an id could not be had.
    #[error("no random bytes from the system")]
    Random,
    /// The task that does the work was lost with the runtime.
    #[error("the daemon is shutting down")]
    Shutdown,
}

impl Error {
    pub(crate) fn docker(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Docker { kind, message: message.into() }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Docker { kind, .. } => *kind,
            Self::Address(error) => error.kind(),
            Self::Subnet(error) => error.kind(),
            Self::Mac(error) => error.kind(),
            Self::Port(error) => error.kind(),
            // What the kernel refuses here is nobody's bad request.
            Self::Kernel(_) | Self::Folder { .. } | Self::Watch { .. } | Self::Random | Self::NetdRefused { .. } => {
                ErrorKind::Internal
            }
            Self::Store(error) => error.kind(),
            Self::Netd { .. } | Self::Shutdown => ErrorKind::Unavailable,
        }
    }
}
