//! A container's json-file log with its rotated parts, read as files: whether every line of a counter is there once.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

/// The log of one container.
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The number of the last whole line, or none while there is none.
    pub fn last(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.path).ok()?;
        let line = text.lines().rev().find(|line| line.ends_with('}'))?;
        number_of(line).ok()
    }

    /// Each of the counter's lines stands here exactly once and in order, from 1 on; the last number.
    pub fn check_counter(&self) -> Result<u64> {
        let mut expected = 1;
        for path in self.parts() {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            ensure!(text.is_empty() || text.ends_with('\n'), "{} ends within a line", path.display());
            for line in text.lines() {
                let number = number_of(line)?;
                ensure!(
                    number == expected,
                    "{}: line {expected} of the counter was expected, {number} came: {}",
                    path.display(),
                    shortened(line)
                );
                expected += 1;
            }
        }
        Ok(expected - 1)
    }

    /// No line has this word.
    pub fn check_without(&self, word: &str) -> Result<()> {
        for path in self.parts() {
            let text = fs::read_to_string(&path)?;
            if let Some(line) = text.lines().find(|line| line.contains(word)) {
                bail!("{}: {}", path.display(), shortened(line));
            }
        }
        Ok(())
    }

    /// The oldest first: `x.2`, `x.1`, `x`.
    fn parts(&self) -> Vec<PathBuf> {
        let rotated = (1..10).rev().map(|age| PathBuf::from(format!("{}.{age}", self.path.display())));
        rotated.filter(|path| path.exists()).chain([self.path.clone()]).collect()
    }
}

/// `{"log":"N …\n","stream":…}`: N.
fn number_of(line: &str) -> Result<u64> {
    let printed = line.strip_prefix("{\"log\":\"").filter(|_| line.ends_with("\"}"));
    let digits = printed.map(|text| text.chars().take_while(char::is_ascii_digit).collect::<String>());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.with_context(|| format!("no whole line of the counter: {}", shortened(line)))
}

fn shortened(line: &str) -> String {
    line.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(folder: &tempfile::TempDir, parts: &[(&str, &[u64])]) -> Journal {
        for (name, numbers) in parts {
            let lines = numbers.iter().map(|number| {
                format!("{{\"log\":\"{number} x\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n")
            });
            fs::write(folder.path().join(name), lines.collect::<String>()).expect("a temporary file");
        }
        Journal::new(folder.path().join("log"))
    }

    #[test]
    fn a_counter_is_read_through_its_rotated_parts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = journal(&folder, &[("log.2", &[1, 2]), ("log.1", &[3]), ("log", &[4, 5])]);
        assert_eq!(journal.check_counter().expect("complete"), 5);
        assert_eq!(journal.last(), Some(5));
    }

    #[test]
    fn a_lost_a_doubled_and_a_torn_line_are_found() {
        for numbers in [&[1, 3][..], &[1, 1][..], &[2, 1][..]] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            assert!(journal(&folder, &[("log", numbers)]).check_counter().is_err(), "{numbers:?}");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let torn = journal(&folder, &[("log", &[1])]);
        fs::write(folder.path().join("log"), "{\"log\":\"1 x\\n\",\"str").expect("a temporary file");
        assert!(torn.check_counter().is_err());
    }
}
