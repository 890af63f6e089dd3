//! Text and tokens of a template.

use super::TemplateError;

/// Longest template that is read.
const MAX_SOURCE: usize = 1 << 20;

/// A token with the byte it starts at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub at: usize,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Text(String),
    Open,
    Close,
    /// `.Name`, directly behind what it belongs to when `joined`.
    Field {
        name: String,
        joined: bool,
    },
    Dot,
    Variable(String),
    Word(String),
    Str(String),
    Int(i64),
    Float(f64),
    Pipe,
    Comma,
    Declare,
    Assign,
    LeftParen,
    RightParen,
}

pub(super) fn lex(source: &str) -> Result<Vec<Token>, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::TooLarge(MAX_SOURCE));
    }
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), TemplateError> {
        let mut trim_start = false;
        loop {
            let rest = &self.source[self.at..];
            let open = rest.find("{{");
            let mut text = &rest[..open.unwrap_or(rest.len())];
            if trim_start {
                text = text.trim_start_matches(is_blank);
            }
            let trims_end = open.is_some_and(|at| {
                let inner = &rest[at + 2..];
                inner.starts_with('-') && inner[1..].starts_with(is_blank)
            });
            if trims_end {
                text = text.trim_end_matches(is_blank);
            }
            if !text.is_empty() {
                self.push(Kind::Text(text.to_owned()), self.at);
            }
            let Some(open) = open else { return Ok(()) };
            self.advance(open);
            let start = self.at;
            self.advance(2 + if trims_end { 2 } else { 0 });
            trim_start = self.action(start)?;
        }
    }

    /// Up to the closing braces; answers whether they trim what follows.
    fn action(&mut self, start: usize) -> Result<bool, TemplateError> {
        let rest = self.rest();
        if rest.starts_with("/*") {
            let Some(end) = rest.find("*/") else { return Err(self.error("unclosed comment")) };
            self.advance(end + 2);
            let trims = self.rest().starts_with(" -}}");
            let close = if trims { " -}}" } else { "}}" };
            if !self.rest().starts_with(close) {
                return Err(self.error("comment ends before closing delimiter"));
            }
            self.advance(close.len());
            return Ok(trims);
        }
        self.push(Kind::Open, start);
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Err(self.error("unclosed action"));
            }
            if let Some(close) = closing(rest) {
                self.push(Kind::Close, self.at);
                self.advance(close);
                return Ok(close > 2);
            }
            if rest.starts_with(is_blank) {
                self.advance(1);
                continue;
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> Result<(), TemplateError> {
        let rest = self.rest();
        let at = self.at;
        let first = rest.chars().next().unwrap_or_default();
        let (kind, length) = match first {
            '|' => (Kind::Pipe, 1),
            ',' => (Kind::Comma, 1),
            '(' => (Kind::LeftParen, 1),
            ')' => (Kind::RightParen, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            '=' => (Kind::Assign, 1),
            '"' => self.quoted()?,
            '`' => self.raw()?,
            '\'' => self.character()?,
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.field(),
            '$' => {
                let name = word(&rest[1..]);
                (Kind::Variable(format!("${name}")), 1 + name.len())
            }
            '0'..='9' | '-' | '+' | '.' => self.number()?,
            c if c.is_alphabetic() || c == '_' => {
                let name = word(rest);
                (Kind::Word(name.to_owned()), name.len())
            }
            c => return Err(self.error(format!("unrecognized character in action: U+{:04X} {c:?}", c as u32))),
        };
        self.push(kind, at);
        self.advance(length);
        Ok(())
    }

    fn field(&self) -> (Kind, usize) {
        let name = word(&self.rest()[1..]);
        if name.is_empty() {
            return (Kind::Dot, 1);
        }
        let joined = self.source[..self.at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | '$'));
        (Kind::Field { name: name.to_owned(), joined }, 1 + name.len())
    }

    fn quoted(&self) -> Result<(Kind, usize), TemplateError> {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = unescape(&rest[1..at]).ok_or_else(|| self.error("invalid syntax"))?;
                    return Ok((Kind::Str(text), at + 1));
                }
                _ => {}
            }
        }
        Err(self.error("unterminated quoted string"))
    }

    fn raw(&self) -> Result<(Kind, usize), TemplateError> {
        let rest = &self.rest()[1..];
        let Some(end) = rest.find('`') else { return Err(self.error("unterminated raw quoted string")) };
        Ok((Kind::Str(rest[..end].to_owned()), end + 2))
    }

    fn character(&self) -> Result<(Kind, usize), TemplateError> {
        let rest = &self.rest()[1..];
        let from = usize::from(rest.starts_with('\\')) + 1;
        let end = rest.char_indices().skip(from).find(|(_, c)| *c == '\'').map(|(at, _)| at);
        let one = end.and_then(|end| unescape(&rest[..end])).filter(|text| text.chars().count() == 1);
        match (end, one.and_then(|text| text.chars().next())) {
            (Some(end), Some(c)) => Ok((Kind::Int(i64::from(c as u32)), end + 2)),
            _ => Err(self.error("unterminated character constant")),
        }
    }

    fn number(&self) -> Result<(Kind, usize), TemplateError> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['-', '+']));
        let end = rest[sign..]
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_'))
            .map_or(rest.len(), |at| at + sign);
        let text = &rest[..end];
        let hexadecimal = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
        if let Some(value) = hexadecimal.or_else(|| text.parse().ok()) {
            return Ok((Kind::Int(value), end));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok((Kind::Float(value), end)),
            _ => Err(self.error(format!("bad number syntax: {text:?}"))),
        }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.matches('\n').count();
        self.at += bytes;
    }

    fn push(&mut self, kind: Kind, at: usize) {
        self.tokens.push(Token { kind, at, line: self.line });
    }

    fn error(&self, reason: impl Into<String>) -> TemplateError {
        TemplateError::Parse { line: self.line, reason: reason.into() }
    }
}

/// Bytes of a closing delimiter at the start, with its trim marker.
fn closing(rest: &str) -> Option<usize> {
    if rest.starts_with("}}") {
        return Some(2);
    }
    let blank = rest.chars().next().filter(|c| is_blank(*c))?;
    rest[blank.len_utf8()..].starts_with("-}}").then_some(4)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Go's backslash escapes.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = |chars: &mut std::str::Chars<'_>, count: usize| {
            let text: String = chars.by_ref().take(count).collect();
            u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == count).and_then(char::from_u32)
        };
        out.push(match chars.next()? {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => digits(&mut chars, 2)?,
            'u' => digits(&mut chars, 4)?,
            'U' => digits(&mut chars, 8)?,
            other @ ('\\' | '\'' | '"') => other,
            _ => return None,
        });
    }
    Some(out)
}
