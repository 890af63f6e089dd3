//! Places of caches: manifests and blobs, read and written.

use std::fmt::Debug;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use errors::{ErrorKind, Kind};
use futures_util::stream;
use ids::{Digest, Reference};
use image_core::{Descriptor, MAX_MANIFEST_BYTES, media_type};
use registry_client::{BlobSource, RegistryError, Repository, Verify};

use crate::ports::{HeldLayers, LayerStream, PortError};

/// One cache's place.
#[async_trait]
pub trait CacheStore: Debug + Send + Sync {
    /// The manifest, with its type. [`ErrorKind::NotFound`] where there is none.
    async fn manifest(&self) -> Result<(String, Bytes), PortError>;
    /// A blob's bytes; they may be wrong, and are verified by whoever reads them.
    async fn read(&self, blob: &Descriptor) -> Result<LayerStream, PortError>;
    /// Stores a blob that is not there yet.
    async fn write(&self, blob: &BlobSource) -> Result<(), PortError>;
    /// Stores the manifest, behind its blobs.
    async fn finish(&self, media_type: &str, manifest: Bytes) -> Result<(), PortError>;
}

/// A repository of a registry; the manifest has a tag.
pub(crate) struct RegistryStore {
    pub repository: Repository,
    pub reference: Reference,
}

impl Debug for RegistryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryStore({})", self.reference.familiar())
    }
}

impl RegistryStore {
    fn target(&self) -> String {
        match self.reference.digest() {
            Some(digest) => digest.to_string(),
            None => self.reference.tag().unwrap_or("latest").to_owned(),
        }
    }
}

#[async_trait]
impl CacheStore for RegistryStore {
    async fn manifest(&self) -> Result<(String, Bytes), PortError> {
        let fetched = self.repository.manifest(&self.target()).await.map_err(refused)?;
        Ok((fetched.media_type, fetched.bytes))
    }

    async fn read(&self, blob: &Descriptor) -> Result<LayerStream, PortError> {
        if media_type::is_manifest(&blob.media_type) {
            let fetched = self.repository.manifest(&blob.digest.to_string()).await.map_err(refused)?;
            return Ok(Box::pin(stream::once(async move { Ok(fetched.bytes) })));
        }
        let reader = self.repository.blob(blob.digest, blob.size, 0, Verify::Here).await.map_err(refused)?;
        Ok(Box::pin(stream::unfold(reader, |mut reader| async move {
            match reader.next().await {
                Ok(Some(piece)) => Some((Ok(piece), reader)),
                Ok(None) => None,
                Err(error) => Some((Err(io::Error::other(errors::chain(&error))), reader)),
            }
        })))
    }

    async fn write(&self, blob: &BlobSource) -> Result<(), PortError> {
        self.repository.push_blob(blob, &[]).await.map(drop).map_err(refused)
    }

    async fn finish(&self, media_type: &str, manifest: Bytes) -> Result<(), PortError> {
        if manifest.len() > MAX_MANIFEST_BYTES {
            let message = format!("a manifest has more than {MAX_MANIFEST_BYTES} bytes");
            return Err(PortError { kind: ErrorKind::ResourceExhausted, message });
        }
        self.repository.put_manifest(&self.target(), media_type, manifest).await.map(drop).map_err(refused)
    }
}

fn refused(error: RegistryError) -> PortError {
    PortError { kind: error.kind(), message: errors::chain(&error) }
}

/// An image of the engine's own, whose configuration lists its steps. It is only read.
pub(crate) struct ImageStore(pub Box<dyn HeldLayers>);

impl Debug for ImageStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImageStore")
    }
}

#[async_trait]
impl CacheStore for ImageStore {
    async fn manifest(&self) -> Result<(String, Bytes), PortError> {
        Err(only_read())
    }

    async fn read(&self, blob: &Descriptor) -> Result<LayerStream, PortError> {
        Ok((self.0.source(blob).open)(0))
    }

    async fn write(&self, _: &BlobSource) -> Result<(), PortError> {
        Err(only_read())
    }

    async fn finish(&self, _: &str, _: Bytes) -> Result<(), PortError> {
        Err(only_read())
    }
}

fn only_read() -> PortError {
    PortError { kind: ErrorKind::NotImplemented, message: "an image of the store is only read".to_owned() }
}

/// A blob that is in memory.
pub(crate) fn in_memory(bytes: Bytes) -> BlobSource {
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let open = move |offset: u64| -> LayerStream {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let rest = bytes.slice(from..);
        Box::pin(stream::once(async move { Ok(rest) }))
    };
    BlobSource { digest, size, open: std::sync::Arc::new(open), progress: std::sync::Arc::new(|_| {}) }
}
