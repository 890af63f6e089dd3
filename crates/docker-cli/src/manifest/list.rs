//! The list itself, in the shape in which registries keep it and Docker's client shows it.

use engine_api::image::{Descriptor, Platform};
use ids::Reference;
use serde::Serialize;

use super::store::{OCI_MANIFEST, Stored};
use crate::failure::Failure;

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    schema_version: u32,
    pub media_type: String,
    manifests: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    size: i64,
    digest: String,
    platform: Platform,
}

impl List {
    /// Images of one registry, in their order.
    pub fn new(target: &Reference, images: &[Stored]) -> Result<Self, Failure> {
        let mut manifests = Vec::with_capacity(images.len());
        for image in images {
            let domain = match Reference::parse_familiar(&image.reference) {
                Ok(reference) => reference.domain().to_owned(),
                Err(error) => return Err(Failure::Text(error.to_string())),
            };
            if domain != target.domain() {
                return Err(Failure::Text(format!(
                    "cannot use source images from a different registry than the target image: {domain} != {}",
                    target.domain()
                )));
            }
            manifests.push(Entry::new(image.descriptor.clone()));
        }
        Ok(Self::of(manifests))
    }

    /// What a registry's own list says, in the same shape.
    pub fn of_descriptors(descriptors: Vec<Descriptor>) -> Self {
        Self::of(descriptors.into_iter().map(Entry::new).collect())
    }

    fn of(manifests: Vec<Entry>) -> Self {
        let is_oci = manifests.first().is_some_and(|first| first.media_type == OCI_MANIFEST);
        let media_type = if is_oci { OCI_INDEX } else { DOCKER_LIST };
        Self { schema_version: 2, media_type: media_type.to_owned(), manifests }
    }

    /// Indented by three blanks, as every list that Docker has pushed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
        // It has string keys only and no failing serialisers, which is all that can go wrong.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
        bytes
    }
}

impl Entry {
    fn new(descriptor: Descriptor) -> Self {
        let platform = descriptor.platform.unwrap_or_default();
        Self { media_type: descriptor.media_type, size: descriptor.size, digest: descriptor.digest, platform }
    }
}
