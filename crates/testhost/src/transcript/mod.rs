//! A session at a terminal, written down as a book shows it, and played again against real programs.
//!
//! ```text
//! # A line of remarks.
//! $ docker container run -it ubuntu:latest /bin/bash
//! root@<id:box>:/# echo $$
//! 1
//! root@<id:box>:/# ^P^Q
//! $ docker container stop <id:box>
//! <id:box>
//! ```
//!
//! A line that begins with a prompt is a step: what stands behind the prompt is typed. The lines up to the next step are
//! what must be shown then, no more and no less. `$ ` is the host's shell, `> ` its second prompt, `root@…:…# ` and `/ # `
//! are shells inside. `^X` is a control key; a step that ends with one has no Enter. A line of three dots stands for any
//! number of lines. Two and more blanks stand for two and more blanks; empty lines count nowhere. What may differ is a
//! placeholder of [`pattern`]; one with a label must be the same each time, and can be typed as well.

mod pattern;
mod play;

use anyhow::{Context, Result, bail};

pub use play::{Stage, play};

/// One thing that is typed, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// The line's number in the file.
    line: usize,
    /// With the blank behind it.
    prompt: String,
    typed: String,
    shown: Vec<String>,
}

/// A session in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    steps: Vec<Step>,
}

impl Transcript {
    pub fn parse(text: &str) -> Result<Self> {
        let mut steps: Vec<Step> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with("# ") || line == "#" {
                continue;
            }
            if let Some((prompt, typed)) = split_prompt(line) {
                let (prompt, typed) = (format!("{prompt} "), typed.to_owned());
                steps.push(Step { line: at + 1, prompt, typed, shown: Vec::new() });
                continue;
            }
            let last = steps.last_mut().with_context(|| format!("line {}: nothing was typed yet", at + 1))?;
            last.shown.push(line.to_owned());
        }
        if steps.is_empty() {
            bail!("a transcript without a step");
        }
        Ok(Self { steps })
    }
}

/// The prompt and what is typed behind it.
fn split_prompt(line: &str) -> Option<(&str, &str)> {
    for prompt in ["$", ">"] {
        if line == prompt {
            return Some((prompt, ""));
        }
        if let Some(typed) = line.strip_prefix(prompt).and_then(|rest| rest.strip_prefix(' ')) {
            return Some((prompt, typed));
        }
    }
    let inside = line.starts_with("root@") || line.starts_with('/');
    let end = line.find("# ").or_else(|| line.ends_with('#').then(|| line.len() - 1))?;
    inside.then(|| (&line[..=end], line.get(end + 2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_begin_steps_and_the_rest_is_shown() {
        let text =
            "# Of a chapter\n$ docker run -it x sh\n\n/ # ls # all\nbin\n\n...\nroot@<id:a>:/tmp# ^P^Q\n$ a \\\n> b\nc";
        let transcript = Transcript::parse(text).unwrap();
        let seen: Vec<_> = transcript
            .steps
            .iter()
            .map(|step| (step.line, step.prompt.as_str(), step.typed.as_str(), step.shown.join("|")))
            .collect();
        assert_eq!(
            seen,
            [
                (2, "$ ", "docker run -it x sh", String::new()),
                (4, "/ # ", "ls # all", "bin|...".to_owned()),
                (8, "root@<id:a>:/tmp# ", "^P^Q", String::new()),
                (9, "$ ", "a \\", String::new()),
                (10, "> ", "b", "c".to_owned()),
            ]
        );
        assert!(Transcript::parse("output\n").is_err());
    }
}
