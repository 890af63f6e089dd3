//! `docker commit`: one more layer on an image, with a configuration of its own.

use bytes::Bytes;
use ids::{Digest, Reference};
use image_core::{ContainerConfig, Descriptor, History, ImageConfig, Manifest, media_type};

use crate::backend::Record;
use crate::blobs::ingest_key;
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::{Lease, random_hex};
use crate::loaded::LoadedImage;
use crate::name::dangling;
use crate::recode::{ByteStream, store_plain};
use crate::service::Images;
use crate::tag::check_new_name;
use crate::unpack::{config_labels, manifest_labels};

/// Bytes of an archive without entries: two blocks of zeros. Such a layer is left out, as in Docker.
const EMPTY_ARCHIVE_BYTES: u64 = 1024;

/// How a container becomes an image.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Id of the image that the layer lies on.
    pub parent: String,
    pub config: ContainerConfig,
    pub author: String,
    pub comment: String,
    /// What the history says of the layer: the container's command.
    pub created_by: String,
    /// Without a tag it is `latest`, without a name the image has none.
    pub name: Option<Reference>,
}

impl Images {
    /// Makes an image of a plain layer; answers its id. After an error there is no image and no name.
    pub async fn commit(&self, request: &CommitRequest, layer: ByteStream) -> Result<Digest, ImagesError> {
        if let Some(name) = &request.name {
            check_new_name(name)?;
        }
        let parent = self.find(&request.parent).await?.image;
        let lease = Lease::new(&self.backend, "commit").await?;
        let backend = lease.backend();
        for digest in parent.manifest.layers.iter().map(|layer| layer.digest) {
            lease.keep(&digest).await?;
        }
        let layer = store_plain(&backend, &format!("commit-{}", random_hex()), layer).await?;
        let (image, bytes) = assemble(request, &parent, layer)?;
        self.ensure_unpacked(&backend, &image).await?;
        let labels = config_labels(backend.snapshotter(), &image.chain_id());
        backend.put_blob(&ingest_key("config", &image.id), &image.config_raw, labels).await?;
        let labels = manifest_labels(&image.id, &image.manifest.layers);
        backend.put_blob(&ingest_key("manifest", &image.manifest_digest), &bytes, labels).await?;
        let target = Descriptor::new(&image.manifest.media_type, image.manifest_digest, bytes.len() as u64);
        let nameless = Record::new(dangling(&target.digest), target).with_parent(&parent.id.to_string());
        match &request.name {
            Some(name) => self.set_name(nameless.renamed(name.clone().with_default_tag().to_string())).await?,
            None => self.backend.put_record(&nameless).await?,
        }
        let id = image.id.to_string();
        self.event(ImageEventKind::Create, &id, &id, &image.config);
        if let Some(name) = &request.name {
            self.event(ImageEventKind::Tag, &id, &name.clone().with_default_tag().familiar(), &image.config);
        }
        Ok(image.id)
    }
}

/// The parent with one more layer, and its manifest's bytes.
fn assemble(
    request: &CommitRequest,
    parent: &LoadedImage,
    mut layer: Descriptor,
) -> Result<(LoadedImage, Bytes), ImagesError> {
    // One image has the types of one specification.
    let oci = parent.manifest.media_type == media_type::OCI_MANIFEST;
    if oci {
        media_type::OCI_LAYER.clone_into(&mut layer.media_type);
    }
    let now = jiff::Timestamp::now().to_string();
    let empty = layer.size == EMPTY_ARCHIVE_BYTES;
    let mut config = ImageConfig {
        config: request.config.clone(),
        author: request.author.clone(),
        comment: request.comment.clone(),
        created: Some(now.clone()),
        ..parent.config.clone()
    };
    config.history.push(History {
        created: Some(now),
        created_by: request.created_by.clone(),
        author: request.author.clone(),
        comment: request.comment.clone(),
        empty_layer: empty,
    });
    let mut layers = parent.manifest.layers.clone();
    if !empty {
        config.rootfs.diff_ids.push(layer.digest);
        layers.push(layer);
    }
    let raw = Bytes::from(config.to_bytes());
    let kind = if oci { media_type::OCI_CONFIG } else { media_type::DOCKER_CONFIG };
    let mut manifest = Manifest::docker(Descriptor::new(kind, Digest::of(&raw), raw.len() as u64), layers);
    manifest.media_type.clone_from(&parent.manifest.media_type);
    let bytes = Bytes::from(manifest.to_bytes());
    Ok((LoadedImage::parse(Digest::of(&bytes), manifest, raw)?, bytes))
}
