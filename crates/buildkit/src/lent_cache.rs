//! A cache in a folder of the client's, which its session reads and writes.

use std::sync::Arc;

use async_trait::async_trait;
use builder::{BlobSource, CacheStore, LayerStream, PortError};
use buildkit_session::Session;
use bytes::Bytes;
use errors::ErrorKind;
use futures_util::StreamExt;
use ids::Digest;
use image_core::{Descriptor, MAX_MANIFEST_BYTES};
use tokio_stream::wrappers::ReceiverStream;

use crate::job::Job;
use crate::lending::refused;

/// How clients call such folders.
const KIND: &str = "local:";

#[derive(Debug)]
pub(crate) struct LentCache {
    session: Session,
    job: Arc<Job>,
    store: String,
    /// The manifest that is read.
    digest: Option<Digest>,
}

impl LentCache {
    pub fn new(session: Session, job: Arc<Job>, name: &str, digest: Option<Digest>) -> Self {
        Self { session, job, store: format!("{KIND}{name}"), digest }
    }

    async fn stream(&self, digest: &Digest) -> Result<LayerStream, PortError> {
        let pieces = self.session.read_content(&self.store, digest).await.map_err(refused)?;
        Ok(Box::pin(ReceiverStream::new(pieces)))
    }
}

#[async_trait]
impl CacheStore for LentCache {
    async fn manifest(&self) -> Result<(String, Bytes), PortError> {
        let told = |kind, message: String| PortError { kind, message };
        let digest = self.digest.ok_or_else(|| {
            told(ErrorKind::InvalidArgument, "local cache importer requires explicit digest".to_owned())
        })?;
        let (mut pieces, mut bytes) = (self.stream(&digest).await?, Vec::new());
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| told(ErrorKind::Unavailable, error.to_string()))?);
            if bytes.len() > MAX_MANIFEST_BYTES {
                let message = format!("the manifest of a cache has more than {MAX_MANIFEST_BYTES} bytes");
                return Err(told(ErrorKind::ResourceExhausted, message));
            }
        }
        if Digest::of(&bytes) != digest {
            return Err(told(ErrorKind::DataLoss, format!("the manifest of the cache is not {digest}")));
        }
        Ok((String::new(), bytes.into()))
    }

    async fn read(&self, blob: &Descriptor) -> Result<LayerStream, PortError> {
        self.stream(&blob.digest).await
    }

    async fn write(&self, blob: &BlobSource) -> Result<(), PortError> {
        let pieces = (blob.open)(0);
        self.session.write_content(&self.store, &blob.digest, blob.size, pieces).await.map_err(refused)
    }

    /// The client notes in its folder which manifest is the cache's.
    async fn finish(&self, media_type: &str, manifest: Bytes) -> Result<(), PortError> {
        let described = Descriptor::new(media_type, Digest::of(&manifest), manifest.len() as u64);
        let pieces = futures_util::stream::iter([Ok(manifest)]);
        let written = self.session.write_content(&self.store, &described.digest, described.size, pieces);
        written.await.map_err(refused)?;
        self.job.note_cache(&described);
        Ok(())
    }
}
