//! containerd's filter language: which objects of a list, which events of a stream a caller wants.
//!
//! A filter is a comma-separated list of selectors that all have to hold; of several filters any one suffices. A
//! selector is `field`, `field==value`, `field!=value` or `field~=regex`; a field is a path of names joined by dots, a
//! name that is no plain word is quoted (`labels."io.x/y"`). Regular expressions may be quoted with `|` or `/` as well.
//! The facts are those of containerd's `pkg/filters`. Pure: no I/O.

use errors::{ErrorKind, Kind};
use std::borrow::Cow;

/// The longest text of one filter that is looked at.
const MAX_FILTER_BYTES: usize = 8 * 1024;
/// The most filters one request may carry.
const MAX_FILTERS: usize = 512;
/// The most memory a compiled expression may take.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Any of several conjunctions; one without any matches everything.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    alternatives: Vec<Vec<Selector>>,
}

/// Why a filter was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    #[error("filters: parse error: [{input}] at {position}: {message}")]
    Syntax { input: String, position: usize, message: &'static str },
    #[error("filters: {pattern:?} is no regular expression: {message}")]
    Regex { pattern: String, message: String },
    #[error("filters: more than {MAX_FILTERS} filters, or one of more than {MAX_FILTER_BYTES} bytes")]
    TooLarge,
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
    Matches(regex_lite::Regex),
}

impl Filters {
    /// Parses every filter of a request; an empty text lets everything through.
    pub fn parse<S: AsRef<str>>(filters: &[S]) -> Result<Self, FilterError> {
        if filters.len() > MAX_FILTERS || filters.iter().any(|text| text.as_ref().len() > MAX_FILTER_BYTES) {
            return Err(FilterError::TooLarge);
        }
        let parse = |text: &S| match text.as_ref() {
            "" => Ok(Vec::new()),
            text => Parser::new(text).conjunction(),
        };
        Ok(Self { alternatives: filters.iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Whether a thing matches; `field` answers the value at a path such as `["labels", "a.b/c"]`, if there is one.
    pub fn matches<'a, F: Into<Cow<'a, str>>>(&self, field: impl Fn(&[&str]) -> Option<F>) -> bool {
        self.alternatives.is_empty()
            || self
                .alternatives
                .iter()
                .any(|all| all.iter().all(|selector| selector.holds(&|path: &[&str]| field(path).map(Into::into))))
    }

    /// True when nothing is filtered out.
    pub fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }
}

impl Selector {
    fn holds<'a>(&self, field: &impl Fn(&[&str]) -> Option<Cow<'a, str>>) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let value = field(&path);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.as_deref() == Some(wanted.as_str()),
            Test::NotEqual(unwanted) => value.as_deref().unwrap_or("") != unwanted,
            Test::Matches(regex) => regex.is_match(value.as_deref().unwrap_or("")),
        }
    }
}

struct Parser<'a> {
    input: &'a str,
    position: usize,
}

impl<'a> Parser<'a> {
    fn new(input: &'a str) -> Self {
        Self { input, position: 0 }
    }

