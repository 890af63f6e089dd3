//! Go's durations: `1m30s`, `500ms`.

/// Nanoseconds; `None` for what is no duration.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit_end] {
                "ns" => 1.0,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    (total < 9.2e18).then_some(if negative { -(total as i64) } else { total as i64 })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_are_go_s() {
        assert_eq!(parse("1m30s"), Some(90_000_000_000));
        assert_eq!(parse("-1.5ms"), Some(-1_500_000));
        assert_eq!(parse("0"), Some(0));
        for text in ["", "1", "s", "1x", "1s1", "9e99h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
