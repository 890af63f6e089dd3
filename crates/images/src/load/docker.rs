//! Archives with a `manifest.json` alone: what Docker before 25, podman, skopeo and Bazel write.

use std::collections::HashMap;
use std::sync::Arc;

use archive::Compression;
use bytes::Bytes;
use ids::{Digest, Reference};
use image_core::layout::{self, ArchivedImage};
use image_core::{Descriptor, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest, media_type};

use super::receive::{Members, Stored};
use super::{Candidate, Loading};
use crate::blobs::ingest_key;
use crate::error::ImagesError;
use crate::lease::random_hex;
use crate::loaded::LoadedImage;
use crate::recode::store_plain;
use crate::unpack::manifest_labels;

impl Loading<'_> {
    pub(super) async fn of_docker(&self, members: &Members) -> Result<Vec<Candidate>, ImagesError> {
        let bytes = self.read(members, layout::MANIFEST, MAX_MANIFEST_BYTES).await?;
        let described = layout::parse_manifest_json(&bytes)?;
        if described.is_empty() {
            return Err(ImagesError::UnrecognizedArchive);
        }
        let mut candidates = Vec::with_capacity(described.len());
        for image in &described {
            candidates.push(self.of_archived(members, image).await?);
        }
        Ok(candidates)
    }

    async fn of_archived(&self, members: &Members, archived: &ArchivedImage) -> Result<Candidate, ImagesError> {
        let mut names = Vec::new();
        for name in archived.repo_tags.iter().flatten() {
            names.push(name_of(name)?);
        }
        let raw = self.read(members, &archived.config, MAX_CONFIG_BYTES).await?;
        let mut layers = Vec::new();
        for path in archived.layers.iter().flatten() {
            let layer = members.find(path).ok_or_else(|| ImagesError::NoMember(path.clone()))?;
            layers.push(self.layer(layer).await?);
        }
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&raw), raw.len() as u64);
        let manifest = Manifest::oci(config, layers);
        let bytes = Bytes::from(manifest.to_bytes());
        let labels = manifest_labels(&manifest.config.digest, &manifest.layers);
        let image = LoadedImage::parse(Digest::of(&bytes), manifest, raw)?;
        self.check_platform(&image, &names)?;
        self.backend.put_blob(&ingest_key("config", &image.id), &image.config_raw, HashMap::new()).await?;
        self.backend.put_blob(&ingest_key("manifest", &image.manifest_digest), &bytes, labels).await?;
        let target = Descriptor::new(&image.manifest.media_type, image.manifest_digest, bytes.len() as u64);
        Ok(Candidate { target, image: Arc::new(image), names })
    }

    /// A layer as it is, in a form that registries know.
    async fn layer(&self, layer: &Stored) -> Result<Descriptor, ImagesError> {
        self.store(layer).await?;
        let kind = match layer.compression {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
            Compression::Bzip2 | Compression::Xz => {
                let source = self.backend.lazy_blob(layer.digest);
                let key = format!("load-{}", random_hex());
                let plain = store_plain(&self.backend, &key, source).await?;
                return Ok(Descriptor { media_type: media_type::OCI_LAYER.to_owned(), ..plain });
            }
        };
        Ok(Descriptor::new(kind, layer.digest, layer.size))
    }
}

pub(super) fn name_of(text: &str) -> Result<Reference, ImagesError> {
    let name = Reference::parse_familiar(text).map_err(|_| ImagesError::InvalidTag(text.to_owned()))?;
    if name.digest().is_some() { Err(ImagesError::InvalidTag(text.to_owned())) } else { Ok(name.with_default_tag()) }
}
