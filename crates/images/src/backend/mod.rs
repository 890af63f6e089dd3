//! The part of containerd's services that images need, in terms of digests and descriptors.
//!
//! Every request carries the namespace, and the lease that keeps what it makes from containerd's garbage collector.

mod content;
mod listing;
mod records;
mod snapshots;

pub(crate) use content::{BlobWriter, Committed, as_io};
pub(crate) use records::{Collect, Record};
pub(crate) use snapshots::Snapshot;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use containerd_api::types;
use containerd_client::{Client, Synchronous};
use ids::Digest;
use image_core::Descriptor;

use crate::error::ImagesError;

/// A connection to containerd; cheap to clone.
#[derive(Clone)]
pub(crate) struct Backend {
    client: Client,
    snapshotter: String,
}

impl Backend {
    pub fn new(client: Client, snapshotter: &str) -> Self {
        Self { client, snapshotter: snapshotter.to_owned() }
    }

    pub fn snapshotter(&self) -> &str {
        &self.snapshotter
    }

    /// Makes a lease that ends by itself after `lifetime`; what the answered connection makes belongs to it.
    pub async fn create_lease(&self, id: &str, lifetime: Duration) -> Result<Self, ImagesError> {
        self.client.create_lease(id, HashMap::new(), Some(lifetime)).await?;
        Ok(Self { client: self.client.with_lease(id)?, ..self.clone() })
    }

    /// The same without an end: what it keeps stays until it is deleted.
    pub async fn create_kept_lease(&self, id: &str) -> Result<Self, ImagesError> {
        self.client.create_lease(id, HashMap::new(), None).await?;
        Ok(Self { client: self.client.with_lease(id)?, ..self.clone() })
    }

    pub async fn lease_ids(&self) -> Result<Vec<String>, ImagesError> {
        let leases = self.client.list_leases(Vec::new()).await?;
        Ok(leases.into_iter().map(|lease| lease.id).collect())
    }

    /// Keeps a blob that is there already under the lease as well.
    pub async fn lease_blob(&self, lease: &str, digest: &Digest) -> Result<(), ImagesError> {
        Ok(self.client.add_to_lease(lease, "content", &digest.to_string()).await?)
    }

    /// The same for a snapshot, by its name.
    pub async fn lease_snapshot(&self, lease: &str, name: &str) -> Result<(), ImagesError> {
        Ok(self.client.add_to_lease(lease, &format!("snapshots/{}", self.snapshotter), name).await?)
    }

    /// Ends a lease; with [`Collect::Now`] what only it kept is gone when this returns.
    pub async fn delete_lease(&self, id: &str, collect: Collect) -> Result<(), ImagesError> {
        let synchronous = if collect == Collect::Now { Synchronous::Yes } else { Synchronous::No };
        Ok(self.client.delete_lease(id, synchronous).await?)
    }
}

/// `None` for what is not there.
fn found<T>(answer: Result<T, containerd_client::Error>) -> Result<Option<T>, ImagesError> {
    match answer.map_err(ImagesError::from) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_wire(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: descriptor.annotations.clone().unwrap_or_default().into_iter().collect(),
    }
}

fn from_wire(descriptor: types::Descriptor) -> Result<Descriptor, ImagesError> {
    let size = u64::try_from(descriptor.size).unwrap_or(0);
    let mut made = Descriptor::new(&descriptor.media_type, digest(&descriptor.digest)?, size);
    let annotations: BTreeMap<_, _> = descriptor.annotations.into_iter().collect();
    made.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    Ok(made)
}

fn digest(text: &str) -> Result<Digest, ImagesError> {
    text.parse().map_err(|_| ImagesError::Store { what: "digest", reason: format!("{text:?} is none") })
}
