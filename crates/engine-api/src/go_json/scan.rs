//! The text as a tape of values, and what is wrong with it in the words of Go's scanner.

use std::borrow::Cow;

use super::{JsonError, MAX_DEPTH, MAX_TEXT};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    True,
    False,
    Number,
    Text,
    Array,
    Object,
}

/// A scalar has its bytes (a text those between the quotes), an array or object the index behind its last value.
#[derive(Debug, Clone, Copy)]
struct Node {
    kind: Kind,
    start: u32,
    end: u32,
}

/// Values in the order of the text; the members of an object are key, value, key, value.
pub struct Tape<'a> {
    text: &'a [u8],
    nodes: Vec<Node>,
}

impl Tape<'_> {
    pub fn kind(&self, at: usize) -> Kind {
        self.nodes[at].kind
    }

    /// The index behind a value.
    pub fn next(&self, at: usize) -> usize {
        match self.nodes[at] {
            Node { kind: Kind::Array | Kind::Object, end, .. } => end as usize,
            _ => at + 1,
        }
    }

    /// Indices of an array's elements.
    pub fn elements(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let is_array = self.kind(at) == Kind::Array;
        self.inside(at).take_while(move |_| is_array)
    }

    /// Indices of an object's keys and values.
    pub fn members(&self, at: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let is_object = self.kind(at) == Kind::Object;
        let mut inside = self.inside(at).take_while(move |_| is_object);
        std::iter::from_fn(move || Some((inside.next()?, inside.next()?)))
    }

    fn inside(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let (mut next, end) = (at + 1, self.next(at));
        std::iter::from_fn(move || {
            let here = next;
            (here < end).then(|| {
                next = self.next(here);
                here
            })
        })
    }

    /// The digits of a number, as they stand there.
    pub fn number(&self, at: usize) -> &str {
        let Node { start, end, .. } = self.nodes[at];
        // Digits, signs, points and exponents alone.
        std::str::from_utf8(&self.text[start as usize..end as usize]).unwrap_or_default()
    }

    /// A text with its escapes undone; what is not UTF-8 becomes the replacement character, as in Go.
    pub fn text(&self, at: usize) -> Cow<'_, str> {
        let Node { start, end, .. } = self.nodes[at];
        let raw = &self.text[start as usize..end as usize];
        match raw.contains(&b'\\') {
            false => String::from_utf8_lossy(raw),
            true => Cow::Owned(unescape(raw)),
        }
    }
}

