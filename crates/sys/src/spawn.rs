//! Starting programs: those that outlive us, and those that a terminal is given to.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Starts the command as the leader of a new session: no terminal, no signal and no end of ours reaches it (setsid(2)).
pub fn in_new_session(command: &mut Command) -> io::Result<Child> {
    let become_leader = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: runs between fork and exec; setsid is one system call, which neither allocates nor locks.
    unsafe { command.pre_exec(become_leader) };
    command.spawn()
}

/// No signal is blocked in the command: what the caller blocks for itself is not meant for it.
pub fn with_nothing_blocked(command: &mut Command) -> &mut Command {
    let unblock = || {
        unblock_all();
        Ok(())
    };
    // SAFETY: runs between fork and exec; one system call, which neither allocates nor locks.
    unsafe { command.pre_exec(unblock) }
}

fn unblock_all() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset initialises the set, which outlives the call.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Starts the command in a process group of its own, which becomes the foreground of the terminal on standard input where
/// there is one (tcsetpgrp(3)), so that what is typed reaches the command alone. No signal is blocked in it.
pub fn in_foreground(command: &mut Command) -> io::Result<Child> {
    let take_terminal = || {
        // SAFETY: system calls with numbers, constants and a set that sigemptyset initialises; the default and the ignored
        // action run no code of ours.
        unsafe {
            if libc::setpgid(0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            // Who is not in the foreground yet would be stopped for asking.
            libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            let taken = libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpgrp());
            let error = io::Error::last_os_error();
            libc::signal(libc::SIGTTOU, libc::SIG_DFL);
            unblock_all();
            // No terminal, or none that is ours.
            let absent = [libc::ENOTTY, libc::ENXIO, libc::EBADF, libc::EPERM, libc::EINVAL];
            match error.raw_os_error() {
                Some(code) if taken != 0 && !absent.contains(&code) => Err(error),
                _ => Ok(()),
            }
        }
    };
    // SAFETY: runs between fork and exec; system calls alone, which neither allocate nor lock.
    unsafe { command.pre_exec(take_terminal) };
    command.spawn()
}
