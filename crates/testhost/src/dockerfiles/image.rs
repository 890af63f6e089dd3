//! What of an image must be equal: its configuration, and its files with all that they are but their times.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use anyhow::{Context, Result, ensure};
use archive::{EntryKind, Limits, TarReader};
use serde_json::Value;

use super::digest;
use crate::docker::Docker;

/// Fields of the configuration that a Dockerfile decides.
const FIELDS: [&str; 13] = [
    "User",
    "ExposedPorts",
    "Env",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "OnBuild",
    "Labels",
    "StopSignal",
    "Shell",
];
/// What engines put into every container.
const OF_THE_ENGINE: [&str; 8] =
    [".dockerenv", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "proc", "sys"];

pub struct Looked {
    config: BTreeMap<String, Value>,
    files: BTreeMap<String, String>,
}

pub fn look(docker: &Docker, id: &str) -> Result<Looked> {
    let inspected: Value = serde_json::from_str(&docker.run(&["inspect", id])?)?;
    let config = &inspected[0]["Config"];
    let field = |name: &&str| ((*name).to_owned(), plain(&config[*name]));
    let mut config: BTreeMap<String, Value> = FIELDS.iter().map(field).collect();
    config.insert("Author".to_owned(), plain(&inspected[0]["Author"]));
    Ok(Looked { config, files: files(docker, id)? })
}

/// Nothing is nothing, however it is written.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(list) if list.is_empty() => Value::Null,
        Value::Object(map) if map.is_empty() => Value::Null,
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        other => other.clone(),
    }
}

fn files(docker: &Docker, id: &str) -> Result<BTreeMap<String, String>> {
    let container = docker.run(&["create", id, "nothing"])?;
    let exported = docker.command(&["export", &container]).output()?;
    docker.run(&["rm", "-v", &container])?;
    ensure!(exported.status.success(), "docker export: {}", String::from_utf8_lossy(&exported.stderr));
    let mut reader = TarReader::new(Cursor::new(exported.stdout), Limits::default());
    let mut files = BTreeMap::new();
    while let Some(entry) = reader.next_entry().context("docker export")? {
        let path = String::from_utf8_lossy(&entry.path).trim_start_matches("./").trim_end_matches('/').to_owned();
        let mut content = Vec::new();
        reader.member().read_to_end(&mut content)?;
        let is_of_engine = |own: &&str| path == **own || path.starts_with(&format!("{own}/"));
        if path.is_empty() || OF_THE_ENGINE.iter().any(|own| is_of_engine(&own)) {
            continue;
        }
        let kind = match &entry.kind {
            EntryKind::File => format!("file {}", digest(&content)),
            EntryKind::Symlink(target) => format!("link to {}", String::from_utf8_lossy(target)),
            // Which name of a file comes first is the archive's.
            EntryKind::HardLink(_) => continue,
            other => format!("{other:?}"),
        };
        files.insert(path, format!("{kind} {:o} {}:{}", entry.mode, entry.uid, entry.gid));
    }
    Ok(files)
}

/// The first thing that differs, ours before theirs.
pub fn difference(ours: &Looked, theirs: &Looked) -> Option<String> {
    for (name, value) in &ours.config {
        let other = &theirs.config[name];
        if value != other {
            return Some(format!("{name}: {value} at ours, {other} at Docker's"));
        }
    }
    let names: std::collections::BTreeSet<&String> = ours.files.keys().chain(theirs.files.keys()).collect();
    let shown = |file: Option<&String>| file.cloned().unwrap_or_else(|| "nothing".to_owned());
    for name in names {
        let (own, other) = (ours.files.get(name), theirs.files.get(name));
        if own != other {
            return Some(format!("/{name}: {} at ours, {} at Docker's", shown(own), shown(other)));
        }
    }
    None
}
