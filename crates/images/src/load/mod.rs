//! `docker image load`: images out of an archive, whether it is an OCI layout, what `docker save` of any age wrote, or
//! both at once.
//!
//! Every member goes into the content store as it arrives, under a lease; then what the archive says about them is read
//! from there, verified and unpacked; names are set last. After an error there is no new name, and what was stored is
//! collected with the lease.

mod docker;
mod oci;
mod receive;

use std::collections::HashMap;
use std::sync::Arc;

use ids::{Digest, Reference, short};
use image_core::{Descriptor, Platform, layout};

use crate::backend::{Backend, Record};
use crate::blobs::ingest_key;
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::Lease;
use crate::loaded::LoadedImage;
use crate::messages;
use crate::name::dangling;
use crate::progress::ProgressSender;
use crate::recode::ByteStream;
use crate::service::{Images, lock};
use crate::unpack::config_labels;

use receive::{Members, Stored, receive};

/// How an archive is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// Only this platform's manifest of each image.
    pub platform: Option<Platform>,
    /// Whether layers are told of as they are unpacked, or only what was loaded in the end.
    pub quiet: bool,
}

/// An image of the archive, with everything that it needs in the store.
struct Candidate {
    target: Descriptor,
    image: Arc<LoadedImage>,
    names: Vec<Reference>,
}

/// One load on its way.
struct Loading<'a> {
    images: &'a Images,
    request: &'a LoadRequest,
    lease: &'a Lease,
    backend: Backend,
    progress: &'a ProgressSender,
}

impl Images {
    /// Loads every image of an archive; answers their ids.
    pub async fn load_archive(
        &self,
        request: &LoadRequest,
        archive: ByteStream,
        progress: &ProgressSender,
    ) -> Result<Vec<Digest>, ImagesError> {
        let lease = Lease::new(&self.backend, "load").await?;
        let loading = Loading { images: self, request, lease: &lease, backend: lease.backend(), progress };
        let loaded = loading.run(archive).await?;
        Ok(loaded)
    }
}

impl Loading<'_> {
    async fn run(&self, archive: ByteStream) -> Result<Vec<Digest>, ImagesError> {
        let members = receive(&self.backend, self.lease, archive).await?;
        let candidates = if members.find(layout::LAYOUT).is_some() && members.find(layout::INDEX).is_some() {
            self.of_layout(&members).await?
        } else if members.find(layout::MANIFEST).is_some() {
            self.of_docker(&members).await?
        } else {
            return Err(ImagesError::UnrecognizedArchive);
        };
        for candidate in &candidates {
            self.unpack(candidate).await?;
        }
        for candidate in &candidates {
            self.name(candidate).await?;
        }
        Ok(candidates.iter().map(|candidate| candidate.image.id).collect())
    }

    /// A small file of the archive.
    async fn read(&self, members: &Members, path: &str, limit: usize) -> Result<bytes::Bytes, ImagesError> {
        let member = members.find(path).ok_or_else(|| ImagesError::NoMember(path.to_owned()))?;
        if member.size > limit as u64 {
            return Err(image_core::ImageError::TooLarge { what: "a description in the archive", limit }.into());
        }
        match &member.held {
            Some(bytes) => Ok(bytes.clone()),
            None => self.backend.read_blob(&member.digest, limit).await,
        }
    }

    /// Puts a file that was only held into the store.
    async fn store(&self, member: &Stored) -> Result<(), ImagesError> {
        let Some(bytes) = &member.held else { return Ok(()) };
        self.backend.put_blob(&ingest_key("layer", &member.digest), bytes, HashMap::new()).await.map(drop)
    }

    /// Every layer onto its snapshot, which also compares it with the configuration's word for it.
    async fn unpack(&self, candidate: &Candidate) -> Result<(), ImagesError> {
        let image = &candidate.image;
        let unpacked = self.images.count_unpacked(&self.backend, image).await?;
        for at in unpacked..image.chain.len() {
            let layer = &image.manifest.layers[at];
            let diff_id = image.config.rootfs.diff_ids[at].to_string();
            if !self.request.quiet {
                self.progress.bytes(short(&diff_id), messages::LOADING, 0, layer.size).await;
            }
            self.images.unpack_layer(&self.backend, image, at, None).await?;
            if !self.request.quiet {
                self.progress.bytes(short(&diff_id), messages::LOADING, layer.size, layer.size).await;
            }
        }
        let labels = config_labels(self.backend.snapshotter(), &image.chain_id());
        if labels.is_empty() { Ok(()) } else { self.backend.label_blob(&image.id, labels).await }
    }

    async fn name(&self, candidate: &Candidate) -> Result<(), ImagesError> {
        let (images, image) = (self.images, &candidate.image);
        let id = image.id.to_string();
        // What was remembered of it may have lacked what came now.
        lock(&images.shared.loaded).remove(&candidate.target.digest);
        for name in &candidate.names {
            let familiar = name.familiar();
            let old = images.backend.record(&name.to_string()).await?;
            if let Some(old) = old.filter(|old| old.target.digest != candidate.target.digest)
                && let Ok(old) = images.load(&old.target).await
                && old.id != image.id
            {
                self.progress.text(messages::renaming(&familiar, &old.id)).await;
            }
            images.set_name(Record::new(name.to_string(), candidate.target.clone())).await?;
            self.progress.text(messages::loaded(&familiar)).await;
            images.event(ImageEventKind::Load, &id, &familiar, &image.config);
        }
        if candidate.names.is_empty() {
            let records = images.backend.records().await?;
            if !records.iter().any(|record| record.target.digest == candidate.target.digest) {
                let record = Record::new(dangling(&candidate.target.digest), candidate.target.clone());
                images.backend.put_record(&record).await?;
            }
            self.progress.text(messages::loaded_id(&image.id)).await;
            images.event(ImageEventKind::Load, &id, &id, &image.config);
        }
        Ok(())
    }

    /// The platform that was asked for, or an error that names it.
    fn check_platform(&self, image: &LoadedImage, names: &[Reference]) -> Result<(), ImagesError> {
        let Some(wanted) = &self.request.platform else { return Ok(()) };
        if image.config.platform() == wanted.clone().normalized() {
            return Ok(());
        }
        let reference = names.first().map_or_else(|| image.id.to_string(), Reference::familiar);
        Err(ImagesError::PlatformMissing { reference, wanted: wanted.to_string() })
    }
}
