//! Commands of other programs: `docker-NAME` in a plugin folder is `docker NAME`.
//!
//! The contract is Docker's: called with `docker-cli-plugin-metadata` a plugin answers JSON about itself; called for a
//! command it gets the whole line as it was typed, options in front of the command included, and finds the program that
//! called it in an environment variable. We become the plugin, so that signals and the terminal are its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine_api::go_json::{Document, JsonError};
use serde::{Deserialize, Serialize};

use crate::command::globals::Globals;
use crate::command::tree::{BUILDX, ROOT};
use crate::config::Config;
use crate::failure::Failure;
use crate::text::quote;

/// What a plugin's file is called before its name.
const PREFIX: &str = "docker-";
/// Makes a plugin tell of itself.
const METADATA: &str = "docker-cli-plugin-metadata";
/// Names us to the plugin.
const CALLER: &str = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND";
const SCHEMA: &str = "0.1.0";
/// How plugins may be called, as Docker's errors show it.
const NAME_RULE: &str = "^[a-z][a-z0-9]*$";
/// Where packages put plugins.
const SYSTEM_FOLDERS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
/// Largest answer of a plugin about itself, and most files that are asked.
const MAX_METADATA: u64 = 1 << 20;
const MAX_PLUGINS: usize = 256;

/// What a plugin says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    schema_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    vendor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    short_description: String,
    #[serde(rename = "URL", skip_serializing_if = "String::is_empty")]
    url: String,
}

/// A file that is called like a plugin, and what came of asking it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Plugin {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub short_description: String,
    #[serde(rename = "URL", skip_serializing_if = "String::is_empty")]
    pub url: String,
    pub name: String,
    pub path: PathBuf,
    /// Why it is none.
    #[serde(rename = "Err", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Files of the same name in later folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadowed_paths: Vec<PathBuf>,
}

/// Where plugins are looked for, first come first served.
pub fn folders(globals: &Globals) -> Vec<PathBuf> {
    let config = Config::load(globals.config.clone());
    let own = globals.config.join("cli-plugins");
    config.plugin_folders.into_iter().chain([own]).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from)).collect()
}

/// All plugins, by name, the broken ones among them.
pub fn list(folders: &[PathBuf]) -> Vec<Plugin> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in folders.iter().flat_map(|folder| candidates(folder)) {
        let Some(name) = name_of(&path) else { continue };
        if found.len() < MAX_PLUGINS || found.contains_key(&name) {
            found.entry(name).or_default().push(path);
        }
    }
    let ask = |(name, mut paths): (String, Vec<PathBuf>)| {
        let shadowed_paths = paths.split_off(1);
        Plugin { shadowed_paths, ..ask(&name, &paths[0]) }
    };
    found.into_iter().map(ask).collect()
}

/// The plugin of this name, if there is a working one.
pub fn find(folders: &[PathBuf], name: &str) -> Option<Plugin> {
    if !is_name(name) {
        return None;
    }
    let path = folders.iter().map(|folder| folder.join(format!("{PREFIX}{name}"))).find(|path| path.exists())?;
    Some(ask(name, &path)).filter(|plugin| plugin.error.is_none())
}

/// Becomes the plugin; comes back only when that fails.
pub fn replace_by(plugin: &Plugin, words: &[String]) -> Result<u8, Failure> {
    let own = std::env::args_os().next().unwrap_or_else(|| OsString::from("docker"));
    Err(Command::new(&plugin.path).args(words).env(CALLER, own).exec().into())
}

/// Files and links of a folder that are called like plugins.
fn candidates(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_file = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink());
    let paths = entries.flatten().filter(is_file).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| name_of(path).is_some()).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> Option<String> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX).map(str::to_owned)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Has a file tell what it is, and judges the answer.
fn ask(name: &str, path: &Path) -> Plugin {
    let plugin = Plugin { name: name.to_owned(), path: path.to_owned(), ..Plugin::default() };
    match ask_metadata(name, path) {
        Err(error) => Plugin { error: Some(error), ..plugin },
        Ok(metadata) => Plugin {
            error: refusal(&metadata),
            schema_version: metadata.schema_version,
            vendor: metadata.vendor,
            version: metadata.version,
            short_description: metadata.short_description,
            url: metadata.url,
            ..plugin
        },
    }
}

