//! What a build makes of images: layers on top of others, kept for as long as its cache wants them, and images of them.

use std::collections::HashMap;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use ids::{Digest, Reference};
use image_core::{Descriptor, ImageConfig, Manifest, Platform, chain_ids, media_type};

use crate::backend::{Backend, Collect, Record};
use crate::blobs::ingest_key;
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::{Lease, random_hex};
use crate::loaded::LoadedImage;
use crate::name::dangling;
use crate::recode::{ByteStream, store_plain};
use crate::service::Images;
use crate::unpack::{config_labels, manifest_labels};

/// An image that is being built: its configuration, and where its layers are. Each layer has its DiffID in the
/// configuration.
#[derive(Debug, Clone, Default)]
pub struct BuildImage {
    pub config: ImageConfig,
    pub layers: Vec<Descriptor>,
    /// Types of the OCI's instead of Docker's.
    pub oci: bool,
}

/// A look at unpacked layers, until it is closed.
#[derive(Debug)]
pub struct LayerView {
    /// The uppermost first; none for an image without layers.
    pub directories: Vec<PathBuf>,
    pub key: String,
}

impl BuildImage {
    /// The name of the topmost snapshot; empty without layers.
    pub fn chain_id(&self) -> String {
        chain_ids(&self.config.rootfs.diff_ids).last().map(Digest::to_string).unwrap_or_default()
    }

    /// The configuration's digest, and with it the image's id, as it is now.
    pub fn id(&self) -> Digest {
        Digest::of(self.config.to_bytes())
    }

    pub(crate) fn load(&self) -> Result<(LoadedImage, Bytes), ImagesError> {
        let raw = Bytes::from(self.config.to_bytes());
        let kind = if self.oci { media_type::OCI_CONFIG } else { media_type::DOCKER_CONFIG };
        let described = Descriptor::new(kind, Digest::of(&raw), raw.len() as u64);
        let mut manifest = Manifest::docker(described, self.layers.clone());
        if self.oci {
            media_type::OCI_MANIFEST.clone_into(&mut manifest.media_type);
        }
        let bytes = Bytes::from(manifest.to_bytes());
        Ok((LoadedImage::parse(Digest::of(&bytes), manifest, raw)?, bytes))
    }
}

