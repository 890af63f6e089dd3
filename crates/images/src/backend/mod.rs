//! The part of containerd's services that images need, in terms of digests and descriptors.
//!
//! Every request carries the namespace, and the lease that keeps what it makes from containerd's garbage collector.

mod content;
mod records;
mod snapshots;

pub(crate) use content::{BlobWriter, as_io};
pub(crate) use records::{Collect, Record};

use containerd_api::types;
use ids::Digest;
use image_core::Descriptor;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::error::ImagesError;

/// Bytes of one message: containerd's own limit.
const MAX_MESSAGE: usize = 16 << 20;

/// A connection to containerd; cheap to clone.
#[derive(Clone)]
pub(crate) struct Backend {
    channel: Channel,
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
    snapshotter: String,
}

impl Backend {
    pub fn new(channel: Channel, namespace: &str, snapshotter: &str) -> Result<Self, ImagesError> {
        let namespace = namespace
            .parse()
            .map_err(|_| ImagesError::Store { what: "namespace", reason: format!("{namespace:?} is no name") })?;
        Ok(Self { channel, namespace, lease: None, snapshotter: snapshotter.to_owned() })
    }

    /// The same connection; what it makes belongs to this lease.
    pub fn under_lease(&self, id: &str) -> Self {
        Self { lease: id.parse().ok(), ..self.clone() }
    }

    pub fn snapshotter(&self) -> &str {
        &self.snapshotter
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        request
    }

    /// A lease that ends by itself at `expire` (RFC 3339) if it is not deleted before.
    pub async fn create_lease(&self, id: &str, expire: &str) -> Result<(), ImagesError> {
        use containerd_api::services::leases::v1::{CreateRequest, leases_client::LeasesClient};
        let labels = [("containerd.io/gc.expire".to_owned(), expire.to_owned())].into();
        let request = self.request(CreateRequest { id: id.to_owned(), labels });
        LeasesClient::new(self.channel.clone()).create(request).await?;
        Ok(())
    }

    /// Keeps a blob that is there already under the lease as well.
    pub async fn lease_blob(&self, lease: &str, digest: &Digest) -> Result<(), ImagesError> {
        use containerd_api::services::leases::v1::{AddResourceRequest, Resource, leases_client::LeasesClient};
        let resource = Resource { id: digest.to_string(), r#type: "content".to_owned() };
        let request = self.request(AddResourceRequest { id: lease.to_owned(), resource: Some(resource) });
        LeasesClient::new(self.channel.clone()).add_resource(request).await?;
        Ok(())
    }

    pub async fn delete_lease(&self, id: &str) -> Result<(), ImagesError> {
        use containerd_api::services::leases::v1::{DeleteRequest, leases_client::LeasesClient};
        let request = self.request(DeleteRequest { id: id.to_owned(), sync: false });
        LeasesClient::new(self.channel.clone()).delete(request).await?;
        Ok(())
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
    let digest = digest(&descriptor.digest)?;
    let size = u64::try_from(descriptor.size).unwrap_or(0);
    let mut made = Descriptor::new(&descriptor.media_type, digest, size);
    made.annotations = Some(descriptor.annotations.into_iter().collect())
        .filter(|all: &std::collections::BTreeMap<_, _>| !all.is_empty());
    Ok(made)
}

fn digest(text: &str) -> Result<Digest, ImagesError> {
    text.parse().map_err(|_| ImagesError::Store { what: "digest", reason: format!("{text:?} is none") })
}
