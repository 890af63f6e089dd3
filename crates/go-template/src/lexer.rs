//! Text and tokens of a template.

use std::fmt;

/// A token, where it starts, and on which line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub text: String,
    pub at: usize,
    pub line: usize,
    /// Blanks stand before it.
    pub spaced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Outside of actions.
    Text,
    Open,
    Close,
    /// `.Name`.
    Field,
    Dot,
    /// `$name`.
    Variable,
    /// A function.
    Name,
    Bool,
    Nil,
    /// `if`, `range`, `define`, …
    Keyword,
    /// In double quotes.
    Quoted,
    /// In backquotes.
    Raw,
    Character,
    Number,
    Pipe,
    Declare,
    Assign,
    LeftParen,
    RightParen,
    /// Any other character that can be printed.
    Char,
    /// The source cannot be read on from here; the text says why.
    Wrong,
    End,
}

const KEYWORDS: &[&str] = &["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// As errors name it.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::End => f.write_str("EOF"),
            Kind::Wrong => f.write_str(&self.text),
            Kind::Keyword | Kind::Dot | Kind::Nil => write!(f, "<{}>", self.text),
            _ if self.text.chars().count() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                write!(f, "{head:?}...")
            }
            _ => write!(f, "{:?}", self.text),
        }
    }
}

/// All tokens; the last one is the end, or what is wrong.
pub(crate) fn lex(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { source, at: 0, line: 1, parens: 0, spaced: false, tokens: Vec::new() };
    if let Err(reason) = lexer.run() {
        lexer.push(Kind::Wrong, reason, lexer.at);
    }
    lexer.push(Kind::End, String::new(), source.len());
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    parens: usize,
    spaced: bool,
    tokens: Vec<Token>,
}

type Lexed<T> = Result<T, String>;

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Lexed<()> {
        let mut trims = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let whole = &rest[..open.unwrap_or(rest.len())];
            let mut text = if trims { whole.trim_start_matches(is_blank) } else { whole };
            let start = self.at + whole.len() - text.len();
            let marked = open.is_some_and(|at| trim_marker(&rest[at + 2..]));
            if marked {
                text = text.trim_end_matches(is_blank);
            }
            if !text.is_empty() {
                self.push(Kind::Text, text.to_owned(), start);
            }
            let Some(open) = open else { return Ok(()) };
            self.advance(open);
            let start = self.at;
            // The blank behind a trim marker belongs to it.
            self.advance(if marked { 4 } else { 2 });
            trims = if self.rest().starts_with("/*") { self.comment()? } else { self.action(start)? };
        }
    }

    /// Answers whether it trims what follows.
    fn comment(&mut self) -> Lexed<bool> {
        let end = self.rest().find("*/").ok_or("unclosed comment")?;
        self.advance(end + 2);
        let length = closing(self.rest()).ok_or("comment ends before closing delimiter")?;
        self.advance(length);
        Ok(length > 2)
    }

    /// Up to the closing braces; answers whether they trim what follows.
    fn action(&mut self, start: usize) -> Lexed<bool> {
        self.push(Kind::Open, "{{".to_owned(), start);
        self.parens = 0;
        self.spaced = false;
        loop {
            let rest = self.rest();
            if let Some(length) = closing(rest) {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.push(Kind::Close, "}}".to_owned(), self.at);
                self.advance(length);
                return Ok(length > 2);
            }
            let Some(first) = rest.chars().next() else { return Err("unclosed action".to_owned()) };
            if is_blank(first) {
                self.spaced = true;
                self.advance(1);
                continue;
            }
            let (kind, length) = self.token(first)?;
            self.push(kind, rest[..length].to_owned(), self.at);
            self.advance(length);
        }
    }

    fn token(&mut self, first: char) -> Lexed<(Kind, usize)> {
        let rest = self.rest();
        let digit_follows = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        Ok(match first {
            '|' => (Kind::Pipe, 1),
            '=' => (Kind::Assign, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '(' => {
                self.parens += 1;
                (Kind::LeftParen, 1)
            }
            ')' => {
                self.parens = self.parens.checked_sub(1).ok_or("unexpected right paren")?;
                (Kind::RightParen, 1)
            }
            '"' => (Kind::Quoted, quoted(rest, '"').ok_or("unterminated quoted string")?),
            '\'' => (Kind::Character, quoted(rest, '\'').ok_or("unterminated character constant")?),
            '`' => (Kind::Raw, rest[1..].find('`').ok_or("unterminated raw quoted string")? + 2),
            '.' if !digit_follows => match word_length(&rest[1..]) {
                0 => (Kind::Dot, 1),
                length => (Kind::Field, self.ended(1 + length)?),
            },
            '$' => (Kind::Variable, self.ended(1 + word_length(&rest[1..]))?),
            '+' | '-' | '.' | '0'..='9' => (Kind::Number, number(rest)?),
            c if c.is_alphanumeric() || c == '_' => {
                let length = self.ended(word_length(rest))?;
                (kind_of_word(&rest[..length]), length)
            }
            c if c.is_ascii_graphic() => (Kind::Char, 1),
            c => return Err(format!("unrecognized character in action: U+{:04X} {c:?}", c as u32)),
        })
    }

    /// A word must be followed by something that ends it.
    fn ended(&self, length: usize) -> Lexed<usize> {
        let behind = &self.rest()[length..];
        match behind.chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(length),
            Some(_) if behind.starts_with("}}") => Ok(length),
            Some(c) => Err(format!("bad character U+{:04X} '{c}'", c as u32)),
        }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.source[self.at..self.at + bytes].matches('\n').count();
        self.at += bytes;
    }

    fn push(&mut self, kind: Kind, text: String, at: usize) {
        let spaced = std::mem::take(&mut self.spaced);
        self.tokens.push(Token { kind, text, at, line: self.line, spaced });
    }
}

