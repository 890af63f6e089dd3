//! The stop sequence: a signal, a grace period, SIGKILL, as a machine without clock.
//!
//! The driver asks [`StopSequence::next`] what to do, does it, and tells what came of it: the process ended (then it stops
//! asking) or the deadline passed.

use std::time::Duration;

use crate::signal::Signal;

/// Docker's grace period when neither user nor container names one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the kernel may take over a SIGKILL before the stop is reported as failed.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStep {
    /// Send it, then wait so long for the end; `None`: as long as it takes.
    Signal { signal: Signal, wait: Option<Duration> },
    /// Even SIGKILL had no effect in time.
    GiveUp,
}

#[derive(Debug, Clone, Copy)]
pub struct StopSequence {
    signal: Signal,
    timeout: Option<Duration>,
    done: u8,
}

impl StopSequence {
    /// `timeout_s` negative: wait without end for the first signal.
    pub fn new(signal: Signal, timeout_s: Option<i64>) -> Self {
        let timeout = match timeout_s {
            None => Some(DEFAULT_TIMEOUT),
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        };
        Self { signal, timeout, done: 0 }
    }

    /// The step after those that did not end the process.
    pub fn next_step(&mut self) -> StopStep {
        self.done = self.done.saturating_add(1);
        match self.done {
            1 if self.signal != Signal::KILL => StopStep::Signal { signal: self.signal, wait: self.timeout },
            1 => {
                self.done = 2;
                StopStep::Signal { signal: Signal::KILL, wait: Some(KILL_TIMEOUT) }
            }
            2 => StopStep::Signal { signal: Signal::KILL, wait: Some(KILL_TIMEOUT) },
            _ => StopStep::GiveUp,
        }
    }

    /// The container does not take the signal (its runtime refuses it): go on to SIGKILL at once, as Docker does.
    pub fn signal_failed(&mut self) -> StopStep {
        self.next_step()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_signal_comes_first_then_sigkill_then_nothing() {
        let mut sequence = StopSequence::new(Signal::TERM, Some(3));
        assert_eq!(sequence.next_step(), StopStep::Signal { signal: Signal::TERM, wait: Some(Duration::from_secs(3)) });
        assert_eq!(sequence.next_step(), StopStep::Signal { signal: Signal::KILL, wait: Some(KILL_TIMEOUT) });
        assert_eq!(sequence.next_step(), StopStep::GiveUp);
    }

    #[test]
    fn no_timeout_means_ten_seconds_and_a_negative_one_no_end() {
        let first = |timeout| StopSequence::new(Signal::TERM, timeout).next_step();
        assert_eq!(first(None), StopStep::Signal { signal: Signal::TERM, wait: Some(DEFAULT_TIMEOUT) });
        assert_eq!(first(Some(-1)), StopStep::Signal { signal: Signal::TERM, wait: None });
        assert_eq!(first(Some(0)), StopStep::Signal { signal: Signal::TERM, wait: Some(Duration::ZERO) });
    }

    #[test]
    fn sigkill_as_stop_signal_is_sent_once() {
        let mut sequence = StopSequence::new(Signal::KILL, None);
        assert_eq!(sequence.next_step(), StopStep::Signal { signal: Signal::KILL, wait: Some(KILL_TIMEOUT) });
        assert_eq!(sequence.next_step(), StopStep::GiveUp);
    }
}
