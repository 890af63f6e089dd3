//! Constants of a template: numbers, characters, quoted text.

use crate::value::Value;

/// A number in any of Go's spellings.
pub(crate) fn number(text: &str) -> Result<Value, String> {
    if text.ends_with('i') && !text.starts_with("0x") {
        return Err(format!("complex numbers are not supported: {text:?}"));
    }
    let bare = text.replace('_', "");
    let (negative, digits) = match bare.strip_prefix(['+', '-']) {
        Some(digits) => (bare.starts_with('-'), digits),
        None => (false, bare.as_str()),
    };
    let radix = |prefix: [&str; 2]| prefix.iter().find_map(|prefix| digits.strip_prefix(prefix));
    let integer = if let Some(digits) = radix(["0x", "0X"]) {
        u128::from_str_radix(digits, 16).ok()
    } else if let Some(digits) = radix(["0o", "0O"]) {
        u128::from_str_radix(digits, 8).ok()
    } else if let Some(digits) = radix(["0b", "0B"]) {
        u128::from_str_radix(digits, 2).ok()
    } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        u128::from_str_radix(digits, 8).ok()
    } else {
        digits.parse::<u128>().ok()
    };
    if let Some(size) = integer {
        let limit = i64::MAX as u128 + u128::from(negative);
        if size > limit {
            return Err(format!("integer overflow: {text:?}"));
        }
        let value = if negative { -(size as i128) } else { size as i128 };
        return Ok(Value::Int(value as i64));
    }
    let illegal = || format!("illegal number syntax: {text:?}");
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => hexadecimal_float(digits).ok_or_else(illegal)?,
        None => digits.parse::<f64>().map_err(|_| illegal())?,
    };
    if !value.is_finite() || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(illegal());
    }
    let value = if negative { -value } else { value };
    // A float without a fraction counts as a whole number too, but keeps its kind.
    Ok(Value::Float(value))
}

/// `1.8p3`: hexadecimal digits, and a power of two.
fn hexadecimal_float(digits: &str) -> Option<f64> {
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    Some(value * 2f64.powi(shift))
}

/// `'a'`.
pub(crate) fn character(text: &str) -> Result<Value, String> {
    let inner = &text[1..text.len() - 1];
    let read = unescape(inner, '\'').ok_or("invalid syntax")?;
    let mut chars = read.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(Value::Int(i64::from(c as u32))),
        (None, _) => Err("invalid syntax".to_owned()),
        _ => Err(format!("malformed character constant: {text}")),
    }
}

/// `"a\n"`.
pub(crate) fn quoted(text: &str) -> Result<String, String> {
    unescape(&text[1..text.len() - 1], '"').ok_or_else(|| "invalid syntax".to_owned())
}

/// Go's backslash escapes.
fn unescape(text: &str, quote: char) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let kind = rest.chars().next()?;
        let digits = |from: usize, count: usize, radix: u32| {
            let digits = rest.get(from..from + count)?;
            Some((u32::from_str_radix(digits, radix).ok()?, from + count))
        };
        let (code, length, is_byte) = match kind {
            'a' => (0x07, 1, false),
            'b' => (0x08, 1, false),
            'f' => (0x0c, 1, false),
            'n' => (0x0a, 1, false),
            'r' => (0x0d, 1, false),
            't' => (0x09, 1, false),
            'v' => (0x0b, 1, false),
            '\\' => (0x5c, 1, false),
            c if c == quote => (c as u32, 1, false),
            'x' => digits(1, 2, 16).map(|(code, length)| (code, length, true))?,
            'u' => digits(1, 4, 16).map(|(code, length)| (code, length, false))?,
            'U' => digits(1, 8, 16).map(|(code, length)| (code, length, false))?,
            '0'..='7' => digits(0, 3, 8).map(|(code, length)| (code, length, true))?,
            _ => return None,
        };
        if is_byte {
            out.push(u8::try_from(code).ok()?);
        } else {
            out.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).bytes());
        }
        rest = &rest[length..];
    }
    Some(String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
