//! Flags behind an instruction's keyword: `--name`, `--name=value`.

use crate::lines::is_blank;
use crate::names::closest;

/// Flags of one instruction.
const MAX_FLAGS: usize = 1000;

/// A flag's message, and the flag that was probably meant.
pub(crate) struct FlagError {
    pub message: String,
    pub hint: Option<String>,
}

impl FlagError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
}

/// The flags as written, and the rest. A lone `--` ends them.
pub(crate) fn take(text: &str, escape: u8) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while rest.starts_with("--") && flags.len() < MAX_FLAGS {
        let (word, behind) = word(rest, char::from(escape));
        rest = behind.trim_start_matches(is_blank);
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest)
}

/// The first word with its quotes and escapes resolved.
fn word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match quote {
            None if is_blank(c) => return (word, &text[at..]),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape && quote != Some('\'') => match characters.next() {
                Some((_, next)) => word.push(next),
                None => return (word, ""),
            },
            _ => word.push(c),
        }
    }
    (word, "")
}

/// The values of an instruction's flags, in the order they stand in.
pub(crate) struct Flags {
    given: Vec<(String, Option<String>)>,
}

impl Flags {
    /// `known` has the names that the instruction has, `repeated` those of them that may stand more than once.
    pub fn parse(flags: &[String], known: &[&str], repeated: &[&str]) -> Result<Self, FlagError> {
        let mut given: Vec<(String, Option<String>)> = Vec::new();
        for flag in flags {
            let text = flag.strip_prefix("--").unwrap_or(flag);
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            if !known.contains(&name) {
                let hint = closest(name, known).map(str::to_owned);
                return Err(FlagError { message: format!("unknown flag: --{name}"), hint });
            }
            if !repeated.contains(&name) && given.iter().any(|(other, _)| other == name) {
                return Err(FlagError::new(format!("duplicate flag specified: {name}")));
            }
            given.push((name.to_owned(), value));
        }
        Ok(Self { given })
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, FlagError> {
        match self.given.iter().find(|(other, _)| other == name) {
            None => Ok(None),
            Some((_, Some(value))) => Ok(Some(value)),
            Some((_, None)) => Err(FlagError::new(format!("missing a value on flag: {name}"))),
        }
    }

    pub fn all(&self, name: &str) -> Result<Vec<String>, FlagError> {
        let given = self.given.iter().filter(|(other, _)| other == name);
        let missing = || FlagError::new(format!("missing a value on flag: {name}"));
        given.map(|(_, value)| value.clone().ok_or_else(missing)).collect()
    }

    pub fn truth(&self, name: &str) -> Result<Option<bool>, FlagError> {
        match self.given.iter().find(|(other, _)| other == name) {
            None => Ok(None),
            Some((_, None)) => Ok(Some(true)),
            Some((_, Some(value))) => match value.to_ascii_lowercase().as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(FlagError::new(format!("expecting boolean value for flag {name}, not: {value}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_with_the_first_other_word() {
        let (flags, rest) = take("--a=\"b c\" --d  x --e", b'\\');
        assert_eq!((flags, rest), (vec!["--a=b c".to_owned(), "--d".to_owned()], "x --e"));
        let (flags, rest) = take("-- --x", b'\\');
        assert_eq!((flags.len(), rest), (0, "--x"));
    }

    #[test]
    fn mistakes_are_told_in_docker_s_words() {
        let parse = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            Flags::parse(&flags, &["chown", "link"], &[])
        };
        let error = parse(&["--chwon=a"]).err().unwrap();
        assert_eq!((error.message.as_str(), error.hint.as_deref()), ("unknown flag: --chwon", Some("chown")));
        assert_eq!(parse(&["--link", "--link"]).err().unwrap().message, "duplicate flag specified: link");
        assert_eq!(
            parse(&["--chown"]).ok().unwrap().text("chown").err().unwrap().message,
            "missing a value on flag: chown"
        );
        let error = parse(&["--link=x"]).ok().unwrap().truth("link").err().unwrap();
        assert_eq!(error.message, "expecting boolean value for flag link, not: x");
    }
}
