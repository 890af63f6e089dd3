//! How long to wait before a receiver is tried again.

use std::time::Duration;

/// Waits that grow, or one that does not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Retry {
    pub first: Duration,
    pub factor: f64,
    pub longest: Duration,
    /// Always this long.
    pub fixed: Option<Duration>,
    /// Failures in a row after which what could not be sent is given up; `None`: never.
    pub attempts: Option<u32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            factor: 2.0,
            longest: Duration::from_secs(10),
            fixed: None,
            attempts: None,
        }
    }
}

impl Retry {
    /// The wait after so many failures in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX).min(64);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        Duration::from_secs_f64(seconds.min(self.longest.as_secs_f64()))
    }

    pub fn gives_up(&self, failures: u32) -> bool {
        self.attempts.is_some_and(|attempts| failures > attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let retry = Retry::default();
        let waits: Vec<_> = [1, 2, 3, 7, 8, 1000].map(|failures| retry.wait(failures).as_millis()).to_vec();
        assert_eq!(waits, [100, 200, 400, 6400, 10_000, 10_000]);
        assert!(!retry.gives_up(u32::MAX));
        let limited = Retry { attempts: Some(3), fixed: Some(Duration::from_secs(1)), ..retry };
        assert_eq!(limited.wait(9), Duration::from_secs(1));
        assert!(!limited.gives_up(3) && limited.gives_up(4));
    }
}
