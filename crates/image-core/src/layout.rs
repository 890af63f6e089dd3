//! The files by which an archive of images says what is in it: OCI's `oci-layout` and `index.json` (image-spec
//! image-layout.md), Docker's `manifest.json` and `repositories`. What `docker save` writes has all four.

use std::collections::BTreeMap;

use ids::Digest;
use serde::{Deserialize, Serialize};

use crate::{Descriptor, ImageError, Index, MAX_MANIFEST_BYTES, media_type};

/// Names of the files.
pub const LAYOUT: &str = "oci-layout";
pub const INDEX: &str = "index.json";
pub const MANIFEST: &str = "manifest.json";
pub const REPOSITORIES: &str = "repositories";

/// The whole name of an image, on its descriptor in `index.json`.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// The tag, or whatever name the writer found fitting.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

const LAYOUT_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// One image of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchivedImage {
    /// The configuration's path in the archive.
    pub config: String,
    /// Names as users write them.
    pub repo_tags: Option<Vec<String>>,
    /// The layers' paths, lowest first.
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// Repositories, their tags, and the topmost layer of each.
pub type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// Where a layout has a blob.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The digest that a path claims for its content.
pub fn digest_of_path(path: &str) -> Option<Digest> {
    path.strip_prefix("blobs/sha256/").and_then(|hex| format!("sha256:{hex}").parse().ok())
}

/// What `oci-layout` holds.
pub fn layout_json() -> Vec<u8> {
    LAYOUT_TEXT.as_bytes().to_vec()
}

/// `index.json` over these.
pub fn index_json(manifests: Vec<Descriptor>) -> Vec<u8> {
    let media_type = media_type::OCI_INDEX.to_owned();
    serde_json::to_vec(&Index { schema_version: 2, media_type, manifests, annotations: None }).unwrap_or_default()
}

/// `manifest.json` of these.
pub fn manifest_json(images: &[ArchivedImage]) -> Vec<u8> {
    serde_json::to_vec(images).unwrap_or_default()
}

pub fn repositories_json(repositories: &Repositories) -> Vec<u8> {
    serde_json::to_vec(repositories).unwrap_or_default()
}

/// Reads a `manifest.json`.
pub fn parse_manifest_json(bytes: &[u8]) -> Result<Vec<ArchivedImage>, ImageError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ImageError::TooLarge { what: MANIFEST, limit: MAX_MANIFEST_BYTES });
    }
    serde_json::from_slice(bytes).map_err(ImageError::ManifestJson)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_blob_is_read_back() {
        let digest = Digest::of("x");
        assert_eq!(digest_of_path(&blob_path(&digest)), Some(digest));
        for other in ["blobs/sha256/x", "blobs/sha512/00", "a/blobs/sha256/00", "blobs/sha256/../x"] {
            assert_eq!(digest_of_path(other), None, "{other}");
        }
    }

    #[test]
    fn a_manifest_json_of_any_writer_is_read() {
        let read =
            parse_manifest_json(br#"[{"Config":"c.json","RepoTags":null,"Layers":["l/layer.tar"],"Parent":""}]"#);
        let expected =
            ArchivedImage { config: "c.json".into(), repo_tags: None, layers: Some(vec!["l/layer.tar".into()]) };
        assert_eq!(read.unwrap(), [expected]);
        for broken in ["{}", "[1]", "[{}]", "<html>"] {
            assert!(parse_manifest_json(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
