//! Parts of a big blob over connections of their own, while the part before them is read: what one connection of a slow
//! network does not bring, several do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::error::RegistryError;
use crate::stretch::{Blob, Stretch};

/// Bytes of a part, all of which may wait in memory for its turn.
pub(crate) const PART: u64 = 4 << 20;
/// Parts on their way or waiting, of all downloads together: 24 MiB.
pub(crate) const MAX_PARTS: usize = 6;
/// Parts of one download, besides the one that is read.
const MAX_AHEAD: usize = 3;
/// Bytes after which a connection shows what it brings, and by which it is looked at again.
const TRIAL: u64 = 4 << 20;
/// Bytes of a second above which one connection is enough: nobody unpacks much faster.
const ENOUGH: f64 = 48e6;

/// Whether the network is what a download waits for.
pub(crate) struct Pace {
    began: Instant,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub fn new() -> Self {
        Self { began: Instant::now(), waited: Duration::ZERO, bytes: 0 }
    }

    /// Notes a piece and how long it was waited for. True when further connections would help.
    pub fn is_slow(&mut self, bytes: usize, waited: Duration) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.bytes < TRIAL {
            return false;
        }
        let passed = self.began.elapsed();
        let slow = self.waited > passed / 2 && self.bytes as f64 / passed.as_secs_f64() < ENOUGH;
        *self = Self::new();
        slow
    }
}

/// The rest of a blob in parts, in order. Dropped, it ends its connections.
pub(crate) struct Ahead {
    blob: Blob,
    slots: Arc<Semaphore>,
    parts: VecDeque<Part>,
    /// Where the next part that nobody fetches yet begins.
    next: u64,
    fetching: JoinSet<()>,
}

/// A part that is fetched: its pieces, or the error at which it ended. The queue holds no more than the part.
pub(crate) struct Part {
    pieces: mpsc::UnboundedReceiver<Result<Bytes, RegistryError>>,
    _slot: OwnedSemaphorePermit,
}

impl Part {
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        self.pieces.recv().await.transpose()
    }
}

impl Ahead {
    /// Of what is behind `next`. The slots are shared with all other downloads.
    pub fn new(blob: Blob, slots: Arc<Semaphore>, next: u64) -> Self {
        Self { blob, slots, parts: VecDeque::new(), next, fetching: JoinSet::new() }
    }

    /// The next part in order, if one is being fetched.
    pub fn take(&mut self) -> Option<Part> {
        self.parts.pop_front()
    }

    /// The bounds of the next part, for a reader that takes it upon itself.
    pub fn claim(&mut self) -> (u64, u64) {
        let start = self.next;
        self.next = (start + PART).min(self.blob.size);
        (start, self.next)
    }

    /// Has as many parts fetched as may be.
    pub fn fill(&mut self) {
        while self.fetching.try_join_next().is_some() {}
        while self.parts.len() < MAX_AHEAD && self.next < self.blob.size {
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
            let (start, end) = self.claim();
            let (sender, pieces) = mpsc::unbounded_channel();
            let blob = self.blob.clone();
            self.fetching.spawn(async move {
                if let Err(error) = fetch(blob, start, end, &sender).await {
                    let _ = sender.send(Err(error));
                }
            });
            self.parts.push_back(Part { pieces, _slot: slot });
        }
    }
}

async fn fetch(
    blob: Blob,
    start: u64,
    end: u64,
    pieces: &mpsc::UnboundedSender<Result<Bytes, RegistryError>>,
) -> Result<(), RegistryError> {
    let mut stretch = Stretch::open(blob, start, end).await?;
    while let Some(piece) = stretch.next().await? {
        if pieces.send(Ok(piece)).is_err() {
            break;
        }
    }
    Ok(())
}
