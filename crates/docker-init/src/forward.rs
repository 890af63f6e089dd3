//! The loop: a signal comes, it is handed on; a child ends, it is reaped.

use std::io;
use std::os::fd::RawFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};

/// What a program's own fault raises, and what a terminal says to who is not in the foreground: these concern us, not the child.
const KEPT: [Signal; 9] = [
    Signal::FPE,
    Signal::ILL,
    Signal::SEGV,
    Signal::BUS,
    Signal::ABORT,
    Signal::TRAP,
    Signal::SYS,
    Signal::TTIN,
    Signal::TTOU,
];

/// Until the child has ended and everybody else who has is reaped.
pub fn until_end(signals: RawFd, child: Pid, whole_group: bool) -> io::Result<WaitStatus> {
    loop {
        match sys::signal::read_signal(signals) {
            Ok(signal) if signal == Signal::CHILD.as_raw() => {
                if let Some(status) = reap(child)? {
                    return Ok(status);
                }
            }
            Ok(signal) => hand_on(signal, child, whole_group)?,
            Err(errno) if errno.0 == Errno::AGAIN.raw_os_error() => {
                sys::signal::wait_readable(signals).map_err(io_error)?
            }
            Err(errno) => return Err(io_error(errno)),
        }
    }
}

fn hand_on(signal: i32, child: Pid, whole_group: bool) -> io::Result<()> {
    if KEPT.iter().any(|kept| kept.as_raw() == signal) {
        return Ok(());
    }
    let child = child.as_raw_nonzero().get();
    match sys::signal::send(if whole_group { -child } else { child }, signal) {
        // It has just ended: its SIGCHLD is on the way.
        Err(errno) if errno.0 == Errno::SRCH.raw_os_error() => Ok(()),
        other => other.map_err(io_error),
    }
}

/// The child's status, if it is among those that ended.
fn reap(child: Pid) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            // Any child, whatever its group.
            Ok(Some((pid, status))) if pid == child => ended = Some(status),
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(ended),
            Err(error) => return Err(error.into()),
        }
    }
}

fn io_error(errno: sys::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}
