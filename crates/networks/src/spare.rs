//! A network namespace made while the container is created that will start in it.
//!
//! The kernel needs half a millisecond for a namespace, and a client as long to come back with the start after its create. One
//! that nobody has taken after a second is let go of: it has the host's settings of the moment it was made.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use netlink::namespace;

/// How long it waits for its container.
const LIFE: Duration = Duration::from_secs(1);
const STACK: usize = 64 * 1024;

/// Place for one.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Making {
        /// Somebody waits for it already.
        claimed: bool,
    },
    Ready(OwnedFd),
}

impl Spare {
    /// Makes one, unless there is one.
    pub fn prepare(self: &Arc<Self>) {
        {
            let mut slot = self.slot();
            if !matches!(*slot, Slot::Empty) {
                return;
            }
            *slot = Slot::Making { claimed: false };
        }
        let spare = Arc::clone(self);
        // Without the thread, or without the namespace, whoever starts makes his own, and is told what fails.
        let begun = Builder::new().name("netns".to_owned()).stack_size(STACK).spawn(move || spare.make());
        if begun.is_err() {
            self.put(Slot::Empty);
        }
    }

    /// The one that is there, or as good as there.
    pub fn take(&self) -> Option<OwnedFd> {
        let mut slot = self.slot();
        if let Slot::Making { claimed } = &mut *slot {
            if std::mem::replace(claimed, true) {
                return None;
            }
            let making = |slot: &mut Slot| matches!(slot, Slot::Making { .. });
            slot = self.changed.wait_while(slot, making).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = std::mem::take(&mut *slot);
        self.changed.notify_all();
        match taken {
            Slot::Ready(namespace) => Some(namespace),
            other => {
                *slot = other;
                None
            }
        }
    }

    fn make(&self) {
        let Ok(made) = namespace::leave_for_new() else { return self.put(Slot::Empty) };
        self.put(Slot::Ready(made));
        let ready = |slot: &mut Slot| matches!(slot, Slot::Ready(_));
        let waited = self.changed.wait_timeout_while(self.slot(), LIFE, ready);
        let (mut slot, time) = waited.unwrap_or_else(PoisonError::into_inner);
        if time.timed_out() {
            *slot = Slot::Empty;
            self.changed.notify_all();
        }
    }

    fn put(&self, new: Slot) {
        *self.slot() = new;
        self.changed.notify_all();
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn inode(namespace: &OwnedFd) -> u64 {
        rustix::fs::fstat(namespace.as_fd()).expect("a namespace").st_ino
    }

    #[test]
    fn each_is_taken_once_and_is_not_the_hosts() {
        let spare = Arc::new(Spare::default());
        assert!(spare.take().is_none(), "nobody asked for one");
        let own = std::fs::File::open("/proc/self/ns/net").expect("the own namespace");
        let mut seen = vec![inode(&own.into())];
        let mut kept = Vec::new();
        for _ in 0..3 {
            spare.prepare();
            spare.prepare();
            let namespace = spare.take().expect("root may make one");
            assert!(spare.take().is_none(), "there was one");
            assert!(!seen.contains(&inode(&namespace)));
            seen.push(inode(&namespace));
            kept.push(namespace);
        }
    }

    #[test]
    fn one_that_is_made_for_another_is_not_waited_for() {
        let spare = Spare { slot: Mutex::new(Slot::Making { claimed: true }), changed: Condvar::new() };
        assert!(spare.take().is_none());
    }

    #[test]
    fn one_that_nobody_takes_goes() {
        let spare = Arc::new(Spare::default());
        spare.prepare();
        let there = |slot: &mut Slot| !matches!(slot, Slot::Empty);
        let waited = spare.changed.wait_timeout_while(spare.slot(), 60 * LIFE, there);
        assert!(!waited.expect("not poisoned").1.timed_out(), "it is still there");
    }
}
