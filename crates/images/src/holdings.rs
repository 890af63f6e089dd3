//! What images hold on disk: blobs and unpacked layers, each once however many images have it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ids::Digest;
use image_core::{Descriptor, Document};

use crate::error::ImagesError;
use crate::loaded::MAX_DEPTH;
use crate::resolve::Found;
use crate::service::Images;

/// The blobs and snapshots of some images.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Bytes by digest.
    pub blobs: BTreeMap<Digest, u64>,
    /// Chain ids.
    pub chains: BTreeSet<Digest>,
}

/// Sizes of all blobs of the store.
pub(crate) type BlobSizes = HashMap<Digest, u64>;

/// A manifest that a name of an image leads to, and what of it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSummary {
    pub descriptor: Descriptor,
    /// Whether configuration and layers are all here.
    pub available: bool,
    /// Bytes of its blobs, itself included.
    pub content_bytes: u64,
    pub kind: ManifestKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKind {
    Image {
        platform: image_core::Platform,
        /// Ids of containers that were made of it.
        containers: Vec<String>,
        unpacked_bytes: u64,
    },
    /// What BuildKit says about the image with this manifest.
    Attestation {
        of: Option<Digest>,
    },
    Unknown,
}

/// What a file takes at least.
const BLOCK: u64 = 4096;

/// Bytes that a blob takes on disk.
pub(crate) fn on_disk(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

/// Says of which manifest an attestation speaks.
const ATTESTED: &str = "vnd.docker.reference.digest";

impl Images {
    /// All that these images hold together.
    pub(crate) async fn holdings<'a>(
        &self,
        images: impl Iterator<Item = &'a Found>,
        sizes: &BlobSizes,
    ) -> Result<Holdings, ImagesError> {
        let mut held = Holdings::default();
        for found in images {
            self.add_holdings(found, sizes, &mut held).await?;
        }
        Ok(held)
    }

    async fn add_holdings(&self, found: &Found, sizes: &BlobSizes, held: &mut Holdings) -> Result<(), ImagesError> {
        held.chains.extend(&found.image.chain);
        for record in &found.records {
            for (descriptor, document) in self.documents_below(&record.target).await? {
                let blobs = match &document {
                    Document::Index(_) => Vec::new(),
                    Document::Manifest(manifest) => manifest.layers.iter().chain([&manifest.config]).collect(),
                };
                for digest in blobs.into_iter().map(|blob| blob.digest).chain([descriptor.digest]) {
                    if let Some(size) = sizes.get(&digest) {
                        held.blobs.insert(digest, *size);
                    }
                }
            }
        }
        Ok(())
    }

    /// Indexes and manifests that are here, from the target on.
    pub(crate) async fn documents_below(
        &self,
        target: &Descriptor,
    ) -> Result<Vec<(Descriptor, Document)>, ImagesError> {
        let mut pending = vec![(target.clone(), 0)];
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        while let Some((descriptor, depth)) = pending.pop() {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            let document = match self.read_document(&descriptor).await {
                Ok(document) => document,
                Err(ImagesError::MissingBlob(_)) => continue,
                Err(error) => return Err(error),
            };
            if let Document::Index(index) = &document
                && depth < MAX_DEPTH
            {
                pending.extend(index.manifests.iter().rev().map(|entry| (entry.clone(), depth + 1)));
            }
            found.push((descriptor, document));
        }
        Ok(found)
    }

    /// Bytes of these on disk.
    pub(crate) async fn bytes_of(&self, held: &Holdings) -> Result<u64, ImagesError> {
        let mut bytes: u64 = held.blobs.values().map(|size| on_disk(*size)).sum();
        for chain in &held.chains {
            bytes += self.layer_bytes(chain).await?;
        }
        Ok(bytes)
    }

    /// The manifests that an image's names lead to, in the order of their indexes.
    pub async fn manifests(&self, id: &Digest) -> Result<Vec<ManifestSummary>, ImagesError> {
        let all = self.all().await?;
        let found = all.get(id).ok_or_else(|| ImagesError::NoSuchImage(id.to_string()))?;
        let sizes = self.backend.blob_sizes().await?;
        let mut listed: Vec<ManifestSummary> = Vec::new();
        for record in &found.records {
            for descriptor in self.manifests_listed(&record.target).await? {
                if !listed.iter().any(|known| known.descriptor.digest == descriptor.digest) {
                    listed.push(self.summarize(descriptor, &sizes).await?);
                }
            }
        }
        Ok(listed)
    }

    /// Manifests of the target, here or not; the target itself where it is one.
    async fn manifests_listed(&self, target: &Descriptor) -> Result<Vec<Descriptor>, ImagesError> {
        let mut listed = Vec::new();
        for (descriptor, document) in self.documents_below(target).await? {
            match document {
                Document::Index(index) => listed.extend(index.manifests),
                Document::Manifest(_) if descriptor.digest == target.digest => listed.push(descriptor),
                Document::Manifest(_) => {}
            }
        }
        listed.retain(|entry| !image_core::media_type::is_index(&entry.media_type));
        Ok(listed)
    }

    async fn summarize(&self, descriptor: Descriptor, sizes: &BlobSizes) -> Result<ManifestSummary, ImagesError> {
        let mut content_bytes = sizes.get(&descriptor.digest).copied().unwrap_or_default();
        let manifest = match self.read_document(&descriptor).await {
            Ok(Document::Manifest(manifest)) => Some(manifest),
            Ok(Document::Index(_)) | Err(ImagesError::MissingBlob(_)) => None,
            Err(error) => return Err(error),
        };
        let mut available = manifest.is_some();
        for blob in manifest.iter().flat_map(|manifest| manifest.layers.iter().chain([&manifest.config])) {
            match sizes.get(&blob.digest) {
                Some(size) => content_bytes += size,
                None => available = false,
            }
        }
        let kind = if descriptor.is_attestation() {
            let of = descriptor.annotations.as_ref().and_then(|all| all.get(ATTESTED)?.parse().ok());
            ManifestKind::Attestation { of }
        } else {
            self.image_kind(&descriptor, manifest.as_ref()).await?
        };
        Ok(ManifestSummary { descriptor, available, content_bytes, kind })
    }

    async fn image_kind(
        &self,
        descriptor: &Descriptor,
        manifest: Option<&image_core::Manifest>,
    ) -> Result<ManifestKind, ImagesError> {
        let config = match manifest {
            Some(manifest) => match self.read_config(manifest).await {
                Ok(raw) => image_core::ImageConfig::parse(&raw).ok(),
                Err(ImagesError::MissingBlob(_)) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let listed = descriptor.platform.clone().filter(|platform| !platform.os.is_empty());
        let Some(platform) = listed.or(config.as_ref().map(image_core::ImageConfig::platform)) else {
            return Ok(ManifestKind::Unknown);
        };
        let mut unpacked_bytes = 0;
        if let Some(config) = &config {
            for chain in image_core::chain_ids(&config.rootfs.diff_ids) {
                unpacked_bytes += self.layer_bytes(&chain).await?;
            }
        }
        let id = manifest.map(|manifest| manifest.config.digest);
        let users = id.map(|id| self.shared.users.users_of(&id)).unwrap_or_default();
        let containers = users.into_iter().map(|user| user.container_id).collect();
        Ok(ManifestKind::Image { platform, containers, unpacked_bytes })
    }
}