fn refusal(metadata: &Metadata) -> Option<String> {
    if metadata.schema_version != SCHEMA {
        let given = quote(&metadata.schema_version);
        return Some(format!("plugin SchemaVersion {given} is not valid, must be {SCHEMA}"));
    }
    metadata.vendor.is_empty().then(|| "plugin metadata does not define a vendor".to_owned())
}

fn ask_metadata(name: &str, path: &Path) -> Result<Metadata, String> {
    if !is_name(name) {
        return Err(format!("plugin candidate {} did not match {}", quote(name), quote(NAME_RULE)));
    }
    for command in ROOT.children.iter().filter(|command| command.name != BUILDX) {
        if command.name == name {
            return Err(format!("plugin {} duplicates builtin command", quote(name)));
        }
        if command.names.contains(&name) {
            let (name, command) = (quote(name), quote(command.name));
            return Err(format!("plugin {name} duplicates an alias of builtin command {command}"));
        }
    }
    let text = output_of(path).map_err(|error| format!("failed to fetch metadata: {error}"))?;
    read_metadata(&text).map_err(|error| format!("invalid metadata: {error}"))
}

/// In Go's words of what is wrong.
fn read_metadata(text: &[u8]) -> Result<Metadata, String> {
    let read = Document::parse(text).and_then(|document| document.read());
    read.map_err(|error| match error {
        JsonError::Empty | JsonError::UnexpectedEof => "unexpected end of JSON input".to_owned(),
        error => error.to_string(),
    })
}

fn output_of(path: &Path) -> Result<Vec<u8>, String> {
    let own = std::env::args_os().next().unwrap_or_else(|| OsString::from("docker"));
    let failed = |error: std::io::Error| {
        format!("fork/exec {}: {}", path.display(), crate::container::options::os_words(&error))
    };
    let mut child = Command::new(path)
        .arg(METADATA)
        .env(CALLER, own)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_METADATA).read_to_end(&mut text).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    match status.code() {
        Some(0) => Ok(text),
        Some(code) => Err(format!("exit status {code}")),
        None => Err("ended by a signal".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(folder: &Path, name: &str, script: &str) {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    const GOOD: &str = r#"test "$1" = docker-cli-plugin-metadata && echo '{"SchemaVersion":"0.1.0","Vendor":"V","Version":"v1","ShortDescription":"Does x"}'"#;

    #[test]
    fn plugins_are_found_in_order_and_judged() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(first.path(), "docker-good", GOOD);
        put(second.path(), "docker-good", GOOD);
        put(second.path(), "docker-ps", GOOD);
        put(second.path(), "docker-old", r#"echo '{"SchemaVersion":"0.0.1"}'"#);
        put(second.path(), "docker-nobody", r#"echo '{"SchemaVersion":"0.1.0"}'"#);
        put(second.path(), "docker-fails", "exit 3");
        put(second.path(), "docker-odd", "echo '{i-am-no-json'");
        put(second.path(), "docker-silent", "");
        put(second.path(), "docker-Bad-Name", GOOD);
        put(second.path(), "other", GOOD);
        let folders = [PathBuf::from("/nonexistent"), first.path().to_owned(), second.path().to_owned()];
        let found = list(&folders);
        let errors: Vec<(&str, &str)> =
            found.iter().map(|plugin| (plugin.name.as_str(), plugin.error.as_deref().unwrap_or("none"))).collect();
        assert_eq!(
            errors,
            [
                ("Bad-Name", "plugin candidate \"Bad-Name\" did not match \"^[a-z][a-z0-9]*$\""),
                ("fails", "failed to fetch metadata: exit status 3"),
                ("good", "none"),
                ("nobody", "plugin metadata does not define a vendor"),
                ("odd", "invalid metadata: invalid character 'i' looking for beginning of object key string"),
                ("old", "plugin SchemaVersion \"0.0.1\" is not valid, must be 0.1.0"),
                ("ps", "plugin \"ps\" duplicates builtin command"),
                ("silent", "invalid metadata: unexpected end of JSON input"),
            ]
        );
        assert_eq!(found[2].path, first.path().join("docker-good"));
        assert_eq!(found[2].shadowed_paths, [second.path().join("docker-good")]);
        assert_eq!(find(&folders, "good").map(|plugin| plugin.short_description).as_deref(), Some("Does x"));
        assert_eq!(find(&folders, "fails"), None);
        assert_eq!(find(&folders, "../good"), None);
    }
}
