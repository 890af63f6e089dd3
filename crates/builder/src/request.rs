//! What is to be built.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use container_core::{HostConfig, Ulimit};
use dockerfile::IgnoreRules;
use registry_client::Credentials;
use tokio::sync::mpsc;

use crate::lent::{ClientSession, ContextFiles};
use crate::remote_cache::{CacheSource, CacheTarget};

/// One build.
#[derive(Debug, Default)]
pub struct BuildRequest {
    pub context: ContextSource,
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// The Dockerfile itself, where it is no part of the context.
    pub definition: Option<Vec<u8>>,
    /// `repository:tag`, normalised.
    pub tags: Vec<String>,
    pub arguments: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    pub no_cache: bool,
    /// Where steps are looked for besides the engine's own cache, and where they are sent.
    pub cache_from: Vec<CacheSource>,
    pub cache_to: Vec<CacheTarget>,
    /// Stages whose steps are not looked up.
    pub no_cache_filter: Vec<String>,
    pub pull: bool,
    /// Containers of steps that went well are removed; of all steps.
    pub remove: bool,
    pub force_remove: bool,
    pub platform: Option<String>,
    pub network_mode: String,
    pub extra_hosts: Vec<String>,
    pub resources: Resources,
    pub squash: bool,
    /// By the registry's host.
    pub credentials: BTreeMap<String, Credentials>,
    pub secrets: Secrets,
    /// What stayed with the client; in hints alone, for the files are not there.
    pub ignore: Option<IgnoreFile>,
    /// Further contexts by name: `docker-image://…`.
    pub contexts: BTreeMap<String, String>,
    /// Further contexts that are files.
    pub named_files: BTreeMap<String, ContextSource>,
    /// The client, where it can be asked for what is missing above.
    pub session: Option<Arc<dyn ClientSession>>,
}

/// An ignore file that was applied to the context.
#[derive(Debug, Clone)]
pub struct IgnoreFile {
    pub name: String,
    pub rules: IgnoreRules,
}

#[derive(Debug)]
pub enum ContextSource {
    /// An archive, compressed or not.
    Archive(mpsc::Receiver<std::io::Result<Bytes>>),
    /// A Git repository, an archive or a Dockerfile somewhere else.
    Remote(String),
    /// Files that lie here already.
    Files(ContextFiles),
}

impl Default for ContextSource {
    fn default() -> Self {
        Self::Remote(String::new())
    }
}

/// Limits of the containers that RUN makes.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub memory: i64,
    pub memory_swap: i64,
    pub cpu_shares: i64,
    pub cpu_quota_us: i64,
    pub cpu_period_us: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub cgroup_parent: String,
    pub shm_size: i64,
    pub ulimits: Vec<Ulimit>,
    pub security_opt: Vec<String>,
    pub isolation: String,
}

impl Resources {
    pub(crate) fn apply(&self, host: &mut HostConfig) {
        host.resources.memory = self.memory;
        host.resources.memory_swap = self.memory_swap;
        host.resources.cpu_shares = self.cpu_shares;
        host.resources.cpu_quota_us = self.cpu_quota_us;
        host.resources.cpu_period_us = self.cpu_period_us;
        host.resources.cpuset_cpus.clone_from(&self.cpuset_cpus);
        host.resources.cpuset_mems.clone_from(&self.cpuset_mems);
        host.resources.ulimits.clone_from(&self.ulimits);
        host.cgroup_parent.clone_from(&self.cgroup_parent);
        host.security_opt.clone_from(&self.security_opt);
        host.isolation.clone_from(&self.isolation);
        host.shm_size = self.shm_size;
    }
}

/// Secrets of RUN, by id.
#[derive(Debug, Clone, Default)]
pub struct Secrets(pub BTreeMap<String, BuildSecret>);

/// Bytes that nothing shows.
#[derive(Clone)]
pub struct BuildSecret(Vec<u8>);

impl BuildSecret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for BuildSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BuildSecret(…)")
    }
}
