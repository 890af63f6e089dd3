//! Patterns: of file names (Go's filepath.Match), of `.dockerignore`, of variables' values (`${v#pattern}`).
//!
//! A pattern is run as a set of positions, so that its time is bounded by its length times the text's.

/// Parts of one pattern.
const MAX_PARTS: usize = 4096;

/// A pattern, ready to be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Character(char),
    /// `?`, and whether it also matches a slash.
    One {
        slash: bool,
    },
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    /// `*`.
    Many {
        slash: bool,
    },
    /// `**/`: nothing, which goes on behind [`Part::Slash`], or anything up to a slash.
    Folders,
    /// The slash at the end of the folders before it.
    Slash,
}

impl Glob {
    /// Names of files: `*` and `?` stop at slashes. `None`: the pattern is malformed.
    pub fn path(pattern: &str) -> Option<Self> {
        compile(pattern, '\\', false, false)
    }

    /// `.dockerignore` and `--parents`: `**` crosses slashes.
    pub fn deep(pattern: &str) -> Option<Self> {
        compile(pattern, '\\', false, true)
    }

    /// Text: slashes are like all else.
    pub(crate) fn text(pattern: &str, escape: char) -> Option<Self> {
        compile(pattern, escape, true, false)
    }

    /// Whether it matches the whole of the text.
    pub fn matches(&self, text: &str) -> bool {
        let characters: Vec<char> = text.chars().collect();
        self.prefixes(&characters).last() == Some(&characters.len())
    }

    /// Whether the pattern is just a text.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Character(_)))
    }

    /// How many characters at the beginning it can match, in ascending order.
    pub(crate) fn prefixes(&self, text: &[char]) -> Vec<usize> {
        let end = self.parts.len();
        let mut now = vec![false; end + 1];
        now[0] = true;
        self.skip_empty(&mut now);
        let mut found = Vec::new();
        if now[end] {
            found.push(0);
        }
        for (at, c) in text.iter().enumerate() {
            let mut next = vec![false; end + 1];
            for (position, part) in self.parts.iter().enumerate().filter(|(position, _)| now[*position]) {
                match part {
                    Part::Many { slash } if *slash || *c != '/' => next[position] = true,
                    // Anything, up to a slash that need not be the first.
                    Part::Folders => (next[position + 1], next[position + 2]) = (true, next[position + 2] || *c == '/'),
                    Part::Slash => {
                        next[position] = true;
                        next[position + 1] |= *c == '/';
                    }
                    part if part.takes(*c) => next[position + 1] = true,
                    _ => {}
                }
            }
            self.skip_empty(&mut next);
            now = next;
            if now[end] {
                found.push(at + 1);
            }
            if !now.iter().any(|on| *on) {
                break;
            }
        }
        found
    }

    /// The pattern from its end, for suffixes.
    pub(crate) fn reversed(&self) -> Self {
        Self { parts: self.parts.iter().rev().cloned().collect() }
    }

    /// Parts that match nothing too are passed without a character.
    fn skip_empty(&self, on: &mut [bool]) {
        for (position, part) in self.parts.iter().enumerate().filter(|(_, part)| part.may_be_empty()) {
            let behind = if *part == Part::Folders { position + 2 } else { position + 1 };
            on[behind] |= on[position];
        }
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Character(own) => *own == c,
            Self::One { slash } => *slash || c != '/',
            Self::Set { ranges, negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
            Self::Many { .. } | Self::Folders | Self::Slash => false,
        }
    }

    fn may_be_empty(&self) -> bool {
        matches!(self, Self::Many { .. } | Self::Folders)
    }
}

fn compile(pattern: &str, escape: char, slash: bool, deep: bool) -> Option<Glob> {
    let mut parts: Vec<Part> = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        let part = match c {
            '*' if deep && characters.peek() == Some(&'*') => {
                characters.next();
                if characters.peek() == Some(&'/') {
                    characters.next();
                }
                match characters.peek() {
                    None => Part::Many { slash: true },
                    Some(_) => Part::Folders,
                }
            }
            '*' => Part::Many { slash },
            '?' => Part::One { slash },
            '[' => set(&mut characters, escape)?,
            c if c == escape => Part::Character(characters.next()?),
            c => Part::Character(c),
        };
        if parts.len() >= MAX_PARTS {
            return None;
        }
        if !(matches!(part, Part::Many { .. }) && parts.last() == Some(&part)) {
            let folders = part == Part::Folders;
            parts.push(part);
            if folders {
                parts.push(Part::Slash);
            }
        }
    }
    Some(Glob { parts })
}

fn set(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, escape: char) -> Option<Part> {
    let negated = matches!(characters.peek(), Some('^' | '!'));
    if negated {
        characters.next();
    }
    let mut ranges = Vec::new();
    let one = |characters: &mut std::iter::Peekable<std::str::Chars<'_>>| match characters.next()? {
        c if c == escape => characters.next(),
        c => Some(c),
    };
    loop {
        if characters.peek() == Some(&']') && !ranges.is_empty() {
            characters.next();
            return Some(Part::Set { ranges, negated });
        }
        let first = one(characters)?;
        let mut last = first;
        if characters.peek() == Some(&'-') {
            characters.next();
            last = match characters.peek() {
                Some(']') | None => return None,
                Some(_) => one(characters)?,
            };
        }
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_go_matches_them() {
        for (pattern, yes, no) in [
            ("*.txt", "a.txt", "a/b.txt"),
            ("a?c", "abc", "a/c"),
            ("[a-c]x[^0-9]", "bxz", "bx1"),
            ("a\\*", "a*", "ab"),
            ("*", "", "a/b"),
            ("a*b*c", "aXbYc", "aXbY"),
        ] {
            let glob = Glob::path(pattern).unwrap();
            assert!(glob.matches(yes), "{pattern} {yes}");
            assert!(!glob.matches(no), "{pattern} {no}");
        }
        for pattern in ["[", "[a", "a\\", "[a-]"] {
            assert_eq!(Glob::path(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn two_stars_cross_folders() {
        for (pattern, yes, no) in [
            ("**/x", "x", "ax"),
            ("**/x", "a/b/x", "a/b/cx"),
            ("a/**", "a/b/c", "b/a"),
            ("a/**/b", "a/b", "a/cb"),
            ("a/**/b", "a/c/d/b", "a/c/db"),
            ("**", "a/b", ""),
            ("**/*.go", "d/a.go", "d/a.c"),
        ] {
            let glob = Glob::deep(pattern).unwrap();
            assert!(glob.matches(yes), "{pattern} {yes}");
            if !no.is_empty() {
                assert!(!glob.matches(no), "{pattern} {no}");
            }
        }
    }

    #[test]
    fn a_pattern_of_stars_takes_no_time() {
        let glob = Glob::path(&"*a".repeat(500)).unwrap();
        assert!(!glob.matches(&"a".repeat(400)));
    }
}
