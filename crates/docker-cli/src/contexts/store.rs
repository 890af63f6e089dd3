//! Contexts on disk, in Docker's layout: `contexts/meta/ID/meta.json` and `contexts/tls/ID/ENDPOINT/FILE`, where the id
//! is the SHA-256 of the name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ids::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::container::options::os_words;
use crate::failure::Failure;
use crate::text::quote;

/// The context that is no file: host and TLS as flags and environment say.
pub const DEFAULT: &str = "default";
/// The one endpoint that this client speaks to.
pub const DOCKER: &str = "docker";
/// How contexts may be called.
const NAME_RULE: &str = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$";
/// Largest file of a context that is read.
pub const MAX_FILE: u64 = 10 << 20;
/// Most contexts that are listed.
const MAX_CONTEXTS: usize = 10_000;

/// A context. What this client does not know in it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Meta {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub metadata: Json,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub endpoints: Map<String, Json>,
}

/// Files of an endpoint: `ca.pem`, `cert.pem`, `key.pem`.
pub type Files = BTreeMap<String, Vec<u8>>;
/// Those of a context, by endpoint.
pub type TlsData = BTreeMap<String, Files>;

impl Meta {
    pub fn description(&self) -> &str {
        self.metadata.get("Description").and_then(Json::as_str).unwrap_or_default()
    }

    pub fn describe(&mut self, description: &str) {
        let mut metadata = self.metadata.as_object().cloned().unwrap_or_default();
        if description.is_empty() {
            metadata.shift_remove("Description");
        } else {
            metadata.insert("Description".to_owned(), json!(description));
        }
        self.metadata = Json::Object(metadata);
    }

    /// Host and whether the daemon's certificate is taken as it comes.
    pub fn docker(&self) -> Result<(String, bool), Failure> {
        let endpoint = self.endpoints.get(DOCKER);
        let endpoint = endpoint.ok_or_else(|| Failure::text("cannot find docker endpoint in context"))?;
        let host = endpoint.get("Host").and_then(Json::as_str).unwrap_or_default();
        Ok((host.to_owned(), endpoint.get("SkipTLSVerify").and_then(Json::as_bool).unwrap_or(false)))
    }

    pub fn set_docker(&mut self, host: &str, skip_verify: bool) {
        let mut endpoint = Map::new();
        if !host.is_empty() {
            endpoint.insert("Host".to_owned(), json!(host));
        }
        endpoint.insert("SkipTLSVerify".to_owned(), json!(skip_verify));
        self.endpoints.insert(DOCKER.to_owned(), Json::Object(endpoint));
    }
}

