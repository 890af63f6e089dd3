//! `kill`: a signal to a container.

use crate::{Root, RuntimeError, Status};
use kernel_names::{REAL_TIME_SIGNALS, signal_number};
use sys::{Errno, process};

pub fn kill(root: &Root, id: &str, signal: i32, all: bool) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    if all {
        // Also what a container without a pid namespace has left behind.
        return Ok(record.group.signal_all(signal)?);
    }
    if signal == libc::SIGKILL && record.outlives_init && !record.group.pids()?.is_empty() {
        // Nothing else ends those that the first process leaves behind.
        return Ok(record.group.signal_all(signal)?);
    }
    if matches!(root.status(&record), Status::Stopped | Status::Creating) {
        return Err(RuntimeError::NotRunning);
    }
    let pidfd = record.pidfd()?;
    match process::pidfd_send_signal(pidfd.raw(), signal) {
        Ok(()) => {}
        Err(Errno::ESRCH) => return Err(RuntimeError::AlreadyFinished),
        Err(errno) => return Err(RuntimeError::System { what: "cannot send the signal".into(), errno }),
    }
    // A frozen process takes no signal on v1 until it is thawed.
    if signal == libc::SIGKILL && record.group.frozen() == cgroup::freeze::Frozen::Yes {
        record.group.set_frozen(cgroup::freeze::Frozen::No)?;
    }
    Ok(())
}

/// A signal by its number or name, with or without `SIG`.
pub fn parse_signal(text: &str) -> Result<i32, RuntimeError> {
    const REAL_TIME_MIN: i32 = *REAL_TIME_SIGNALS.start() as i32;
    const REAL_TIME_MAX: i32 = *REAL_TIME_SIGNALS.end() as i32;
    let unknown = || RuntimeError::InvalidArgument(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=REAL_TIME_MAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = signal_number(name) {
        return Ok(number as i32);
    }
    let real_time = |base: i32, sign: i32, rest: &str| {
        let offset =
            rest.get(1..).filter(|digits| !digits.is_empty()).map_or(Some(0), |digits| digits.parse::<i32>().ok())?;
        Some(base + sign * offset).filter(|number| (REAL_TIME_MIN..=REAL_TIME_MAX).contains(number))
    };
    let from_below = name.strip_prefix("RTMIN").and_then(|rest| real_time(REAL_TIME_MIN, 1, rest));
    let from_above = || name.strip_prefix("RTMAX").and_then(|rest| real_time(REAL_TIME_MAX, -1, rest));
    from_below.or_else(from_above).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_have_numbers_and_names() {
        for (text, number) in
            [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("SYS", 31), ("0", 0)]
        {
            assert_eq!(parse_signal(text).ok(), Some(number), "{text}");
        }
        assert!(parse_signal("99").is_err() && parse_signal("SIGNONE").is_err() && parse_signal("RTMIN+99").is_err());
    }
}
