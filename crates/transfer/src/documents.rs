//! From a target through indexes to manifests: everything that describes an image.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use ids::Digest;
use image_core::{Descriptor, Document, MAX_MANIFEST_BYTES};
use registry_client::Repository;

use crate::Task;
use crate::error::TransferError;
use crate::progress::reference_key;
use crate::wanted::Wanted;

/// Documents of one image, bytes of all of them, and indexes within indexes.
const MAX_DOCUMENTS: usize = 1000;
const MAX_DOCUMENT_BYTES: usize = 32 << 20;
const MAX_DEPTH: usize = 4;

/// Where documents are read.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// At a registry; what the store has already is read there.
    Registry(&'a Repository),
    Store,
}

/// One of them.
pub(crate) struct Found {
    pub descriptor: Descriptor,
    pub bytes: Bytes,
    pub document: Document,
    /// What stands above it in the tree that clients show.
    pub parent: String,
    /// Whether its layers are wanted.
    pub layers: bool,
}

impl Task<'_> {
    /// All documents below a target that are wanted, what refers to others before them. Of those in the store that
    /// describe an unwanted platform some may be missing.
    pub(crate) async fn documents(
        &self,
        origin: Origin<'_>,
        target: &Descriptor,
        root: &str,
        wanted: &Wanted,
    ) -> Result<Vec<Found>, TransferError> {
        let mut found: Vec<Found> = Vec::new();
        let mut seen = HashSet::new();
        let mut total = 0;
        let mut pending = vec![(target.clone(), root.to_owned(), true, 0)];
        while let Some((mut descriptor, parent, layers, depth)) = pending.pop() {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            let Some(bytes) = self.document(origin, &descriptor, layers).await? else { continue };
            total += bytes.len();
            if seen.len() > MAX_DOCUMENTS || total > MAX_DOCUMENT_BYTES || depth > MAX_DEPTH {
                return Err(image_core::ImageError::Manifest("too many manifests and indexes").into());
            }
            let document = Document::parse(&bytes, &descriptor.media_type, root)?;
            document.media_type().clone_into(&mut descriptor.media_type);
            descriptor.size = bytes.len() as u64;
            if let Document::Index(index) = &document {
                let key = reference_key(&descriptor.media_type, &descriptor.digest);
                let children = if layers { wanted.children(&descriptor.digest, index)? } else { Vec::new() };
                let children = children.into_iter().rev();
                pending.extend(children.map(|child| (child.descriptor, key.clone(), child.layers, depth + 1)));
            }
            found.push(Found { descriptor, bytes, document, parent, layers });
        }
        Ok(found)
    }

    async fn document(
        &self,
        origin: Origin<'_>,
        descriptor: &Descriptor,
        needed: bool,
    ) -> Result<Option<Bytes>, TransferError> {
        match (self.read_blob(&descriptor.digest, MAX_MANIFEST_BYTES).await, origin) {
            (Err(error), Origin::Registry(repository)) if error.is_not_found() => {
                Ok(Some(repository.manifest(&descriptor.digest.to_string()).await?.bytes))
            }
            (Err(error), Origin::Store) if error.is_not_found() && !needed => Ok(None),
            (answer, _) => answer.map(Some),
        }
    }

    /// A small blob of the store.
    pub(crate) async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Bytes, TransferError> {
        let (contents, namespace, digest) = (self.services.contents.clone(), self.scope.namespace.clone(), *digest);
        let read = tokio::task::spawn_blocking(move || {
            let reader = contents.reader(&namespace, &digest)?;
            if reader.size() > limit as u64 {
                return Err(image_core::ImageError::TooLarge { what: "a description of an image", limit }.into());
            }
            let mut bytes = vec![0; usize::try_from(reader.size()).unwrap_or(0)];
            let length = reader.read_at(&mut bytes, 0).map_err(TransferError::Read)?;
            bytes.truncate(length);
            Ok(bytes.into())
        });
        read.await.unwrap_or(Err(TransferError::GivenUp))
    }

    /// Enters labels at a blob beside those that it has.
    pub(crate) async fn label(
        &self,
        digest: &Digest,
        labels: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), TransferError> {
        let labels: BTreeMap<String, String> = labels.into_iter().collect();
        let known = self.services.contents.info(&self.scope.namespace, digest)?.labels;
        if labels.iter().all(|(key, value)| known.get(key) == Some(value)) {
            return Ok(());
        }
        let mask = labels.keys().map(|key| format!("labels.{key}")).collect();
        self.services.contents.update(&self.scope.namespace, *digest, labels, mask).await?;
        Ok(())
    }
}
