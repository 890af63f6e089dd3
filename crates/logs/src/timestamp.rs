//! UTC times to the nanosecond, as Docker writes them (Go's RFC3339Nano: trailing zeros of the fraction dropped).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Since 1970, may be negative.
    pub seconds: i64,
    pub nanos: u32,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct ParseTimeError;

impl Timestamp {
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// `2006-01-02T15:04:05`, the same for a whole second.
    pub(crate) fn seconds_text(self) -> [u8; 19] {
        let days = self.seconds.div_euclid(86_400);
        let second = self.seconds.rem_euclid(86_400) as u32;
        let (year, month, day) = civil_from_days(days);
        let mut text = *b"0000-00-00T00:00:00";
        let year = year.clamp(0, 9999) as u32;
        put_two(&mut text, 0, year / 100);
        put_two(&mut text, 2, year % 100);
        put_two(&mut text, 5, month);
        put_two(&mut text, 8, day);
        put_two(&mut text, 11, second / 3600);
        put_two(&mut text, 14, second / 60 % 60);
        put_two(&mut text, 17, second % 60);
        text
    }

    /// Appends the fraction, if any, and `Z`.
    pub(crate) fn append_fraction(self, out: &mut Vec<u8>) {
        if self.nanos > 0 {
            let mut digits = *b".000000000";
            let mut rest = self.nanos;
            for digit in digits[1..].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            let end = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
            out.extend_from_slice(&digits[..end]);
        }
        out.push(b'Z');
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let (seconds, nanos) = (before.as_secs() as i64, before.subsec_nanos());
                if nanos == 0 {
                    Self { seconds: -seconds, nanos }
                } else {
                    Self { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos }
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let seconds = Duration::from_secs(time.seconds.unsigned_abs());
        let whole = if time.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
        whole.unwrap_or(UNIX_EPOCH) + Duration::from_nanos(u64::from(time.nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.seconds_text().to_vec();
        self.append_fraction(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    /// RFC 3339 with any offset; more than nine digits of fraction are cut.
    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let bytes = text.as_bytes();
        let date = bytes.get(..19).ok_or(ParseTimeError)?;
        for (at, wanted) in [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')] {
            if date[at] != wanted {
                return Err(ParseTimeError);
            }
        }
        if !matches!(date[10], b'T' | b't' | b' ') {
            return Err(ParseTimeError);
        }
        let field = |from: usize, to: usize, max: u32| number(&date[from..to]).filter(|&value| value <= max);
        let parse = || {
            let year = field(0, 4, 9999)?;
            let (month, day) = (field(5, 7, 12).filter(|&m| m > 0)?, field(8, 10, 31).filter(|&d| d > 0)?);
            let (hour, minute, second) = (field(11, 13, 23)?, field(14, 16, 59)?, field(17, 19, 60)?);
            let days = days_from_civil(i64::from(year), month, day);
            let (nanos, offset) = fraction_and_offset(&bytes[19..])?;
            let of_day = i64::from(hour * 3600 + minute * 60 + second);
            Some(Self { seconds: days * 86_400 + of_day - offset, nanos })
        };
        parse().ok_or(ParseTimeError)
    }
}

/// What follows the seconds: `.123Z`, `+01:00`, …
fn fraction_and_offset(mut rest: &[u8]) -> Option<(u32, i64)> {
    let mut nanos = 0;
    if let Some((b'.', digits)) = rest.split_first() {
        let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let kept = count.min(9);
        nanos = number(&digits[..kept])? * 10u32.pow(9 - kept as u32);
        rest = &digits[count..];
    }
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let seconds = i64::from(hours * 3600 + minutes * 60);
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    Some((nanos, offset))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        digit.is_ascii_digit().then(|| value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))).flatten()
    })
}

fn put_two(text: &mut [u8], at: usize, value: u32) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// Days since 1970 to a date of the proleptic Gregorian calendar, counting years from 1 March so that the leap day is
/// the last of its year.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_look_as_go_writes_them() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_709_210_096, 120_000_000, "2024-02-29T12:34:56.12Z"),
            (1_709_210_096, 1, "2024-02-29T12:34:56.000000001Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
        ];
        for (seconds, nanos, text) in cases {
            assert_eq!(Timestamp { seconds, nanos }.to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp { seconds, nanos }));
        }
    }

    #[test]
    fn offsets_are_taken_off_and_nonsense_is_refused() {
        assert_eq!("1970-01-01T01:30:00.5+01:30".parse(), Ok(Timestamp { seconds: 0, nanos: 500_000_000 }));
        for text in ["", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z", "x"] {
            assert_eq!(text.parse::<Timestamp>(), Err(ParseTimeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_survives_writing_and_reading(seconds in -62_000_000_000i64..250_000_000_000, nanos in 0u32..1_000_000_000) {
            let time = Timestamp { seconds, nanos };
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            prop_assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
    }
}
