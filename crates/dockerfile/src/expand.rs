//! Words with their variables, quotes and escapes resolved, as Docker's builder does it (a part of what a shell does).

use crate::MAX_EXPANDED_BYTES;
use crate::glob::Glob;
use crate::lines::is_blank;

/// `${a:-${b:-…}}`: words within words.
const DEEPEST: usize = 64;
/// The longest value that a pattern is matched against.
const MAX_PATTERN_TEXT: usize = 32 << 10;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpandError(String);

/// Expands words with the variables that `lookup` knows; it is asked for every name that is used.
pub struct Expander<'a> {
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Quotes stay, for texts whose own reader resolves them (here-documents).
    keep_quotes: bool,
}

impl<'a> Expander<'a> {
    /// `escape` is that of the file's directives.
    pub fn new(escape: u8, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { escape: char::from(escape), lookup, keep_quotes: false }
    }

    /// Leaves quotes in the text.
    pub fn keeping_quotes(mut self) -> Self {
        self.keep_quotes = true;
        self
    }

    /// One word, whatever blanks it has.
    pub fn word(&self, text: &str) -> Result<String, ExpandError> {
        Ok(self.run(text)?.0)
    }

    /// Several: a value with blanks outside of quotes becomes several words.
    pub fn words(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        Ok(self.run(text)?.1)
    }

    fn run(&self, text: &str) -> Result<(String, Vec<String>), ExpandError> {
        let characters: Vec<char> = text.chars().collect();
        let mut scan = Scan { expander: self, text: &characters, at: 0, depth: 0 };
        let mut out = Output::default();
        scan.until(None, &mut out).map_err(|message| {
            ExpandError(format!("failed to process {}: {message}", serde_json::Value::from(text)))
        })?;
        out.end_word();
        Ok((out.word, out.words))
    }
}

/// The whole as one word, and as words.
#[derive(Default)]
struct Output {
    word: String,
    words: Vec<String>,
    part: String,
    /// A word is under way, be it empty (`""`).
    open: bool,
}

impl Output {
    fn push(&mut self, c: char) {
        self.word.push(c);
        self.part.push(c);
        self.open = true;
    }

    fn push_text(&mut self, text: &str) {
        self.word.push_str(text);
        self.part.push_str(text);
        self.open |= !text.is_empty();
    }

    /// An unquoted value: its blanks divide words.
    fn push_split(&mut self, text: &str) {
        self.word.push_str(text);
        for c in text.chars() {
            if is_blank(c) || c == '\n' {
                self.end_word();
            } else {
                self.part.push(c);
                self.open = true;
            }
        }
    }

    fn end_word(&mut self) {
        if std::mem::take(&mut self.open) {
            self.words.push(std::mem::take(&mut self.part));
        }
    }
}

struct Scan<'a, 'b> {
    expander: &'a Expander<'b>,
    text: &'a [char],
    at: usize,
    depth: usize,
}

type Scanned<T> = Result<T, String>;

