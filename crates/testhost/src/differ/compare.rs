//! Two transcripts of one case, member by member and line by line.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::mask::Sizes;
use super::play::{Part, Transcript};

/// Which two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pair {
    /// Our engine and Debian's.
    Engine,
    /// Our client and Docker's newest, both on our engine.
    Client,
    /// Our answers and the API reference.
    Reference,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub pair: Pair,
    pub case: String,
    /// Counted from 1.
    pub number: usize,
    pub step: String,
    /// `status`, `body.HostConfig.Memory`, `stdout`.
    pub at: String,
    pub ours: String,
    pub theirs: String,
    /// API versions in which it was seen; empty for command lines.
    pub versions: Vec<String>,
}

/// How much of a body is shown beside its status.
const SHORT: usize = 300;
/// What a side lacks.
pub const ABSENT: &str = "(absent)";

pub fn transcripts(pair: Pair, ours: &[Transcript], theirs: &[Transcript]) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let sizes = Sizes::new()?;
    let seen = |part: &Part| if pair == Pair::Engine { sizes.hide(part) } else { part.clone() };
    for (ours, theirs) in ours.iter().zip(theirs) {
        for (number, (our, their)) in ours.steps.iter().zip(&theirs.steps).enumerate() {
            let mut add = |at: String, our: String, their: String| {
                found.push(Difference {
                    pair,
                    case: ours.case.clone(),
                    number: number + 1,
                    step: ours.steps[number].step.clone(),
                    at,
                    ours: our,
                    theirs: their,
                    versions: Some(ours.version.clone()).filter(|version| !version.is_empty()).into_iter().collect(),
                });
            };
            if let Some((our, their)) = one_refused(&our.parts, &their.parts) {
                add("answer".to_owned(), our, their);
                continue;
            }
            let ours: BTreeMap<_, _> = our.parts.iter().map(|(name, part)| (*name, seen(part))).collect();
            let theirs: BTreeMap<_, _> = their.parts.iter().map(|(name, part)| (*name, seen(part))).collect();
            for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
                parts(name, ours.get(name), theirs.get(name), &mut add);
            }
        }
    }
    Ok(found)
}

/// Where one side refuses what the other does, nothing else is to be compared: both answers in short.
fn one_refused(ours: &[(&str, Part)], theirs: &[(&str, Part)]) -> Option<(String, String)> {
    let part = |parts: &[(&str, Part)], wanted: &str| {
        parts.iter().find(|(name, _)| *name == wanted).map(|(_, part)| shown(Some(part)))
    };
    let (our, their) = (part(ours, "status")?, part(theirs, "status")?);
    let fails = |status: &str| !status.starts_with(['1', '2', '3']);
    let short = |status: &str, parts: &[(&str, Part)]| {
        let body = part(parts, "body").unwrap_or_default();
        let line: String = body.lines().next().unwrap_or_default().chars().take(SHORT).collect();
        format!("{status} {line}")
    };
    (fails(&our) != fails(&their)).then(|| (short(&our, ours), short(&their, theirs)))
}

fn parts(name: &str, ours: Option<&Part>, theirs: Option<&Part>, add: &mut impl FnMut(String, String, String)) {
    match (ours, theirs) {
        (Some(Part::Json(ours)), Some(Part::Json(theirs))) => json(name, ours, theirs, add),
        (Some(Part::Text(ours)), Some(Part::Text(theirs))) => lines(name, ours, theirs, add),
        (ours, theirs) => {
            let (ours, theirs) = (shown(ours), shown(theirs));
            if ours != theirs {
                add(name.to_owned(), ours, theirs);
            }
        }
    }
}

fn shown(part: Option<&Part>) -> String {
    match part {
        None => ABSENT.to_owned(),
        Some(Part::Json(json)) => json.to_string(),
        Some(Part::Text(text)) => text.clone(),
    }
}

fn json(at: &str, ours: &Value, theirs: &Value, add: &mut impl FnMut(String, String, String)) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, our) in ours {
                let at = format!("{at}.{key}");
                match theirs.get(key) {
                    Some(their) => json(&at, our, their, add),
                    None => add(at, our.to_string(), ABSENT.to_owned()),
                }
            }
            for (key, their) in theirs.iter().filter(|(key, _)| !ours.contains_key(*key)) {
                add(format!("{at}.{key}"), ABSENT.to_owned(), their.to_string());
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() && !are_events(ours) => {
            for (index, (our, their)) in ours.iter().zip(theirs).enumerate() {
                json(&format!("{at}[{index}]"), our, their, add);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let text = |items: &[Value]| items.iter().map(|item| format!("{item}\n")).collect::<String>();
            lines(&format!("{at}[]"), &text(ours), &text(theirs), add);
        }
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => add(at.to_owned(), ours.to_string(), theirs.to_string()),
    }
}

