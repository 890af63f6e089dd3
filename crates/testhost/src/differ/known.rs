//! The table of differences that are as they should be, each with its reason.

use std::cell::Cell;
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
    #[serde(default = "anything")]
    case: String,
    #[serde(default = "anything")]
    step: String,
    at: String,
    #[serde(default = "anything")]
    ours: String,
    #[serde(default = "anything")]
    theirs: String,
    reason: String,
    #[serde(skip)]
    explained: Cell<usize>,
}

fn anything() -> String {
    "*".to_owned()
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
            ensure!(!row.reason.trim().is_empty(), "{}: {} has no reason", file.display(), row.at);
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
            differences.into_iter().filter(|difference| !self.explains(difference)).collect();
        Judged { explained: all - unexplained.len(), unexplained }
    }

    fn explains(&self, difference: &Difference) -> bool {
        let row = self.rows(difference.pair).iter().find(|row| row.fits(difference));
        row.inspect(|row| row.explained.set(row.explained.get() + 1)).is_some()
    }

    /// Rows that explained nothing although their part was played.
    pub fn stale(&self, _: &Judged, parts: &[Part]) -> Vec<String> {
        let both = parts.contains(&Part::Requests) && parts.contains(&Part::Commands);
        let played = [
            (Pair::Engine, both),
            (Pair::Client, parts.contains(&Part::Commands) && Path::new(super::NEWEST_CLIENT).exists()),
            (Pair::Reference, parts.contains(&Part::Versions)),
        ];
        let rows = played.into_iter().filter(|(_, played)| *played).flat_map(|(pair, _)| self.rows(pair));
        let stale = rows.filter(|row| row.explained.get() == 0);
        stale.map(|row| format!("  {} {} {} ({})", row.case, row.step, row.at, row.reason)).collect()
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
        pairs.into_iter().all(|(pattern, text)| fits(pattern.trim_end_matches('\n'), text))
    }
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
    fn a_row_explains_what_it_names_and_nothing_else_and_is_stale_without() {
        let table = "[[engine]]\ncase = 'create.*'\nat = 'body.A'\nreason = 'since 1.42'\n";
        let known: Known = toml::from_str(table).unwrap();
        let difference = |case: &str| Difference {
            pair: Pair::Engine,
            case: case.into(),
            number: 1,
            step: "GET /x".into(),
            at: "body.A".into(),
            ours: "1".into(),
            theirs: "2".into(),
            versions: Vec::new(),
        };
        let parts = [Part::Requests, Part::Commands];
        let judged = known.judge(vec![difference("other")]);
        assert_eq!((judged.unexplained.len(), known.stale(&judged, &parts).len()), (1, 1));
        let judged = known.judge(vec![difference("create.x")]);
        assert_eq!((judged.unexplained.len(), known.stale(&judged, &parts).len()), (0, 0));
    }
}
