//! Work on one digest is done once, however many ask for it at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ids::Digest;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// A lock for each digest that someone works on. Who comes second waits and finds the work done.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<AsyncMutex<()>>>>);

impl Flights {
    pub async fn enter(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(digest).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(AsyncMutex::new(()));
                    locks.insert(*digest, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_digest_is_worked_on_by_one_at_a_time() {
        let flights = Flights::default();
        let (one, other) = (Digest::of("1"), Digest::of("2"));
        let first = flights.enter(&one).await;
        let _second = flights.enter(&other).await;
        let waiting = flights.enter(&one);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut waiting).is_ready());
    }
}
