//! The steps of a build, sent to where other engines find them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use build_core::{CACHE_CONFIG, CachedLayer, CachedStep, write_cache_config};
use bytes::Bytes;
use image_core::{Descriptor, Index, Manifest, media_type};
use tokio_util::sync::CancellationToken;

use super::import::lent;
use super::spec::{CacheMode, CachePlace, CacheTarget};
use super::store::{CacheStore, RegistryStore, in_memory};
use super::{MOUNT, mounts};
use crate::builder::Shared;
use crate::cancel::unless;
use crate::error::BuildError;
use crate::output::Output;
use crate::ports::{HeldLayers, Image};
use crate::request::BuildRequest;

/// What of a build can be sent.
pub(crate) struct Exported<'a> {
    /// Steps that led to the result.
    pub result: &'a [CachedStep],
    /// Those of all stages.
    pub all: &'a [CachedStep],
    /// Folders of cache mounts that its steps name.
    pub mounts: &'a BTreeSet<String>,
}

/// Whose steps are sent, for all its platforms at once.
#[derive(Clone, Copy)]
pub(crate) struct Exporting<'a> {
    pub shared: &'a Shared,
    pub request: &'a BuildRequest,
    pub output: &'a Output,
    pub token: &'a CancellationToken,
}

/// Lists the steps in the image's own configuration.
pub(crate) fn embed(image: &mut Image, steps: &[CachedStep]) {
    image.config.build_cache = Some(STANDARD.encode(write_cache_config(steps)));
}

/// Sends them to one place.
pub(crate) async fn export(build: Exporting<'_>, target: &CacheTarget, made: Exported<'_>) -> Result<(), BuildError> {
    let CacheTarget::Place { place, mode, mounts, index, ignore_error } = target else { return Ok(()) };
    let steps = match mode {
        CacheMode::Min => made.result,
        CacheMode::Max => made.all,
    };
    let name = match place {
        CachePlace::Registry(_) => "exporting cache to registry",
        CachePlace::Local(_) => "exporting cache to client directory",
    };
    let work = async {
        let store = store(build, place).await?;
        let held = build.shared.images.hold().await?;
        let mut sent = Sent { store, held, blobs: Vec::new() };
        let steps = sent.layers(steps).await?;
        if *mounts {
            sent.mounts(build.shared, made.mounts).await?;
        }
        sent.finish(&steps, *index).await
    };
    let done = build.output.task(name, unless(build.token, work)).await;
    match done {
        Err(error) if *ignore_error && !matches!(error, BuildError::Cancelled) => {
            build.output.text(format!("[Warning] {name} failed: {}\n", errors::chain(&error))).await;
            Ok(())
        }
        done => done,
    }
}

async fn store(build: Exporting<'_>, place: &CachePlace) -> Result<Arc<dyn CacheStore>, BuildError> {
    match place {
        CachePlace::Registry(reference) => {
            let login = crate::stage::credentials(build.request, reference).await?;
            let repository = build.shared.images.repository(reference, login);
            Ok(Arc::new(RegistryStore { repository, reference: reference.clone() }))
        }
        CachePlace::Local(name) => lent(build.request, name, None).await,
    }
}

/// An export under way.
struct Sent {
    store: Arc<dyn CacheStore>,
    held: Box<dyn HeldLayers>,
    blobs: Vec<Descriptor>,
}

impl Sent {
    /// Sends the layers of steps; answers the steps with their layers as they were sent.
    async fn layers(&mut self, steps: &[CachedStep]) -> Result<Vec<CachedStep>, BuildError> {
        let mut known: BTreeMap<ids::Digest, CachedLayer> = BTreeMap::new();
        let mut sent = Vec::with_capacity(steps.len());
        for step in steps {
            let mut step = step.clone();
            if let Some(plain) = &step.layer {
                let layer = match known.get(&plain.diff_id) {
                    Some(layer) => layer.clone(),
                    None => self.layer(plain).await?,
                };
                known.insert(plain.diff_id, layer.clone());
                step.layer = Some(layer);
            }
            sent.push(step);
        }
        Ok(sent)
    }

    async fn layer(&mut self, plain: &CachedLayer) -> Result<CachedLayer, BuildError> {
        let described = Descriptor::new(&plain.media_type, plain.blob, plain.size);
        let packed = self.held.compressed(&described).await?;
        self.store.write(&self.held.source(&packed)).await?;
        let kind = media_type::OCI_LAYER_GZIP;
        self.blobs.push(Descriptor::new(kind, packed.digest, packed.size));
        let media_type = kind.to_owned();
        Ok(CachedLayer { blob: packed.digest, media_type, size: packed.size, diff_id: plain.diff_id })
    }

    async fn mounts(&mut self, shared: &Shared, names: &BTreeSet<String>) -> Result<(), BuildError> {
        for name in names {
            let Some(blob) = mounts::pack(name, &shared.config).await? else { continue };
            self.store.write(&blob).await?;
            let annotations = Some([(MOUNT.to_owned(), name.clone())].into());
            let described = Descriptor::new(media_type::OCI_LAYER_GZIP, blob.digest, blob.size);
            self.blobs.push(Descriptor { annotations, ..described });
        }
        Ok(())
    }

    async fn finish(mut self, steps: &[CachedStep], index: bool) -> Result<(), BuildError> {
        let list = in_memory(Bytes::from(write_cache_config(steps)));
        self.store.write(&list).await?;
        let config = Descriptor::new(CACHE_CONFIG, list.digest, list.size);
        let (kind, manifest) = if index {
            self.blobs.push(config);
            let media_type = media_type::OCI_INDEX.to_owned();
            let index = Index { schema_version: 2, media_type, manifests: self.blobs, annotations: None };
            (media_type::OCI_INDEX, serde_json::to_vec(&index).unwrap_or_default())
        } else {
            (media_type::OCI_MANIFEST, Manifest::oci(config, self.blobs).to_bytes())
        };
        Ok(self.store.finish(kind, manifest.into()).await?)
    }
}
