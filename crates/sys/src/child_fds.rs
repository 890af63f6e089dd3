//! Giving a child process descriptors under fixed numbers.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Above every number that a child is given.
const PARKED: RawFd = 64;

/// The child finds each descriptor under the number beside it, which has to be below 64. The command owns them from now
/// on: they are closed here when it is dropped.
pub fn pass<const N: usize>(command: &mut Command, fds: [(OwnedFd, RawFd); N]) {
    let run = move || -> io::Result<()> {
        // First out of the way of all targets, then each to its place.
        let mut parked = [0; N];
        for (slot, (fd, _)) in parked.iter_mut().zip(&fds) {
            // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC takes no pointers; the descriptor is owned by `fds`.
            *slot = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, PARKED) })?;
        }
        for (source, (_, target)) in parked.iter().zip(&fds) {
            // SAFETY: dup2(2) takes no pointers. In the child nothing else uses the target numbers: what stood there
            // belongs to the parent's copy of the table.
            check(unsafe { libc::dup2(*source, *target) })?;
            // SAFETY: `source` was made above and is owned by nothing else.
            drop(unsafe { OwnedFd::from_raw_fd(*source) });
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls only fcntl, dup2 and close, which are async-signal-safe
    // (signal-safety(7)), and allocates nothing.
    unsafe { command.pre_exec(run) };
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_child_finds_its_descriptors_under_the_given_numbers() {
        let (mut reader, writer) = io::pipe().expect("pipe");
        let (input, mut feed) = io::pipe().expect("pipe");
        let mut command = Command::new("sh");
        command.args(["-c", "cat <&4 >&3"]);
        pass(&mut command, [(writer.into(), 3), (input.into(), 4)]);
        let mut child = command.spawn().expect("spawn");
        drop(command);
        feed.write_all(b"through").expect("write");
        drop(feed);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "through");
        assert!(child.wait().expect("wait").success());
    }
}