/// Of events the order is compared, too.
fn are_events(items: &[Value]) -> bool {
    items.iter().all(|item| item["Action"].is_string() && item["Actor"].is_object())
}

/// One difference for each run of lines that differ.
fn lines(at: &str, ours: &str, theirs: &str, add: &mut impl FnMut(String, String, String)) {
    if ours == theirs {
        return;
    }
    let ours: Vec<&str> = ours.split_inclusive('\n').collect();
    let theirs: Vec<&str> = theirs.split_inclusive('\n').collect();
    let common = longest_common(&ours, &theirs);
    let (mut our, mut their) = (0, 0);
    for (next_our, next_their) in common.into_iter().chain([(ours.len(), theirs.len())]) {
        if (our, their) != (next_our, next_their) {
            let text = |lines: &[&str]| if lines.is_empty() { ABSENT.to_owned() } else { lines.concat() };
            add(at.to_owned(), text(&ours[our..next_our]), text(&theirs[their..next_their]));
        }
        (our, their) = (next_our + 1, next_their + 1);
    }
}

/// Positions of a longest common subsequence.
fn longest_common(ours: &[&str], theirs: &[&str]) -> Vec<(usize, usize)> {
    let mut lengths = vec![vec![0_u32; theirs.len() + 1]; ours.len() + 1];
    for our in (0..ours.len()).rev() {
        for their in (0..theirs.len()).rev() {
            lengths[our][their] = match ours[our] == theirs[their] {
                true => lengths[our + 1][their + 1] + 1,
                false => lengths[our + 1][their].max(lengths[our][their + 1]),
            };
        }
    }
    let (mut our, mut their, mut common) = (0, 0, Vec::new());
    while our < ours.len() && their < theirs.len() {
        if ours[our] == theirs[their] {
            common.push((our, their));
            (our, their) = (our + 1, their + 1);
        } else if lengths[our + 1][their] >= lengths[our][their + 1] {
            our += 1;
        } else {
            their += 1;
        }
    }
    common
}

/// The same difference in several versions is one.
pub fn unite(differences: &mut Vec<Difference>) {
    let mut united: Vec<Difference> = Vec::new();
    for difference in differences.drain(..) {
        let same = |known: &&mut Difference| {
            let versions = known.versions.clone();
            **known == Difference { versions, ..difference.clone() }
        };
        match united.iter_mut().find(same) {
            Some(known) => known.versions.extend(difference.versions),
            None => united.push(difference),
        }
    }
    *differences = united;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    fn of(ours: &Part, theirs: &Part) -> Vec<String> {
        let mut found = Vec::new();
        parts("body", Some(ours), Some(theirs), &mut |at, our, their| found.push(format!("{at}: {our} | {their}")));
        found
    }

    #[test]
    fn members_differ_one_by_one() {
        let ours = Part::Json(value!({"a": {"b": 1, "c": null}, "l": [1, 2]}));
        let theirs = Part::Json(value!({"a": {"b": 2}, "l": [1, 3], "d": []}));
        let expected = ["body.a.b: 1 | 2", "body.a.c: null | (absent)", "body.l[1]: 2 | 3", "body.d: (absent) | []"];
        assert_eq!(of(&ours, &theirs), expected);
    }

    #[test]
    fn an_answer_that_one_side_refuses_is_one_difference() {
        let ours = [("status", Part::Text("501".into())), ("body", Part::Json(value!({"message": "no"})))];
        let theirs = [("status", Part::Text("200".into())), ("body", Part::Json(value!({"a": 1, "b": 2})))];
        let short = (r#"501 {"message":"no"}"#.to_owned(), r#"200 {"a":1,"b":2}"#.to_owned());
        assert_eq!(one_refused(&ours, &theirs), Some(short));
        assert_eq!(one_refused(&ours, &ours), None);
    }

    #[test]
    fn lines_differ_in_runs() {
        let ours = Part::Text("same\nours\nand\nend\n".into());
        let theirs = Part::Text("same\ntheirs\nend\nmore\n".into());
        assert_eq!(of(&ours, &theirs), ["body: ours\nand\n | theirs\n", "body: (absent) | more\n"]);
    }
}
