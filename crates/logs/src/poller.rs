//! Readiness of descriptors by epoll(7), level-triggered: what a loop waits on, and what its parts register with.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Events taken in one go.
const BATCH: usize = 32;

/// What a descriptor is watched for. A hang-up is always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
}

impl Interest {
    pub const READ: Self = Self { read: true, write: false };
    pub const WRITE: Self = Self { read: false, write: true };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// The other side is gone altogether.
    pub hangup: bool,
}

#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token), interest.flags())
    }

    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token), interest.flags())
    }

    /// Has to come before a descriptor is closed that has duplicates elsewhere (epoll(7), Q6).
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, fd)
    }

    /// Waits for the next events; none means that the time is over or a signal came.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Result<()> {
        events.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(1 << 30) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut ready = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; BATCH];
        let count = match epoll::wait(&self.epoll, &mut ready[..], timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(errno),
        };
        events.extend(ready[..count].iter().map(|event| {
            // The structure is packed: its fields are copied out, never borrowed.
            let (flags, data) = (event.flags, event.data);
            Event {
                token: data.u64(),
                readable: flags.contains(EventFlags::IN),
                writable: flags.contains(EventFlags::OUT),
                hangup: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

/// A registration that is changed only when it differs: keeps epoll_ctl(2) out of the hot path.
#[derive(Debug, Default)]
pub struct Registration {
    current: Option<Interest>,
}

impl Registration {
    /// Makes the registration of `fd` what is wanted; `None` takes it out, so that not even a hang-up is reported.
    pub fn set(&mut self, poller: &Poller, fd: impl AsFd, token: u64, wanted: Option<Interest>) -> Result<()> {
        if wanted == self.current {
            return Ok(());
        }
        match (self.current, wanted) {
            (None, Some(interest)) => poller.add(fd, token, interest)?,
            (Some(_), Some(interest)) => poller.modify(fd, token, interest)?,
            (Some(_), None) => poller.remove(fd)?,
            (None, None) => {}
        }
        self.current = wanted;
        Ok(())
    }
}
