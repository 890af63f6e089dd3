//! Docker's plugin protocol, the caller's side: finds plugins by name, activates and calls them.
//!
//! A plugin is a server of JSON over HTTP that others install: a socket in `/run/docker/plugins`, or a file with its
//! address in `/etc/docker/plugins` or `/usr/lib/docker/plugins` (docs.docker.com, "Docker plugin API"). Entry point:
//! [`Plugins::find`]. What a plugin answers is somebody else's: read to a limit, within a time. No retry hides an answer;
//! only a plugin that does not listen yet is waited for.

mod call;
mod discovery;
mod tls;

use std::path::PathBuf;

use errors::{ErrorKind, Kind};

pub use call::Plugin;
pub use discovery::Plugins;
pub use tls::Tls;

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
    /// The same, with it.
    Tls(String, Tls),
}

#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("plugin \"{0}\" not found")]
    NotFound(String),
    #[error("plugin \"{name}\" does not implement the requested driver: {wanted}")]
    NotImplemented { name: String, wanted: &'static str },
    #[error("plugin \"{name}\" has an address that cannot be used: {why}")]
    Address { name: String, why: String },
    #[error("{method}: cannot reach the plugin")]
    Unreachable { method: String, source: std::io::Error },
    #[error("{method}: the plugin did not answer in time")]
    Late { method: String },
    /// The plugin's own words.
    #[error("{method}: {message}")]
    Refused { method: String, message: String },
    /// It serves none of these calls.
    #[error("{method}: {message}")]
    Unknown { method: String, message: String },
    #[error("{method}: the plugin's answer cannot be read: {why}")]
    Answer { method: String, why: String },
}

impl Kind for PluginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotImplemented { .. } | Self::Address { .. } => ErrorKind::InvalidArgument,
            Self::Unreachable { .. } | Self::Late { .. } => ErrorKind::Unavailable,
            Self::Refused { .. } | Self::Unknown { .. } | Self::Answer { .. } => ErrorKind::Internal,
        }
    }
}