fn kind_of_word(word: &str) -> Kind {
    match word {
        "true" | "false" => Kind::Bool,
        "nil" => Kind::Nil,
        word if KEYWORDS.contains(&word) => Kind::Keyword,
        _ => Kind::Name,
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// `- ` behind an opening delimiter.
fn trim_marker(inner: &str) -> bool {
    inner.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_blank))
}

/// Bytes of a closing delimiter at the start, with its trim marker.
fn closing(rest: &str) -> Option<usize> {
    if rest.starts_with("}}") {
        return Some(2);
    }
    (rest.starts_with(is_blank) && rest[1..].starts_with("-}}")).then_some(4)
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Bytes up to the closing quote on the same line.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Bytes that look like a number; whether they are one is the parser's to say.
fn number(rest: &str) -> Lexed<usize> {
    let (length, good) = plain_number(rest);
    let bad = |length: usize| format!("bad number syntax: {:?}", &rest[..length]);
    if !good {
        return Err(bad(length));
    }
    if !rest[length..].starts_with(['+', '-']) {
        return Ok(length);
    }
    // A complex one, or nothing.
    let (second, good) = plain_number(&rest[length..]);
    let whole = length + second;
    if good && rest[..whole].ends_with('i') { Ok(whole) } else { Err(bad(whole)) }
}

/// Length, and whether it ends where a number may end. A wrong one includes the character that is too much.
fn plain_number(rest: &str) -> (usize, bool) {
    let bytes = rest.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let (is_digit, exponent): (fn(&u8) -> bool, &[u8]) = match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'0'), Some(b'x' | b'X')) => (|b| b.is_ascii_hexdigit() || *b == b'_', b"pP"),
        (Some(b'0'), Some(b'o' | b'O')) => (|b| matches!(b, b'0'..=b'7' | b'_'), b""),
        (Some(b'0'), Some(b'b' | b'B')) => (|b| matches!(b, b'0' | b'1' | b'_'), b""),
        _ => (|b| b.is_ascii_digit() || *b == b'_', b"eE"),
    };
    if bytes.get(at) == Some(&b'0') && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic) && exponent != b"eE" {
        at += 2;
    }
    let run = |at: &mut usize| {
        while bytes.get(*at).is_some_and(is_digit) {
            *at += 1;
        }
    };
    run(&mut at);
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        run(&mut at);
    }
    if bytes.get(at).is_some_and(|byte| exponent.contains(byte)) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        while bytes.get(at).is_some_and(|b| b.is_ascii_digit() || *b == b'_') {
            at += 1;
        }
    }
    at += usize::from(bytes.get(at) == Some(&b'i'));
    match rest[at..].chars().next() {
        Some(c) if c.is_alphanumeric() || c == '_' => (at + c.len_utf8(), false),
        _ => (at, true),
    }
}
