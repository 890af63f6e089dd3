//! Values of options as Go's libraries read them, with their words for what is wrong.

use std::time::Duration;

/// `10m`, `1.5 GB`, `7KiB`: units are powers of a thousand (Docker's log sizes) or of 1024 (its memory sizes), whatever the
/// unit's spelling.
pub fn parse_size(text: &str, thousand: u64) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let suffix = &text[last + 1..];
    let number = if text.as_bytes()[last] == b' ' { &text[..last] } else { &text[..=last] };
    let size: f64 = number.parse().map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if size < 0.0 {
        return Err(invalid());
    }
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    let lower = suffix.to_ascii_lowercase();
    let exponent = match lower.as_bytes() {
        [] | b"b" => 0,
        [unit] | [unit, b'b'] | [unit, b'i', b'b'] => match unit {
            b'k' => 1,
            b'm' => 2,
            b'g' => 3,
            b't' => 4,
            b'p' => 5,
            _ => return Err(bad_suffix()),
        },
        _ => return Err(bad_suffix()),
    };
    Ok((size * (thousand as f64).powi(exponent)) as u64)
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

/// Go's time.ParseDuration: `1.5h`, `2m30s`, `100ms`; only zero may stand without a unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (unit, behind) = rest.split_at(length);
        nanos += number
            * match unit {
                "" => return Err(format!("time: missing unit in duration {text:?}")),
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
            };
        rest = behind;
    }
    if nanos > i64::MAX as f64 || (negative && nanos > 0.0) {
        // No option takes a negative duration.
        return Err(invalid());
    }
    Ok(Duration::from_nanos(nanos as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_or_binary_whatever_their_suffix_says() {
        assert_eq!(parse_size("10m", 1000), Ok(10_000_000));
        assert_eq!(parse_size("10MiB", 1000), Ok(10_000_000));
        assert_eq!(parse_size("1.5 kB", 1024), Ok(1536));
        assert_eq!(parse_size("7", 1024), Ok(7));
        assert_eq!(parse_size("7b", 1024), Ok(7));
        assert_eq!(parse_size("big", 1000), Err("invalid size: 'big'".to_owned()));
        assert_eq!(parse_size("-1", 1000), Err("invalid size: '-1'".to_owned()));
        assert_eq!(parse_size("1x", 1000), Err("invalid suffix: 'x'".to_owned()));
        assert_eq!(parse_size("1mm", 1000), Err("invalid suffix: 'mm'".to_owned()));
        assert_eq!(parse_size("x1", 1000), Err("strconv.ParseFloat: parsing \"x1\": invalid syntax".to_owned()));
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1m0.5s"), Ok(Duration::from_millis(60_500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("5"), Err("time: missing unit in duration \"5\"".to_owned()));
        assert_eq!(parse_duration("5d"), Err("time: unknown unit \"d\" in duration \"5d\"".to_owned()));
        assert_eq!(parse_duration("x"), Err("time: invalid duration \"x\"".to_owned()));
        assert!(parse_duration("-1s").is_err() && parse_duration("").is_err());
    }
}
