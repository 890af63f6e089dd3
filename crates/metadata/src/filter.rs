//! containerd's filter language: `fieldpath[operator value]`, joined by commas; several filters are alternatives.
//!
//! `name==foo,labels."very complex label"` wants both; operators are `==`, `!=` and `~=` (regular expression). A part
//! of a path, and a value, may be quoted with `"`; the value of `~=` also with `/` or `|`.

use errors::{ErrorKind, Kind};
use regex_lite::{Regex, RegexBuilder};

/// No filter is longer; containerd has no limit here, callers have no need.
const MAX_FILTER_BYTES: usize = 16 * 1024;
const MAX_FILTERS: usize = 1024;
/// Bound on a compiled expression: it comes from a client.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Alternatives; an empty list matches everything.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    alternatives: Vec<Vec<Selector>>,
}

/// A filter that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filters: parse error: [{text} >|{rest}|<]: {reason}")]
pub struct FilterError {
    text: String,
    rest: String,
    reason: String,
}

impl Kind for FilterError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

#[derive(Debug, Clone)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

impl Filters {
    pub fn parse(filters: &[String]) -> Result<Self, FilterError> {
        if filters.len() > MAX_FILTERS {
            return Err(FilterError { text: String::new(), rest: String::new(), reason: "too many filters".into() });
        }
        let alternatives = filters.iter().map(|filter| Parser::new(filter)?.filter()).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether a thing matches; `field` answers the value at a path such as `["labels", "a.b/c"]`, if there is one.
    pub fn matches(&self, field: impl Fn(&[&str]) -> Option<String>) -> bool {
        let selected = |selector: &Selector| {
            let path: Vec<&str> = selector.path.iter().map(String::as_str).collect();
            let found = field(&path);
            match &selector.test {
                Test::Present => found.is_some(),
                Test::Equal(value) => found.as_ref() == Some(value),
                Test::NotEqual(value) => found.as_ref() != Some(value),
                Test::Matches(expression) => found.is_some_and(|found| expression.is_match(&found)),
            }
        };
        self.alternatives.is_empty() || self.alternatives.iter().any(|all| all.iter().all(selected))
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, FilterError> {
        if text.len() > MAX_FILTER_BYTES {
            let text = text.chars().take(64).collect();
            return Err(FilterError { text, rest: String::new(), reason: "filter too long".into() });
        }
        Ok(Self { text, rest: text })
    }

    fn fail<T>(&self, reason: &str) -> Result<T, FilterError> {
        let text = self.text[..self.text.len() - self.rest.len()].to_owned();
        Err(FilterError { text, rest: self.rest.to_owned(), reason: reason.to_owned() })
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn filter(mut self) -> Result<Vec<Selector>, FilterError> {
        let mut selectors = Vec::new();
        while !self.rest.is_empty() {
            selectors.push(self.selector()?);
            if !self.rest.is_empty() && !self.take(",") {
                return self.fail("expected a separator");
            }
        }
        Ok(selectors)
    }

    fn selector(&mut self) -> Result<Selector, FilterError> {
        let mut path = vec![self.field()?];
        while self.take(".") {
            path.push(self.field()?);
        }
        let test = if self.take("==") {
            Test::Equal(self.value("\"")?)
        } else if self.take("!=") {
            Test::NotEqual(self.value("\"")?)
        } else if self.take("~=") {
            let value = self.value("\"/|")?;
            match RegexBuilder::new(&value).size_limit(MAX_REGEX_BYTES).build() {
                Ok(expression) => Test::Matches(expression),
                Err(error) => return self.fail(&error.to_string()),
            }
        } else {
            Test::Present
        };
        Ok(Selector { path, test })
    }

    fn field(&mut self) -> Result<String, FilterError> {
        if self.rest.starts_with('"') {
            return self.quoted('"');
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        if end == 0 {
            return self.fail("expected field or quoted");
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(field.to_owned())
    }

    fn value(&mut self, quotes: &str) -> Result<String, FilterError> {
        if let Some(quote) = self.rest.chars().next().filter(|first| quotes.contains(*first)) {
            return self.quoted(quote);
        }
        let end = self.rest.find(|c: char| c == ',' || c.is_whitespace() || c.is_control()).unwrap_or(self.rest.len());
        if end == 0 {
            return self.fail("expected value or quoted");
        }
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(value.to_owned())
    }

    /// Go's string escapes as far as they occur; in `/` and `|` quotes only the quote itself is escaped, so that
    /// an expression's own backslashes stay.
    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            if character == quote {
                self.rest = &self.rest[index + character.len_utf8()..];
                return Ok(value);
            }
            if character != '\\' {
                value.push(character);
                continue;
            }
            match characters.next() {
                Some((_, escaped)) if escaped == quote => value.push(quote),
                Some((_, escaped)) if quote != '"' => value.extend(['\\', escaped]),
                Some((_, '\\')) => value.push('\\'),
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                _ => return self.fail("unknown escape in quoted value"),
            }
        }
        self.fail("quoted literal not terminated")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(path: &[&str]) -> Option<String> {
        match path {
            ["name"] => Some("docker.io/library/busybox:latest".into()),
            ["labels", "a.b/c"] => Some("x, y".into()),
            ["labels", "empty"] => Some(String::new()),
            _ => None,
        }
    }

    fn matches(filters: &[&str]) -> bool {
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        Filters::parse(&filters).expect("filter").matches(image)
    }

    #[test]
    fn selectors_are_joined_and_filters_are_alternatives() {
        assert!(matches(&[]));
        assert!(matches(&[""]));
        assert!(matches(&["name==docker.io/library/busybox:latest"]));
        assert!(matches(&["name==nothing", r#"labels."a.b/c""#]));
        assert!(!matches(&[r#"name==nothing,labels."a.b/c""#]));
        assert!(matches(&[r#"labels."a.b/c"=="x, y",name!=z"#]));
        assert!(matches(&["labels.missing!=x"]));
        assert!(!matches(&["labels.missing"]));
        assert!(matches(&["labels.empty"]));
    }

    #[test]
    fn an_expression_may_be_quoted_in_three_ways() {
        for filter in ["name~=busybox", "name~=/library\\/busy/", "name~=|^docker\\.io/|", "name~=\"busybox:.*\""] {
            assert!(matches(&[filter]), "{filter}");
        }
        assert!(!matches(&["name~=^busybox"]));
    }

    #[test]
    fn a_broken_filter_is_refused_with_its_place() {
        for filter in ["==x", "name==", "name=x", "name~=(", "labels.\"a", "name==a b"] {
            assert!(Filters::parse(&[filter.to_owned()]).is_err(), "{filter}");
        }
        let error = Filters::parse(&["name==".to_owned()]).expect_err("no value");
        assert_eq!(error.to_string(), "filters: parse error: [name== >||<]: expected value or quoted");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}|[a-z.,=!~\"/|\\\\]{0,40}") {
            let _ = Filters::parse(&[text]);
        }
    }
}
