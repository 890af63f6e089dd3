//! The service itself: what its operations share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use containerd_client::Client;
use ids::Digest;
use image_core::{ImageConfig, Platform};
use registry_client::{Registries, RegistryOptions};

use crate::backend::Backend;
use crate::error::ImagesError;
use crate::events::{EventSink, ImageEvent, ImageEventKind, ImageUsers};
use crate::flights::Flights;
use crate::last_use::LastUses;
use crate::limit::Limit;
use crate::loaded::LoadedImage;
use crate::slots::Slots;

/// Images whose parsed form is remembered.
const MAX_REMEMBERED: usize = 4096;

/// Where images are kept and where they come from.
pub struct ImagesConfig {
    /// A connection to any containerd, with the namespace: `moby`.
    pub client: Client,
    /// containerd's snapshotter: `overlayfs`.
    pub snapshotter: String,
    pub registries: RegistryOptions,
    /// Layers at a time, over all pulls (and pushes): 3 and 5 in Docker.
    pub max_concurrent_downloads: usize,
    pub max_concurrent_uploads: usize,
    /// Bytes of disk above which images that nobody uses go; 0 for no limit.
    pub limit_bytes: u64,
}

impl ImagesConfig {
    /// Docker's defaults over this connection.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            snapshotter: "overlayfs".to_owned(),
            registries: RegistryOptions::default(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            limit_bytes: 0,
        }
    }
}

/// The images of one daemon. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    pub(crate) backend: Backend,
    pub(crate) platform: Platform,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub registries: Registries,
    pub users: Arc<dyn ImageUsers>,
    pub events: Arc<dyn EventSink>,
    pub downloads: Slots,
    pub uploads: Slots,
    pub flights: Flights,
    /// Leases of pulls that broke off, by a word for their reference.
    pub left: Mutex<HashMap<String, Vec<String>>>,
    /// By target and host platform; what a digest stands for never changes, only whether it is still there.
    pub loaded: Mutex<HashMap<Digest, Arc<LoadedImage>>>,
    /// Bytes by chain id.
    pub sizes: Mutex<HashMap<Digest, u64>>,
    pub last_uses: LastUses,
    pub limit: Limit,
}

impl Images {
    /// A service over a containerd that may not be there yet: the first operation finds out.
    pub fn new(config: ImagesConfig, users: Arc<dyn ImageUsers>, events: Arc<dyn EventSink>) -> Self {
        let limit = Limit::default();
        limit.set(config.limit_bytes);
        Self {
            backend: Backend::new(config.client, &config.snapshotter),
            platform: Platform::host(),
            shared: Arc::new(Shared {
                registries: Registries::new(config.registries),
                users,
                events,
                downloads: Slots::new(config.max_concurrent_downloads),
                uploads: Slots::new(config.max_concurrent_uploads),
                flights: Flights::default(),
                left: Mutex::default(),
                loaded: Mutex::default(),
                sizes: Mutex::default(),
                last_uses: LastUses::default(),
                limit,
            }),
        }
    }

    /// From now on: this limit of the store, 0 for none.
    pub fn set_limit(&self, bytes: u64) {
        self.shared.limit.set(bytes);
    }

    /// From now on: these registries' options, and so many layers at a time. What is under way goes on as it began.
    pub fn configure(&self, registries: RegistryOptions, downloads: usize, uploads: usize) {
        self.shared.registries.configure(registries);
        self.shared.downloads.resize(downloads);
        self.shared.uploads.resize(uploads);
    }

    pub(crate) fn event(&self, kind: ImageEventKind, id: &str, name: &str, config: &ImageConfig) {
        let mut attributes: BTreeMap<String, String> = config.config.labels.clone();
        attributes.insert("name".to_owned(), name.to_owned());
        self.shared.events.image_event(ImageEvent { kind, id: id.to_owned(), attributes });
        self.shared.limit.look();
    }

    /// Bytes that a layer takes on disk, without those below.
    pub(crate) async fn layer_bytes(&self, chain: &Digest) -> Result<u64, ImagesError> {
        if let Some(known) = lock(&self.shared.sizes).get(chain) {
            return Ok(*known);
        }
        let bytes = match self.backend.snapshot_bytes(&chain.to_string()).await {
            Ok(bytes) => bytes,
            // Not unpacked: it takes nothing.
            Err(error) if error.is_not_found() => return Ok(0),
            Err(error) => return Err(error),
        };
        remember(&self.shared.sizes, *chain, bytes);
        Ok(bytes)
    }
}

/// Adds to a cache that is emptied when it is full: what is in use comes back soon.
pub(crate) fn remember<T>(cache: &Mutex<HashMap<Digest, T>>, digest: Digest, value: T) {
    let mut cache = lock(cache);
    if cache.len() >= MAX_REMEMBERED {
        cache.clear();
    }
    cache.insert(digest, value);
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
