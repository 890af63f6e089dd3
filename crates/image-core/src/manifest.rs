//! Manifests and indexes (image-spec manifest.md, image-index.md; Docker's manifest schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, media_type};
use crate::{ImageConfig, ImageError, MAX_MANIFEST_BYTES};

/// One image: a configuration and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u64,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Several images, one a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u64,
    #[serde(default)]
    pub media_type: String,
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What stands under a manifest's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// The fields by which a document says what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses what was announced as `declared` (a Content-Type or a descriptor's media type, empty if unknown).
    /// `reference` appears in the refusal of schema 1.
    pub fn parse(bytes: &[u8], declared: &str, reference: &str) -> Result<Self, ImageError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ImageError::TooLarge { what: "manifest", limit: MAX_MANIFEST_BYTES });
        }
        let declared = declared.split(';').next().unwrap_or_default().trim();
        if media_type::is_schema1(declared) {
            return Err(ImageError::Schema1(reference.to_owned()));
        }
        let known = media_type::is_index(declared) || media_type::is_manifest(declared);
        if !known && !matches!(declared, "" | "application/json" | "application/octet-stream" | "text/plain") {
            return Err(ImageError::MediaType(declared.to_owned()));
        }
        // serde would read a struct from an array as well.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ImageError::Manifest("not a JSON object"));
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(ImageError::ManifestJson)?;
        if shape.schema_version == 1 || shape.fs_layers.is_some() {
            return Err(ImageError::Schema1(reference.to_owned()));
        }
        if shape.schema_version != 2 {
            return Err(ImageError::SchemaVersion(shape.schema_version));
        }
        Self::of_shape(bytes, if known { declared } else { "" }, &shape)
    }

    fn of_shape(bytes: &[u8], declared: &str, shape: &Shape) -> Result<Self, ImageError> {
        let own = shape.media_type.as_deref().filter(|own| !own.is_empty());
        // One document with two readings could show one image to who checks it and another to who runs it
        // (CVE-2021-41190).
        if let Some(own) = own
            && !declared.is_empty()
            && own != declared
        {
            return Err(ImageError::Manifest("media type differs from the one it was announced with"));
        }
        let is_index = match own.or(Some(declared).filter(|d| !d.is_empty())) {
            Some(kind) if media_type::is_index(kind) => true,
            Some(kind) if media_type::is_manifest(kind) => false,
            Some(kind) => return Err(ImageError::MediaType(kind.to_owned())),
            None => shape.manifests.is_some(),
        };
        if is_index && (shape.config.is_some() || shape.layers.is_some()) {
            return Err(ImageError::Manifest("an index with a config or layers"));
        }
        if !is_index && shape.manifests.is_some() {
            return Err(ImageError::Manifest("an image manifest with manifests"));
        }
        let kind = own.unwrap_or(declared);
        if is_index {
            let mut index: Index = serde_json::from_slice(bytes).map_err(ImageError::ManifestJson)?;
            index.media_type = if kind.is_empty() { media_type::OCI_INDEX } else { kind }.to_owned();
            return Ok(Self::Index(index));
        }
        let mut manifest: Manifest = serde_json::from_slice(bytes).map_err(ImageError::ManifestJson)?;
        manifest.media_type = if kind.is_empty() { media_type::OCI_MANIFEST } else { kind }.to_owned();
        Ok(Self::Manifest(manifest))
    }

    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }
}

impl Manifest {
    /// A manifest of Docker's schema 2: what every registry since 2.3 takes.
    pub fn docker(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = media_type::DOCKER_MANIFEST.to_owned();
        Self { schema_version: 2, media_type, config, layers, annotations: None }
    }

