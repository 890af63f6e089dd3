//! Descriptors that the service manager opened before it started us (sd_listen_fds(3)).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first of them.
pub const FIRST: RawFd = 3;
/// More than any unit has sockets.
const MAX_COUNT: usize = 64;

/// The descriptors from 3 on, with close-on-exec set; the second call finds none. `count` comes from the environment:
/// only what is open is taken.
pub fn take(count: usize) -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let mut taken = Vec::new();
    for number in (FIRST..).take(count.min(MAX_COUNT)) {
        // SAFETY: fcntl with numbers; it fails for a descriptor that is not open.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            break;
        }
        // SAFETY: it is open, and whoever started us gave it to us to own: nothing else in this process refers to it,
        // since this function hands each number out once.
        taken.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    taken
}
