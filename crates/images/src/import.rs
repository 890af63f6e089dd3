//! `docker image import`: a root file system becomes an image of one layer.

use bytes::Bytes;
use errors::ErrorKind;
use ids::{Digest, Reference};
use image_core::{Descriptor, History, ImageConfig, Manifest, Platform, apply_change, media_type};

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

/// How an archive becomes an image.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// The image's name; without tag it is `latest`, without a name the image has none.
    pub name: Option<Reference>,
    /// Lines such as `CMD ["/bin/sh"]`.
    pub changes: Vec<String>,
    /// The commit message; `Imported from -` or whatever the source was is the caller's to say.
    pub message: String,
    /// The host's if none.
    pub platform: Option<Platform>,
}

impl Images {
    /// Makes an image of an archive, compressed or not; answers its id. After an error there is no image and no name.
    pub async fn import(&self, request: &ImportRequest, archive: ByteStream) -> Result<Digest, ImagesError> {
        if let Some(name) = &request.name {
            check_new_name(name)?;
        }
        if request.platform.as_ref().is_some_and(|platform| platform.os != self.platform.os) {
            let message = "operating system is not supported".to_owned();
            return Err(ImagesError::Refused { message, kind: ErrorKind::InvalidArgument });
        }
        let config = import_config(request, &self.platform)?;
        let lease = Lease::new(&self.backend, "import").await?;
        let backend = lease.backend();
        let layer = store_plain(&backend, &format!("import-{}", random_hex()), archive).await?;
        let (image, bytes) = assemble(config, layer)?;
        self.ensure_unpacked(&backend, &image).await?;
        let labels = config_labels(backend.snapshotter(), &image.chain_id());
        backend.put_blob(&ingest_key("config", &image.id), &image.config_raw, labels).await?;
        let labels = manifest_labels(&image.id, &image.manifest.layers);
        backend.put_blob(&ingest_key("manifest", &image.manifest_digest), &bytes, labels).await?;
        let target = Descriptor::new(&image.manifest.media_type, image.manifest_digest, bytes.len() as u64);
        match &request.name {
            Some(name) => self.set_name(Record::new(name.clone().with_default_tag().to_string(), target)).await?,
            None => {
                let name = dangling(&target.digest);
                self.backend.put_record(&Record::new(name, target)).await?;
            }
        }
        let id = image.id.to_string();
        self.event(ImageEventKind::Import, &id, &id, &image.config);
        Ok(image.id)
    }
}

fn import_config(request: &ImportRequest, host: &Platform) -> Result<ImageConfig, ImagesError> {
    let platform = request.platform.as_ref().unwrap_or(host);
    let now = jiff::Timestamp::now().to_string();
    let mut config = ImageConfig {
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        os: platform.os.clone(),
        comment: request.message.clone(),
        created: Some(now.clone()),
        ..ImageConfig::default()
    };
    for line in &request.changes {
        apply_change(&mut config.config, line)?;
    }
    config.history.push(History { created: Some(now), comment: request.message.clone(), ..History::default() });
    Ok(config)
}

/// The image of this one layer, and its manifest's bytes.
fn assemble(mut config: ImageConfig, mut layer: Descriptor) -> Result<(LoadedImage, Bytes), ImagesError> {
    media_type::OCI_LAYER.clone_into(&mut layer.media_type);
    config.rootfs.diff_ids = vec![layer.digest];
    let raw = Bytes::from(config.to_bytes());
    let described = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&raw), raw.len() as u64);
    let manifest = Manifest::oci(described, vec![layer]);
    let bytes = Bytes::from(manifest.to_bytes());
    Ok((LoadedImage::parse(Digest::of(&bytes), manifest, raw)?, bytes))
}
