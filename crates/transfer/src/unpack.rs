//! Layers onto snapshots, each named by the chain up to it.

use ids::Digest;
use image_core::{Descriptor, ImageConfig, MAX_CONFIG_BYTES, Manifest, Platform, chain_ids, snapshot_label};
use supervisor::snapshots::{NewKind, NewSnapshot};
use tokio::sync::watch;

use containerd_api::WRITE_ANNOTATION;
use containerd_api::types;
use containerd_api::types::transfer::ImageStore;

use crate::Task;
use crate::error::TransferError;
use crate::progress::{Job, reference_key, to_proto};
use crate::wanted::{Wanted, platform};

/// The snapshotter that there is.
const SNAPSHOTTER: &str = "overlayfs";
const SNAPSHOT_REF: &str = "containerd.io/snapshot.ref";
/// At a compressed layer: the digest of its plain form.
pub(crate) const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// What a request wants unpacked: nothing, if no platform is named.
pub(crate) fn unpacked(store: &ImageStore) -> Option<Wanted> {
    if store.unpacks.is_empty() {
        return None;
    }
    let platforms = store.unpacks.iter().map(|unpack| match &unpack.platform {
        Some(given) if !given.os.is_empty() => platform(given),
        _ => Platform::host(),
    });
    Some(Wanted::platforms(platforms.collect()))
}

/// A layer, and when its blob is there or on its way.
pub(crate) struct Layer<'a> {
    pub job: &'a Job,
    pub begun: Option<watch::Receiver<bool>>,
}

impl Task<'_> {
    /// The configuration of a manifest, if it is for one of these platforms and has layers like the manifest's.
    pub(crate) async fn config_to_unpack(
        &self,
        manifest: &Manifest,
        wanted: &Wanted,
    ) -> Result<Option<ImageConfig>, TransferError> {
        if !image_core::media_type::is_config(&manifest.config.media_type) {
            return Ok(None);
        }
        let raw = self.read_blob(&manifest.config.digest, MAX_CONFIG_BYTES).await?;
        let config = ImageConfig::parse(&raw)?;
        if !wanted.matches(Some(&config.platform())) {
            return Ok(None);
        }
        manifest.check_layers(&config)?;
        Ok(Some(config))
    }

    /// Unpacks all layers of an image, each as soon as it begins to arrive.
    pub(crate) async fn unpack_layers(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
        layers: Vec<Layer<'_>>,
    ) -> Result<(), TransferError> {
        let diff_ids = &config.rootfs.diff_ids;
        let chain = chain_ids(diff_ids);
        for (at, mut layer) in layers.into_iter().enumerate() {
            if let Some(begun) = &mut layer.begun
                && begun.wait_for(|begun| *begun).await.is_err()
            {
                return Err(TransferError::missing(&layer.job.descriptor.digest));
            }
            let parent = at.checked_sub(1).map(|below| chain[below]);
            self.unpack_layer(layer.job, diff_ids[at], chain[at], parent).await?;
        }
        match chain.last() {
            Some(top) => self.label(&manifest.config.digest, [snapshot_label(SNAPSHOTTER, &top.to_string())]).await,
            None => Ok(()),
        }
    }

    async fn unpack_layer(
        &self,
        job: &Job,
        diff_id: Digest,
        chain: Digest,
        parent: Option<Digest>,
    ) -> Result<(), TransferError> {
        let (snapshots, leases) = (&self.services.snapshots, &self.services.leases);
        let name = chain.to_string();
        leases.hold(&self.scope, &format!("snapshots/{SNAPSHOTTER}"), &name).await?;
        if snapshots.stat(&self.scope.namespace, &name).is_ok() {
            return Ok(());
        }
        self.progress.blob("extracting", job, 0).await;
        let key = format!("extract-{}-{} {name}", jiff::Timestamp::now().as_nanosecond(), &random_hex()[..4]);
        let labels = metadata::Labels::from([(SNAPSHOT_REF.to_owned(), name.clone())]);
        let parent = parent.map(|parent| parent.to_string()).unwrap_or_default();
        let new = NewSnapshot { key: key.clone(), parent, labels: labels.clone(), kind: NewKind::Active };
        let mounts = snapshots.create(self.scope.clone(), new).await?;
        match self.fill(&job.descriptor, diff_id, mounts, &key, &name, labels).await {
            Ok(()) => {
                self.label(&job.descriptor.digest, [(UNCOMPRESSED.to_owned(), diff_id.to_string())]).await?;
                self.progress.blob("extracted", job, job.descriptor.size).await;
                Ok(())
            }
            Err(error) => {
                if let Err(second) = snapshots.remove(&self.scope.namespace, key.clone()).await {
                    tracing::warn!(key, error = %errors::chain(&second), "half-filled snapshot not removed");
                }
                // Another transfer was faster.
                if error.already_exists() { Ok(()) } else { Err(error) }
            }
        }
    }

    async fn fill(
        &self,
        layer: &Descriptor,
        diff_id: Digest,
        mounts: Vec<types::Mount>,
        key: &str,
        name: &str,
        labels: metadata::Labels,
    ) -> Result<(), TransferError> {
        let mut descriptor = to_proto(layer);
        let reference = reference_key(&layer.media_type, &layer.digest);
        descriptor.annotations.insert(WRITE_ANNOTATION.to_owned(), reference);
        let namespace = &self.scope.namespace;
        let applied = self.services.differ.apply(namespace, descriptor, mounts, false).await?;
        if applied.digest != diff_id.to_string() {
            return Err(TransferError::DiffId { found: applied.digest, expected: diff_id });
        }
        let scope = self.scope.clone();
        Ok(self.services.snapshots.commit(scope, name.to_owned(), key.to_owned(), labels).await?)
    }
}

/// 16 random bytes; the clock stands in where the kernel has none to give.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = jiff::Timestamp::now().as_nanosecond().to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
