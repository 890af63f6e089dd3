//! `--cache-from` and `--cache-to`, and the folders of those that are local: OCI layouts, whose index says by a tag which
//! manifest is the cache's (image-spec, image-layout.md).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use buildkit_api::control::{CacheOptions, CacheOptionsEntry};
use image_core::layout::{INDEX, LAYOUT, REF_NAME, index_json, layout_json};
use image_core::{Descriptor, Index, MAX_MANIFEST_BYTES};

use super::request;
use crate::command::Matches;
use crate::container::fields::comma_fields;
use crate::container::options::os_words;
use crate::context::say;
use crate::failure::Failure;

const LOCAL: &str = "local";
pub const DEFAULT_TAG: &str = "latest";
/// The manifest that the builder has written.
const MANIFEST: &str = "cache.manifest";

/// Where a build's caches are.
#[derive(Debug, Default)]
pub struct Caches {
    pub options: CacheOptions,
    /// Folders that are lent, by the builder's names for them.
    pub folders: BTreeMap<String, PathBuf>,
    /// Folders that get a cache, and its tag.
    targets: Vec<(PathBuf, String)>,
}

impl Caches {
    pub fn of(flags: &Matches) -> Result<Self, Failure> {
        let mut caches = Self::default();
        for text in request::cache_sources(flags.list("cache-from")) {
            let mut entry = entry(&text)?;
            if entry.r#type == LOCAL && !caches.add_source(&mut entry)? {
                continue;
            }
            caches.options.imports.push(entry);
        }
        for text in flags.list("cache-to") {
            let mut entry = entry(text)?;
            if entry.r#type == LOCAL {
                let folder = caches.lend(&entry, "dest")?;
                let tag = entry.attrs.remove("tag").unwrap_or_else(|| DEFAULT_TAG.to_owned());
                caches.targets.push((folder, tag));
            }
            caches.options.exports.push(entry);
        }
        Ok(caches)
    }

    /// `false`: the folder has no such cache, which is told and no mistake.
    fn add_source(&mut self, entry: &mut CacheOptionsEntry) -> Result<bool, Failure> {
        let folder = self.lend(entry, "src")?;
        let tag = entry.attrs.remove("tag").unwrap_or_else(|| DEFAULT_TAG.to_owned());
        if entry.attrs.contains_key("digest") {
            return Ok(true);
        }
        match tagged(&folder, &tag) {
            Ok(digest) => {
                entry.attrs.insert("digest".to_owned(), digest);
                Ok(true)
            }
            Err(reason) => {
                say(&format!("WARNING: local cache import at {} not found due to err: {reason}", folder.display()));
                Ok(false)
            }
        }
    }

    fn lend(&mut self, entry: &CacheOptionsEntry, key: &str) -> Result<PathBuf, Failure> {
        let folder = entry.attrs.get(key).filter(|folder| !folder.is_empty());
        let folder = folder.ok_or_else(|| Failure::Text(format!("local cache needs {key}=FOLDER")))?;
        let path = PathBuf::from(folder);
        self.folders.insert(format!("{LOCAL}:{folder}"), path.clone());
        Ok(path)
    }

    /// Notes in the folders what the builder has written there.
    pub fn commit(&self, response: &BTreeMap<String, String>) -> Result<(), Failure> {
        let Some(manifest) = response.get(MANIFEST) else { return Ok(()) };
        let wrong =
            |error: serde_json::Error| Failure::Text(format!("the builder's {MANIFEST} is not understood: {error}"));
        let manifest: Descriptor = serde_json::from_str(manifest).map_err(wrong)?;
        for (folder, tag) in &self.targets {
            note(folder, tag, &manifest).map_err(|error| {
                Failure::Text(format!(
                    "failed to write the cache's index in {}: {}",
                    folder.display(),
                    os_words(&error)
                ))
            })?;
        }
        Ok(())
    }
}

