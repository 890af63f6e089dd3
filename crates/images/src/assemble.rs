//! Builds whose result is more than one manifest: several platforms, and statements about images, below one index
//! (image-spec image-index.md; moby/buildkit docs/attestations/attestation-storage.md).
//!
//! Layers are compressed here and not when the result is pushed: what the index says of them is final.

use std::collections::BTreeMap;

use bytes::Bytes;
use ids::{Digest, Reference};
use image_core::{Descriptor, Index, Manifest, Platform, media_type};

use crate::backend::Record;
use crate::blobs::ingest_key;
use crate::build::BuildImage;
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::Lease;
use crate::name::dangling;
use crate::recode::{ByteStream, compress};
use crate::service::Images;
use crate::unpack::{config_labels, index_labels, manifest_labels};

/// An in-toto statement as a layer, and the annotations that say what is in it.
const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v0.1";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION: &str = "attestation-manifest";

/// Images that belong together.
#[derive(Debug, Clone, Default)]
pub struct Assembly {
    pub images: Vec<AssembledImage>,
    /// What statements call the images.
    pub names: Vec<Reference>,
    /// Of the index.
    pub annotations: BTreeMap<String, String>,
    /// It is an index even if there is but one image.
    pub is_index: bool,
}

/// One of them.
#[derive(Debug, Clone, Default)]
pub struct AssembledImage {
    pub image: BuildImage,
    /// Of its manifest, and of the index's entry for it.
    pub annotations: BTreeMap<String, String>,
    pub descriptor_annotations: BTreeMap<String, String>,
    /// What is said of it: types of predicates, and these.
    pub statements: Vec<(String, serde_json::Value)>,
}

/// Manifests in the store, which stay there until this is dropped, or for good once they are kept or named.
pub struct Assembled {
    images: Images,
    _lease: Lease,
    target: Descriptor,
}

impl Images {
    /// Writes manifests over images that were built; an index where there are several or something is said of one.
    pub async fn assemble(&self, assembly: &Assembly) -> Result<Assembled, ImagesError> {
        let lease = Lease::new(&self.backend, "image").await?;
        let (mut entries, mut attestations) = (Vec::new(), Vec::new());
        for one in &assembly.images {
            let entry = self.write_manifest(&lease, one).await?;
            if !one.statements.is_empty() {
                attestations.push(write_attestation(&lease, &entry, &assembly.names, &one.statements).await?);
            }
            entries.push(entry);
        }
        let is_index = assembly.is_index || entries.len() > 1 || !attestations.is_empty();
        let target = match &entries[..] {
            [only] if !is_index => Descriptor { annotations: None, platform: None, ..only.clone() },
            _ => {
                entries.extend(attestations);
                write_index(&lease, entries, &assembly.annotations).await?
            }
        };
        Ok(Assembled { images: self.clone(), _lease: lease, target })
    }

    /// The manifest and the configuration of one image, its layers compressed; answers the index's entry for it.
    async fn write_manifest(&self, lease: &Lease, one: &AssembledImage) -> Result<Descriptor, ImagesError> {
        let mut image = one.image.clone();
        image.oci = true;
        let backend = lease.backend();
        for layer in &mut image.layers {
            lease.keep(&layer.digest).await?;
            let packed = {
                let _alone = self.shared.flights.enter(&layer.digest).await;
                if media_type::is_plain_layer(&layer.media_type) {
                    compress(&backend, layer).await?
                } else {
                    layer.clone()
                }
            };
            lease.keep(&packed.digest).await?;
            *layer = Descriptor::new(oci_layer(&packed.media_type), packed.digest, packed.size);
        }
        let (loaded, _) = image.load()?;
        let mut manifest = loaded.manifest.clone();
        manifest.annotations = Some(one.annotations.clone()).filter(|all| !all.is_empty());
        let bytes = Bytes::from(manifest.to_bytes());
        self.ensure_unpacked(&backend, &loaded).await?;
        let labels = config_labels(backend.snapshotter(), &loaded.chain_id());
        backend.put_blob(&ingest_key("config", &loaded.id), &loaded.config_raw, labels).await?;
        let labels = manifest_labels(&loaded.id, &manifest.layers);
        let digest = backend.put_blob(&ingest_key("manifest", &Digest::of(&bytes)), &bytes, labels).await?;
        lease.keep(&digest).await?;
        let platform = Some(loaded.config.platform()).filter(|platform| !platform.architecture.is_empty());
        let annotations = Some(one.descriptor_annotations.clone()).filter(|all| !all.is_empty());
        let size = bytes.len() as u64;
        Ok(Descriptor { platform, annotations, ..Descriptor::new(media_type::OCI_MANIFEST, digest, size) })
    }
}

/// The type of a layer in a manifest of the OCI's.
fn oci_layer(kind: &str) -> &str {
    match kind {
        media_type::DOCKER_LAYER => media_type::OCI_LAYER,
        media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP,
        media_type::DOCKER_LAYER_ZSTD => media_type::OCI_LAYER_ZSTD,
        other => other,
    }
}

