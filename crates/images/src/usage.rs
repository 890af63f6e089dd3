//! What images take on disk together, layers that they share counted once.

use std::collections::BTreeMap;

use ids::Digest;

use crate::build::lease_name;
use crate::error::ImagesError;
use crate::holdings::{BlobSizes, Holdings, on_disk};
use crate::service::Images;

/// Of all images of the store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk: unpacked layers and the blobs that they came as.
    pub layers_bytes: u64,
    /// Of each image, the unpacked bytes in layers that another image has, too.
    pub shared_bytes: BTreeMap<Digest, u64>,
    /// What builds keep, by owner.
    pub build_layers: BTreeMap<String, BuildLayers>,
}

/// What an owner of [`Images::add_build_layer`] keeps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BuildLayers {
    /// Bytes on disk: unpacked, and the blob.
    pub bytes: u64,
    /// Of these what neither an image nor an owner before this one has.
    pub own_bytes: u64,
}

impl Images {
    pub async fn usage(&self) -> Result<Usage, ImagesError> {
        let images = self.all().await?;
        let mut users: BTreeMap<Digest, u32> = BTreeMap::new();
        for chain in images.values().flat_map(|found| &found.image.chain) {
            *users.entry(*chain).or_default() += 1;
        }
        let sizes = self.backend.blob_sizes().await?;
        let held = self.holdings(images.values(), &sizes).await?;
        let mut usage = Usage { layers_bytes: self.bytes_of(&held).await?, ..Usage::default() };
        for found in images.values() {
            let mut shared = 0;
            for chain in found.image.chain.iter().filter(|chain| users[chain] > 1) {
                shared += self.layer_bytes(chain).await?;
            }
            usage.shared_bytes.insert(found.image.id, shared);
        }
        usage.build_layers = self.build_layers(held, &sizes).await?;
        Ok(usage)
    }

    /// By owner; `counted` is what is counted elsewhere.
    async fn build_layers(
        &self,
        mut counted: Holdings,
        sizes: &BlobSizes,
    ) -> Result<BTreeMap<String, BuildLayers>, ImagesError> {
        let snapshots = format!("snapshots/{}", self.backend.snapshotter());
        let mut owners: BTreeMap<String, BuildLayers> = BTreeMap::new();
        for owner in self.build_layer_owners().await? {
            let mut layers = BuildLayers::default();
            for kept in self.backend.kept_by(&lease_name(&owner)).await? {
                let Ok(digest) = kept.id.parse::<Digest>() else { continue };
                let (bytes, is_new) = if kept.kind == "content" {
                    let bytes = sizes.get(&digest).copied().map_or(0, on_disk);
                    (bytes, counted.blobs.insert(digest, bytes).is_none())
                } else if kept.kind == snapshots {
                    (self.layer_bytes(&digest).await?, counted.chains.insert(digest))
                } else {
                    continue;
                };
                layers.bytes += bytes;
                layers.own_bytes += if is_new { bytes } else { 0 };
            }
            owners.insert(owner, layers);
        }
        Ok(owners)
    }
}
