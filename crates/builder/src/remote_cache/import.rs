//! Steps of other engines: listed when a build begins, fetched when their turn comes.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use build_core::{CACHE_CONFIG, CachedStep, MAX_CACHE_CONFIG_BYTES, read_cache_config};
use bytes::Bytes;
use errors::ErrorKind;
use futures_util::StreamExt;
use ids::{Digest, Reference};
use image_core::{
    Descriptor, Document, ImageConfig, Index, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest, Platform, choose,
};

use super::mount_name;
use super::spec::{CachePlace, CacheSource};
use super::store::{CacheStore, ImageStore, RegistryStore};
use crate::builder::Shared;
use crate::error::BuildError;
use crate::ports::{Image, PortError};
use crate::request::BuildRequest;
use crate::stage::credentials;

/// Steps that all sources of one build may list.
const MAX_STEPS: usize = 100_000;

/// What other engines have made.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    steps: HashMap<Digest, ImportedStep>,
    mounts: HashMap<String, ImportedMount>,
}

/// A step of another engine's.
#[derive(Debug, Clone)]
pub(crate) struct ImportedStep {
    /// RFC 3339; empty where it is not known.
    pub created: String,
    pub layer: Option<ImportedLayer>,
}

#[derive(Debug, Clone)]
pub(crate) struct ImportedLayer {
    pub blob: Descriptor,
    /// Of its plain form, which says whether the right thing came.
    pub diff_id: Digest,
    pub store: Arc<dyn CacheStore>,
}

/// What a cache mount held.
#[derive(Debug, Clone)]
pub(crate) struct ImportedMount {
    pub blob: Descriptor,
    pub store: Arc<dyn CacheStore>,
}

impl Imports {
    pub fn step(&self, key: &Digest) -> Option<&ImportedStep> {
        self.steps.get(key)
    }

    pub fn mount(&self, name: &str) -> Option<&ImportedMount> {
        self.mounts.get(name)
    }

    /// Adds what a source lists; what an earlier one has stays. Answers the number of steps.
    pub async fn add(
        &mut self,
        shared: &Shared,
        request: &BuildRequest,
        source: &CacheSource,
    ) -> Result<usize, BuildError> {
        let reference = match &source.place {
            CachePlace::Registry(reference) => reference,
            CachePlace::Local(name) => {
                let store = lent(request, name, source.digest).await?;
                return self.add_store(store).await;
            }
        };
        if let Some((image, store)) = own_image(shared, reference).await? {
            return self.add_image(&image.config, &image.layers, &store);
        }
        let login = credentials(request, reference).await?;
        let repository = shared.images.repository(reference, login);
        self.add_store(Arc::new(RegistryStore { repository, reference: reference.clone() })).await
    }

    async fn add_store(&mut self, store: Arc<dyn CacheStore>) -> Result<usize, BuildError> {
        let (kind, bytes) = store.manifest().await?;
        if let Some((config, blobs)) = listed(&bytes) {
            return self.add_list(&config, &blobs, &store).await;
        }
        let document = Document::parse(&bytes, &kind, "cache").map_err(not_understood)?;
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let chosen = choose(&index, &Platform::host()).map_err(not_understood)?;
                let bytes = small(&store, chosen, MAX_MANIFEST_BYTES).await?;
                serde_json::from_slice(&bytes).map_err(not_understood)?
            }
        };
        let config = small(&store, &manifest.config, MAX_CONFIG_BYTES).await?;
        let config = ImageConfig::parse(&config).map_err(not_understood)?;
        self.add_image(&config, &manifest.layers, &store)
    }

    async fn add_list(
        &mut self,
        config: &Descriptor,
        blobs: &[Descriptor],
        store: &Arc<dyn CacheStore>,
    ) -> Result<usize, BuildError> {
        let bytes = small(store, config, MAX_CACHE_CONFIG_BYTES).await?;
        let steps = read_cache_config(&bytes).map_err(|error| not_understood_text(errors::chain(&error)))?;
        for blob in blobs {
            if let Some(name) = mount_name(blob) {
                let mount = ImportedMount { blob: blob.clone(), store: Arc::clone(store) };
                self.mounts.entry(name.to_owned()).or_insert(mount);
            }
        }
        let blob = |step: &CachedStep| {
            let layer = step.layer.as_ref()?;
            blobs.iter().find(|blob| blob.digest == layer.blob).cloned()
        };
        self.add_steps(steps, blob, store)
    }

    /// An image whose configuration lists the steps that made it.
    fn add_image(
        &mut self,
        config: &ImageConfig,
        layers: &[Descriptor],
        store: &Arc<dyn CacheStore>,
    ) -> Result<usize, BuildError> {
        let none = || BuildError::refused(ErrorKind::NotFound, "the image lists no steps of its build");
        let text = config.build_cache.as_deref().ok_or_else(none)?;
        let bytes = STANDARD.decode(text).map_err(|error| not_understood_text(error.to_string()))?;
        let steps = read_cache_config(&bytes).map_err(|error| not_understood_text(errors::chain(&error)))?;
        let blob = |step: &CachedStep| {
            let layer = step.layer.as_ref()?;
            let at = config.rootfs.diff_ids.iter().position(|diff_id| *diff_id == layer.diff_id)?;
            layers.get(at).cloned()
        };
        self.add_steps(steps, blob, store)
    }

    fn add_steps(
        &mut self,
        steps: Vec<CachedStep>,
        blob: impl Fn(&CachedStep) -> Option<Descriptor>,
        store: &Arc<dyn CacheStore>,
    ) -> Result<usize, BuildError> {
        if self.steps.len().saturating_add(steps.len()) > MAX_STEPS {
            return Err(BuildError::invalid(format!("the caches of a build list more than {MAX_STEPS} steps")));
        }
        let mut count = 0;
        for step in steps {
            let layer = match &step.layer {
                // A layer that the manifest does not have cannot be had.
                Some(layer) => match blob(&step) {
                    Some(blob) => Some(ImportedLayer { blob, diff_id: layer.diff_id, store: Arc::clone(store) }),
                    None => continue,
                },
                None => None,
            };
            count += 1;
            self.steps.entry(step.key).or_insert(ImportedStep { created: step.created, layer });
        }
        Ok(count)
    }
}

