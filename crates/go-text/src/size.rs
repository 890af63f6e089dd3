//! Bytes and processors, as people write and read them.

use crate::quote;

const DECIMAL: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Powers of a thousand, four digits (`72.8MB`).
pub fn human_size(bytes: i64) -> String {
    human_size_with_precision(bytes, 4)
}

/// The same with another number of digits.
pub fn human_size_with_precision(bytes: i64, digits: usize) -> String {
    let (value, unit) = scale(bytes as f64, 1000.0, DECIMAL);
    format!("{}{unit}", general(value, digits))
}

/// Powers of 1024, four digits (`7.764GiB`).
pub fn binary_size(bytes: i64) -> String {
    let (value, unit) = scale(bytes as f64, 1024.0, BINARY);
    format!("{}{unit}", general(value, 4))
}

fn scale(mut value: f64, base: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    (value, units[unit])
}

/// C's `%.*g`, for what a scaled size can be.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = format!("{:.*e}", digits.saturating_sub(1), value)
        .rsplit_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok())
        .unwrap_or(0);
    if exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        let text = format!("{:.*e}", digits.saturating_sub(1), value);
        let (mantissa, _) = text.split_once('e').unwrap_or((&text, ""));
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        return format!("{mantissa}e+{exponent:02}");
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What the units of a size are powers of, whatever their spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A thousand: sizes of logs.
    Decimal,
    /// 1024: sizes of memory.
    Binary,
}

/// `10m`, `1.5 GB`, `7KiB`; what is no size is refused in Docker's words.
pub fn read_size(text: &str, base: Base) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let suffix = &text[last + 1..];
    let number = if text.as_bytes()[last] == b' ' { &text[..last] } else { &text[..=last] };
    let size: f64 =
        number.parse().map_err(|_| format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(number)))?;
    if size < 0.0 {
        return Err(invalid());
    }
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    let lower = suffix.to_ascii_lowercase();
    let power = match lower.as_bytes() {
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
    let factor = match base {
        Base::Decimal => 1000_f64,
        Base::Binary => 1024_f64,
    };
    let bytes = size * factor.powi(power);
    if bytes.is_finite() && bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(invalid()) }
}

/// A size of memory; `None` for what is none.
pub fn parse_bytes(text: &str) -> Option<i64> {
    read_size(text, Base::Binary).ok()
}

/// Longest number of processors that is read, and the largest power of ten in one.
const MAX_DIGITS: usize = 18;
/// A processor in billionths.
const BILLION: i128 = 1_000_000_000;

/// `1.5`, `1/4` or `5e-1` processors in billionths; nothing finer.
pub fn parse_nano_cpus(text: &str) -> Result<i64, String> {
    let failure = || format!("failed to parse {text} as a rational number");
    let (number, divisor) = rational(text).ok_or_else(failure)?;
    let nano = number * BILLION;
    if nano % divisor != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(nano / divisor).map_err(|_| failure())
}

/// A numerator and a denominator above zero.
fn rational(text: &str) -> Option<(i128, i128)> {
    if let Some((above, below)) = text.split_once('/') {
        let whole = |part: &str| part.parse::<i64>().ok().map(i128::from);
        let unsigned = below.bytes().all(|b| b.is_ascii_digit());
        return Some((whole(above)?, whole(below).filter(|below| unsigned && *below > 0)?));
    }
    let (decimal, exponent) = match text.split_once(['e', 'E']) {
        Some((decimal, exponent)) => (decimal, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, decimal) = match decimal.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, decimal.strip_prefix('+').unwrap_or(decimal)),
    };
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = sign * digits.parse::<i128>().ok()?;
    let power = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scale = 10_i128.checked_pow(power.unsigned_abs()).filter(|_| power.unsigned_abs() as usize <= MAX_DIGITS)?;
    Some(if power < 0 { (number, scale) } else { (number.checked_mul(scale)?, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_240_000, "1.24MB"),
            (72_789_123, "72.79MB"),
            (999_999, "1000kB"),
            (1_234_567_890, "1.235GB"),
        ];
        for (bytes, said) in cases {
            assert_eq!(human_size(bytes), said);
        }
        assert_eq!(human_size_with_precision(72_789_123, 3), "72.8MB");
        assert_eq!(human_size_with_precision(199, 3), "199B");
        assert_eq!(human_size_with_precision(999_999, 3), "1e+03kB");
        assert_eq!(binary_size(8_336_707_584), "7.764GiB");
    }

    #[test]
    fn bytes_are_read_with_any_unit() {
        let cases = [
            ("512m", Some(536_870_912)),
            ("1.5GiB", Some(1_610_612_736)),
            ("1024", Some(1024)),
            ("1 kb", Some(1024)),
            ("4B", Some(4)),
            ("", None),
            ("abc", None),
            ("-1", None),
            ("1x", None),
            ("9999999999p", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_whatever_their_suffix_says() {
        let decimal = |text| read_size(text, Base::Decimal);
        assert_eq!(decimal("10m"), Ok(10_000_000));
        assert_eq!(decimal("10MiB"), Ok(10_000_000));
        assert_eq!(read_size("1.5 kB", Base::Binary), Ok(1536));
        assert_eq!(decimal("big"), Err("invalid size: 'big'".to_owned()));
        assert_eq!(decimal("-1"), Err("invalid size: '-1'".to_owned()));
        assert_eq!(decimal("1x"), Err("invalid suffix: 'x'".to_owned()));
        assert_eq!(decimal("1mm"), Err("invalid suffix: 'mm'".to_owned()));
        assert_eq!(decimal("x1"), Err("strconv.ParseFloat: parsing \"x1\": invalid syntax".to_owned()));
    }

    #[test]
    fn processors_are_read_to_a_billionth() {
        assert_eq!(parse_nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(parse_nano_cpus("x").unwrap_err(), "failed to parse x as a rational number");
        assert_eq!(parse_nano_cpus("0.0000000001").unwrap_err(), "value is too precise");
        assert_eq!(parse_nano_cpus("1/4"), Ok(250_000_000));
        assert_eq!(parse_nano_cpus("5e-1"), Ok(500_000_000));
        assert_eq!(parse_nano_cpus("1/3").unwrap_err(), "value is too precise");
        for bad in ["", "1/0", "1/-2", ".", "1e", "1e99", "99999999999999999999"] {
            assert_eq!(parse_nano_cpus(bad).unwrap_err(), format!("failed to parse {bad} as a rational number"));
        }
    }
}
