//! Which folders have changed, by one inotify(7) instance for all of them: the kernel gives a user 128 instances, and many
//! thousand watches.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// Bytes of events taken in one go.
const EVENTS: usize = 4096;

/// The watched folders. Readable when one of them has changed.
#[derive(Debug)]
pub struct FolderWatch {
    inotify: OwnedFd,
}

/// A watched folder; the same number for the same folder.
pub type WatchId = i32;

/// What [`FolderWatch::changes`] tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub folders: Vec<WatchId>,
    /// Their watches have ended with them.
    pub gone: Vec<WatchId>,
    /// Events were lost: every folder may have changed.
    pub all: bool,
}

impl FolderWatch {
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Watches for files that are written, made or renamed in a folder.
    pub fn add(&self, folder: &Path) -> io::Result<WatchId> {
        let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        Ok(inotify::add_watch(&self.inotify, folder, events)?)
    }

    /// A folder that is gone has lost its watch already.
    pub fn remove(&self, id: WatchId) {
        let _ = inotify::remove_watch(&self.inotify, id);
    }

    /// What has changed since the last call. Does not wait.
    pub fn changes(&self) -> io::Result<Changes> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut changes = Changes::default();
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let (id, flags) = (event.wd(), event.events());
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.all = true;
            } else if flags.contains(ReadFlags::IGNORED) {
                changes.gone.push(id);
            } else if !changes.folders.contains(&id) {
                changes.folders.push(id);
            }
        }
    }
}

impl AsFd for FolderWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for FolderWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_for_the_folder_it_is_in() {
        let (one, two) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let watch = FolderWatch::new().expect("inotify");
        let ids = [watch.add(one.path()).expect("one"), watch.add(two.path()).expect("two")];
        assert_eq!(watch.add(one.path()).expect("again"), ids[0]);
        assert_eq!(watch.changes().expect("changes"), Changes::default());
        std::fs::write(two.path().join("x"), "text").expect("write");
        assert_eq!(watch.changes().expect("changes"), Changes { folders: vec![ids[1]], ..Changes::default() });
        assert_eq!(watch.changes().expect("changes"), Changes::default());
        drop(one);
        assert_eq!(watch.changes().expect("changes").gone, [ids[0]]);
        watch.remove(ids[0]);
    }
}