/// What is said of an image, as a manifest whose layers are the statements.
async fn write_attestation(
    lease: &Lease,
    image: &Descriptor,
    names: &[Reference],
    statements: &[(String, serde_json::Value)],
) -> Result<Descriptor, ImagesError> {
    let backend = lease.backend();
    let subjects = subjects(image, names);
    let mut layers = Vec::new();
    for (predicate_type, predicate) in statements {
        let statement = serde_json::json!({
            "_type": STATEMENT_TYPE,
            "predicateType": predicate_type,
            "subject": subjects,
            "predicate": predicate,
        });
        let statement = Bytes::from(statement.to_string());
        let key = ingest_key("attestation", &Digest::of(&statement));
        let digest = backend.put_blob(&key, &statement, Default::default()).await?;
        lease.keep(&digest).await?;
        let annotations = Some([(PREDICATE_TYPE.to_owned(), predicate_type.clone())].into());
        layers.push(Descriptor { annotations, ..Descriptor::new(STATEMENT, digest, statement.len() as u64) });
    }
    // A configuration of nobody's platform, whose layers are the statements as they are.
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let config = serde_json::json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = Bytes::from(config.to_string());
    let digest = backend.put_blob(&ingest_key("config", &Digest::of(&config)), &config, Default::default()).await?;
    lease.keep(&digest).await?;
    let labels = manifest_labels(&digest, &layers);
    let manifest = Manifest::oci(Descriptor::new(media_type::OCI_CONFIG, digest, config.len() as u64), layers);
    let bytes = Bytes::from(manifest.to_bytes());
    let digest = backend.put_blob(&ingest_key("manifest", &Digest::of(&bytes)), &bytes, labels).await?;
    lease.keep(&digest).await?;
    let annotations = [(REFERENCE_DIGEST, image.digest.to_string()), (REFERENCE_TYPE, ATTESTATION.to_owned())];
    Ok(Descriptor {
        platform: Some(Platform::new("unknown", "unknown", "")),
        annotations: Some(annotations.map(|(name, value)| (name.to_owned(), value)).into()),
        ..Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64)
    })
}

/// Who statements are about: the manifest, by each name that the image gets (Package URLs).
fn subjects(image: &Descriptor, names: &[Reference]) -> Vec<serde_json::Value> {
    let subject = |name: String| serde_json::json!({ "name": name, "digest": { "sha256": image.digest.hex() } });
    if names.is_empty() {
        return vec![subject("_".to_owned())];
    }
    let platform = image.platform.as_ref().map(|platform| platform.to_string().replace('/', "%2F"));
    let query = platform.map(|platform| format!("?platform={platform}")).unwrap_or_default();
    let url = |name: &Reference| {
        let path = name.familiar_name().replace(':', "%3A");
        format!("pkg:docker/{path}@{}{query}", name.tag().unwrap_or("latest"))
    };
    names.iter().map(|name| subject(url(name))).collect()
}

async fn write_index(
    lease: &Lease,
    manifests: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor, ImagesError> {
    let labels = index_labels(&manifests);
    let media_type = media_type::OCI_INDEX.to_owned();
    let annotations = Some(annotations.clone()).filter(|all| !all.is_empty());
    let index = Index { schema_version: 2, media_type, manifests, annotations };
    let bytes = Bytes::from(serde_json::to_vec(&index).unwrap_or_default());
    let digest = lease.backend().put_blob(&ingest_key("index", &Digest::of(&bytes)), &bytes, labels).await?;
    lease.keep(&digest).await?;
    Ok(Descriptor::new(media_type::OCI_INDEX, digest, bytes.len() as u64))
}

impl Assembled {
    /// The manifest, or the index.
    pub fn target(&self) -> &Descriptor {
        &self.target
    }

    /// Makes an image of it. It has no name yet unless it was there already with one.
    pub async fn keep(&self) -> Result<(), ImagesError> {
        let records = self.images.backend.records().await?;
        if records.iter().any(|record| record.target.digest == self.target.digest) {
            return Ok(());
        }
        let record = Record::new(dangling(&self.target.digest), self.target.clone());
        self.images.backend.put_record(&record).await?;
        let image = self.images.load(&self.target).await?;
        let id = image.id.to_string();
        self.images.event(ImageEventKind::Create, &id, &id, &image.config);
        Ok(())
    }

    /// Gives it a name.
    pub async fn tag(&self, name: &Reference) -> Result<(), ImagesError> {
        let name = name.clone().with_default_tag();
        self.images.set_name(Record::new(name.to_string(), self.target.clone())).await?;
        let image = self.images.load(&self.target).await?;
        self.images.event(ImageEventKind::Tag, &image.id.to_string(), &name.familiar(), &image.config);
        Ok(())
    }

    /// All of it as an archive, in which it has these names.
    pub async fn archive(&self, names: &[Reference]) -> Result<ByteStream, ImagesError> {
        let names = names.iter().map(|name| name.clone().with_default_tag()).collect();
        self.images.archive_target(&self.target, names).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_the_image_by_its_names() {
        let platform = Some(Platform::new("linux", "arm", "v7"));
        let image = Descriptor { platform, ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of("x"), 1) };
        let names = ["busybox", "r.io:5000/a/b:c"].map(|name| Reference::parse_familiar(name).unwrap());
        let told = subjects(&image, &names);
        assert_eq!(told[0]["name"], "pkg:docker/busybox@latest?platform=linux%2Farm%2Fv7");
        assert_eq!(told[1]["name"], "pkg:docker/r.io%3A5000/a/b@c?platform=linux%2Farm%2Fv7");
        assert_eq!(told[1]["digest"]["sha256"], Digest::of("x").hex());
        assert_eq!(subjects(&image, &[])[0]["name"], "_");
    }
}
