//! Signal masks and signalfd(2).

use crate::Result;
use crate::errno::{check, check_fd, check_unit};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

/// The highest signal number of Linux.
pub const HIGHEST: i32 = 64;

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigfillset initialises the set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Blocks every signal and answers a descriptor that reads them.
pub fn block_all_into_fd() -> Result<RawFd> {
    let set = full_set();
    // SAFETY: the set outlives both calls.
    unsafe {
        check_unit(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        check_fd(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())
    }
}

/// The next signal of a signalfd.
pub fn read_signal(fd: RawFd) -> Result<i32> {
    let mut record = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the record is writable for its size, and any bytes are a valid value of it.
    unsafe {
        check(libc::read(fd, record.as_mut_ptr().cast(), size) as i64)?;
        Ok(record.assume_init().ssi_signo as i32)
    }
}

/// Waits until a signalfd has a signal to read.
pub fn wait_readable(fd: RawFd) -> Result<()> {
    let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one entry, which outlives the call.
        match check_unit(unsafe { libc::poll(&raw mut wanted, 1, -1) }.min(0).into()) {
            Err(errno) if errno.0 == libc::EINTR => {}
            other => return other,
        }
    }
}

/// kill(2): to a process, or to a whole group when the number is negative. Any number, real-time signals included.
pub fn send(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: takes two numbers.
    check_unit(unsafe { libc::kill(pid, signal) }.into())
}

/// What a new program expects: nothing blocked, nothing ignored. Real-time signals are left, nobody ignores them.
pub fn reset() -> Result<()> {
    reset_ending_on(&[])
}

/// The same for a process that waits before it executes its program: these signals end it even as the first of a pid
/// namespace, which has no default actions (pid_namespaces(7)).
pub fn reset_ending_on(signals: &[i32]) -> Result<()> {
    for signal in 1..32 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            let end = end as extern "C" fn(i32) as libc::sighandler_t;
            let action = if signals.contains(&signal) { end } else { libc::SIG_DFL };
            // SAFETY: the default action runs no code of ours, and the other one only _exit(2).
            unsafe { libc::signal(signal, action) };
        }
    }
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset initialises the set, which outlives the call.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        check_unit(libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()).into())
    }
}

/// From now on the kernel reaps children of this process as they end (wait(2), SIGCHLD ignored).
pub fn leave_children_to_kernel() {
    // SAFETY: an ignored signal runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

extern "C" fn end(signal: i32) {
    crate::process::exit_now(128 + signal)
}
