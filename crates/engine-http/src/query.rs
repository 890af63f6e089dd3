//! Query parameters with Docker's habits: any truthy word is true, filters come in two shapes, times in three.

use engine_api::filters::Filters;

use crate::status::Failure;

/// The parameters of one request, first value of a name wins unless asked for all.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From what stands behind the question mark.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        check_escapes(text)?;
        match serde_urlencoded::from_str(text) {
            Ok(pairs) => Ok(Self(pairs)),
            Err(error) => Err(Failure::bad_request(format!("invalid query: {error}"))),
        }
    }

    /// Forgets the parameters whose names are not wanted.
    pub fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| is_wanted(name));
    }

    /// The value, `None` if it is missing or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Present at all, even with an empty value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Everything but the empty value and the four words for no.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        match self.0.iter().find(|(key, _)| key == name) {
            Some((_, value)) => {
                !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
            }
            None => default,
        }
    }

    /// A number; an error that names the parameter if the value is none.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // In the words of Go's parser, which clients show.
        let wrong = || Failure::bad_request(format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    /// The parameter `filters`.
    pub fn filters(&self) -> Result<Filters, Failure> {
        Ok(Filters::parse(self.text("filters").unwrap_or_default())?)
    }

    /// Seconds since 1970 with a fraction, as clients send times; in nanoseconds. Zero and absence mean: no limit.
    pub fn time_ns(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let time =
            parse_time_ns(text).ok_or_else(|| Failure::bad_request(format!("invalid value for \"{name}\": {text}")))?;
        Ok((time != 0).then_some(time))
    }
}

/// What Go's parser does not take, in its words.
fn check_escapes(text: &str) -> Result<(), Failure> {
    if text.contains(';') {
        return Err(Failure::bad_request("invalid semicolon separator in query"));
    }
    for (at, _) in text.match_indices('%') {
        let escape: String = text[at..].chars().take_while(|c| *c != '&').take(3).collect();
        if escape.len() != 3 || !escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::bad_request(format!("invalid URL escape {escape:?}")));
        }
    }
    Ok(())
}

/// `1700000000`, `1700000000.000000001` or RFC 3339.
pub fn parse_time_ns(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(time.as_nanosecond()).ok();
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// The same, or a duration before `now_ns`: `24h`, `1h30m`.
pub fn parse_time_before_ns(text: &str, now_ns: i64) -> Option<i64> {
    parse_time_ns(text).or_else(|| now_ns.checked_sub(go_text::duration::parse_duration(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query(serde_urlencoded::from_str(text).unwrap())
    }

    #[test]
    fn docker_s_words_for_no_are_false_and_the_rest_is_true() {
        let query = query("a=1&b=false&c=&d=None&e=yes");
        assert_eq!(["a", "b", "c", "d", "e", "f"].map(|n| query.flag(n)), [true, false, false, false, true, false]);
        assert!(query.flag_or("f", true));
    }

    #[test]
    fn what_go_does_not_parse_is_refused_in_its_words() {
        for (text, words) in [
            ("a=%zz", "invalid URL escape \"%zz\""),
            ("a=%4&b=1", "invalid URL escape \"%4\""),
            ("a=1;b=2", "invalid semicolon separator in query"),
        ] {
            assert_eq!(Query::parse(text).err().map(|failure| failure.message).as_deref(), Some(words));
        }
        assert_eq!(
            Query::parse("a=%C3%a9+b").ok().and_then(|query| query.text("a").map(str::to_owned)).unwrap(),
            "é b"
        );
    }

    #[test]
    fn times_are_seconds_with_a_fraction_or_rfc_3339() {
        assert_eq!(parse_time_ns("12"), Some(12_000_000_000));
        assert_eq!(parse_time_ns("12.5"), Some(12_500_000_000));
        assert_eq!(parse_time_ns("1970-01-01T00:00:12.5Z"), Some(12_500_000_000));
        assert_eq!(parse_time_ns("soon"), None);
        assert_eq!(parse_time_before_ns("1m30s", 100_000_000_000), Some(10_000_000_000));
        assert_eq!(parse_time_before_ns("soon", 0), None);
        assert_eq!(parse_time_before_ns("1", 7), Some(1_000_000_000));
        assert_eq!(query("since=0").time_ns("since").unwrap(), None);
    }
}
