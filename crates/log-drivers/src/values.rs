//! Values of options as Go's libraries read them, with their words for what is wrong.

use std::time::Duration;

use go_text::duration::read_duration;
use go_text::size::{Base, read_size};

/// A size that is not negative.
pub fn parse_size(text: &str, base: Base) -> Result<u64, String> {
    read_size(text, base).map(i64::unsigned_abs)
}

/// No option takes a negative duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = u64::try_from(read_duration(text)?);
    nanoseconds.map(Duration::from_nanos).map_err(|_| format!("time: invalid duration {text:?}"))
}

/// Go's strconv.ParseBool.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// Go's strconv.Atoi.
pub fn parse_int(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_and_not_negative() {
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1m0.5s"), Ok(Duration::from_millis(60_500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("5"), Err("time: missing unit in duration \"5\"".to_owned()));
        assert_eq!(parse_duration("5d"), Err("time: unknown unit \"d\" in duration \"5d\"".to_owned()));
        assert_eq!(parse_duration("x"), Err("time: invalid duration \"x\"".to_owned()));
        assert!(parse_duration("-1s").is_err() && parse_duration("").is_err());
    }
}
