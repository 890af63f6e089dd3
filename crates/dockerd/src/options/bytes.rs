//! Sizes as Docker's options write them: `64m`, `1.5GiB`, `65536`.

/// Bytes; units are powers of 1024.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let power = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(power);
    (bytes.is_finite() && bytes < 9.0e18).then_some(bytes as i64)
}

/// The member of a file: a number of bytes or a text.
pub fn from_json<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    use serde::Deserialize;
    use serde::de::Error;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(i64),
        Text(String),
    }
    match Option::<Size>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Size::Number(bytes)) => Ok(Some(bytes)),
        Some(Size::Text(text)) => {
            parse(&text).map(Some).ok_or_else(|| D::Error::custom(format!("invalid size: '{text}'")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("64m", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("65536", Some(65536)),
            ("2kb", Some(2048)),
            ("0b", Some(0)),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
        for text in ["", "m", "-1", "1x", "1 2", "99999999999p"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
