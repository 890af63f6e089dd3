//! All services of one daemon, put together over its roots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metadata::{Database, Options};
use snapshot::Overlay;

use crate::bundle::Places;
use crate::collect::{self, Collector, Heap};
use crate::containers::Containers;
use crate::contents::Contents;
use crate::differ::Differ;
use crate::error::{Error, Result};
use crate::events::Exchange;
use crate::images::Images;
use crate::leases::Leases;
use crate::namespaces::Namespaces;
use crate::records::Store;
use crate::runtimes::Runtimes;
use crate::shim_program::Daemon;
use crate::snapshots::Snapshots;
use crate::tasks::Tasks;

/// Where a daemon lives.
#[derive(Debug, Clone)]
pub struct Roots {
    /// What survives a reboot.
    pub root: PathBuf,
    /// What may be gone after one.
    pub state: PathBuf,
}

impl Roots {
    /// Where the snapshotter lies.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("io.containerd.snapshotter.v1.overlayfs")
    }
}

/// The services; cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub namespaces: Namespaces,
    pub leases: Leases,
    pub containers: Containers,
    pub images: Images,
    pub contents: Contents,
    pub snapshots: Snapshots,
    pub differ: Differ,
    pub tasks: Tasks,
    pub events: Exchange,
    pub collector: Collector,
}

impl Services {
    /// Opens the stores and starts the collector. Tasks are found again by [`Tasks::reconnect`].
    pub fn open(roots: &Roots, daemon: Daemon, runtimes: Runtimes) -> Result<Self> {
        for folder in [&roots.root, &roots.state] {
            folder_of_ours(folder)?;
        }
        let metadata_folder = roots.root.join("io.containerd.metadata.v1");
        folder_of_ours(&metadata_folder)?;
        let database = Database::open(&metadata_folder.join("meta.redb"), &Options::default())?;
        let store = Store::new(database.clone());
        let (collector, requests) = Collector::new();
        let events = Exchange::default();
        let leases = Leases::new(store.clone(), collector.clone());
        let blobs = content::Store::open(&roots.root.join("io.containerd.content.v1.content"), database.clone())?;
        let contents = Contents::new(blobs, store.clone(), leases.clone(), events.clone(), collector.clone());
        let overlay = Arc::new(Overlay::open(&roots.snapshots(), database)?);
        let snapshots = Snapshots::new(overlay, store.clone(), leases.clone(), events.clone(), collector.clone());
        let containers = Containers::new(store.clone(), events.clone(), collector.clone());
        let task_folder = "io.containerd.runtime.v2.task";
        let places = Places { state: roots.state.join(task_folder), root: roots.root.join(task_folder) };
        let heap = Heap { store: store.clone(), contents: contents.clone(), snapshots: snapshots.clone() };
        tokio::spawn(collect::run(requests, heap));
        Ok(Self {
            namespaces: Namespaces::new(store.clone(), events.clone()),
            images: Images::new(store, events.clone(), collector.clone()),
            differ: Differ::new(contents.clone(), roots.state.join("mounts")),
            tasks: Tasks::new(places, daemon, runtimes, containers.clone(), events.clone()),
            leases,
            containers,
            contents,
            snapshots,
            events,
            collector,
        })
    }
}

fn folder_of_ours(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .map_err(Error::io(format!("cannot create {}", path.display())))
}
