//! What every driver can do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::VolumeError;

/// The driver of this host's own folders.
pub const LOCAL: &str = "local";

/// `--opt`s, as the user gave them.
pub type Options = BTreeMap<String, String>;

/// Who else sees a driver's volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    Local,
    Global,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
        }
    }
}

/// A volume, as its driver tells of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub name: String,
    /// Empty where it is nowhere until it is mounted.
    pub mountpoint: String,
    /// RFC 3339; empty where the driver does not say.
    pub created: String,
    /// Whatever a plugin wants to be shown.
    pub status: Option<serde_json::Value>,
}

/// One kind of volumes. Calls for different volumes run side by side; those for one volume come one after the other.
#[async_trait]
pub trait Driver: Send + Sync {
    fn name(&self) -> &str;

    async fn scope(&self) -> Scope;

    /// Refuses options that a volume cannot have, before anything is written down.
    fn check(&self, name: &str, options: &Options) -> Result<(), VolumeError>;

    /// A volume that is there already is left as it is.
    async fn create(&self, name: &str, options: &Options) -> Result<(), VolumeError>;

    /// A volume that is not there is no error.
    async fn remove(&self, name: &str) -> Result<(), VolumeError>;

    /// `None` when it is not there.
    async fn get(&self, name: &str) -> Result<Option<Found>, VolumeError>;

    async fn list(&self) -> Result<Vec<Found>, VolumeError>;

    /// Where the volume's files are, until [`Driver::unmount`] with the same id. Doing it again changes nothing.
    async fn mount(&self, name: &str, options: &Options, id: &str) -> Result<PathBuf, VolumeError>;

    /// An id that has nothing mounted is no error.
    async fn unmount(&self, name: &str, id: &str) -> Result<(), VolumeError>;

    /// After a restart of the daemon: these ids have the volume mounted, and nobody else has.
    async fn restore(&self, name: &str, options: &Options, ids: &[String]) -> Result<(), VolumeError>;
}
