//! Layers of builds on their way to other engines' caches.

use std::sync::Arc;

use futures_util::TryStreamExt;
use ids::Reference;
use image_core::{Descriptor, media_type};
use registry_client::{BlobSource, Credentials, Repository};

use crate::backend::{Backend, as_io};
use crate::error::ImagesError;
use crate::lease::Lease;
use crate::recode::{ByteStream, compress};
use crate::service::Images;

/// Layers that stay in the store until this is dropped.
pub struct HeldLayers {
    images: Images,
    backend: Backend,
    lease: Lease,
}

impl Images {
    /// Keeps layers in the store while they are sent elsewhere.
    pub async fn hold_layers(&self) -> Result<HeldLayers, ImagesError> {
        let lease = Lease::new(&self.backend, "push").await?;
        Ok(HeldLayers { images: self.clone(), backend: lease.backend(), lease })
    }

    /// A repository of a registry, by the options that pulls and pushes have.
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        self.shared.registries.repository(reference, credentials)
    }
}

impl HeldLayers {
    /// The compressed form of a layer, made where there is none yet.
    pub async fn compressed(&self, layer: &Descriptor) -> Result<Descriptor, ImagesError> {
        self.lease.keep(&layer.digest).await?;
        if !media_type::is_plain_layer(&layer.media_type) {
            return Ok(layer.clone());
        }
        let _alone = self.images.shared.flights.enter(&layer.digest).await;
        let packed = compress(&self.backend, layer).await?;
        self.lease.keep(&packed.digest).await?;
        Ok(packed)
    }

    /// A blob as it is sent.
    pub fn source(&self, blob: &Descriptor) -> BlobSource {
        let (backend, digest) = (self.backend.clone(), blob.digest);
        let open = move |offset| -> ByteStream {
            let backend = backend.clone();
            let opened = async move {
                backend.stream_blob_from(&digest, offset).await.map(as_io).map_err(std::io::Error::other)
            };
            Box::pin(futures_util::stream::once(opened).try_flatten())
        };
        BlobSource { digest, size: blob.size, open: Arc::new(open), progress: Arc::new(|_| {}) }
    }
}
