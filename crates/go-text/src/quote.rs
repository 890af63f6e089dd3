//! Text in quotes, as Go's `strconv.Quote` writes it: what users and scripts see in error messages.

use std::fmt::Write as _;

/// With quotes around it; what cannot be printed is escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
        }
    }
    out.push('"');
    out
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII blank (Go's `unicode.IsPrint`), near enough: what Rust's
/// own escaping leaves alone, but for other blanks.
fn is_printable(c: char) -> bool {
    c == ' ' || !c.is_whitespace() && (c.is_alphanumeric() || c.escape_debug().count() == 1 || c == '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_gos() {
        assert_eq!(quote("plain 'x'"), "\"plain 'x'\"");
        assert_eq!(quote("a\"b\\c\n\t\x01é\u{a0}…"), "\"a\\\"b\\\\c\\n\\t\\x01é\\u00a0…\"");
    }
}
