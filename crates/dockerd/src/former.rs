//! A daemon before this one that was killed a moment ago: until the kernel has let it go its socket answers, and its locks
//! are held.

use std::fs;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long the kernel may take to let a process go that is about to end.
const LIMIT: Duration = Duration::from_secs(10);
/// A signal that was sent just before is seen within this time.
const GRACE: Duration = Duration::from_millis(50);
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// SIGKILL's bit among pending signals (proc_pid_status(5)).
const KILL: u64 = 1 << 8;
/// What `flags` says of a process that is past its last instruction: PF_EXITING (proc_pid_stat(5), linux/sched.h).
const EXITING: u64 = 0x4;

/// Whether a process has ended, or was killed and ends while this waits. One that lives on is waited for but a moment.
pub fn has_ended(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let begun = Instant::now();
    loop {
        let mut asked = [PollFd::new(&pidfd, PollFlags::IN)];
        if poll(&mut asked, Some(&LOOK)).is_ok_and(|ended| ended > 0) {
            return true;
        }
        let waited = begun.elapsed();
        if waited > LIMIT || (waited > GRACE && !is_dying(pid)) {
            return false;
        }
    }
}

fn is_dying(pid: Pid) -> bool {
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default();
    let status = read("status");
    let pending = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    // Its name, which may have anything in it, is in brackets; `flags` is the seventh word behind.
    let stat = read("stat");
    let flags = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    (pending("SigPnd:") | pending("ShdPnd:")) & KILL != 0 || flags.is_none_or(|flags| flags & EXITING != 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn who_was_killed_is_waited_for_and_who_lives_is_not() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let begun = Instant::now();
        assert!(!has_ended(pid));
        assert!(begun.elapsed() < LIMIT / 2);
        child.kill().unwrap();
        // Nobody has reaped it yet.
        assert!(has_ended(pid));
        child.wait().unwrap();
        assert!(has_ended(pid));
    }
}
