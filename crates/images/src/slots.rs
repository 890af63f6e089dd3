//! How many transfers go on at a time; the number may change while they do.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// At least one.
pub(crate) struct Slots {
    semaphore: Semaphore,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    wanted: usize,
    /// Slots that transfers under way still hold beyond the number wanted.
    owed: usize,
}

/// Held while a transfer goes on.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    permit: Option<SemaphorePermit<'a>>,
}

impl Slots {
    pub fn new(count: usize) -> Self {
        let wanted = count.max(1);
        Self { semaphore: Semaphore::new(wanted), state: Mutex::new(State { wanted, owed: 0 }) }
    }

    /// One that is free now.
    pub fn try_acquire(&self) -> Option<Slot<'_>> {
        self.semaphore.try_acquire().ok().map(|permit| Slot { slots: self, permit: Some(permit) })
    }

    /// Waits for a free one.
    pub async fn acquire(&self) -> Slot<'_> {
        // The semaphore is never closed; without a permit the transfer would go on uncounted.
        Slot { slots: self, permit: self.semaphore.acquire().await.ok() }
    }

    /// Changes the number: more at once, fewer as soon as enough transfers have ended.
    pub fn resize(&self, count: usize) {
        let count = count.max(1);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if count >= state.wanted {
            let more = count - state.wanted;
            let forgiven = more.min(state.owed);
            state.owed -= forgiven;
            self.semaphore.add_permits(more - forgiven);
        } else {
            let fewer = state.wanted - count;
            state.owed += fewer - self.semaphore.forget_permits(fewer);
        }
        state.wanted = count;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fewer_slots_count_as_soon_as_transfers_have_ended() {
        let slots = Slots::new(2);
        let (first, second) = (slots.acquire().await, slots.acquire().await);
        slots.resize(1);
        assert_eq!(slots.semaphore.available_permits(), 0);
        drop(first);
        assert_eq!(slots.semaphore.available_permits(), 0);
        drop(second);
        assert_eq!(slots.semaphore.available_permits(), 1);
        slots.resize(5);
        assert_eq!(slots.semaphore.available_permits(), 5);
        slots.resize(0);
        assert_eq!(slots.semaphore.available_permits(), 1);
    }
}
