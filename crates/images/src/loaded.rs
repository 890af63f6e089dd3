//! A record's target, followed to the manifest and configuration that count here.

use std::sync::Arc;

use bytes::Bytes;
use ids::Digest;
use image_core::{
    Descriptor, Document, ImageConfig, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest, Platform, candidates, chain_ids,
    media_type,
};

use crate::error::ImagesError;
use crate::resolve::Found;
use crate::service::{Images, lock, remember};

/// Indexes within indexes; real ones have one level.
pub(crate) const MAX_DEPTH: usize = 4;

/// One image as the store has it.
#[derive(Debug)]
pub(crate) struct LoadedImage {
    /// The configuration's digest.
    pub id: Digest,
    /// The manifest, which is the record's target or one that it lists.
    pub manifest_digest: Digest,
    pub manifest: Manifest,
    pub config: ImageConfig,
    pub config_raw: Bytes,
    /// Names of the snapshots, lowest first.
    pub chain: Vec<Digest>,
}

impl LoadedImage {
    pub fn parse(manifest_digest: Digest, manifest: Manifest, config_raw: Bytes) -> Result<Self, ImagesError> {
        let config = ImageConfig::parse(&config_raw)?;
        manifest.check_layers(&config)?;
        let chain = chain_ids(&config.rootfs.diff_ids);
        Ok(Self { id: manifest.config.digest, manifest_digest, manifest, config, config_raw, chain })
    }

    /// The name of the topmost snapshot; empty for an image without layers.
    pub fn chain_id(&self) -> String {
        self.chain.last().map(Digest::to_string).unwrap_or_default()
    }

    /// When the image was made, as far as it says so.
    pub fn created(&self) -> Option<jiff::Timestamp> {
        self.config.created.as_deref()?.parse().ok()
    }
}

impl Images {
    /// The image that a target stands for on this host; of an index that has none for it, the first one that is there.
    pub(crate) async fn load(&self, target: &Descriptor) -> Result<Arc<LoadedImage>, ImagesError> {
        if let Some(known) = lock(&self.shared.loaded).get(&target.digest) {
            return Ok(known.clone());
        }
        let loaded = Arc::new(self.load_for(target, &self.platform).await?);
        remember(&self.shared.loaded, target.digest, loaded.clone());
        Ok(loaded)
    }

    /// The same, whatever is remembered.
    pub(crate) async fn load_anew(&self, target: &Descriptor) -> Result<Arc<LoadedImage>, ImagesError> {
        lock(&self.shared.loaded).remove(&target.digest);
        self.load(target).await
    }

    /// The image for exactly this platform; `None` if the target has none, or not here.
    pub(crate) async fn load_exactly(
        &self,
        target: &Descriptor,
        platform: &Platform,
    ) -> Result<Option<Arc<LoadedImage>>, ImagesError> {
        match self.load_for(target, platform).await {
            Ok(image) if image.config.platform() == platform.clone().normalized() => Ok(Some(Arc::new(image))),
            Ok(_) | Err(ImagesError::MissingBlob(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn load_for(&self, target: &Descriptor, platform: &Platform) -> Result<LoadedImage, ImagesError> {
        let mut pending = vec![(target.clone(), 0)];
        let mut missing = None;
        while let Some((descriptor, depth)) = pending.pop() {
            if !media_type::is_index(&descriptor.media_type) && !media_type::is_manifest(&descriptor.media_type) {
                continue;
            }
            match self.read_document(&descriptor).await {
                Ok(Document::Manifest(manifest)) => match self.read_config(&manifest).await {
                    Ok(raw) => return LoadedImage::parse(descriptor.digest, manifest, raw),
                    Err(error) => missing = Some(error),
                },
                Ok(Document::Index(index)) if depth < MAX_DEPTH => {
                    let fitting = candidates(&index, platform);
                    let rest =
                        index.manifests.iter().filter(|entry| !entry.is_attestation() && !fitting.contains(entry));
                    // A stack: the best comes last.
                    let order: Vec<_> = fitting.iter().copied().chain(rest).cloned().collect();
                    pending.extend(order.into_iter().rev().map(|entry| (entry, depth + 1)));
                }
                Ok(Document::Index(_)) => {}
                Err(error @ ImagesError::MissingBlob(_)) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(missing.unwrap_or(ImagesError::MissingBlob(target.digest)))
    }

    pub(crate) async fn read_document(&self, descriptor: &Descriptor) -> Result<Document, ImagesError> {
        let bytes = self.backend.read_blob(&descriptor.digest, MAX_MANIFEST_BYTES).await?;
        Ok(Document::parse(&bytes, &descriptor.media_type, &descriptor.digest.to_string())?)
    }

    pub(crate) async fn read_config(&self, manifest: &Manifest) -> Result<Bytes, ImagesError> {
        self.backend.read_blob(&manifest.config.digest, MAX_CONFIG_BYTES).await
    }

    /// Must be called when an image's records were removed: its blobs and layers may be gone.
    pub(crate) fn forget_loaded(&self, found: &Found) {
        let mut loaded = lock(&self.shared.loaded);
        found.records.iter().for_each(|record| drop(loaded.remove(&record.target.digest)));
        drop(loaded);
        self.forget_sizes(&found.image);
    }

    pub(crate) fn forget_sizes(&self, image: &LoadedImage) {
        let mut sizes = lock(&self.shared.sizes);
        for chain in &image.chain {
            sizes.remove(chain);
        }
    }
}
