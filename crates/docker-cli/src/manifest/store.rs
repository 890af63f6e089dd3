//! Lists that are being put together, on disk.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_api::image::{Descriptor, Platform};
use ids::{Digest, Reference};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// The largest file that is read: a manifest three times over.
const MAX_FILE_BYTES: u64 = 16 << 20;
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// One image of a list, as Docker's client keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stored {
    #[serde(rename = "Ref")]
    pub reference: String,
    pub descriptor: Descriptor,
    /// The manifest's bytes, in base64.
    #[serde(default)]
    pub raw: String,
    /// The manifest once more, to be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_v2_manifest: Option<Value>,
    #[serde(default, rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    pub oci_manifest: Option<Value>,
}

impl Stored {
    pub fn new(reference: &Reference, descriptor: Descriptor, raw: &[u8]) -> Result<Self, Failure> {
        let wrong = |error| Failure::Text(format!("invalid manifest: {error}"));
        let parsed: Value = serde_json::from_slice(raw).map_err(wrong)?;
        let is_oci = descriptor.media_type == OCI_MANIFEST;
        let (schema_v2_manifest, oci_manifest) = if is_oci { (None, Some(parsed)) } else { (Some(parsed), None) };
        let raw = STANDARD.encode(raw);
        Ok(Self { reference: reference.to_string(), descriptor, raw, schema_v2_manifest, oci_manifest })
    }

    /// The manifest's bytes, whose digest is the descriptor's.
    pub fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let wrong = || Failure::Text(format!("{} has no payload", self.reference));
        let parsed = self.schema_v2_manifest.as_ref().or(self.oci_manifest.as_ref());
        let bytes = match self.raw.as_str() {
            "" => parsed.ok_or_else(wrong)?.to_string().into_bytes(),
            raw => STANDARD.decode(raw).map_err(|_| wrong())?,
        };
        if Digest::of(&bytes).to_string() != self.descriptor.digest {
            return Err(Failure::Text(format!("invalid manifest file of {}: digest mismatch", self.reference)));
        }
        Ok(bytes)
    }

    pub fn platform_mut(&mut self) -> &mut Platform {
        self.descriptor.platform.get_or_insert_with(Platform::default)
    }
}

/// The folder of all lists.
pub struct Store(PathBuf);

impl Store {
    pub fn new(configuration: &Path) -> Self {
        Self(configuration.join("manifests"))
    }

    /// The images of a list, by name; `None` if there is no such list.
    pub fn list(&self, list: &Reference) -> Result<Option<Vec<Stored>>, Failure> {
        let entries = match fs::read_dir(self.folder(list)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        let read = |path: &PathBuf| read(path)?.ok_or_else(|| missing(list));
        Ok(Some(paths.iter().map(read).collect::<Result<_, _>>()?))
    }

    pub fn get(&self, list: &Reference, image: &Reference) -> Result<Option<Stored>, Failure> {
        read(&self.folder(list).join(file_name(image)))
    }

    pub fn save(&self, list: &Reference, image: &Reference, stored: &Stored) -> Result<(), Failure> {
        let folder = self.folder(list);
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_vec(stored).map_err(io::Error::other)?;
        // Whole or not at all.
        let half = folder.join(format!(".{}", std::process::id()));
        fs::write(&half, text)?;
        Ok(fs::rename(&half, folder.join(file_name(image)))?)
    }

    pub fn remove(&self, list: &Reference) -> Result<(), Failure> {
        match fs::remove_dir_all(self.folder(list)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => Ok(done?),
        }
    }

    fn folder(&self, list: &Reference) -> PathBuf {
        self.0.join(file_name(list))
    }
}

/// Docker's words for a list or an image of it that is not there.
pub fn missing(reference: &Reference) -> Failure {
    Failure::Text(format!("No such manifest: {reference}"))
}

fn read(path: &Path) -> Result<Option<Stored>, Failure> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::Text(format!("{}: file too large", path.display())));
    }
    let wrong = |error| Failure::Text(format!("{}: {error}", path.display()));
    serde_json::from_slice(&text).map(Some).map_err(wrong)
}

/// A reference as a file's name: it has neither `%` nor `#` itself.
fn file_name(reference: &Reference) -> String {
    reference.to_string().replace(':', "%").replace('/', "#")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        super::super::parse(text).unwrap()
    }

    #[test]
    fn what_is_saved_is_found_under_docker_s_name_with_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let (list, image) = (reference("reg:5000/app"), reference("reg:5000/app:amd64"));
        assert!(store.list(&list).unwrap().is_none());
        let raw = b"{\n   \"schemaVersion\": 2 }";
        let descriptor = Descriptor { digest: Digest::of(raw).to_string(), size: 25, ..Descriptor::default() };
        store.save(&list, &image, &Stored::new(&image, descriptor, raw).unwrap()).unwrap();
        assert!(folder.path().join("manifests/reg%5000#app%latest/reg%5000#app%amd64").exists());
        let listed = store.list(&list).unwrap().unwrap();
        assert_eq!((listed.len(), listed[0].bytes().unwrap()), (1, raw.to_vec()));
        let mut changed = listed[0].clone();
        changed.raw = STANDARD.encode("{}");
        assert!(changed.bytes().is_err(), "other bytes");
        store.remove(&list).unwrap();
        assert!(store.get(&list, &image).unwrap().is_none());
    }
}
