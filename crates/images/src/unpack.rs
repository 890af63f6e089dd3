//! Layers onto snapshots, with containerd's own keys and labels (its unpacker), so that each finds what the other made.

use std::collections::HashMap;

use ids::Digest;
use image_core::{Descriptor, snapshot_label};
use tokio::sync::watch;

use crate::backend::{Backend, Snapshot};
use crate::blobs::layer_key;
use crate::error::ImagesError;
use crate::layers::Arrival;
use crate::lease::random_hex;
use crate::loaded::LoadedImage;
use crate::service::Images;

const SNAPSHOT_REF: &str = "containerd.io/snapshot.ref";
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// A layer that is on its way into the store.
pub(crate) struct Arriving {
    /// The reference of its write.
    reference: String,
    arrival: watch::Receiver<Arrival>,
}

impl Arriving {
    pub fn layer(layer: &Descriptor, arrival: watch::Receiver<Arrival>) -> Self {
        Self { reference: layer_key(layer), arrival }
    }

    /// Unpacks what has come and the rest as it comes. A containerd that cannot is asked again when all is there.
    async fn apply(mut self, backend: &Backend, layer: &Descriptor, onto: &Snapshot) -> Result<String, ImagesError> {
        match backend.apply_arriving(layer, &self.reference, onto).await {
            Err(error) if error.is_not_found() => {}
            answer => return answer,
        }
        if self.arrival.wait_for(|arrival| *arrival == Arrival::Here).await.is_err() {
            return Err(ImagesError::MissingBlob(layer.digest));
        }
        backend.apply(layer, onto).await
    }
}

impl Images {
    /// Unpacks what is not unpacked yet.
    pub(crate) async fn ensure_unpacked(&self, backend: &Backend, image: &LoadedImage) -> Result<(), ImagesError> {
        let unpacked = self.count_unpacked(backend, image).await?;
        for at in unpacked..image.chain.len() {
            self.unpack_layer(backend, image, at, None).await?;
        }
        Ok(())
    }

    /// How many of the lowest layers have their snapshot. A snapshot's parents are there as long as it is.
    pub(crate) async fn count_unpacked(&self, backend: &Backend, image: &LoadedImage) -> Result<usize, ImagesError> {
        for at in (0..image.chain.len()).rev() {
            if backend.has_snapshot(&image.chain[at].to_string()).await? {
                return Ok(at + 1);
            }
        }
        Ok(0)
    }

    /// Unpacks one layer; the one below has its snapshot, and its blob is in the store or arriving.
    pub(crate) async fn unpack_layer(
        &self,
        backend: &Backend,
        image: &LoadedImage,
        at: usize,
        arriving: Option<Arriving>,
    ) -> Result<(), ImagesError> {
        let chain = image.chain[at];
        let _alone = self.shared.flights.enter(&chain).await;
        let name = chain.to_string();
        if backend.has_snapshot(&name).await? {
            return Ok(());
        }
        let parent = at.checked_sub(1).map(|below| image.chain[below].to_string()).unwrap_or_default();
        let labels: HashMap<_, _> = [(SNAPSHOT_REF.to_owned(), name.clone())].into();
        let key = format!("extract-{}-{} {name}", jiff::Timestamp::now().as_nanosecond(), &random_hex()[..4]);
        let snapshot = match backend.prepare_snapshot(&key, &parent, labels.clone()).await {
            // A snapshotter that found the layer elsewhere says so.
            Err(error) if error.already_exists() => return Ok(()),
            answer => answer?,
        };
        let (layer, diff_id) = (&image.manifest.layers[at], image.config.rootfs.diff_ids[at]);
        let filled = async {
            let applied = match arriving {
                Some(arriving) => arriving.apply(backend, layer, &snapshot).await?,
                None => backend.apply(layer, &snapshot).await?,
            };
            check(&applied, diff_id)?;
            match backend.commit_snapshot(&snapshot, &name, labels).await {
                Err(error) if error.already_exists() => Err(error),
                answer => answer,
            }
        };
        match filled.await {
            Ok(()) => backend.label_blob(&layer.digest, [(UNCOMPRESSED.to_owned(), diff_id.to_string())].into()).await,
            Err(error) => {
                if let Err(second) = backend.remove_snapshot(&key).await {
                    tracing::warn!(key, error = %second, "half-filled snapshot not removed");
                }
                if error.already_exists() { Ok(()) } else { Err(error) }
            }
        }
    }
}

fn check(applied: &str, expected: Digest) -> Result<(), ImagesError> {
    if applied == expected.to_string() {
        return Ok(());
    }
    Err(ImagesError::DiffId { found: applied.to_owned(), expected })
}

/// Labels by which containerd's garbage collector finds what a manifest refers to.
pub(crate) fn manifest_labels(config: &Digest, layers: &[Descriptor]) -> HashMap<String, String> {
    image_core::manifest_labels(config, layers).collect()
}

pub(crate) fn index_labels(manifests: &[Descriptor]) -> HashMap<String, String> {
    image_core::index_labels(manifests).collect()
}

/// The same for a configuration: the topmost snapshot, and with it all below; none for an image without layers.
pub(crate) fn config_labels(snapshotter: &str, chain_id: &str) -> HashMap<String, String> {
    (!chain_id.is_empty()).then(|| snapshot_label(snapshotter, chain_id)).into_iter().collect()
}
