//! Times between the wire and the standard library.

use prost_types::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as it is sent.
pub fn to_timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// The last second of the year 9999, where protobuf's timestamps end (timestamp.proto).
const LAST_SECOND: u64 = 253_402_300_799;

/// A received time; what protobuf does not allow, or is before 1970, is taken as 1970.
pub fn from_timestamp(timestamp: Option<&Timestamp>) -> SystemTime {
    let Some(timestamp) = timestamp else { return UNIX_EPOCH };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(timestamp.seconds), u32::try_from(timestamp.nanos)) else {
        return UNIX_EPOCH;
    };
    if seconds > LAST_SECOND || nanos >= 1_000_000_000 {
        return UNIX_EPOCH;
    }
    UNIX_EPOCH + Duration::new(seconds, nanos)
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
