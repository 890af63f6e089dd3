//! Limits on the text of the sources: sizes, names, `unsafe`, unfinished work.
//!
//! The sources are formatted (`cargo fmt --check` is part of the tests), so that a line's indent tells where an item ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const FILE_LINES: usize = 700;
const FUNCTION_LINES: usize = 70;
const UNSAFE_CRATES: [&str; 2] = ["sys", "runtime-init"];
const UNSAFE_LIST: &str = "docs/unsafe.md";
const VAGUE_NAMES: [&str; 9] =
    ["utils.rs", "util.rs", "common.rs", "helper.rs", "helpers.rs", "misc.rs", "manager.rs", "handler.rs", "data.rs"];
/// What opens code that the compiler does not check. These words are spelled in parts, so that this file is no finding.
const UNSAFE_CODE: [&str; 3] = [concat!("un", "safe {"), concat!("un", "safe impl"), concat!("un", "safe extern")];
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

pub struct Report {
    pub files: usize,
    pub findings: Vec<String>,
    /// `crates/x/src/y.rs` or `crates/x/src/y.rs fn z` → lines.
    pub oversized: BTreeMap<String, usize>,
}

/// Every `.rs` file below `crates/`.
pub fn inspect(root: &Path) -> Result<Report> {
    let mut report = Report { files: 0, findings: Vec::new(), oversized: BTreeMap::new() };
    let listed = fs::read_to_string(root.join(UNSAFE_LIST)).unwrap_or_default();
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        report.files += 1;
        check_name(&path, &place, &mut report);
        check_unsafe(&place, &text, &listed, &mut report);
        check_unfinished(&place, &text, &mut report);
        if !is_test(&place) {
            check_sizes(&place, &text, &mut report);
        }
    }
    Ok(report)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn is_test(place: &str) -> bool {
    place.contains("/tests/") || place.ends_with("/tests.rs") || place.contains("/benches/")
}

fn check_name(path: &Path, place: &str, report: &mut Report) {
    if path.file_name().and_then(|n| n.to_str()).is_some_and(|name| VAGUE_NAMES.contains(&name)) {
        report.findings.push(format!("{place}: a name that says nothing"));
    }
}

/// `unsafe` code stands in two crates, each block under a SAFETY comment, each file in the list.
fn check_unsafe(place: &str, text: &str, listed: &str, report: &mut Report) {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = 0;
    for (number, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !UNSAFE_CODE.iter().any(|word| code.contains(word)) {
            continue;
        }
        blocks += 1;
        let above = &lines[number.saturating_sub(8)..=number];
        if !above.iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety")) {
            report.findings.push(format!("{place}:{}: no SAFETY comment", number + 1));
        }
    }
    if blocks == 0 {
        return;
    }
    if !UNSAFE_CRATES.iter().any(|name| place.starts_with(&format!("crates/{name}/"))) {
        report.findings.push(format!("{place}: unsafe outside {UNSAFE_CRATES:?}"));
    } else if !listed.contains(place) {
        report.findings.push(format!("{UNSAFE_LIST}: {place} is missing ({blocks} blocks)"));
    }
}

fn check_unfinished(place: &str, text: &str, report: &mut Report) {
    for (number, line) in text.lines().enumerate() {
        if UNFINISHED.iter().any(|word| line.contains(word)) {
            report.findings.push(format!("{place}:{}: unfinished", number + 1));
        }
    }
}

fn check_sizes(place: &str, text: &str, report: &mut Report) {
    let lines: Vec<&str> = text.lines().collect();
    let code = lines.iter().position(|l| *l == "mod tests {" || *l == "#[cfg(test)]").unwrap_or(lines.len());
    if code > FILE_LINES {
        report.oversized.insert(place.to_owned(), code);
    }
    for (start, line) in lines[..code].iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = lines[start..].iter().position(|l| l.len() == indent + 1 && l.ends_with('}')).unwrap_or(0);
        if end > FUNCTION_LINES {
            report.oversized.insert(format!("{place} fn {name}"), end);
        }
    }
}

/// The name, if a function's item starts on this line.
fn function_name(line: &str) -> Option<&str> {
    let code = line.trim_start();
    let (before, after) = code.split_once("fn ")?;
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    if !before.split_whitespace().all(|word| qualifiers.contains(&word)) || code.ends_with(';') {
        return None;
    }
    after.split(['(', '<']).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report { files: 0, findings: Vec::new(), oversized: BTreeMap::new() }
    }

    #[test]
    fn a_long_function_is_measured_from_its_indent() {
        let body = "        work();\n".repeat(80);
        let text = format!("impl A {{\n    pub async fn long(&self) {{\n{body}    }}\n\n    fn short() {{}}\n}}\n");
        let mut report = report();
        check_sizes("crates/a/src/lib.rs", &text, &mut report);
        assert_eq!(report.oversized, BTreeMap::from([("crates/a/src/lib.rs fn long".to_owned(), 81)]));
    }

    #[test]
    fn unsafe_outside_its_crates_is_found() {
        let mut report = report();
        check_unsafe("crates/images/src/lib.rs", concat!("// SAFETY: none\nun", "safe { f() }\n"), "", &mut report);
        assert_eq!(report.findings, ["crates/images/src/lib.rs: unsafe outside [\"sys\", \"runtime-init\"]"]);
    }
}