/// `type=registry,ref=…`, or a name of an image.
fn entry(text: &str) -> Result<CacheOptionsEntry, Failure> {
    let fields = comma_fields(text).map_err(Failure::Text)?;
    if fields.iter().all(|field| !field.contains('=')) {
        let attrs = [("ref".to_owned(), text.to_owned())].into();
        return Ok(CacheOptionsEntry { r#type: "registry".to_owned(), attrs });
    }
    let mut values = HashMap::new();
    for field in &fields {
        let (key, value) = field.split_once('=').ok_or_else(|| Failure::Text(format!("invalid value {field}")))?;
        values.insert(key.trim().to_lowercase(), value.to_owned());
    }
    let kind = values.remove("type").ok_or_else(|| Failure::Text(format!("type required form> {text:?}")))?;
    Ok(CacheOptionsEntry { r#type: kind, attrs: values })
}

fn read(folder: &Path) -> Result<Index, String> {
    let bytes = fs::read(folder.join(INDEX)).map_err(|error| os_words(&error))?;
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(format!("{INDEX} has more than {MAX_MANIFEST_BYTES} bytes"));
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn is_tagged(entry: &Descriptor, tag: &str) -> bool {
    entry.annotations.as_ref().and_then(|all| all.get(REF_NAME)).is_some_and(|own| own == tag)
}

/// The digest that a tag of a layout stands for.
pub fn tagged(folder: &Path, tag: &str) -> Result<String, String> {
    let index = read(folder)?;
    let found = index.manifests.iter().find(|entry| is_tagged(entry, tag));
    found.map(|entry| entry.digest.to_string()).ok_or_else(|| format!("{INDEX} has no tag {tag}"))
}

/// The same where none was named: of `latest`, or of the only image that there is.
pub fn untagged(folder: &Path) -> Result<String, String> {
    match &read(folder)?.manifests[..] {
        [only] => Ok(only.digest.to_string()),
        _ => tagged(folder, DEFAULT_TAG),
    }
}

/// The tag stands for this manifest from now on.
fn note(folder: &Path, tag: &str, manifest: &Descriptor) -> std::io::Result<()> {
    let mut manifests = read(folder).map(|index| index.manifests).unwrap_or_default();
    manifests.retain(|entry| !is_tagged(entry, tag));
    let annotations = Some([(REF_NAME.to_owned(), tag.to_owned())].into());
    manifests.push(Descriptor { annotations, ..manifest.clone() });
    fs::write(folder.join(LAYOUT), layout_json())?;
    let made = folder.join(format!(".{INDEX}-{}", std::process::id()));
    fs::write(&made, index_json(manifests))?;
    fs::rename(made, folder.join(INDEX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_names_or_places() {
        let named = entry("r.io/a:b").unwrap();
        assert_eq!((named.r#type.as_str(), named.attrs["ref"].as_str()), ("registry", "r.io/a:b"));
        let place = entry("type=registry,ref=a,mode=max").unwrap();
        assert_eq!((place.attrs.len(), place.attrs["mode"].as_str()), (2, "max"));
        assert!(entry("ref=a").is_err());
    }

    #[test]
    fn a_tag_stands_for_the_last_manifest() {
        let home = tempfile::tempdir().unwrap();
        let manifest = |text: &str| Descriptor::new("application/x", ids::Digest::of(text), 1);
        for (tag, text) in [("latest", "one"), ("other", "two"), ("latest", "three")] {
            note(home.path(), tag, &manifest(text)).unwrap();
        }
        assert_eq!(tagged(home.path(), "latest").unwrap(), ids::Digest::of("three").to_string());
        assert_eq!(tagged(home.path(), "other").unwrap(), ids::Digest::of("two").to_string());
        assert!(tagged(home.path(), "none").unwrap_err().contains("no tag none"));
        assert_eq!(untagged(home.path()).unwrap(), ids::Digest::of("three").to_string());
        assert!(tagged(Path::new("/nonexistent"), "latest").is_err());
    }
}
