//! What images take on disk together, layers that they share counted once.

use std::collections::BTreeMap;

use ids::Digest;

use crate::error::ImagesError;
use crate::service::Images;

/// Of all images of the store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk: unpacked layers and the blobs that they came as.
    pub layers_bytes: u64,
    /// Of each image, the unpacked bytes in layers that another image has, too.
    pub shared_bytes: BTreeMap<Digest, u64>,
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
        let mut usage = Usage { layers_bytes: self.bytes_of(&held).await?, shared_bytes: BTreeMap::new() };
        for found in images.values() {
            let mut shared = 0;
            for chain in found.image.chain.iter().filter(|chain| users[chain] > 1) {
                shared += self.layer_bytes(chain).await?;
            }
            usage.shared_bytes.insert(found.image.id, shared);
        }
        Ok(usage)
    }
}
