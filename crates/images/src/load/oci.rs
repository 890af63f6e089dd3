//! OCI layouts (image-spec image-layout.md): `docker save` since 25, skopeo, buildah, BuildKit, umoci.

use std::collections::HashSet;

use ids::{Digest, Reference};
use image_core::{Descriptor, Document, ImageError, MAX_MANIFEST_BYTES, layout, media_type};

use super::docker::name_of;
use super::receive::Members;
use super::{Candidate, Loading};
use crate::error::ImagesError;
use crate::loaded::MAX_DEPTH;
use crate::unpack::{index_labels, manifest_labels};

/// Manifests and indexes of one archive.
const MAX_DOCUMENTS: usize = 10_000;

impl Loading<'_> {
    pub(super) async fn of_layout(&self, members: &Members) -> Result<Vec<Candidate>, ImagesError> {
        let bytes = self.read(members, layout::INDEX, MAX_MANIFEST_BYTES).await?;
        let Document::Index(index) = Document::parse(&bytes, "", layout::INDEX)? else {
            return Err(ImagesError::UnrecognizedArchive);
        };
        let mut seen = HashSet::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        for mut target in index.manifests {
            let name = name_in(&target)?;
            target.annotations = None;
            target.platform = None;
            if let Some(known) = candidates.iter_mut().find(|known| known.target.digest == target.digest) {
                known.names.extend(name);
                continue;
            }
            // What is listed and not there: an archive may hold a part of an index only.
            if self.adopt(&mut target, &mut seen).await? {
                candidates.push(self.candidate(target, name).await?);
            }
        }
        if candidates.is_empty() { Err(ImagesError::UnrecognizedArchive) } else { Ok(candidates) }
    }

    /// Whether the blob of a document is there; then it and all below are held together by labels.
    async fn adopt(&self, target: &mut Descriptor, seen: &mut HashSet<Digest>) -> Result<bool, ImagesError> {
        if !self.is_here(target).await? {
            return Ok(false);
        }
        let mut pending = vec![(target.clone(), 0)];
        while let Some((descriptor, depth)) = pending.pop() {
            if !seen.insert(descriptor.digest) || !self.is_here(&descriptor).await? {
                continue;
            }
            if seen.len() > MAX_DOCUMENTS || depth > MAX_DEPTH {
                return Err(ImageError::Manifest("too many indexes within indexes").into());
            }
            self.lease.keep(&descriptor.digest).await?;
            let document = self.images.read_document(&descriptor).await?;
            if descriptor.digest == target.digest {
                document.media_type().clone_into(&mut target.media_type);
            }
            let labels = match document {
                Document::Index(index) => {
                    let labels = index_labels(&index.manifests);
                    pending.extend(index.manifests.into_iter().map(|entry| (entry, depth + 1)));
                    labels
                }
                Document::Manifest(manifest) => {
                    for blob in manifest.layers.iter().chain([&manifest.config]) {
                        if self.is_here(blob).await? {
                            self.lease.keep(&blob.digest).await?;
                        }
                    }
                    manifest_labels(&manifest.config.digest, &manifest.layers)
                }
            };
            self.backend.label_blob(&descriptor.digest, labels).await?;
        }
        Ok(true)
    }

    /// Whether the store has the blob, in the size that was announced.
    async fn is_here(&self, blob: &Descriptor) -> Result<bool, ImagesError> {
        match self.backend.blob_info(&blob.digest).await? {
            Some(info) if info.size == blob.size => Ok(true),
            Some(_) => Err(ImagesError::LayerDigest(blob.digest)),
            None => Ok(false),
        }
    }

    /// The image of a target, which must be whole.
    async fn candidate(&self, target: Descriptor, name: Option<Reference>) -> Result<Candidate, ImagesError> {
        let names: Vec<Reference> = name.into_iter().collect();
        let (target, image) = match &self.request.platform {
            None => (target.clone(), self.images.load_anew(&target).await?),
            Some(platform) => {
                let missing = || {
                    let reference = names.first().map_or_else(|| target.digest.to_string(), Reference::familiar);
                    ImagesError::PlatformMissing { reference, wanted: platform.to_string() }
                };
                let image = self.images.load_exactly(&target, platform).await?.ok_or_else(missing)?;
                let size = self.backend.blob_info(&image.manifest_digest).await?.map_or(0, |info| info.size);
                (Descriptor::new(&image.manifest.media_type, image.manifest_digest, size), image)
            }
        };
        for layer in &image.manifest.layers {
            if !self.is_here(layer).await? {
                return Err(ImagesError::NoMember(layout::blob_path(&layer.digest)));
            }
        }
        Ok(Candidate { target, image, names })
    }
}

/// The name that a layout gives an image. A bare tag names nothing: the layout's own name is not known.
fn name_in(target: &Descriptor) -> Result<Option<Reference>, ImagesError> {
    if !target.media_type.is_empty()
        && !media_type::is_index(&target.media_type)
        && !media_type::is_manifest(&target.media_type)
    {
        return Err(ImageError::MediaType(target.media_type.clone()).into());
    }
    let Some(annotations) = &target.annotations else { return Ok(None) };
    if let Some(name) = annotations.get(layout::IMAGE_NAME) {
        // An image that was saved by its digest has a name without a tag.
        return if name.contains('@') { Ok(None) } else { name_of(name).map(Some) };
    }
    match annotations.get(layout::REF_NAME) {
        Some(name) if name.contains([':', '/']) && !name.contains('@') => name_of(name).map(Some),
        _ => Ok(None),
    }
}