fn unescape(raw: &[u8]) -> String {
    let mut plain = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else { break };
        rest = tail;
        match escape {
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => {
                let (unit, tail) = code_unit(rest);
                rest = tail;
                let mut character = char::from_u32(unit);
                if (0xd800..0xdc00).contains(&unit)
                    && let Some(low) = rest.strip_prefix(b"\\u")
                    && let (low, tail) = code_unit(low)
                    && (0xdc00..0xe000).contains(&low)
                {
                    rest = tail;
                    character = char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
                }
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                plain.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => plain.push(other),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Four hexadecimal digits, which the scanner has seen.
fn code_unit(text: &[u8]) -> (u32, &[u8]) {
    let (digits, rest) = text.split_at(text.len().min(4));
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    (u32::from_str_radix(digits, 16).unwrap_or(0xfffd), rest)
}

/// What is looked for next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    /// Behind `[`.
    ValueOrEnd,
    /// Behind a comma in an object.
    Key,
    /// Behind `{`.
    KeyOrEnd,
    Colon,
    /// A comma, or the end of what is open.
    Comma,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    open: Vec<u32>,
}

/// The first value of a text, and the byte that follows it.
pub fn scan(text: &[u8]) -> Result<(Tape<'_>, Option<u8>), JsonError> {
    if text.len() > MAX_TEXT {
        return Err(JsonError::Other(format!("text longer than {MAX_TEXT} bytes")));
    }
    let mut scanner = Scanner { text, at: 0, nodes: Vec::new(), open: Vec::new() };
    if scanner.peek().is_none() {
        return Err(JsonError::Empty);
    }
    let mut want = Want::Value;
    loop {
        want = scanner.step(want)?;
        if want == Want::Comma && scanner.open.is_empty() {
            break;
        }
    }
    let rest = scanner.peek();
    Ok((Tape { text, nodes: scanner.nodes }, rest))
}

impl Scanner<'_> {
    fn step(&mut self, want: Want) -> Result<Want, JsonError> {
        let byte = self.peek().ok_or(JsonError::UnexpectedEof)?;
        match (want, byte) {
            (Want::ValueOrEnd, b']') | (Want::KeyOrEnd, b'}') => Ok(self.close()),
            (Want::Value | Want::ValueOrEnd, _) => self.value(byte),
            (Want::Key | Want::KeyOrEnd, b'"') => {
                self.quoted()?;
                Ok(Want::Colon)
            }
            (Want::Key | Want::KeyOrEnd, _) => Err(unexpected(byte, "looking for beginning of object key string")),
            (Want::Colon, b':') => {
                self.at += 1;
                Ok(Want::Value)
            }
            (Want::Colon, _) => Err(unexpected(byte, "after object key")),
            (Want::Comma, _) => self.comma(byte),
        }
    }

    fn comma(&mut self, byte: u8) -> Result<Want, JsonError> {
        let kind = self.open.last().map(|at| self.nodes[*at as usize].kind);
        match (kind, byte) {
            (Some(Kind::Object), b'}') | (Some(Kind::Array), b']') => Ok(self.close()),
            (Some(kind), b',') => {
                self.at += 1;
                Ok(if kind == Kind::Object { Want::Key } else { Want::Value })
            }
            (Some(Kind::Object), _) => Err(unexpected(byte, "after object key:value pair")),
            _ => Err(unexpected(byte, "after array element")),
        }
    }

    fn value(&mut self, byte: u8) -> Result<Want, JsonError> {
        match byte {
            b'{' => self.open(Kind::Object, Want::KeyOrEnd),
            b'[' => self.open(Kind::Array, Want::ValueOrEnd),
            b'"' => self.quoted().map(|()| Want::Comma),
            b't' => self.literal("true", Kind::True),
            b'f' => self.literal("false", Kind::False),
            b'n' => self.literal("null", Kind::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    fn open(&mut self, kind: Kind, want: Want) -> Result<Want, JsonError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(JsonError::Depth);
        }
        self.open.push(self.nodes.len() as u32);
        self.put(kind, self.at, self.at);
        self.at += 1;
        Ok(want)
    }

    fn close(&mut self) -> Want {
        self.at += 1;
        if let Some(open) = self.open.pop() {
            self.nodes[open as usize].end = self.nodes.len() as u32;
        }
        Want::Comma
    }

    fn literal(&mut self, word: &'static str, kind: Kind) -> Result<Want, JsonError> {
        let start = self.at;
        for expected in word.bytes() {
            let byte = *self.text.get(self.at).ok_or(JsonError::UnexpectedEof)?;
            if byte != expected {
                return Err(unexpected(byte, &format!("in literal {word} (expecting '{}')", char::from(expected))));
            }
            self.at += 1;
        }
        self.put(kind, start, self.at);
        Ok(Want::Comma)
    }

    /// Behind the opening quote to behind the closing one.
    fn quoted(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.take()? {
                b'"' => break,
                b'\\' => self.escape()?,
                byte if byte < b' ' => return Err(unexpected(byte, "in string literal")),
                _ => {}
            }
        }
        self.put(Kind::Text, start, self.at - 1);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.take()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let byte = self.take()?;
                    if !byte.is_ascii_hexdigit() {
                        return Err(unexpected(byte, "in \\u hexadecimal character escape"));
                    }
                }
                Ok(())
            }
            byte => Err(unexpected(byte, "in string escape code")),
        }
    }

    fn number(&mut self) -> Result<Want, JsonError> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
            self.digit("in numeric literal")?;
        }
        // A zero is a number of its own.
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits(),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        self.put(Kind::Number, start, self.at);
        Ok(Want::Comma)
    }

    /// One must be here.
    fn digit(&self, place: &str) -> Result<(), JsonError> {
        match self.text.get(self.at) {
            Some(b'0'..=b'9') => Ok(()),
            Some(byte) => Err(unexpected(*byte, place)),
            None => Err(JsonError::UnexpectedEof),
        }
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn put(&mut self, kind: Kind, start: usize, end: usize) {
        // Positions fit: the text was measured.
        self.nodes.push(Node { kind, start: start as u32, end: end as u32 });
    }

    fn take(&mut self) -> Result<u8, JsonError> {
        let byte = *self.text.get(self.at).ok_or(JsonError::UnexpectedEof)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
}

fn unexpected(byte: u8, place: &str) -> JsonError {
    // Go takes a byte for a character.
    let quoted = match char::from(byte) {
        '\'' => r"\'".to_owned(),
        '"' => "\"".to_owned(),
        '\\' => r"\\".to_owned(),
        '\n' => r"\n".to_owned(),
        '\t' => r"\t".to_owned(),
        '\r' => r"\r".to_owned(),
        '\u{7}' => r"\a".to_owned(),
        '\u{8}' => r"\b".to_owned(),
        '\u{b}' => r"\v".to_owned(),
        '\u{c}' => r"\f".to_owned(),
        control if byte < b' ' || byte == 0x7f => format!("\\x{:02x}", control as u32),
        control if control.is_control() || byte == 0xa0 || byte == 0xad => format!("\\u{:04x}", control as u32),
        plain => plain.to_string(),
    };
    JsonError::Syntax(format!("invalid character '{quoted}' {place}"))
}