/// Refuses names that cannot be a context's.
pub fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::text("context name cannot be empty"));
    }
    if name == DEFAULT {
        return Err(Failure::text("\"default\" is a reserved context name"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    let is_name = name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed);
    if is_name {
        return Ok(());
    }
    Err(Failure::text(format!(
        "context name {} is invalid, names are validated against regexp {}",
        quote(name),
        quote(NAME_RULE)
    )))
}

/// All contexts of a user but the default one.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Below the folder of the client's configuration. Nothing is read yet.
    pub fn new(config: &Path) -> Self {
        Self { folder: config.join("contexts") }
    }

    pub fn meta_folder(&self, name: &str) -> PathBuf {
        self.folder.join("meta").join(id(name))
    }

    pub fn tls_folder(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(id(name))
    }

    /// Whether there is a context of this name.
    pub fn has(&self, name: &str) -> bool {
        self.meta_folder(name).join("meta.json").exists()
    }

    pub fn get(&self, name: &str) -> Result<Meta, Failure> {
        let path = self.meta_folder(name).join("meta.json");
        match read_meta(&path)? {
            Ok(meta) => Ok(meta),
            Err(error) => {
                let (name, path, words) = (quote(name), path.display(), os_words(&error));
                Err(Failure::text(format!("context {name}: context not found: open {path}: {words}")))
            }
        }
    }

    /// By name, as people sort them.
    pub fn list(&self) -> Result<Vec<Meta>, Failure> {
        let Ok(entries) = fs::read_dir(self.folder.join("meta")) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries.flatten().take(MAX_CONTEXTS) {
            if let Ok(meta) = read_meta(&entry.path().join("meta.json"))? {
                found.push(meta);
            }
        }
        found.sort_by(|a: &Meta, b: &Meta| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Creates or replaces.
    pub fn put(&self, meta: &Meta) -> Result<(), Failure> {
        let folder = self.meta_folder(&meta.name);
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_vec(meta).map_err(|error| Failure::text(error.to_string()))?;
        replace(&folder.join("meta.json"), &text, 0o644)
    }

    /// Replaces all TLS files of a context.
    pub fn put_tls(&self, name: &str, tls: &TlsData) -> Result<(), Failure> {
        if let Ok(endpoints) = fs::read_dir(self.tls_folder(name)) {
            for endpoint in endpoints.flatten() {
                remove_folder(&endpoint.path())?;
            }
        }
        for (endpoint, files) in tls {
            let folder = self.tls_folder(name).join(endpoint);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            for (file, bytes) in files {
                replace(&folder.join(file), bytes, 0o600)?;
            }
        }
        Ok(())
    }

    /// All TLS files of a context.
    pub fn tls(&self, name: &str) -> Result<TlsData, Failure> {
        let mut found = TlsData::new();
        let Ok(endpoints) = fs::read_dir(self.tls_folder(name)) else { return Ok(found) };
        for endpoint in endpoints.flatten() {
            let Ok(files) = fs::read_dir(endpoint.path()) else { continue };
            let mut contents = BTreeMap::new();
            for file in files.flatten() {
                let bytes = bounded(&file.path())?;
                contents.insert(file.file_name().to_string_lossy().into_owned(), bytes);
            }
            found.insert(endpoint.file_name().to_string_lossy().into_owned(), contents);
        }
        Ok(found)
    }

    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        remove_folder(&self.meta_folder(name))?;
        remove_folder(&self.tls_folder(name))
    }
}

fn id(name: &str) -> String {
    Digest::of(name).hex()
}

/// The file's content; apart from that, why it is not there. One that cannot be understood is an error.
fn read_meta(path: &Path) -> Result<io::Result<Meta>, Failure> {
    let text = match fs::File::open(path) {
        Ok(_) => bounded(path)?,
        Err(error) => return Ok(Err(error)),
    };
    let meta = serde_json::from_slice(&text)
        .map_err(|error| Failure::text(format!("failed to read metadata: parsing {}: {error}", path.display())))?;
    Ok(Ok(meta))
}

/// A file that has a size one can believe.
pub fn bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let told = |error: io::Error| Failure::text(format!("open {}: {}", path.display(), os_words(&error)));
    if fs::metadata(path).map_err(told)?.len() > MAX_FILE {
        return Err(Failure::text(format!("{}: the file is larger than {MAX_FILE} bytes", path.display())));
    }
    fs::read(path).map_err(told)
}

/// In one step: nobody reads half a file.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

fn remove_folder(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_stored_as_docker_stores_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert!(store.get("two").unwrap_err().to_string().starts_with("context \"two\": context not found: open "));
        let mut meta = Meta { name: "two".into(), ..Meta::default() };
        meta.describe("words");
        meta.set_docker("tcp://h:1", true);
        store.put(&meta).unwrap();
        let path = folder
            .path()
            .join("contexts/meta/3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3/meta.json");
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            r#"{"Name":"two","Metadata":{"Description":"words"},"Endpoints":{"docker":{"Host":"tcp://h:1","SkipTLSVerify":true}}}"#
        );
        let files = BTreeMap::from([("ca.pem".to_owned(), b"x".to_vec())]);
        let tls = TlsData::from([(DOCKER.to_owned(), files)]);
        store.put_tls("two", &tls).unwrap();
        assert_eq!(store.tls("two").unwrap(), tls);
        assert_eq!(store.list().unwrap(), [meta]);
        store.remove("two").unwrap();
        assert!(store.list().unwrap().is_empty() && store.tls("two").unwrap().is_empty());
    }

    #[test]
    fn names_follow_the_rule() {
        assert!(check_name("a.b_c+d-1").is_ok());
        for name in ["", "a", "default", ".x", "a/b", "a b", "é1"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
