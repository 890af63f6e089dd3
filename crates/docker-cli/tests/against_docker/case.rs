//! A row of a table: a command line and the daemon's answers to it.

/// One command line.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Without `docker`; words as a shell splits them, with single quotes.
    pub line: &'static str,
    /// `METHOD /path` without version and query, then what is answered. A request of the same name again gets the next
    /// row of that name; the last one stays.
    pub answers: &'static [(&'static str, Answer)],
    pub stdin: &'static str,
    /// On a terminal: what is waited for there, and what is typed then.
    pub terminal: Option<&'static [(&'static str, &'static str)]>,
    /// Why the two clients differ here; they must, then.
    pub reason: &'static str,
    /// They may differ, and need not.
    pub by_chance: bool,
}

/// What the daemon answers.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Json(u16, &'static str),
    /// Lines of JSON, after which the body ends.
    Lines(&'static str),
    /// A tar archive, with `X-Docker-Container-Path-Stat` in front where it is not empty.
    Tar {
        stat: &'static str,
        members: &'static [Member],
    },
    /// The answer to a HEAD of a path.
    Stat(&'static str),
    /// An upgraded connection: what the process says, as frames of standard output.
    Output(&'static str),
    /// Plain bytes.
    Text(&'static str),
}

/// One member of an archive: name, type (`f`, `d`, `l`, `h`), content or target.
pub type Member = (&'static str, char, &'static str);

/// A line that needs no answer beyond the common ones.
pub const fn line(line: &'static str) -> Case {
    Case { line, answers: &[], stdin: "", terminal: None, reason: "", by_chance: false }
}

/// A line that a person types at a terminal.
pub const fn at_terminal(
    line: &'static str,
    answers: &'static [(&'static str, Answer)],
    typed: &'static [(&'static str, &'static str)],
) -> Case {
    Case { terminal: Some(typed), ..answered(line, answers) }
}

/// A line with answers.
pub const fn answered(line: &'static str, answers: &'static [(&'static str, Answer)]) -> Case {
    Case { line, answers, stdin: "", terminal: None, reason: "", by_chance: false }
}

impl Case {
    pub const fn stdin(mut self, text: &'static str) -> Self {
        self.stdin = text;
        self
    }

    /// Docker's client does something else here at times.
    pub const fn may_differ(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self.by_chance = true;
        self
    }

    /// Docker's client does something else here, and that is right for both.
    pub const fn differs(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }

    /// The words of the line.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quoted = false;
        for c in self.line.chars() {
            match c {
                '\'' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                ' ' if !quoted => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }
}
