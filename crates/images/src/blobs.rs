//! Blobs between a registry and the content store.

use std::collections::HashMap;

use bytes::Bytes;
use errors::ErrorKind;
use ids::{Digest, Reference};
use image_core::{Descriptor, source_key, source_label};
use registry_client::{RegistryError, Repository, Verify};

use crate::backend::{Backend, BlobWriter, Committed};
use crate::error::ImagesError;

/// How often someone else's ingest of the same blob is waited for, some seconds each time.
const LOCKED_TRIES: u32 = 20;

/// The key of an ingest, by what it will be: containerd's own scheme, so that a pull that `ctr` has begun is continued.
pub(crate) fn ingest_key(kind: &str, digest: &Digest) -> String {
    format!("{kind}-{digest}")
}

/// The repositories of this registry that a blob came from.
pub(crate) fn sources(labels: &HashMap<String, String>, domain: &str) -> Vec<String> {
    let known = labels.get(&source_key(domain)).map(String::as_str);
    image_core::sources(known).into_iter().map(str::to_owned).collect()
}

impl Backend {
    /// Adds the repository to what is known of the blob.
    pub async fn add_source(&self, digest: &Digest, reference: &Reference) -> Result<(), ImagesError> {
        let Some(info) = self.blob_info(digest).await? else { return Err(ImagesError::MissingBlob(*digest)) };
        let known = info.labels.get(&source_key(reference.domain())).map(String::as_str);
        let (key, value) = source_label(reference, known);
        if info.labels.get(&key) == Some(&value) {
            return Ok(());
        }
        self.label_blob(digest, [(key, value)].into()).await
    }

    /// Opens an ingest; waits while another writer has it. `None` if the blob is there already.
    pub async fn write_blob_in_turn(
        &self,
        key: &str,
        expected: Option<(Digest, u64)>,
    ) -> Result<Option<BlobWriter>, ImagesError> {
        let mut tries = LOCKED_TRIES;
        loop {
            match self.write_blob(key, expected).await {
                // The client has waited some seconds by then.
                Err(ImagesError::Backend { message, kind: ErrorKind::Unavailable })
                    if tries > 0 && message.contains("locked") =>
                {
                    tries -= 1;
                }
                answer => return answer,
            }
        }
    }

    /// A small blob in one go.
    pub async fn put_blob(
        &self,
        key: &str,
        bytes: &Bytes,
        labels: HashMap<String, String>,
    ) -> Result<Digest, ImagesError> {
        let digest = Digest::of(bytes);
        let committed = match self.write_blob_in_turn(key, Some((digest, bytes.len() as u64))).await? {
            Some(mut writer) => {
                let known = usize::try_from(writer.offset()).unwrap_or(usize::MAX).min(bytes.len());
                writer.write(&bytes[known..]).await?;
                writer.commit(labels.clone()).await?
            }
            None => Committed::Existed,
        };
        if committed == Committed::Existed && !labels.is_empty() {
            self.label_blob(&digest, labels).await?;
        }
        Ok(digest)
    }
}

/// A manifest or configuration: small, verified before anything looks into it.
pub(crate) async fn fetch_small(
    repository: &Repository,
    descriptor: &Descriptor,
    limit: usize,
) -> Result<Bytes, ImagesError> {
    if descriptor.size > limit as u64 {
        return Err(RegistryError::TooLarge { what: "blob", limit: limit as u64 }.into());
    }
    let mut reader = repository.blob(descriptor.digest, descriptor.size, 0, Verify::Here).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size).unwrap_or(0));
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// What goes with the fetching of a layer.
pub(crate) struct Fetch<'a> {
    /// Of the blob.
    pub labels: HashMap<String, String>,
    /// Called when the write is open: from then on its bytes can be read.
    pub begun: &'a (dyn Fn() + Send + Sync),
    /// Hears of the bytes, and of all of them before the store verifies.
    pub received: &'a (dyn Fn(u64) + Send + Sync),
}

/// Under which reference a layer is written.
pub(crate) fn layer_key(layer: &Descriptor) -> String {
    ingest_key("layer", &layer.digest)
}

/// Fetches a layer into the content store, going on where an earlier attempt ended.
pub(crate) async fn fetch_layer(
    backend: &Backend,
    repository: &Repository,
    layer: &Descriptor,
    fetch: Fetch<'_>,
) -> Result<(), ImagesError> {
    let (key, labels) = (layer_key(layer), fetch.labels);
    let Some(mut writer) = backend.write_blob_in_turn(&key, Some((layer.digest, layer.size))).await? else {
        return backend.label_blob(&layer.digest, labels).await;
    };
    (fetch.begun)();
    let start = writer.offset().min(layer.size);
    let fetched = async {
        let mut reader = repository.blob(layer.digest, layer.size, start, Verify::Receiver).await?;
        let mut offset = start;
        while let Some(piece) = reader.next().await? {
            offset += piece.len() as u64;
            writer.write(&piece).await?;
            (fetch.received)(offset);
        }
        match writer.commit(labels.clone()).await {
            Ok(Committed::New(_)) => Ok(()),
            Ok(Committed::Existed) => backend.label_blob(&layer.digest, labels).await,
            Err(error) => Err(if is_mismatch(&error) { ImagesError::LayerDigest(layer.digest) } else { error }),
        }
    };
    let answer = fetched.await;
    if let Err(error) = &answer
        && is_useless(error)
        && let Err(second) = backend.abort_write(&key).await
    {
        tracing::warn!(key, error = %second, "half a layer not removed");
    }
    answer
}

/// containerd's answer to bytes that are not what was announced.
pub(crate) fn is_mismatch(error: &ImagesError) -> bool {
    let ImagesError::Backend { message, kind } = error else { return false };
    matches!(kind, ErrorKind::FailedPrecondition | ErrorKind::DataLoss | ErrorKind::InvalidArgument)
        && (message.contains("digest") || message.contains("size"))
}

/// Whether what was received so far is of no use to the next attempt: only a connection that broke off is continued, not
/// an answer that was whole and too short.
fn is_useless(error: &ImagesError) -> bool {
    match error {
        ImagesError::LayerDigest(_) => true,
        ImagesError::Registry(RegistryError::Transport { .. }) => false,
        ImagesError::Registry(_) => true,
        _ => false,
    }
}
