//! What can go wrong with a volume, in Docker's words.

use std::io;
use std::path::PathBuf;

use errors::{ErrorKind, Kind};

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    ShortName,
    #[error(
        "\"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you \
         intended to pass a host directory, use absolute path"
    )]
    Name(String),
    #[error("volume name is too long: {0} characters, a folder's name has at most 255")]
    LongName(usize),
    #[error("invalid option: \"{0}\"")]
    UnknownOption(String),
    #[error("missing required option: \"{0}\"")]
    MissingOption(&'static str),
    #[error("invalid size: '{0}'")]
    Size(String),
    #[error("quota size requested but no quota support")]
    NoQuota,
    #[error("port not allowed in CIFS device URL, include 'port' in 'o='")]
    CifsPort,
    #[error("missing device in volume options")]
    NoDevice,
    #[error("error resolving passed in network volume address")]
    Address(#[source] io::Error),
    /// The call that failed, as Docker writes it.
    #[error("failed to mount local volume: {call}: {}", errno_text(errno))]
    Mount { call: String, errno: io::Error },
    #[error("volume has active mounts")]
    Active,
    /// Somebody mounted something inside the volume: deleting would reach through.
    #[error("error removing volume path '{}': {} is a mount point", path.display(), inside.display())]
    MountInside { path: PathBuf, inside: PathBuf },
    #[error("error removing volume path '{}'", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot {action} {}", path.display())]
    Folder { action: &'static str, path: PathBuf, source: io::Error },
    #[error("error looking up volume plugin {name}")]
    NoPlugin { name: String, source: plugin_client::PluginError },
    #[error(transparent)]
    Plugin(#[from] plugin_client::PluginError),
    /// A plugin's own words.
    #[error("{0}")]
    Refused(String),
    #[error("{method}: the plugin names no absolute path for the volume: {path:?}")]
    Path { method: &'static str, path: String },
}

impl VolumeError {
    pub(crate) fn folder(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Folder { action, path: path.into(), source }
    }

    /// Nobody answered: what is asked for may be there or not.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::NoPlugin { .. } | Self::Plugin(_)) && self.kind() != ErrorKind::Internal
    }
}

/// The kernel's words without Rust's number behind them.
fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = rustix::io::Errno::from_raw_os_error(number).to_string();
            let words = text.split(" (os error").next().unwrap_or_default();
            let mut letters = words.chars();
            letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
        }
        None => error.to_string(),
    }
}

impl Kind for VolumeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ShortName
            | Self::Name(_)
            | Self::LongName(_)
            | Self::UnknownOption(_)
            | Self::MissingOption(_)
            | Self::Size(_)
            | Self::NoQuota
            | Self::CifsPort => ErrorKind::InvalidArgument,
            Self::NoPlugin { source, .. } | Self::Plugin(source) => source.kind(),
            Self::NoDevice
            | Self::Address(_)
            | Self::Mount { .. }
            | Self::Active
            | Self::MountInside { .. }
            | Self::Remove { .. }
            | Self::Folder { .. }
            | Self::Refused(_)
            | Self::Path { .. } => ErrorKind::Internal,
        }
    }
}
