//! Blobs by digest.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use containerd_api::FieldMask;
use containerd_api::services::content::v1 as api;
use containerd_client::WriteBlob;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt};
use ids::Digest;

use super::{Backend, found};
use crate::error::ImagesError;

/// Bytes of one write: pieces from the network are small, and each write is a message there and back.
const CHUNK: usize = 1 << 20;

/// What is known of a blob that is there.
#[derive(Debug, Clone)]
pub(crate) struct BlobInfo {
    pub size: u64,
    pub labels: HashMap<String, String>,
}

/// A blob's pieces as they come.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, ImagesError>> + Send>>;

impl Backend {
    pub async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, ImagesError> {
        let info = found(self.client.blob_info(digest).await)?;
        Ok(info.map(|info| BlobInfo { size: u64::try_from(info.size).unwrap_or(0), labels: info.labels }))
    }

    /// Sizes of all blobs of the namespace.
    pub async fn blob_sizes(&self) -> Result<HashMap<Digest, u64>, ImagesError> {
        let infos = self.client.list_blobs(Vec::new()).await?;
        let size = |info: &api::Info| Some((info.digest.parse().ok()?, u64::try_from(info.size).unwrap_or(0)));
        Ok(infos.iter().filter_map(size).collect())
    }

    /// Sets these labels and leaves the others.
    pub async fn label_blob(&self, digest: &Digest, labels: HashMap<String, String>) -> Result<(), ImagesError> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = api::Info { digest: digest.to_string(), labels, ..Default::default() };
        let request = api::UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        self.client.content().update(request).await?;
        Ok(())
    }

    /// Removes a blob, whoever refers to it. One that is not there is as good.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), ImagesError> {
        let request = api::DeleteContentRequest { digest: digest.to_string() };
        found(self.client.content().delete(request).await.map_err(Into::into)).map(drop)
    }

    /// A whole small blob.
    pub async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Bytes, ImagesError> {
        let bytes = found(self.client.read_blob(digest, limit).await)?;
        bytes.map(Bytes::from).ok_or(ImagesError::MissingBlob(*digest))
    }

    /// A blob from its beginning.
    pub async fn stream_blob(&self, digest: &Digest) -> Result<Pieces, ImagesError> {
        self.stream_blob_from(digest, 0).await
    }

    /// A blob from an offset on.
    pub async fn stream_blob_from(&self, digest: &Digest, offset: u64) -> Result<Pieces, ImagesError> {
        let offset = i64::try_from(offset).map_err(|_| ImagesError::MissingBlob(*digest))?;
        let request = api::ReadContentRequest { digest: digest.to_string(), offset, size: 0 };
        let pieces = found(self.client.content().read(request).await.map_err(Into::into))?;
        let pieces = pieces.ok_or(ImagesError::MissingBlob(*digest))?.into_inner();
        Ok(Box::pin(pieces.map(|piece| match piece {
            Ok(piece) => Ok(piece.data),
            Err(status) => Err(status.into()),
        })))
    }

    /// The same, opened when its first piece is wanted: what is opened and not read fills the connection for everybody.
    pub fn lazy_blob(&self, digest: Digest) -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> {
        let backend = self.clone();
        let opened = async move { backend.stream_blob(&digest).await.map(as_io).map_err(io::Error::other) };
        Box::pin(futures_util::stream::once(opened).try_flatten())
    }

    /// Opens an ingest, where it was left if it was. `None` if the blob is there already.
    pub async fn write_blob(
        &self,
        key: &str,
        expected: Option<(Digest, u64)>,
    ) -> Result<Option<BlobWriter>, ImagesError> {
        let write = WriteBlob {
            reference: key.to_owned(),
            total: expected.map_or(0, |(_, size)| size),
            expected: expected.map(|(digest, _)| digest),
        };
        match self.client.write_blob(write).await.map_err(ImagesError::from) {
            Ok(inner) => Ok(Some(BlobWriter { inner, buffer: BytesMut::new() })),
            Err(error) if error.already_exists() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Throws away what an ingest has.
    pub async fn abort_write(&self, key: &str) -> Result<(), ImagesError> {
        Ok(self.client.abort_blob(key).await?)
    }
}

/// An open ingest. Dropped without commit it stays resumable under its key.
pub(crate) struct BlobWriter {
    inner: containerd_client::BlobWriter,
    buffer: BytesMut,
}

impl BlobWriter {
    /// Bytes that were stored before.
    pub fn offset(&self) -> u64 {
        self.inner.offset()
    }

    /// Takes bytes, and sends them when a message is full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ImagesError> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= CHUNK {
            let chunk = self.buffer.split_to(CHUNK).freeze();
            self.inner.write(chunk).await?;
        }
        Ok(())
    }

    /// Sends the rest and makes the blob; one that is there meanwhile is as good. containerd compares size and digest
    /// with what was announced.
    pub async fn commit(mut self, labels: HashMap<String, String>) -> Result<Committed, ImagesError> {
        self.inner.write(self.buffer.split().freeze()).await?;
        match self.inner.commit(labels).await.map_err(ImagesError::from) {
            Ok(digest) => Ok(Committed::New(digest)),
            Err(error) if error.already_exists() => Ok(Committed::Existed),
            Err(error) => Err(error),
        }
    }
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    New(Digest),
    /// Its labels are those of before.
    Existed,
}

/// The stream as one of I/O results, for who knows nothing of this crate's errors.
pub(crate) fn as_io(pieces: Pieces) -> impl Stream<Item = io::Result<Bytes>> + Send {
    pieces.map(|piece| piece.map_err(io::Error::other))
}