    /// A manifest of the OCI's: what the engine makes itself, since every tool reads it.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = media_type::OCI_MANIFEST.to_owned();
        Self { schema_version: 2, media_type, config, layers, annotations: None }
    }

    /// Whether the configuration speaks of as many layers as there are.
    pub fn check_layers(&self, config: &ImageConfig) -> Result<(), ImageError> {
        let (layers, diff_ids) = (self.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(ImageError::LayerCount { layers, diff_ids });
        }
        match self.layers.iter().find(|layer| !media_type::is_layer(&layer.media_type)) {
            Some(other) => Err(ImageError::MediaType(other.media_type.clone())),
            None => Ok(()),
        }
    }

    /// The bytes to store and send; the digest is theirs.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Docker's registries show manifests indented by three blanks; the digest does not care.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::Digest;
    use proptest::prelude::*;
    use serde_json::json;

    fn manifest() -> serde_json::Value {
        let digest = Digest::of("x");
        json!({
            "schemaVersion": 2,
            "mediaType": media_type::DOCKER_MANIFEST,
            "config": {"mediaType": media_type::DOCKER_CONFIG, "digest": digest, "size": 1},
            "layers": [{"mediaType": media_type::DOCKER_LAYER_GZIP, "digest": digest, "size": 2}],
        })
    }

    fn parse(value: &serde_json::Value, declared: &str) -> Result<Document, ImageError> {
        Document::parse(value.to_string().as_bytes(), declared, "docker.io/library/x:latest")
    }

    #[test]
    fn a_manifest_is_read_whatever_way_it_was_announced() {
        for declared in
            ["", media_type::DOCKER_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"]
        {
            let Document::Manifest(read) = parse(&manifest(), declared).unwrap() else { panic!("not a manifest") };
            assert_eq!(read.layers[0].size, 2);
        }
    }

    #[test]
    fn a_manifest_without_its_type_takes_the_announced_one() {
        let mut value = manifest();
        value.as_object_mut().unwrap().remove("mediaType");
        assert_eq!(parse(&value, media_type::OCI_MANIFEST).unwrap().media_type(), media_type::OCI_MANIFEST);
        assert_eq!(parse(&value, "").unwrap().media_type(), media_type::OCI_MANIFEST);
    }

    #[test]
    fn a_document_with_two_readings_is_refused() {
        let mut both = manifest();
        both["manifests"] = json!([]);
        assert!(matches!(parse(&both, ""), Err(ImageError::Manifest(_))));
        assert!(matches!(parse(&manifest(), media_type::OCI_INDEX), Err(ImageError::Manifest(_))));
        let mut index = both;
        index["mediaType"] = json!(media_type::OCI_INDEX);
        assert!(matches!(parse(&index, ""), Err(ImageError::Manifest(_))));
    }

    #[test]
    fn schema_1_is_refused_in_dockers_words() {
        let old = json!({"schemaVersion": 1, "fsLayers": [], "name": "x"});
        for declared in ["", media_type::DOCKER_SCHEMA1_SIGNED] {
            let error = parse(&old, declared).unwrap_err().to_string();
            assert!(error.contains("schema 1 support has been removed"), "{error}");
            assert!(error.contains("the author of docker.io/library/x:latest to upgrade"), "{error}");
        }
    }

    #[test]
    fn an_html_page_is_no_manifest() {
        let error = Document::parse(b"<html>", "text/html; charset=utf-8", "x").unwrap_err();
        assert_eq!(error.to_string(), "unsupported manifest media type and no default available: text/html");
        assert!(matches!(Document::parse(b"<html>", "", "x"), Err(ImageError::Manifest(_))));
        assert!(matches!(Document::parse(b"{<html>", "", "x"), Err(ImageError::ManifestJson(_))));
    }

    #[test]
    fn sizes_and_digests_that_are_none_are_refused() {
        for (field, value) in [("size", json!(-1)), ("digest", json!("sha256:zz")), ("digest", json!("md5:00"))] {
            let mut broken = manifest();
            broken["config"][field] = value;
            assert!(matches!(parse(&broken, ""), Err(ImageError::ManifestJson(_))));
        }
        let large = vec![b' '; MAX_MANIFEST_BYTES + 1];
        assert!(matches!(Document::parse(&large, "", "x"), Err(ImageError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn noise_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert!(Document::parse(&bytes, "", "x").is_err());
        }
    }
}
