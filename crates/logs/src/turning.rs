//! Who opens a log's files and who gives them new numbers keep out of each other's way: a lock on the log's folder
//! (flock(2)), shared by readers while they open, taken by the writer for a turn.
//!
//! It is a courtesy, not a promise. A writer that finds readers there turns a little later, but not for ever; a reader that
//! waits for too long looks without the lock, and sees by the files themselves whether one turned meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

/// How long a look waits for a turn to be over, which is a few renames.
const LIMIT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_micros(200);

/// Held for as long as the log is not to turn, or for a turn.
#[derive(Debug)]
pub(crate) struct Hold(#[expect(dead_code, reason = "the lock goes with the descriptor")] OwnedFd);

/// For who opens files. `None`: they may turn at any moment.
pub(crate) fn keep_still(path: &Path) -> Option<Hold> {
    wait_for(path, FlockOperation::NonBlockingLockShared)
}

/// For who can wait for a turn of his own.
pub(crate) fn wait_for_turn(path: &Path) -> Option<Hold> {
    wait_for(path, FlockOperation::NonBlockingLockExclusive)
}

/// For who cannot wait. `None`: somebody opens files just now.
pub(crate) fn begin_turn(path: &Path) -> io::Result<Option<Hold>> {
    try_lock(path, FlockOperation::NonBlockingLockExclusive)
}

fn wait_for(path: &Path, operation: FlockOperation) -> Option<Hold> {
    let begun = Instant::now();
    loop {
        match try_lock(path, operation) {
            Ok(Some(hold)) => return Some(hold),
            Ok(None) if begun.elapsed() < LIMIT => std::thread::sleep(PAUSE),
            // A file system without locks has none to wait for.
            Ok(None) | Err(_) => return None,
        }
    }
}

fn try_lock(path: &Path, operation: FlockOperation) -> io::Result<Option<Hold>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match flock(&folder, operation) {
        Ok(()) => Ok(Some(Hold(folder))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