    fn conjunction(mut self) -> Result<Vec<Selector>, FilterError> {
        let mut selectors = vec![self.selector()?];
        loop {
            match self.peek() {
                None => return Ok(selectors),
                Some(',') => {
                    self.bump();
                    selectors.push(self.selector()?);
                }
                Some(_) => return Err(self.error("unexpected input")),
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, FilterError> {
        let mut path = vec![self.name()?];
        while self.peek() == Some('.') {
            self.bump();
            path.push(self.name()?);
        }
        let test = match self.peek() {
            None | Some(',') => Test::Present,
            Some(_) => self.test()?,
        };
        Ok(Selector { path, test })
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        let rest = &self.input[self.position..];
        let operator = rest.get(..2).unwrap_or("");
        if !matches!(operator, "==" | "!=" | "~=") {
            return Err(self.error("expected an operator (\"==\"|\"!=\"|\"~=\")"));
        }
        self.position += 2;
        let value = self.value(operator == "~=")?;
        Ok(match operator {
            "==" => Test::Equal(value),
            "!=" => Test::NotEqual(value),
            _ => Test::Matches(compile(value)?),
        })
    }

    fn name(&mut self) -> Result<String, FilterError> {
        match self.peek() {
            Some('"') => self.quoted(),
            Some(first) if is_word(first) => {
                let rest = &self.input[self.position..];
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                self.position += length;
                Ok(rest[..length].to_owned())
            }
            _ => Err(self.error("expected field or quoted")),
        }
    }

    fn value(&mut self, is_regex: bool) -> Result<String, FilterError> {
        match self.peek() {
            Some('"') => self.quoted(),
            Some('|' | '/') if is_regex => self.quoted(),
            None | Some(',' | '|' | '/') => Err(self.error("expected value or quoted")),
            Some(_) => {
                let rest = &self.input[self.position..];
                let length = rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len());
                self.position += length;
                Ok(rest[..length].to_owned())
            }
        }
    }

    /// A literal between two equal quotes, with the escapes of a Go string.
    fn quoted(&mut self) -> Result<String, FilterError> {
        let Some(quote) = self.bump() else { return Err(self.error("expected a quote")) };
        let mut text = String::new();
        loop {
            match self.bump() {
                None | Some('\n') => return Err(self.error("quoted literal not terminated")),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.push(self.escape(quote)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, FilterError> {
        let Some(c) = self.bump() else { return Err(self.error("quoted literal not terminated")) };
        let character = match c {
            'a' => '\u{07}',
            'b' => '\u{08}',
            'f' => '\u{0c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{0b}',
            '\\' => '\\',
            'x' => self.number(16, 2)?,
            'u' => self.number(16, 4)?,
            'U' => self.number(16, 8)?,
            '0'..='7' => {
                self.position -= 1;
                self.number(8, 3)?
            }
            c if c == quote => c,
            _ => return Err(self.error("illegal escape sequence")),
        };
        Ok(character)
    }

    fn number(&mut self, radix: u32, digits: usize) -> Result<char, FilterError> {
        let value = self
            .input
            .get(self.position..self.position + digits)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|text| u32::from_str_radix(text, radix).ok())
            .and_then(char::from_u32);
        match value {
            Some(character) => {
                self.position += digits;
                Ok(character)
            }
            None => Err(self.error("illegal numeric escape sequence")),
        }
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.input[self.position..];
        let trimmed = rest.trim_start();
        self.position += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.input[self.position..].chars().next()?;
        self.position += next.len_utf8();
        Some(next)
    }

    fn error(&self, message: &'static str) -> FilterError {
        FilterError::Syntax { input: self.input.to_owned(), position: self.position, message }
    }
}

fn compile(pattern: String) -> Result<regex_lite::Regex, FilterError> {
    regex_lite::RegexBuilder::new(&pattern)
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| FilterError::Regex { message: error.to_string(), pattern })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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
        for filter in ["name~=busybox", "name~=/library\\/busy/", "name~=|^docker\\\\.io/|", "name~=\"busybox:.*\""] {
            assert!(matches(&[filter]), "{filter}");
        }
        assert!(!matches(&["name~=^busybox"]));
    }

    #[test]
    fn a_broken_filter_is_refused_with_its_place() {
        for filter in
            ["==x", "name==", "name=x", "name~=(", "labels.\"a", "name==a b", ",", "id==|x|", "id~=|x", "id=!x", "a..b"]
        {
            assert!(Filters::parse(&[filter]).is_err(), "{filter}");
        }
        let error = Filters::parse(&["name=="]).expect_err("no value");
        assert_eq!(error.to_string(), "filters: parse error: [name==] at 6: expected value or quoted");
        assert_eq!(Filters::parse(&["x".repeat(MAX_FILTER_BYTES + 1)]).err(), Some(FilterError::TooLarge));
    }

    #[test]
    fn the_filters_of_dockers_daemon_parse() {
        assert!(Filters::parse(&["namespace==moby", "topic~=|^/tasks/|"]).is_ok());
    }

    #[test]
    fn a_quoted_value_has_the_escapes_of_go() {
        assert!(matches(&[r#"labels."a.b/c"=="x,\x20y""#]));
        for text in ["é", "id==é", "id=é", "labels.\"é\"==ü", "id==\"\\xé\"", "id~=|é|"] {
            let _ = Filters::parse(&[text]).map(|filter| filter.matches(image));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}|[a-z.,=!~\"/|\\\\]{0,40}") {
            let _ = Filters::parse(&[text]);
        }
    }
}
