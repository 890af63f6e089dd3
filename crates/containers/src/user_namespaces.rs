//! Users of containers that are others on the host (`--userns-remap`, user_namespaces(7)).
//!
//! Each run has a user namespace of its own, which stands as a file among the run's mounts ([`crate::staging`]) so that the
//! network namespace can belong to it and the runtime can join both. Layers keep the container's own ids on disk; the root file
//! system is mounted through the maps. What is bound into a container, volumes and its files in /etc among them, belongs on
//! disk to who the container's users are on the host.

use std::os::fd::AsRawFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use container_core::oci::IdMapping;
use container_core::spec::{Remap, UserNamespace};
use container_core::{HostConfig, NetworkMode};
use containerd_api::types::Mount;
use sys::users::{IdMaps, IdRange};

use crate::error::Error;
use crate::messages;
use crate::record::Record;
use crate::service::Shared;

/// The file's name among a run's mounts.
const FILE: &str = "users";

/// What a container's users are on the host; `None` where they are the host's own.
pub(crate) fn of<'a>(shared: &'a Shared, host_config: &HostConfig) -> Option<&'a Remap> {
    shared.host.remap.as_ref().filter(|_| host_config.userns_mode != "host")
}

/// The same as the kernel's maps.
pub(crate) fn maps(shared: &Shared, host_config: &HostConfig) -> Option<IdMaps> {
    let ranges = |maps: &[IdMapping]| {
        let range = |map: &IdMapping| IdRange { inside: map.container_id, outside: map.host_id, size: map.size };
        maps.iter().map(range).collect()
    };
    of(shared, host_config).map(|remap| IdMaps { uids: ranges(&remap.uids), gids: ranges(&remap.gids) })
}

/// The user namespace of a run that begins: a new one, or that of the container whose network, memory or processes it
/// shares, since those belong to that one's users. The run's folder of mounts is empty.
pub(crate) fn provide(shared: &Shared, record: &Record) -> Result<UserNamespace, Error> {
    let Some(maps) = maps(shared, &record.host_config) else { return Ok(UserNamespace::Host) };
    let remap = of(shared, &record.host_config).cloned().unwrap_or_default();
    let path = match shared_with(shared, record)? {
        Some(path) => path,
        None => {
            let file = shared.settings.mounts_folder(&record.id).join(FILE);
            make(&file, &maps).map_err(|source| Error::file("make the user namespace", &file, source))?;
            file
        }
    };
    Ok(UserNamespace::Mapped { path: path.to_string_lossy().into_owned(), remap })
}

/// For who makes the network namespace.
pub(crate) fn path(users: &UserNamespace) -> Option<PathBuf> {
    match users {
        UserNamespace::Host => None,
        UserNamespace::Mapped { path, .. } => Some(path.into()),
    }
}

fn shared_with(shared: &Shared, record: &Record) -> Result<Option<PathBuf>, Error> {
    let HostConfig { network_mode, ipc_mode, pid_mode, .. } = &*record.host_config;
    let donor = match NetworkMode::parse(network_mode) {
        NetworkMode::Container(reference) => Some(reference),
        _ => ipc_mode.strip_prefix("container:").or_else(|| pid_mode.strip_prefix("container:")),
    };
    let Some(donor) = donor else { return Ok(None) };
    let other = shared.find(donor)?.record();
    if of(shared, &other.host_config).is_none() {
        return Err(messages::other_users(&other.id));
    }
    if !other.state.has_process() {
        return Err(messages::join_not_running(&other.id));
    }
    Ok(Some(format!("/proc/{}/ns/user", other.state.pid()).into()))
}

fn make(file: &Path, maps: &IdMaps) -> std::io::Result<()> {
    let users = sys::users::user_namespace(maps)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create_new(file)?;
    Ok(rustix::mount::mount_bind(format!("/proc/self/fd/{}", users.as_raw_fd()), file)?)
}

/// The mounts of a root file system as this container's users see it.
pub(crate) fn through(maps: Option<&IdMaps>, mut mounts: Vec<Mount>) -> Vec<Mount> {
    if let (Some(maps), Some(first)) = (maps, mounts.first_mut()) {
        first.options.extend(maps.to_options());
    }
    mounts
}

/// Gives a file or folder of the daemon's to the container's root.
pub(crate) fn give(shared: &Shared, host_config: &HostConfig, path: &Path) -> Result<(), Error> {
    let Some((uid, gid)) = of(shared, host_config).map(Remap::root) else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(|source| Error::file("give to the container's root", path, source))
}

/// A folder of the host's that is bound into containers: what is missing on the way belongs to their root.
pub(crate) fn make_source(shared: &Shared, path: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(path)?;
    let Some((uid, gid)) = shared.host.remap.as_ref().map(Remap::root) else { return Ok(()) };
    missing.into_iter().try_for_each(|folder| chown(folder, Some(uid), Some(gid)))
}
