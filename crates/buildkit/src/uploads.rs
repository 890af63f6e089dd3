//! Contexts that come in a request of their own, beside the one that builds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::error::SolveError;
use errors::ErrorKind;

/// How long one request waits for the other.
const LIMIT: Duration = Duration::from_secs(5);
/// Uploads that nobody has taken yet.
const MAX_UPLOADS: usize = 256;

pub(crate) type Pieces = mpsc::Receiver<std::io::Result<Bytes>>;

#[derive(Debug, Default)]
pub(crate) struct Uploads {
    offered: Mutex<HashMap<String, Pieces>>,
    changed: Notify,
}

impl Uploads {
    /// Offers an upload for a build; it is withdrawn when nobody takes it in time.
    pub fn offer(self: &Arc<Self>, build: &str, pieces: Pieces) -> Result<(), SolveError> {
        {
            let mut offered = self.lock();
            if offered.len() >= MAX_UPLOADS || offered.contains_key(build) {
                let message = format!("an upload for build {build} cannot be taken");
                return Err(SolveError::refused(ErrorKind::ResourceExhausted, message));
            }
            offered.insert(build.to_owned(), pieces);
        }
        self.changed.notify_waiters();
        let (uploads, build) = (Arc::clone(self), build.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT).await;
            uploads.lock().remove(&build);
        });
        Ok(())
    }

    pub async fn take(&self, build: &str) -> Result<Pieces, SolveError> {
        let until = Instant::now() + LIMIT;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(pieces) = self.lock().remove(build) {
                return Ok(pieces);
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(SolveError::invalid(format!("the context of build {build} was not uploaded")));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pieces>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_finds_its_build_whoever_comes_first() {
        let uploads = Arc::new(Uploads::default());
        let taking = tokio::spawn({
            let uploads = Arc::clone(&uploads);
            async move { uploads.take("b").await.is_ok() }
        });
        tokio::task::yield_now().await;
        uploads.offer("b", mpsc::channel(1).1).unwrap();
        assert!(taking.await.unwrap());
        uploads.offer("c", mpsc::channel(1).1).unwrap();
        assert!(uploads.offer("c", mpsc::channel(1).1).is_err());
        uploads.take("c").await.unwrap();
    }
}
