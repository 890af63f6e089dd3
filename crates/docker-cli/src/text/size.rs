//! Bytes and processors, as people write and read them.

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

/// `512m`, `1.5GiB`, `1024`: powers of 1024 whatever the unit is called.
pub fn parse_bytes(text: &str) -> Option<i64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at(end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if number.starts_with(['-', '+']) {
        return None;
    }
    let value: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = value * 1024_f64.powi(power);
    (bytes.is_finite() && bytes < i64::MAX as f64).then_some(bytes as i64)
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
