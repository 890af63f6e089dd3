//! `RUN --mount=type=cache`: folders that outlive their builds, in `DATA-ROOT/build/caches`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use build_core::KeyMaker;
use dockerfile::{Mount, Sharing};

use crate::builder::{BuilderConfig, Shared, blocking};
use crate::error::BuildError;
use crate::fill::{Fill, materialise};
use crate::mounts::{Mounted, StepMount, bind_request, gather};
use crate::remote_cache;
use crate::state::{Build, StageState};
use crate::transfer::Gathered;

/// One mutex a cache that is used alone.
pub(crate) type Locks = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// A folder that outlives the build. What it has is no part of a key: a cache is only there to be faster.
pub(crate) async fn prepare(
    build: &Build<'_>,
    state: &StageState,
    mount: &Mount,
    mounted: &mut Mounted,
) -> Result<StepMount, BuildError> {
    let id = if mount.id.is_empty() { &mount.target } else { &mount.id };
    let name = KeyMaker::new("cache").field(id).finish().hex()[..32].to_owned();
    let folder = remote_cache::mount_folder(&build.shared.config, &name);
    build.mounts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
    let lock = |name: &str| {
        let mut locks = build.shared.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(name.to_owned()).or_default())
    };
    let mut path = folder.clone();
    match mount.sharing {
        Sharing::Shared => {}
        Sharing::Locked => mounted.alone.push(lock(&name).lock_owned().await),
        Sharing::Private => {
            // Whoever finds it in use has one of his own.
            let mut number = 0;
            loop {
                let name = format!("{name}-{number}");
                if let Ok(alone) = lock(&name).try_lock_owned() {
                    mounted.alone.push(alone);
                    break;
                }
                number += 1;
                path = folder.with_extension(number.to_string());
            }
        }
    }
    let is_there = path.exists();
    let from = match (is_there, mount.from.is_empty()) {
        (false, false) => {
            let source = if mount.source.is_empty() { "/" } else { &mount.source };
            Some(gather(build, state, &mount.from, source).await?.1)
        }
        _ => None,
    };
    // Another engine's content is for a folder that is nobody's alone.
    let imported = if is_there || path != folder { None } else { build.imports.mount(&name).cloned() };
    let fill = Fill::Cache {
        path: path.clone(),
        from,
        imported,
        mode: mount.mode.unwrap_or(0o755),
        owner: build.shared.config.on_host((mount.uid.unwrap_or(0), mount.gid.unwrap_or(0))),
        config: Arc::clone(&build.shared.config),
    };
    let request = bind_request(&path, mount);
    let key = KeyMaker::new("cache mount").field(&mount.target).field(id).finish().to_string();
    Ok(StepMount { request: Some(request), env: None, key, fill: Some(fill) })
}

/// Makes the folder, unless it is there. Blocks.
pub(crate) fn make(
    path: &Path,
    from: Option<&Gathered>,
    mode: u32,
    owner: (u32, u32),
    config: &BuilderConfig,
) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    if let Some(gathered) = from {
        materialise(gathered, path, false, config)?;
    }
    chown(path, Some(owner.0), Some(owner.1))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Removes every cache that no step uses at the moment; answers their bytes.
pub(crate) async fn clear_caches(shared: &Arc<Shared>) -> Result<u64, BuildError> {
    let busy = {
        let mut locks = shared.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.try_lock().is_err());
        !locks.is_empty()
    };
    if busy {
        return Ok(0);
    }
    let folder = shared.config.folder.join("caches");
    let failed = |error| BuildError::file("clear the caches of RUN", error);
    blocking(move || {
        let bytes = bytes_below(&folder);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(bytes),
        }
    })
    .await?
    .map_err(failed)
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
