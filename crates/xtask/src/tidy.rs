//! Checks that the sources keep what ARCHITECTURE.md and the conventions promise.
//!
//! Sizes that are over the limit already stand in `docs/ratchet.toml`; a number there may shrink and never grow.

mod arrows;
mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

const RATCHET: &str = "docs/ratchet.toml";

/// Prints every finding; an error if there is one.
pub fn check(root: &Path) -> Result<()> {
    let ratchet = read_ratchet(root)?;
    let mut findings = arrows::findings(root)?;
    let report = sources::inspect(root)?;
    findings.extend(report.findings);
    for (place, size) in &report.oversized {
        match ratchet.get(place) {
            Some(allowed) if size <= allowed => {}
            Some(allowed) => findings.push(format!("{place}: {size} lines, the ratchet allows {allowed}")),
            None => findings.push(format!("{place}: {size} lines, over the limit")),
        }
    }
    for place in ratchet.keys().filter(|place| !report.oversized.contains_key(*place)) {
        findings.push(format!("{RATCHET}: {place} is within the limit now, take it off the list"));
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", report.files);
        return Ok(());
    }
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    bail!("{} findings", findings.len())
}

/// Writes the present sizes down, refusing to raise one that stands there.
pub fn write_ratchet(root: &Path) -> Result<()> {
    let old = read_ratchet(root)?;
    let report = sources::inspect(root)?;
    let grown: Vec<_> =
        report.oversized.iter().filter(|(place, size)| old.get(*place).is_some_and(|o| *size > o)).collect();
    if !grown.is_empty() {
        bail!("these grew: {grown:?}");
    }
    let mut text = String::from(
        "# Files over 700 lines and functions over 70 that were there when the limit came. A number may shrink, never grow.\n",
    );
    for (place, size) in &report.oversized {
        text.push_str(&format!("\"{place}\" = {size}\n"));
    }
    fs::write(root.join(RATCHET), text)?;
    Ok(())
}

fn read_ratchet(root: &Path) -> Result<BTreeMap<String, usize>> {
    match fs::read_to_string(root.join(RATCHET)) {
        Ok(text) => toml::from_str(&text).context(RATCHET),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).context(RATCHET),
    }
}
