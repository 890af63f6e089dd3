//! Dependencies between our crates against `docs/arrows.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

const ARROWS: &str = "docs/arrows.toml";

#[derive(Deserialize)]
struct Arrows {
    layers: BTreeMap<String, Vec<String>>,
    arrows: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `null` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
    /// Only our own crates have one.
    path: Option<String>,
}

/// One line for each crate or dependency that the map does not have, and each that it has in vain.
pub fn findings(root: &Path) -> Result<Vec<String>> {
    let map: Arrows = toml::from_str(&fs::read_to_string(root.join(ARROWS))?).context(ARROWS)?;
    let layers = layer_of_each(&map)?;
    let mut findings = map_findings(&map, &layers);
    for package in metadata(root)?.packages {
        let Some(allowed) = map.arrows.get(&package.name) else {
            findings.push(format!("{ARROWS}: crate {} is not on the map", package.name));
            continue;
        };
        let used = package.dependencies.iter().filter(|d| d.path.is_some() && d.kind.as_deref() != Some("dev"));
        for dependency in used.filter(|d| !allowed.contains(&d.name)) {
            findings.push(format!("{ARROWS}: {} uses {}, no arrow allows it", package.name, dependency.name));
        }
    }
    Ok(findings)
}

fn layer_of_each(map: &Arrows) -> Result<BTreeMap<&str, u32>> {
    let mut layers = BTreeMap::new();
    for (number, crates) in &map.layers {
        let number = number.parse().with_context(|| format!("{ARROWS}: layer {number}"))?;
        for name in crates {
            ensure!(layers.insert(name.as_str(), number).is_none(), "{ARROWS}: {name} is in two layers");
        }
    }
    Ok(layers)
}

/// An arrow may point down or sideways, never up.
fn map_findings(map: &Arrows, layers: &BTreeMap<&str, u32>) -> Vec<String> {
    let mut findings = Vec::new();
    for (from, targets) in &map.arrows {
        let Some(own) = layers.get(from.as_str()) else {
            findings.push(format!("{ARROWS}: {from} has no layer"));
            continue;
        };
        for to in targets {
            match layers.get(to.as_str()) {
                None => findings.push(format!("{ARROWS}: {from} points to {to}, which has no layer")),
                Some(layer) if layer > own => findings.push(format!("{ARROWS}: {from} points up to {to}")),
                Some(_) => {}
            }
        }
    }
    findings
}

fn metadata(root: &Path) -> Result<Metadata> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}
