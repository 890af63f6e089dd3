//! Garbage collection: when it runs, and the sweep behind [`crate::mark`].
//!
//! Deletions ask for a collection, which begins when they have ceased for a moment, never more than a small share of the
//! time; a caller may wait for one. First everything is marked while work goes on; then, while nobody may add a
//! reference ([`Collector::pass`]), the few objects next in turn are marked again and removed, so that others wait for
//! that little only.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ids::Digest;
use metadata::{Durability, split_key};
use tokio::sync::{Notify, OwnedRwLockReadGuard, RwLock, mpsc, oneshot};

use crate::contents::{Contents, blocking};
use crate::error::Result;
use crate::mark::{self, Garbage, Survey};
use crate::records::{CONTAINERS, IMAGES, LEASES, NAMESPACES, Store, key, prefix};
use crate::snapshots::Snapshots;

/// How long after a deletion a collection begins, so that many deletions share one.
const QUIET: Duration = Duration::from_secs(2);
/// A collection is followed by a pause this many times as long as it took.
const PAUSE_FACTOR: u32 = 20;
/// How often a collection runs without being asked for: leases and images expire by themselves.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// How long what nobody refers to is spared after it was made, unless a caller waits for a collection.
const GRACE: Duration = Duration::from_secs(60);
/// Callers that wait for a collection at the same time.
const MAX_WAITING: usize = 64;
/// Objects of a kind that are removed between two moments in which others may go on: some tens of milliseconds.
const BATCH: usize = 128;

/// Asks for collections. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    wanted: Arc<Notify>,
    requests: mpsc::Sender<oneshot::Sender<()>>,
    gate: Arc<RwLock<()>>,
}

/// The other end of a [`Collector`]: what [`run`] serves.
pub struct Requests {
    wanted: Arc<Notify>,
    requests: mpsc::Receiver<oneshot::Sender<()>>,
    gate: Arc<RwLock<()>>,
}

/// What is collected from.
#[derive(Clone)]
pub struct Heap {
    pub store: Store,
    pub contents: Contents,
    pub snapshots: Snapshots,
}

impl Collector {
    pub fn new() -> (Self, Requests) {
        let (wanted, gate) = (Arc::new(Notify::new()), Arc::new(RwLock::new(())));
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let collector = Self { wanted: wanted.clone(), requests: sender, gate: gate.clone() };
        (collector, Requests { wanted, requests, gate })
    }

    /// Something was deleted: collect soon.
    pub fn schedule(&self) {
        self.wanted.notify_one();
    }

    /// Collects now and returns when that is done.
    pub async fn collect(&self) {
        let (done, finished) = oneshot::channel();
        if self.requests.send(done).await.is_ok() {
            // The collector has stopped when this fails, with the daemon.
            let _ = finished.await;
        }
    }

    /// While this is held nothing is removed: to check that something is there and refer to it in one go.
    pub async fn pass(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }
}

