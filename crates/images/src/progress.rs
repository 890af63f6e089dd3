//! Progress of pull, push and import as data; the words are Docker's, since its clients show them as they are.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ids::Digest;
use tokio::sync::mpsc;

use crate::messages;

/// Bytes are told at most this often for each layer.
const INTERVAL: Duration = Duration::from_millis(100);

/// One line of progress, or one line replaced where `id` was seen before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// A layer's short id, a tag, or empty.
    pub id: String,
    pub status: String,
    /// Bytes done and bytes in all.
    pub current: Option<u64>,
    pub total: Option<u64>,
    /// Text that stands for itself, its line end included.
    pub text: String,
    /// What a push resulted in, for programs.
    pub pushed: Option<PushResult>,
}

/// `{"Tag":…,"Digest":…,"Size":…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushResult {
    pub tag: String,
    pub digest: Digest,
    pub size: u64,
}

/// Where progress goes. A receiver that is gone is no reason to stop: who starts an operation also drops it.
#[derive(Clone)]
pub struct ProgressSender(mpsc::Sender<Progress>);

impl ProgressSender {
    pub fn new(sender: mpsc::Sender<Progress>) -> Self {
        Self(sender)
    }

    /// A sender and its receiver.
    pub fn channel() -> (Self, mpsc::Receiver<Progress>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    pub(crate) async fn message(&self, id: &str, status: impl Into<String>) {
        self.send(Progress { id: id.to_owned(), status: status.into(), ..Progress::default() }).await;
    }

    pub(crate) async fn text(&self, text: String) {
        self.send(Progress { text, ..Progress::default() }).await;
    }

    pub(crate) async fn bytes(&self, id: &str, status: &str, current: u64, total: u64) {
        let (current, total) = (Some(current), Some(total));
        self.send(Progress { id: id.to_owned(), status: status.to_owned(), current, total, ..Progress::default() })
            .await;
    }

    pub async fn send(&self, progress: Progress) {
        let _ = self.0.send(progress).await;
    }

    /// Tells of pauses before a layer is tried again, each second of them; without room a second is left out.
    pub(crate) fn pauses(&self, id: &str) -> impl Fn(u64) + Send + Sync + 'static {
        let (sender, id) = (self.0.clone(), id.to_owned());
        move |seconds| {
            let status = messages::retrying(seconds);
            let _ = sender.try_send(Progress { id: id.clone(), status, ..Progress::default() });
        }
    }

    /// A meter for one layer.
    pub(crate) fn meter(&self, id: &str, status: &'static str, total: u64) -> Meter {
        Meter { sender: self.clone(), id: id.to_owned(), status, total, last: Mutex::new(None) }
    }
}

/// Tells bytes now and then; what a slow receiver has no room for is left out.
pub(crate) struct Meter {
    sender: ProgressSender,
    id: String,
    status: &'static str,
    total: u64,
    last: Mutex<Option<Instant>>,
}

impl Meter {
    pub fn set(&self, current: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if !due && current < self.total {
            return;
        }
        *last = Some(Instant::now());
        let _ = self.sender.0.try_send(Progress {
            id: self.id.clone(),
            status: self.status.to_owned(),
            current: Some(current),
            total: Some(self.total),
            ..Progress::default()
        });
    }
}