impl Scan<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Up to a character that ends it (which is taken), or to the end.
    fn until(&mut self, stop: Option<char>, out: &mut Output) -> Scanned<bool> {
        while let Some(c) = self.next() {
            if Some(c) == stop {
                return Ok(true);
            }
            if out.word.len() > MAX_EXPANDED_BYTES {
                return Err(format!("more than {MAX_EXPANDED_BYTES} bytes"));
            }
            match c {
                '\'' => self.single_quoted(out)?,
                '"' => self.double_quoted(out)?,
                '$' => {
                    let value = self.dollar()?;
                    out.push_split(&value);
                }
                c if c == self.expander.escape => self.escaped(c, out),
                c if is_blank(c) => {
                    out.word.push(c);
                    out.end_word();
                }
                c => out.push(c),
            }
        }
        Ok(false)
    }

    fn escaped(&mut self, escape: char, out: &mut Output) {
        if self.expander.keep_quotes {
            out.push(escape);
        }
        // One at the very end vanishes, as in Docker.
        if let Some(next) = self.next() {
            out.push(next);
        }
    }

    fn single_quoted(&mut self, out: &mut Output) -> Scanned<()> {
        let keep = self.expander.keep_quotes;
        if keep {
            out.push('\'');
        }
        out.open = true;
        loop {
            match self.next() {
                Some('\'') => break,
                Some(c) => out.push(c),
                None if keep => return Ok(()),
                None => return Err("unexpected end of statement while looking for matching single-quote".to_owned()),
            }
        }
        if keep {
            out.push('\'');
        }
        Ok(())
    }

    fn double_quoted(&mut self, out: &mut Output) -> Scanned<()> {
        let keep = self.expander.keep_quotes;
        if keep {
            out.push('"');
        }
        out.open = true;
        loop {
            match self.next() {
                Some('"') => break,
                Some('$') => {
                    let value = self.dollar()?;
                    out.push_text(&value);
                }
                Some(c) if c == self.expander.escape => match self.peek() {
                    Some(next) if matches!(next, '"' | '$') || next == c => {
                        if keep {
                            out.push(c);
                        }
                        out.push(next);
                        self.at += 1;
                    }
                    _ => out.push(c),
                },
                Some(c) => out.push(c),
                None if keep => return Ok(()),
                None => return Err("unexpected end of statement while looking for matching double-quote".to_owned()),
            }
        }
        if keep {
            out.push('"');
        }
        Ok(())
    }

    /// Behind a dollar.
    fn dollar(&mut self) -> Scanned<String> {
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        self.at += 1;
        if matches!(self.peek(), None | Some('}' | ':')) {
            return Err("syntax error: bad substitution".to_owned());
        }
        let name = self.name();
        let value = self.value(&name);
        match self.next() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let modifier = self.next();
                self.conditional(&name, value.filter(|value| !value.is_empty()), modifier, "empty")
            }
            Some(c @ ('+' | '-' | '?')) => self.conditional(&name, value, Some(c), "unset"),
            Some(c @ ('#' | '%')) => self.strip(&value.unwrap_or_default(), c),
            Some('/') => self.replace(&value.unwrap_or_default()),
            Some(c) => Err(format!("unsupported modifier ({c}) in substitution")),
            None => Err("syntax error: missing '}'".to_owned()),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.expander.lookup)(name)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let first = name.is_empty();
            if first && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.at += 1;
                return c.to_string();
            }
            let digits = name.starts_with(|c: char| c.is_ascii_digit());
            let fits = if digits { c.is_ascii_digit() } else { c.is_ascii_alphanumeric() || c == '_' };
            if !fits {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }

    /// `-`, `+` and `?` with the word behind it.
    fn conditional(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: Option<char>,
        lack: &str,
    ) -> Scanned<String> {
        let Some(modifier @ ('+' | '-' | '?')) = modifier else {
            return match modifier {
                Some(c) => Err(format!("unsupported modifier ({c}) in substitution")),
                None => Err("syntax error: missing '}'".to_owned()),
            };
        };
        let word = self.inner(Some('}'))?;
        match (modifier, value) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            _ if word.is_empty() => Err(format!("{name}: is not allowed to be {lack}")),
            _ => Err(format!("{name}: {word}")),
        }
    }

    /// A word inside of braces.
    fn inner(&mut self, stop: Option<char>) -> Scanned<String> {
        if self.depth >= DEEPEST {
            return Err("variables are nested too deeply".to_owned());
        }
        self.depth += 1;
        let mut out = Output::default();
        let ended = self.until(stop, &mut out);
        self.depth -= 1;
        if ended? { Ok(out.word) } else { Err("syntax error: missing '}'".to_owned()) }
    }

    /// `#`, `##`, `%`, `%%`.
    fn strip(&mut self, value: &str, side: char) -> Scanned<String> {
        let greedy = self.peek() == Some(side);
        self.at += usize::from(greedy);
        let glob = self.pattern('}')?;
        let mut characters = bounded(value)?;
        let glob = if side == '%' {
            characters.reverse();
            glob.reversed()
        } else {
            glob
        };
        let lengths = glob.prefixes(&characters);
        let length = if greedy { lengths.last() } else { lengths.first() }.copied().unwrap_or(0);
        let mut rest = characters.split_off(length);
        if side == '%' {
            rest.reverse();
        }
        Ok(rest.into_iter().collect())
    }

    /// `/pattern/word` and `//pattern/word`.
    fn replace(&mut self, value: &str) -> Scanned<String> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let glob = self.pattern('/')?;
        let replacement = self.inner(Some('}'))?;
        let characters = bounded(value)?;
        let mut out = String::new();
        let (mut at, mut done) = (0, false);
        while at < characters.len() {
            let length = match done && !all {
                true => 0,
                false => glob.prefixes(&characters[at..]).last().copied().unwrap_or(0),
            };
            if length == 0 {
                out.push(characters[at]);
                at += 1;
                continue;
            }
            out.push_str(&replacement);
            if out.len() > MAX_EXPANDED_BYTES {
                return Err(format!("more than {MAX_EXPANDED_BYTES} bytes"));
            }
            at += length;
            done = true;
        }
        Ok(out)
    }

    /// A pattern's text: variables are expanded, escapes are the pattern's own.
    fn pattern(&mut self, stop: char) -> Scanned<Glob> {
        let escape = self.expander.escape;
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == stop => break,
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == escape => {
                    text.push(c);
                    text.extend(self.next());
                }
                Some(c) => text.push(c),
                None if stop == '/' => return Err("syntax error: missing '/' in ${}".to_owned()),
                None => return Err("syntax error: missing '}'".to_owned()),
            }
        }
        Glob::text(&text, escape).ok_or_else(|| format!("invalid pattern ({text}) in substitution"))
    }
}

fn bounded(value: &str) -> Scanned<Vec<char>> {
    if value.len() > MAX_PATTERN_TEXT {
        return Err(format!("a pattern is matched against no more than {MAX_PATTERN_TEXT} bytes"));
    }
    Ok(value.chars().collect())
}

#[cfg(test)]
mod tests;