/// Collects whenever it is asked to, until the runtime drops it.
pub async fn run(mut requests: Requests, heap: Heap) {
    let mut next = PERIOD;
    loop {
        let mut waiting = Vec::new();
        tokio::select! {
            request = requests.requests.recv() => match request {
                Some(done) => waiting.push(done),
                None => return,
            },
            () = requests.wanted.notified() => {
                if let Ok(Some(done)) = tokio::time::timeout(QUIET, requests.requests.recv()).await {
                    waiting.push(done);
                }
            }
            () = tokio::time::sleep(next) => {}
        }
        while let Ok(done) = requests.requests.try_recv() {
            waiting.push(done);
        }
        let begin = Instant::now();
        let spared = collect_or_tell(&requests.gate, &heap, grace(&waiting)).await;
        next = if spared == 0 { PERIOD } else { GRACE };
        for done in waiting {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        // A caller that waits cuts the pause short.
        let pause = begin.elapsed() * PAUSE_FACTOR;
        if let Ok(Some(done)) = tokio::time::timeout(pause, requests.requests.recv()).await {
            collect_or_tell(&requests.gate, &heap, Duration::ZERO).await;
            let _ = done.send(());
        }
    }
}

/// Who waits for a collection wants everything gone that nobody refers to now.
fn grace(waiting: &[oneshot::Sender<()>]) -> Duration {
    if waiting.is_empty() { GRACE } else { Duration::ZERO }
}

async fn collect_or_tell(gate: &Arc<RwLock<()>>, heap: &Heap, grace: Duration) -> usize {
    collect(gate, heap, grace).await.unwrap_or_else(|error| {
        tracing::warn!(error = %errors::chain(&error), "a collection failed");
        0
    })
}

/// Collects in every namespace; answers how many objects were spared because they are new.
async fn collect(gate: &Arc<RwLock<()>>, heap: &Heap, grace: Duration) -> Result<usize> {
    let mut spared = 0;
    if grace.is_zero() {
        // Who waits for a collection has given something up, a lease mostly, under which others of its operations may still
        // be at work. Those that have passed the gate are let finish, so that what they make is seen; those behind it find
        // their lease gone.
        drop(gate.clone().write_owned().await);
    }
    let namespaces = heap.store.database.view(|tx| NAMESPACES.keys(tx, ""))?;
    for namespace in namespaces {
        loop {
            let (found, name) = (heap.clone(), namespace.clone());
            let garbage = blocking(move || found.garbage(&name, grace)).await?;
            if garbage.is_empty() {
                spared += garbage.spared;
                break;
            }
            let (found, name) = (heap.clone(), namespace.clone());
            let closed = gate.clone().write_owned().await;
            let removed = blocking(move || {
                let removed = found.sweep(&name, grace);
                drop(closed);
                removed
            })
            .await?;
            if removed == 0 {
                break;
            }
            tracing::debug!(namespace, removed, "collected");
        }
    }
    Ok(spared)
}

impl Heap {
    fn garbage(&self, namespace: &str, grace: Duration) -> Result<Garbage> {
        Ok(mark::unreferenced(&self.survey(namespace)?, SystemTime::now(), grace))
    }

    fn survey(&self, namespace: &str) -> Result<Survey> {
        let contents = self.contents.blobs().walk(namespace, &[])?;
        let snapshots = self.snapshots.driver().walk(namespace, &[])?;
        let ingests = self.contents.blobs().statuses(namespace, &[])?;
        let snapshotter = self.snapshots.driver().name();
        let prefix = prefix(namespace);
        // Roots are read after what may be garbage: an object that comes later is not looked at, a reference that comes
        // later is seen by the second marking.
        self.store.database.view(|tx| {
            let (mut images, mut containers) = (Vec::new(), Vec::new());
            IMAGES.each(tx, &prefix, |_, stored| {
                images.push(mark::Image {
                    name: stored.0.name,
                    target: stored.0.target.map(|target| target.digest).unwrap_or_default(),
                    labels: stored.0.labels.into_iter().collect(),
                });
                ControlFlow::Continue(())
            })?;
            // One at a time: a specification has tens of kilobytes, and only names of it are needed.
            CONTAINERS.each(tx, &prefix, |_, stored| {
                containers.push(mark::Container {
                    id: stored.0.id,
                    snapshotter: stored.0.snapshotter,
                    snapshot: stored.0.snapshot_key,
                    labels: stored.0.labels.into_iter().collect(),
                });
                ControlFlow::Continue(())
            })?;
            let leases = LEASES.list(tx, &prefix)?.into_iter().map(|(key, record)| mark::Lease {
                id: split_key(&key).pop().unwrap_or_default(),
                labels: record.labels.into_iter().collect(),
                resources: record.resources.into_iter().collect(),
            });
            Ok(Survey {
                images,
                containers,
                leases: leases.collect(),
                contents: contents
                    .into_iter()
                    .map(|info| mark::Content {
                        digest: info.digest.to_string(),
                        labels: info.labels,
                        created_at: info.created_at,
                    })
                    .collect(),
                snapshots: snapshots
                    .into_iter()
                    .map(|info| mark::Snapshot {
                        snapshotter: snapshotter.to_owned(),
                        key: info.name,
                        parent: info.parent.unwrap_or_default(),
                        labels: info.labels,
                        created_at: info.created_at,
                    })
                    .collect(),
                ingests: ingests
                    .into_iter()
                    .map(|status| mark::Ingest {
                        reference: status.reference,
                        leased: status.leased,
                        updated_at: status.updated_at,
                    })
                    .collect(),
            })
        })
    }

    /// Removes the next few objects that nobody needs at this moment; answers how many.
    fn sweep(&self, namespace: &str, grace: Duration) -> Result<usize> {
        let garbage = self.garbage(namespace, grace)?;
        let mut removed = self.remove_records(namespace, &garbage)?;
        for (_, key) in garbage.snapshots.iter().take(BATCH) {
            removed += done("snapshot", key, self.snapshots.driver().remove(namespace, key));
        }
        let blobs = garbage.contents.iter().filter_map(|digest| digest.parse().ok());
        let blobs: Vec<Digest> = blobs.take(BATCH).collect();
        if !blobs.is_empty() {
            removed += self.contents.blobs().delete_all(namespace, &blobs)?;
        }
        for reference in garbage.ingests.iter().take(BATCH) {
            removed += done("write", reference, self.contents.blobs().discard(namespace, reference));
        }
        Ok(removed)
    }

    fn remove_records(&self, namespace: &str, garbage: &Garbage) -> Result<usize> {
        let count = garbage.leases.len() + garbage.images.len();
        if count == 0 {
            return Ok(0);
        }
        let (namespace, leases, images) = (namespace.to_owned(), garbage.leases.clone(), garbage.images.clone());
        self.store.database.write_blocking(Durability::Lazy, move |tx| {
            for id in &leases {
                LEASES.delete(tx, &key(&namespace, id))?;
            }
            for name in &images {
                IMAGES.delete(tx, &key(&namespace, name))?;
            }
            Ok(count)
        })
    }
}

/// Counts what went. What did not is no reason to stop: it is tried again by the next collection.
fn done<E: std::error::Error + 'static>(kind: &'static str, name: &str, result: std::result::Result<(), E>) -> usize {
    match result {
        Ok(()) => 1,
        Err(error) => {
            tracing::warn!(kind, name, error = %errors::chain(&error), "garbage could not be removed");
            0
        }
    }
}
