//! How often something is tried again, and when.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;

/// Tries of one request, the first included.
pub(crate) const MAX_TRIES: u32 = 5;
/// Before the second try; it doubles from then on.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, whatever a registry asks for.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Before a registry that has answered is looked for again: it may be restarting.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_secs(2);

/// How long the registry asks to wait: seconds, or until a time (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            // A time that has passed asks for no pause.
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_registry_asks_for_seconds_or_for_a_time() {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().unwrap();
        let asked = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(value))]), now)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("9999999"), Some(MAX_PAUSE));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:05 GMT"), Some(Duration::from_secs(5)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Thu, 22 Oct 2015 07:28:00 GMT"), Some(MAX_PAUSE));
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
