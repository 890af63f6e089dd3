//! Times between the wire and the standard library.

use prost_types::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as it is sent.
pub fn to_timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// A received time; what cannot be a time of this system, or is before 1970, is taken as 1970.
pub fn from_timestamp(timestamp: Option<&Timestamp>) -> SystemTime {
    let Some(timestamp) = timestamp else { return UNIX_EPOCH };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(timestamp.seconds), u32::try_from(timestamp.nanos)) else {
        return UNIX_EPOCH;
    };
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + Duration::from_nanos(u64::from(nanos))).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_wire_and_nonsense_becomes_the_epoch() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        assert_eq!(from_timestamp(Some(&to_timestamp(time))), time);
        assert_eq!(from_timestamp(Some(&Timestamp { seconds: -1, nanos: 0 })), UNIX_EPOCH);
        assert_eq!(from_timestamp(Some(&Timestamp { seconds: i64::MAX, nanos: 0 })), UNIX_EPOCH);
        assert_eq!(from_timestamp(None), UNIX_EPOCH);
    }
}
