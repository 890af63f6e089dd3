//! `daemon.json`: read, and laid beside the flags.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::table::{FILE_ONLY, JOINED, NESTED, OPTIONS, RENAMED, by_key};

/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// A file that was named must be there; the default one may be missing. The error is what is wrong with it.
pub fn read(named: Option<&Path>, path: &Path) -> Result<Map<String, Value>, String> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(Map::new()),
        Err(error) => return Err(open_failed(path, &error)),
    };
    if size > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    let bytes = fs::read(path).map_err(|error| open_failed(path, &error))?;
    let text = decode(&bytes).ok_or("failed to decode configuration JSON: neither UTF-8 nor UTF-16")?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match value {
        Value::Object(settings) => flatten(settings),
        _ => Err("the file does not hold a JSON object".to_owned()),
    }
}

fn open_failed(path: &Path, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("open {}: {why}", path.display())
}

/// UTF-8, or what a byte order mark says, as editors of Windows write it.
fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], join: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| join([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// The proxies' keys stand one level deeper; old names become new ones.
fn flatten(mut settings: Map<String, Value>) -> Result<Map<String, Value>, String> {
    if let Some(nested) = settings.remove(NESTED) {
        let Value::Object(nested) = nested else { return Err(format!("{NESTED} is not an object")) };
        settings.extend(nested);
    }
    for (old, new) in RENAMED {
        let Some(value) = settings.remove(old) else { continue };
        if settings.contains_key(new) {
            return Err(format!("{old} and {new} must not both be specified in the config file"));
        }
        settings.insert(new.to_owned(), Value::Array(vec![value]));
    }
    Ok(settings)
}

/// Both together; an error for keys that nobody knows, and for what both have.
pub fn merge(flags: &Map<String, Value>, file: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let is_known = |key: &str| by_key(key).is_some() || FILE_ONLY.contains(&key);
    let unknown: Vec<&str> = file.keys().map(String::as_str).filter(|key| !is_known(key)).collect();
    if !unknown.is_empty() {
        return Err(format!("the following directives don't match any configuration option: {}", unknown.join(", ")));
    }
    let twice: Vec<String> = OPTIONS
        .iter()
        .filter(|option| option.key != JOINED)
        .filter_map(|option| Some((option.key, flags.get(option.key)?, file.get(option.key)?)))
        .map(|(key, flag, file)| format!("{key}: (from flag: {}, from file: {})", shown(key, flag), shown(key, file)))
        .collect();
    if !twice.is_empty() {
        let twice = twice.join(", ");
        return Err(format!(
            "the following directives are specified both as a flag and in the configuration file: {twice}"
        ));
    }
    let mut merged = flags.clone();
    for (key, value) in file {
        match (merged.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, value) => drop(merged.insert(key, value)),
        }
    }
    Ok(merged)
}

fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::String(url) if key.ends_with("-proxy") => masked(url),
        value => in_go(value),
    }
}

/// A URL without the name and the password in it.
fn masked(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://xxxxx:xxxxx@{rest}"),
        None => url.to_owned(),
    }
}

/// How Go prints a value: `[a b]`, `map[k:v]`.
pub fn in_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(in_go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", in_go(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        value => value.to_string(),
    }
}
