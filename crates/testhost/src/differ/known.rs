//! The table of differences that are as they should be, each with its reason.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Part;
use super::compare::{Difference, Pair};

/// `[[engine]]`, `[[client]]` and `[[reference]]`, in which `*` stands for any text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(default)]
    engine: Vec<Row>,
    #[serde(default)]
    client: Vec<Row>,
    #[serde(default)]
    reference: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    case: Patterns,
    #[serde(default)]
    step: Patterns,
    at: Patterns,
    #[serde(default)]
    ours: Patterns,
    #[serde(default)]
    theirs: Patterns,
    /// The newest minor version in which it may be seen.
    until: Option<u16>,
    /// It comes and goes: a run may be without it.
    #[serde(default)]
    sometimes: bool,
    reason: String,
    #[serde(skip)]
    explained: RefCell<Vec<Difference>>,
}

/// One pattern or a list of them, of which any may fit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Any(Vec<String>),
}

impl Default for Patterns {
    fn default() -> Self {
        Self::One("*".to_owned())
    }
}

impl Patterns {
    fn fit(&self, text: &str) -> bool {
        let fit = |pattern: &String| fits(pattern.trim_end_matches('\n'), text);
        match self {
            Self::One(pattern) => fit(pattern),
            Self::Any(patterns) => patterns.iter().any(fit),
        }
    }
}

impl std::fmt::Display for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(pattern) => f.write_str(pattern),
            Self::Any(patterns) => f.write_str(&patterns.join(" or ")),
        }
    }
}

/// What remains, and how much was explained.
pub struct Judged {
    pub unexplained: Vec<Difference>,
    pub explained: usize,
}

impl Known {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let known: Self = toml::from_str(&text).with_context(|| file.display().to_string())?;
        for row in known.engine.iter().chain(&known.client).chain(&known.reference) {
            ensure!(!row.reason.trim().is_empty(), "{}: {row} has no reason", file.display());
        }
        Ok(known)
    }

    fn rows(&self, pair: Pair) -> &[Row] {
        match pair {
            Pair::Engine => &self.engine,
            Pair::Client => &self.client,
            Pair::Reference => &self.reference,
        }
    }

    /// A difference belongs to the first row that fits.
    pub fn judge(&self, differences: Vec<Difference>) -> Judged {
        let all = differences.len();
        let unexplained: Vec<Difference> =
            differences.into_iter().filter_map(|difference| self.unexplained(difference)).collect();
        Judged { explained: all - unexplained.len(), unexplained }
    }

    fn unexplained(&self, difference: Difference) -> Option<Difference> {
        let Some(row) = self.rows(difference.pair).iter().find(|row| row.fits(&difference)) else {
            return Some(difference);
        };
        row.explained.borrow_mut().push(difference);
        None
    }

    /// Rows that explained nothing although their part was played.
    pub fn stale(&self, parts: &[Part]) -> Vec<String> {
        let both = parts.contains(&Part::Requests) && parts.contains(&Part::Commands);
        let played = [
            (Pair::Engine, both),
            (Pair::Client, parts.contains(&Part::Commands) && Path::new(super::NEWEST_CLIENT).exists()),
            (Pair::Reference, parts.contains(&Part::Versions)),
        ];
        let rows = played.into_iter().filter(|(_, played)| *played).flat_map(|(pair, _)| self.rows(pair));
        rows.filter(|row| row.explained.borrow().is_empty() && !row.sometimes).map(|row| format!("  {row}")).collect()
    }

    /// Every row that explained something, with what it explained.
    pub fn explained(&self) -> Vec<(String, Vec<Difference>)> {
        let rows = self.engine.iter().chain(&self.client).chain(&self.reference);
        let explained = rows.map(|row| (row.to_string(), row.explained.borrow().clone()));
        explained.filter(|(_, differences)| !differences.is_empty()).collect()
    }
}

impl Row {
    fn fits(&self, difference: &Difference) -> bool {
        let step = format!("{} {}", difference.number, difference.step);
        let pairs = [
            (&self.at, difference.at.as_str()),
            (&self.case, difference.case.as_str()),
            (&self.step, step.as_str()),
            (&self.ours, difference.ours.trim_end_matches('\n')),
            (&self.theirs, difference.theirs.trim_end_matches('\n')),
        ];
        let is_old = |version: &String| minor(version) <= self.until.unwrap_or(u16::MAX);
        pairs.into_iter().all(|(patterns, text)| patterns.fit(text)) && difference.versions.iter().all(is_old)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} | {} | {} | {} | {} ({})", self.case, self.step, self.at, self.ours, self.theirs, self.reason)
    }
}

/// 51 of `1.51`.
fn minor(version: &str) -> u16 {
    version.split_once('.').and_then(|(_, minor)| minor.parse().ok()).unwrap_or(u16::MAX)
}

/// `*` stands for any text, the empty one too.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    while let Some((middle, behind)) = rest.split_once('*') {
        let Some(at) = text.find(middle) else { return false };
        text = &text[at + middle.len()..];
        rest = behind;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(case: &str) -> Difference {
        Difference {
            pair: Pair::Engine,
            case: case.into(),
            number: 1,
            step: "GET /x".into(),
            at: "body.A".into(),
            ours: "1".into(),
            theirs: "2".into(),
            versions: Vec::new(),
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [("*", ""), ("a*c", "abbc"), ("a*", "a"), ("*b*b", "abcb"), ("abc", "abc")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*c", "abcd"), ("abc", "ab"), ("*b*b", "ab"), ("a*a", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_row_for_old_versions_does_not_explain_new_ones() {
        let table = "[[reference]]\nat = 'body.A'\nuntil = 43\nreason = 'removed in 1.44'\n";
        let known: Known = toml::from_str(table).unwrap();
        let unexplained = |versions: &[&str]| {
            let versions = versions.iter().map(ToString::to_string).collect();
            known.judge(vec![Difference { pair: Pair::Reference, versions, ..difference("a") }]).unexplained.len()
        };
        assert_eq!((unexplained(&["1.42", "1.43"]), unexplained(&["1.43", "1.44"])), (0, 1));
    }

    #[test]
    fn a_row_explains_what_it_names_and_nothing_else_and_is_stale_without() {
        let table = "[[engine]]\ncase = ['update', 'create.*']\nat = 'body.A'\nreason = 'since 1.42'\n";
        let known: Known = toml::from_str(table).unwrap();
        let parts = [Part::Requests, Part::Commands];
        let judged = known.judge(vec![difference("other")]);
        assert_eq!((judged.unexplained.len(), known.stale(&parts).len()), (1, 1));
        let judged = known.judge(vec![difference("create.x")]);
        assert_eq!((judged.unexplained.len(), known.stale(&parts).len()), (0, 0));
    }
}