impl ImportedMount {
    pub async fn read(&self) -> Result<crate::ports::LayerStream, PortError> {
        self.store.read(&self.blob).await
    }
}

/// The client's folder.
pub(super) async fn lent(
    request: &BuildRequest,
    name: &str,
    digest: Option<Digest>,
) -> Result<Arc<dyn CacheStore>, BuildError> {
    let none = || {
        let message = format!("the client of this build lends no folder for the cache {name:?}");
        BuildError::refused(ErrorKind::FailedPrecondition, message)
    };
    let session = request.session.as_ref().ok_or_else(none)?;
    session.cache_store(name, digest).await?.ok_or_else(none)
}

/// An image of the store that lists its steps.
async fn own_image(shared: &Shared, reference: &Reference) -> Result<Option<(Image, Arc<dyn CacheStore>)>, BuildError> {
    match shared.images.find(&reference.familiar(), None).await {
        Ok((_, image)) if image.config.build_cache.is_some() => {
            let store: Arc<dyn CacheStore> = Arc::new(ImageStore(shared.images.hold().await?));
            Ok(Some((image, store)))
        }
        // Whatever is wrong with it, the registry may have it.
        _ => Ok(None),
    }
}

/// The list of steps and all blobs of a cache's manifest, in either of its two forms; `None`: it is an image.
fn listed(bytes: &[u8]) -> Option<(Descriptor, Vec<Descriptor>)> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return None;
    }
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes)
        && manifest.config.media_type == CACHE_CONFIG
    {
        return Some((manifest.config, manifest.layers));
    }
    let index: Index = serde_json::from_slice(bytes).ok()?;
    let config = index.manifests.iter().find(|blob| blob.media_type == CACHE_CONFIG)?.clone();
    Some((config, index.manifests))
}

/// A whole blob, verified.
async fn small(store: &Arc<dyn CacheStore>, blob: &Descriptor, limit: usize) -> Result<Bytes, BuildError> {
    let too_large = || BuildError::invalid(format!("a blob of the cache has more than {limit} bytes"));
    if blob.size > limit as u64 {
        return Err(too_large());
    }
    let mut stream = store.read(blob).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| BuildError::file("read the cache", error))?);
        if bytes.len() > limit {
            return Err(too_large());
        }
    }
    match Digest::of(&bytes) == blob.digest {
        true => Ok(bytes.into()),
        false => Err(BuildError::invalid(format!("a blob of the cache is not what it should be: {}", blob.digest))),
    }
}

fn not_understood<E: std::error::Error + 'static>(error: E) -> BuildError {
    not_understood_text(errors::chain(&error))
}

fn not_understood_text(reason: String) -> BuildError {
    BuildError::invalid(format!("the cache is not understood: {reason}"))
}

#[cfg(test)]
mod tests {
    use image_core::media_type;

    use super::*;

    #[test]
    fn a_cache_s_manifest_has_two_forms_and_an_image_is_none() {
        let config = Descriptor::new(CACHE_CONFIG, Digest::of("c"), 1);
        let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of("l"), 1);
        let manifest = Manifest::oci(config.clone(), vec![layer.clone()]).to_bytes();
        assert_eq!(listed(&manifest), Some((config.clone(), vec![layer.clone()])));
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [layer, config],
        });
        assert_eq!(listed(index.to_string().as_bytes()), Some((config, vec![layer.clone(), index_config()])));
        let image = Manifest::oci(Descriptor::new(media_type::OCI_CONFIG, Digest::of("i"), 1), vec![layer]);
        assert_eq!(listed(&image.to_bytes()), None);
        assert_eq!(listed(b"{}"), None);
    }

    fn index_config() -> Descriptor {
        Descriptor::new(CACHE_CONFIG, Digest::of("c"), 1)
    }
}
