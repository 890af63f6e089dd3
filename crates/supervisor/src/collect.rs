//! Garbage collection: when it runs, and the sweep behind [`crate::mark`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

/// How long after a deletion a collection begins, so that many deletions share one.
const QUIET: Duration = Duration::from_millis(500);
/// Callers that wait for a collection at the same time.
const MAX_WAITING: usize = 64;

/// Asks for collections. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    wanted: Arc<Notify>,
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

/// The other end of a [`Collector`].
pub struct Requests {
    wanted: Arc<Notify>,
    requests: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Collector {
    pub fn new() -> (Self, Requests) {
        let wanted = Arc::new(Notify::new());
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        (Self { wanted: wanted.clone(), requests: sender }, Requests { wanted, requests })
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
}
