//! One container: what is stored of it, and what lives in memory beside it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use container_core::health::Health;
use container_core::{Config, EndpointRequest, Forbidden, HostConfig, MountPoint, State, Timestamp, restart};
use containerd_api::types::Mount;
use metadata::{Database, Durability, Table};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};

use crate::containerd::{Containerd, Life};
use crate::error::Error;
use crate::ports::Sandbox;

/// Key: the container's id.
pub(crate) const CONTAINERS: Table<Record> = Table::new("containers");

/// The intent, and the last truth that was seen. Cheap to clone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    /// Without the slash.
    pub name: String,
    pub created: Timestamp,
    pub image_id: String,
    /// In full, for containerd.
    #[serde(default)]
    pub image_name: String,
    pub config: Arc<Config>,
    pub host_config: Arc<HostConfig>,
    pub mounts: Arc<Vec<MountPoint>>,
    pub endpoints: Arc<Vec<EndpointRequest>>,
    #[serde(default)]
    pub links: Arc<Vec<crate::links::Link>>,
    pub state: State,
    /// A start is under way since then: a task that is found belongs to it.
    pub starting: Option<Timestamp>,
    /// The user stopped it, so that only `always` brings it back with the daemon.
    pub stopped_by_user: bool,
    pub history: restart::History,
    pub restart_count: u32,
    pub sandbox: Option<Arc<Sandbox>>,
    /// As the last probe found it; of containers that are probed.
    #[serde(default)]
    pub health: Option<Arc<Health>>,
    /// The volume that is filled from the image: the creation is not done.
    #[serde(default)]
    pub filling: Option<String>,
    /// A removal takes its anonymous volumes along.
    #[serde(default)]
    pub removes_volumes: bool,
    /// The end of the last run, which nobody has been told of yet.
    #[serde(default)]
    pub untold: Option<Untold>,
}

/// What the event `die` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Untold {
    pub code: i32,
    pub ran_s: u64,
}

impl Record {
    /// What dies with the machine anyway needs no sync.
    pub fn durability(&self) -> Durability {
        if self.host_config.auto_remove { Durability::Lazy } else { Durability::Synced }
    }

    pub fn life(&self) -> Life {
        if self.host_config.auto_remove { Life::Ephemeral } else { Life::Lasting }
    }
}

/// What those who wait look at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Progress {
    /// Ends of runs so far, in this daemon's life.
    pub exits: u64,
    pub running: bool,
    pub removed: bool,
    pub code: i32,
    pub error: Option<String>,
}

/// Clients that attached before the container's task was there.
#[derive(Default)]
pub(crate) struct Attachable {
    /// The pump's socket exists.
    pub now: bool,
    pub waiting: Vec<Pending>,
}

pub(crate) struct Pending {
    pub request: crate::request::AttachRequest,
    pub connected: oneshot::Sender<Result<tokio::net::UnixStream, Error>>,
}

pub(crate) struct Container {
    pub id: String,
    record: RwLock<Arc<Record>>,
    /// Held over every transition; nothing else of the container is locked across an await.
    pub gate: tokio::sync::Mutex<()>,
    pub progress: watch::Sender<Progress>,
    pub attachable: Mutex<Attachable>,
    /// Calls off a restart that waits for its time.
    pub restart_cancelled: Notify,
    /// The snapshot's mounts, once containerd has told them: they are the same for the container's whole life.
    pub rootfs: OnceLock<Vec<Mount>>,
    /// `docker restart`s under way: `--rm` waits for them.
    kept: AtomicUsize,
}

/// While it lives, the end of a run does not remove the container.
pub(crate) struct Kept<'a>(&'a Container);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
        // Who follows its log waits for what comes of it.
        self.0.notify(|_| {});
    }
}

impl Container {
    pub fn new(record: Record) -> Self {
        let progress = Progress {
            running: record.state.counts_as_running(),
            code: record.state.exit_code(),
            ..Progress::default()
        };
        Self {
            id: record.id.clone(),
            record: RwLock::new(Arc::new(record)),
            gate: tokio::sync::Mutex::new(()),
            progress: watch::Sender::new(progress),
            attachable: Mutex::default(),
            restart_cancelled: Notify::new(),
            rootfs: OnceLock::new(),
            kept: AtomicUsize::new(0),
        }
    }

    pub fn keep(&self) -> Kept<'_> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        Kept(self)
    }

    pub fn kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > 0
    }

    /// As it is now; does not change under the reader.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes memory only: for what is stored with the next change or computed anew at a start.
    pub fn change(&self, change: impl FnOnce(&mut Record)) -> Arc<Record> {
        let mut guard = self.record.write().unwrap_or_else(PoisonError::into_inner);
        let mut record = (**guard).clone();
        change(&mut record);
        *guard = Arc::new(record);
        Arc::clone(&guard)
    }

    /// Takes an event; the state machine's refusal comes back.
    pub fn take(&self, event: container_core::Event) -> Result<Arc<Record>, Forbidden> {
        let mut guard = self.record.write().unwrap_or_else(PoisonError::into_inner);
        let mut record = (**guard).clone();
        record.state = record.state.after(event)?;
        *guard = Arc::new(record);
        Ok(Arc::clone(&guard))
    }

    /// Stores what memory holds.
    pub async fn store(&self, database: &Database, durability: Durability) -> Result<(), Error> {
        let record = self.record();
        database
            .write(durability, move |tx| CONTAINERS.put(tx, &record.id, &record))
            .await
            .map_err(|error: metadata::Error| Error::Store(error))
    }

    pub fn attachable(&self) -> std::sync::MutexGuard<'_, Attachable> {
        self.attachable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn rootfs(&self, containerd: &Containerd) -> Result<Vec<Mount>, Error> {
        if let Some(mounts) = self.rootfs.get() {
            return Ok(mounts.clone());
        }
        let mounts = containerd.rootfs(&self.id).await?;
        Ok(self.rootfs.get_or_init(|| mounts).clone())
    }

    /// Lets everyone who attached in vain go.
    pub fn drop_pending(&self) {
        let mut attachable = self.attachable();
        attachable.now = false;
        attachable.waiting.clear();
    }

    pub fn notify(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A container that was made and never ran.
    pub fn record(id: &str, name: &str) -> Record {
        Record { id: id.to_owned(), name: name.to_owned(), ..Record::default() }
    }
}
