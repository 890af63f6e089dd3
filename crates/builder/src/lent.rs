//! What a client lends to its build while it goes on: files that lie here already, secrets, logins, agents.

use std::any::Any;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use ids::Digest;
use registry_client::Credentials;

use crate::ports::PortError;
use crate::remote_cache::CacheStore;
use crate::request::BuildSecret;

/// A client that can be asked.
#[async_trait]
pub trait ClientSession: Debug + Send + Sync {
    /// `None`: it has no secret of this name.
    async fn secret(&self, id: &str) -> Result<Option<BuildSecret>, PortError>;
    /// Its login for a registry.
    async fn credentials(&self, host: &str) -> Result<Credentials, PortError>;
    async fn has_agent(&self, id: &str) -> Result<bool, PortError>;
    /// Makes a socket that leads to the client's SSH agent.
    async fn agent(&self, id: &str, socket: &Path) -> Result<Agent, PortError>;
    /// A folder of the client's that holds a cache, by the name that the build has for it; which manifest of it.
    async fn cache_store(
        &self,
        _name: &str,
        _digest: Option<Digest>,
    ) -> Result<Option<Arc<dyn CacheStore>>, PortError> {
        Ok(None)
    }
}

/// The socket leads somewhere until this is dropped.
pub type Agent = Box<dyn Any + Send + Sync>;

/// Contents by their digests. They do not change, and stay as long as this is held.
pub trait Contents: Debug + Send + Sync {
    fn open(&self, digest: &Digest) -> io::Result<File>;
}

/// A context whose contents lie here.
#[derive(Debug, Clone)]
pub struct ContextFiles {
    pub entries: Vec<ContextEntry>,
    pub contents: Arc<dyn Contents>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// Relative, with slashes, without `.` and `..`.
    pub path: String,
    pub kind: ContextKind,
    pub mode: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextKind {
    File { size: u64, digest: Digest },
    Folder,
    Link(String),
    Fifo,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}
