//! Physical lines into instructions: comments dropped, continued lines joined, here-documents attached.

use crate::error::ParseError;
use crate::heredoc::{self, Heredoc};

/// Instructions of one file.
const MAX_INSTRUCTIONS: usize = 10_000;

/// Where something stands: lines counted from 1, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    pub first: u32,
    pub last: u32,
}

/// One instruction as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// As it is written, of whatever case.
    pub keyword: String,
    /// Joined, without the lines' ends; with the keyword.
    pub original: String,
    /// What stands behind the keyword.
    pub rest: String,
    pub heredocs: Vec<Heredoc>,
    pub lines: Lines,
    /// Lines without anything on them between continued ones.
    pub empty_continuations: bool,
}

/// Splits a whole file. `first` is the number of its first line.
pub(crate) fn split(text: &str, escape: u8, first: u32) -> Result<Vec<Node>, ParseError> {
    let mut lines = Physical { lines: text.split('\n').peekable(), next: first };
    let mut nodes = Vec::new();
    while let Some((number, line)) = lines.take() {
        let line = line.trim_start_matches(is_blank);
        if is_comment(line) || line.trim().is_empty() {
            continue;
        }
        nodes.push(join(&mut lines, number, line, escape)?);
        if nodes.len() > MAX_INSTRUCTIONS {
            let last = Lines { first: number, last: number };
            return Err(ParseError::new(last, format!("more than {MAX_INSTRUCTIONS} instructions")));
        }
    }
    Ok(nodes)
}

struct Physical<'a> {
    lines: std::iter::Peekable<std::str::Split<'a, char>>,
    next: u32,
}

impl<'a> Physical<'a> {
    fn take(&mut self) -> Option<(u32, &'a str)> {
        let line = self.lines.next()?;
        let number = self.next;
        self.next = self.next.saturating_add(1);
        Some((number, line.strip_suffix('\r').unwrap_or(line)))
    }
}

fn join(lines: &mut Physical<'_>, number: u32, line: &str, escape: u8) -> Result<Node, ParseError> {
    let (mut whole, mut goes_on) = match continued(line, escape) {
        Some(part) => (part.to_owned(), true),
        None => (line.to_owned(), false),
    };
    let mut empty_continuations = false;
    while goes_on {
        let Some((_, line)) = lines.take() else { break };
        if is_comment(line.trim_start_matches(is_blank)) {
            continue;
        }
        if line.trim().is_empty() {
            // Docker joins over them, and has warned of it for years. At the end of the file there is just nothing more.
            empty_continuations |= lines.lines.peek().is_some();
            continue;
        }
        let part = continued(line, escape);
        goes_on = part.is_some();
        whole.push_str(part.unwrap_or(line));
    }
    let whole = whole.trim_end().to_owned();
    let (keyword, rest) = whole.split_once(is_blank).unwrap_or((&whole, ""));
    let rest = rest.trim_matches(is_blank).to_owned();
    let mut here = Vec::new();
    if heredoc::takes_them(keyword, &rest) {
        for wanted in heredoc::announced(&rest, escape) {
            here.push(read_heredoc(lines, wanted, number)?);
        }
    }
    let last = lines.next.saturating_sub(1).max(number);
    let (keyword, lines) = (keyword.to_owned(), Lines { first: number, last });
    Ok(Node { keyword, original: whole, rest, heredocs: here, lines, empty_continuations })
}

fn read_heredoc(lines: &mut Physical<'_>, mut wanted: Heredoc, number: u32) -> Result<Heredoc, ParseError> {
    while let Some((_, line)) = lines.take() {
        let line = if wanted.chomp { line.trim_start_matches('\t') } else { line };
        if line == wanted.name {
            return Ok(wanted);
        }
        wanted.content.push_str(line);
        wanted.content.push('\n');
    }
    Err(ParseError::new(Lines { first: number, last: number }, "unterminated heredoc"))
}

/// The line without its escape, if it goes on: an escape at the end that is not escaped itself, blanks behind it or not.
fn continued(line: &str, escape: u8) -> Option<&str> {
    let part = line.trim_end_matches([' ', '\t']).strip_suffix(char::from(escape))?;
    (!part.ends_with(char::from(escape))).then_some(part)
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// What separates words on a line.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str) -> Vec<(String, String, u32, u32)> {
        let nodes = split(text, b'\\', 1).unwrap();
        nodes.into_iter().map(|n| (n.keyword, n.rest, n.lines.first, n.lines.last)).collect()
    }

    fn node(keyword: &str, rest: &str, first: u32, last: u32) -> (String, String, u32, u32) {
        (keyword.to_owned(), rest.to_owned(), first, last)
    }

    #[test]
    fn continued_lines_are_one_and_comments_between_them_none() {
        let text = "# c\nFROM  a\r\n\n  run x \\ \n # no\n\n  && y \\\n\\\\\nCMD a \\\\\nUSER u\\";
        assert_eq!(
            nodes(text),
            [
                node("FROM", "a", 2, 2),
                node("run", "x   && y \\\\", 4, 8),
                node("CMD", "a \\\\", 9, 9),
                node("USER", "u", 10, 10)
            ]
        );
    }

    #[test]
    fn documents_belong_to_their_instruction() {
        let found = split("RUN <<EOF cat <<-'B' > f\na\nEOF\n\tb $x\n\tB\nCMD x", b'\\', 1).unwrap();
        assert_eq!(found[0].heredocs.len(), 2);
        assert_eq!(found[0].heredocs[0].content, "a\n");
        assert_eq!((found[0].heredocs[1].content.as_str(), found[0].heredocs[1].expand), ("b $x\n", false));
        assert_eq!(found[0].lines, Lines { first: 1, last: 5 });
        assert_eq!(found[1].keyword, "CMD");
        let error = split("RUN <<EOF\nx\n", b'\\', 1).unwrap_err().to_string();
        assert_eq!(error, "dockerfile parse error on line 1: unterminated heredoc");
    }

    #[test]
    fn empty_lines_in_a_continuation_are_noticed() {
        assert!(split("RUN a \\\n\n b", b'\\', 1).unwrap()[0].empty_continuations);
        assert!(!split("RUN a \\\n b", b'\\', 1).unwrap()[0].empty_continuations);
    }
}
