//! Lines in which something may differ: `<id>`, `<ID>`, `<digest>`, `<ago>`, `<duration>`, `<size>`, `<name>`, `<number>`,
//! `<word>`, `<text>`, each with a label behind a colon or without.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

const SPAN: &str =
    "(?:Less than a second|About a minute|About an hour|[0-9]+ (?:second|minute|hour|day|week|month|year)s?)";

/// What labels stand for by now.
#[derive(Debug, Clone, Default)]
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// The text as it is typed.
    pub fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Hole { label: Some(label), .. } => {
                    filled.push_str(self.0.get(label).with_context(|| format!("nobody has said yet what {label} is"))?);
                }
                Piece::Hole { kind, .. } => bail!("<{kind}> cannot be typed without a label"),
            }
        }
        Ok(filled)
    }

    /// Whether the whole text is as the pattern says; learns what new labels stand for.
    pub fn matches(&mut self, pattern: &str, text: &str) -> bool {
        self.compare(pattern, text, "^").is_some()
    }

    /// Whether the text ends so; what stands before it.
    pub fn matches_end<'t>(&mut self, pattern: &str, text: &'t str) -> Option<&'t str> {
        self.compare(pattern, text, "").map(|start| &text[..start])
    }

    fn compare(&mut self, pattern: &str, text: &str, anchor: &str) -> Option<usize> {
        let (mut expression, mut labels) = (anchor.to_owned(), Vec::new());
        for piece in pieces(pattern) {
            match piece {
                Piece::Text(text) => expression.push_str(&blanks(text)),
                Piece::Hole { kind, label: None } => expression.push_str(&format!("(?:{})", shape(kind)?)),
                Piece::Hole { kind, label: Some(label) } => match self.0.get(label) {
                    Some(value) => expression.push_str(&regex_lite::escape(value)),
                    // The same label again in this line would need a second look; no line has one.
                    None => {
                        labels.push(label.to_owned());
                        expression.push_str(&format!("({})", shape(kind)?));
                    }
                },
            }
        }
        let found = Regex::new(&format!("{expression}$")).ok()?.captures(text)?;
        let learned = labels.into_iter().zip(found.iter().skip(1));
        self.0.extend(learned.filter_map(|(label, value)| Some((label, value?.as_str().to_owned()))));
        found.get(0).map(|whole| whole.start())
    }

    /// Compares whole outputs; the first line that is not there, and where it was looked for.
    pub fn compare_lines(&mut self, patterns: &[String], lines: &[String]) -> Result<()> {
        let mut rest = lines.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).peekable();
        let mut skips = false;
        for pattern in patterns {
            if pattern == "..." {
                skips = true;
                continue;
            }
            loop {
                let Some(line) = rest.next() else { bail!("{pattern:?} is missing") };
                if self.matches(pattern, line) {
                    break;
                }
                if !skips {
                    bail!("{line:?} instead of {pattern:?}");
                }
            }
            skips = false;
        }
        match rest.next() {
            Some(line) if !skips => bail!("{line:?} is too much"),
            _ => Ok(()),
        }
    }
}

enum Piece<'t> {
    Text(&'t str),
    Hole { kind: &'t str, label: Option<&'t str> },
}

/// Only what names a known kind is a hole: shells have uses of their own for `<`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = text[at..].find('<').map(|found| at + found) {
        at = open + 1;
        let Some(close) = text[at..].find('>').map(|found| at + found) else { break };
        let inside = &text[at..close];
        let (kind, label) = inside.split_once(':').map_or((inside, None), |(kind, label)| (kind, Some(label)));
        if shape(kind).is_some() {
            pieces.push(Piece::Text(&text[from..open]));
            pieces.push(Piece::Hole { kind, label });
            (from, at) = (close + 1, close + 1);
        }
    }
    pieces.push(Piece::Text(&text[from..]));
    pieces
}

fn shape(kind: &str) -> Option<String> {
    let shape = match kind {
        "id" => "[0-9a-f]{12}",
        "ID" => "[0-9a-f]{64}",
        "digest" => "sha256:[0-9a-f]{64}",
        "ago" => return Some(format!("{SPAN} ago")),
        "duration" => SPAN,
        "size" => "[0-9.]+(?:B|kB|MB|GB)",
        "name" => "[a-z]+_[a-z]+",
        "number" => "[0-9]+",
        "word" => r"\S+",
        "text" => ".*",
        _ => return None,
    };
    Some(shape.to_owned())
}

/// Columns are as wide as what is in them.
fn blanks(text: &str) -> String {
    let (mut expression, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("  ") {
        expression.push_str(&regex_lite::escape(&rest[..at]));
        expression.push_str(" {2,}");
        rest = rest[at..].trim_start_matches(' ');
    }
    expression + &regex_lite::escape(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn holes_take_their_kind_and_labels_stay_the_same() {
        let mut known = Known::default();
        assert!(known.matches(
            "<id:box>  ubuntu:latest  Up <duration>  <name:n>",
            "0123456789ab     ubuntu:latest   Up 2 minutes   vigilant_borg"
        ));
        assert!(!known.matches("<id:box>", "ffffffffffff") && known.matches("<id:box>", "0123456789ab"));
        assert!(known.matches("Exited (0) <ago>", "Exited (0) Less than a second ago"));
        assert!(!known.matches("Exited (0) <ago>", "Exited (1) Less than a second ago"));
        assert_eq!(known.fill("docker rm <name:n> <file").unwrap(), "docker rm vigilant_borg <file");
        assert!(known.fill("docker rm <name:other>").is_err());
        assert_eq!(known.matches_end("root@<id:box>:/# ", "x root@0123456789ab:/# "), Some("x "));
    }

    #[test]
    fn dots_stand_for_any_lines_and_everything_else_for_itself() {
        let mut known = Known::default();
        let mut compare = |pattern: &str, text: &str| {
            known.compare_lines(&lines(pattern), &lines(text)).err().map(|error| error.to_string())
        };
        assert_eq!(compare("a|...|c", "a|b|b||c"), None);
        assert_eq!(compare("a|...", "a"), None);
        assert_eq!(compare("a|b", "a"), Some("\"b\" is missing".to_owned()));
        assert_eq!(compare("a|b", "a|c|b"), Some("\"c\" instead of \"b\"".to_owned()));
        assert_eq!(compare("a", "a|b"), Some("\"b\" is too much".to_owned()));
    }
}
