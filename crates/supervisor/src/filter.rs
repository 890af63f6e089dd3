//! containerd's filter language: which objects of a list, which events of a stream a caller wants.
//!
//! A filter is a comma-separated list of selectors that all have to hold; of several filters any one suffices. A
//! selector is `field`, `field==value`, `field!=value` or `field~=regex`; a field is a path of names joined by dots, a
//! name that is no plain word is quoted (`labels."io.x/y"`). Regular expressions may be quoted with `|` or `/` as well.
//! The facts are those of containerd's `pkg/filters`. Pure: no I/O.

use std::borrow::Cow;

/// The longest text of one filter that is looked at.
const MAX_FILTER_BYTES: usize = 8 * 1024;
/// The most filters one request may carry.
const MAX_FILTERS: usize = 512;
/// The most memory a compiled expression may take.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Something that filters look into.
pub trait Fields {
    /// The value at a path, `None` where the object has none.
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>>;
}

/// Any of several conjunctions; one without any matches everything.
#[derive(Debug, Default)]
pub struct Filter {
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

#[derive(Debug)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(regex_lite::Regex),
}

impl Filter {
    /// Parses every filter of a request.
    pub fn parse_all<S: AsRef<str>>(filters: &[S]) -> Result<Self, FilterError> {
        if filters.len() > MAX_FILTERS || filters.iter().any(|text| text.as_ref().len() > MAX_FILTER_BYTES) {
            return Err(FilterError::TooLarge);
        }
        let alternatives =
            filters.iter().map(|text| Parser::new(text.as_ref()).conjunction()).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { alternatives })
    }

    pub fn matches(&self, object: &impl Fields) -> bool {
        self.alternatives.is_empty()
            || self.alternatives.iter().any(|all| all.iter().all(|selector| selector.holds(object)))
    }

    /// True when nothing is filtered out.
    pub fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }
}

/// Looks a label up: the rest of the path, joined again, is its name.
pub fn label<'a>(path: &[String], labels: &'a std::collections::HashMap<String, String>) -> Option<Cow<'a, str>> {
    labels.get(&path.join(".")).map(|value| Cow::Borrowed(value.as_str()))
}

/// A field that counts as present only when it is not empty.
pub fn non_empty(value: &str) -> Option<Cow<'_, str>> {
    (!value.is_empty()).then_some(Cow::Borrowed(value))
}

impl Selector {
    fn holds(&self, object: &impl Fields) -> bool {
        let value = object.field(&self.path);
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
    use std::collections::HashMap;

    struct Thing {
        id: String,
        labels: HashMap<String, String>,
    }

    impl Fields for Thing {
        fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
            match path[0].as_str() {
                "id" => non_empty(&self.id),
                "labels" => label(&path[1..], &self.labels),
                _ => None,
            }
        }
    }

    fn thing() -> Thing {
        let labels = [("io.x/y".to_owned(), "a b".to_owned()), ("env".to_owned(), "prod".to_owned())];
        Thing { id: "redis-1".to_owned(), labels: labels.into_iter().collect() }
    }

    #[track_caller]
    fn check(filters: &[&str], expected: bool) {
        let filter = Filter::parse_all(filters).expect("a filter that parses");
        assert_eq!(filter.matches(&thing()), expected, "{filters:?}");
    }

    #[test]
    fn no_filter_matches_everything() {
        check(&[], true);
    }

    #[test]
    fn selectors_of_one_filter_must_all_hold() {
        check(&["id==redis-1,labels.env==prod"], true);
        check(&["id==redis-1,labels.env==test"], false);
    }

    #[test]
    fn one_of_several_filters_suffices() {
        check(&["id==other", "labels.env==prod"], true);
        check(&["id==other", "labels.env==test"], false);
    }

    #[test]
    fn quoted_names_and_values_may_hold_anything() {
        check(&[r#"labels."io.x/y"=="a b""#], true);
        check(&[r#"labels."io.x/y"=="a\x20b""#], true);
        check(&[r#"labels."io.x/y""#], true);
        check(&[r#"labels."io.x/z""#], false);
    }

    #[test]
    fn an_absent_field_differs_from_every_value() {
        check(&["labels.none!=x"], true);
    }

    #[test]
    fn regular_expressions_may_be_quoted_with_bars_and_slashes() {
        check(&["id~=^redis"], true);
        check(&["id~=|^redis-[0-9]$|"], true);
        check(&["id~=/^mysql/"], false);
    }

    #[test]
    fn the_filters_of_dockers_daemon_parse() {
        assert!(Filter::parse_all(&["namespace==moby", "topic~=|^/tasks/|"]).is_ok());
    }

    #[test]
    fn broken_filters_are_refused() {
        for text in ["", ",", "id=", "id==", "id==|x|", "id~=|x", "id=!x", "a..b", "id~=(", "labels.\"x", "id==a b"] {
            assert!(Filter::parse_all(&[text]).is_err(), "{text:?} was taken");
        }
        assert_eq!(Filter::parse_all(&["x".repeat(MAX_FILTER_BYTES + 1)]).err(), Some(FilterError::TooLarge));
    }

    #[test]
    fn multi_byte_characters_never_split() {
        for text in ["é", "id==é", "id=é", "labels.\"é\"==ü", "id==\"\\xé\"", "id~=|é|"] {
            let _ = Filter::parse_all(&[text]).map(|filter| filter.matches(&thing()));
        }
    }
}