impl Images {
    /// The image that a build begins on; its layers are unpacked. Without a platform the one that counts here.
    pub async fn build_base(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<(Digest, BuildImage), ImagesError> {
        let mut found = self.find(name).await?;
        if let Some(platform) = platform.filter(|wanted| wanted.rank(&found.image.config.platform()).is_none()) {
            found = self.find_platform(name, platform).await?;
        }
        self.ensure_unpacked(&self.backend, &found.image).await?;
        let image = &found.image;
        self.note_use(image.id);
        self.shared.limit.note_base(image.id);
        let oci = image.manifest.media_type == media_type::OCI_MANIFEST;
        let layers = image.manifest.layers.clone();
        Ok((image.id, BuildImage { config: image.config.clone(), layers, oci }))
    }

    /// Stores and unpacks a further plain layer. `owner` keeps it until [`Images::forget_build_layers`].
    pub async fn add_build_layer(
        &self,
        owner: &str,
        below: &BuildImage,
        layer: ByteStream,
    ) -> Result<Descriptor, ImagesError> {
        let lease = lease_name(owner);
        let backend = self.backend.create_kept_lease(&lease).await?;
        let added = self.add_layer(&backend, &lease, below, layer).await;
        if added.is_err()
            && let Err(error) = self.forget_build_layers(&[owner.to_owned()]).await
        {
            tracing::warn!(owner, %error, "what a layer that failed has left is not removed");
        }
        added
    }

    async fn add_layer(
        &self,
        backend: &Backend,
        lease: &str,
        below: &BuildImage,
        layer: ByteStream,
    ) -> Result<Descriptor, ImagesError> {
        let mut layer = store_plain(backend, &format!("build-{}", random_hex()), layer).await?;
        if below.oci {
            media_type::OCI_LAYER.clone_into(&mut layer.media_type);
        }
        let mut image = below.clone();
        image.config.rootfs.diff_ids.push(layer.digest);
        image.layers.push(layer.clone());
        let (image, _) = image.load()?;
        // Whoever made it first may let go of it.
        backend.lease_blob(lease, &layer.digest).await?;
        let top = image.chain.len() - 1;
        if backend.has_snapshot(&image.chain_id()).await? {
            backend.lease_snapshot(lease, &image.chain_id()).await?;
        } else if top == 0 || backend.has_snapshot(&image.chain[top - 1].to_string()).await? {
            self.unpack_layer(backend, &image, top, None).await?;
        } else {
            self.ensure_unpacked(backend, &image).await?;
        }
        Ok(layer)
    }

    /// Lets go of layers; those that no image has are gone when this returns.
    pub async fn forget_build_layers(&self, owners: &[String]) -> Result<(), ImagesError> {
        if owners.is_empty() {
            return Ok(());
        }
        let leases: Vec<String> = owners.iter().map(|owner| lease_name(owner)).collect();
        let ends = stream::iter(leases).map(|lease| end_lease(self.backend.clone(), lease));
        ends.buffer_unordered(ENDED_AT_ONCE).try_collect::<()>().await?;
        self.collect().await
    }

    /// Whether the layers are still there and unpacked.
    pub async fn has_build_layers(&self, image: &BuildImage) -> Result<bool, ImagesError> {
        let chain = image.chain_id();
        if !chain.is_empty() && !self.backend.has_snapshot(&chain).await? {
            return Ok(false);
        }
        match image.layers.last() {
            Some(layer) => Ok(self.backend.blob_info(&layer.digest).await?.is_some()),
            None => Ok(true),
        }
    }

    /// Makes an image of what was built. It has no name yet unless it was there already with one.
    pub async fn store_build(&self, image: &BuildImage) -> Result<Digest, ImagesError> {
        let (loaded, bytes) = image.load()?;
        let target = Descriptor::new(&loaded.manifest.media_type, loaded.manifest_digest, bytes.len() as u64);
        if self.backend.records().await?.iter().any(|record| record.target.digest == target.digest) {
            return Ok(loaded.id);
        }
        let lease = Lease::new(&self.backend, "image").await?;
        let backend = lease.backend();
        for layer in &image.layers {
            lease.keep(&layer.digest).await?;
        }
        self.ensure_unpacked(&backend, &loaded).await?;
        let labels = config_labels(backend.snapshotter(), &loaded.chain_id());
        backend.put_blob(&ingest_key("config", &loaded.id), &loaded.config_raw, labels).await?;
        let labels = manifest_labels(&loaded.id, &loaded.manifest.layers);
        backend.put_blob(&ingest_key("manifest", &loaded.manifest_digest), &bytes, labels).await?;
        self.backend.put_record(&Record::new(dangling(&target.digest), target)).await?;
        let id = loaded.id.to_string();
        self.event(ImageEventKind::Create, &id, &id, &loaded.config);
        Ok(loaded.id)
    }

    /// Gives what was built a name; says so even if it has it already.
    pub async fn name_build(&self, image: &BuildImage, name: &Reference) -> Result<(), ImagesError> {
        let (loaded, _) = image.load()?;
        let record = self.backend.record(&name.to_string()).await?;
        if record.is_none_or(|record| record.target.digest != loaded.manifest_digest) {
            return self.tag(&loaded.id.to_string(), name).await;
        }
        self.event(ImageEventKind::Tag, &loaded.id.to_string(), &name.familiar(), &loaded.config);
        Ok(())
    }

    /// Where an image's files are. The view must be closed.
    pub async fn view_build(&self, image: &BuildImage) -> Result<LayerView, ImagesError> {
        let chain = image.chain_id();
        if chain.is_empty() {
            return Ok(LayerView { directories: Vec::new(), key: String::new() });
        }
        let key = format!("build-view-{}", random_hex());
        let directories = self.backend.view_snapshot(&key, &chain, HashMap::new()).await?;
        Ok(LayerView { directories, key })
    }

    pub async fn close_view(&self, view: LayerView) -> Result<(), ImagesError> {
        match view.key.as_str() {
            "" => Ok(()),
            key => match self.backend.remove_snapshot(key).await {
                // containerd has collected it: nothing needed it any more.
                Err(error) if error.is_not_found() => Ok(()),
                answer => answer,
            },
        }
    }

    /// Which of these owners still keep a layer.
    pub async fn build_layer_owners(&self) -> Result<Vec<String>, ImagesError> {
        let leases = self.backend.lease_ids().await?;
        Ok(leases.iter().filter_map(|id| id.strip_prefix(LEASE)).map(str::to_owned).collect())
    }
}

const LEASE: &str = "longshore-build-";
/// Leases whose end is asked for at the same time: containerd stores them together.
const ENDED_AT_ONCE: usize = 16;

/// One that is not there has ended.
async fn end_lease(backend: Backend, lease: String) -> Result<(), ImagesError> {
    match backend.delete_lease(&lease, Collect::Later).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => answer,
    }
}

pub(crate) fn lease_name(owner: &str) -> String {
    format!("{LEASE}{owner}")
}
