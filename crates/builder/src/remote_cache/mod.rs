//! Caches outside of the engine: steps that were made elsewhere are taken from there, and those of a build sent there.
//!
//! A cache is a manifest and its blobs at a place ([`CacheStore`]): a registry's repository, or a folder of the client's. Its
//! list of steps is BuildKit's (`build_core::read_cache_config`); an image can have one in its configuration (inline). The
//! layer of a step is fetched when the step is due and not before. Nothing here may fail a build that would go well without
//! it, but an export that was asked for.

mod export;
mod import;
mod mounts;
mod spec;
mod store;

pub(crate) use export::{Exported, Exporting, embed, export};
pub(crate) use import::{ImportedLayer, ImportedMount, ImportedStep, Imports};
pub(crate) use mounts::{folder as mount_folder, unpack};
pub use spec::{CacheMode, CachePlace, CacheSource, CacheTarget};
pub use store::CacheStore;

use image_core::Descriptor;

/// Of a blob that is the content of a cache mount: the mount's name.
const MOUNT: &str = "com.longshore.build.cache-mount";

/// The name of the cache mount that a blob is the content of: 32 hexadecimal digits, as the folder is called.
fn mount_name(blob: &Descriptor) -> Option<&str> {
    let name = blob.annotations.as_ref()?.get(MOUNT)?;
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then_some(name)
}
