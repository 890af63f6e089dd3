//! Mounts that the daemon makes for one container, for its runtime to bind: folders inside volumes and images, and the
//! memory that a container shares (`--ipc shareable`).
//!
//! They stand below `<exec-root>/mounts/<id>/` while the container runs. Volumes and images are an attacker's: a path inside
//! one is resolved by descriptor (openat2(2)) and bound by descriptor (open_tree(2), move_mount(2)), so that nothing that
//! changes meanwhile leads outside.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use container_core::{HostConfig, MountKind, MountPoint};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use sys::layers::LayerMount;
use sys::users::IdMaps;

use crate::error::Error;
use crate::messages;
use crate::record::Record;
use crate::rootfs::Layers;
use crate::service::Shared;
use crate::{user_namespaces, volumes};

const SHM: &str = "shm";

/// What a start binds.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// Every source is a path of the host's.
    pub mounts: Vec<MountPoint>,
    /// In place of a tmpfs of the container's own at /dev/shm.
    pub shm: Option<String>,
}

/// Key of the snapshot behind the image mount at this place among a container's mounts.
pub(crate) fn image_snapshot(id: &str, index: usize) -> String {
    format!("{id}-{index}")
}

/// The container that a snapshot of ours belongs to.
pub(crate) fn owner_of_snapshot(key: &str) -> &str {
    key.split_once('-').map_or(key, |(id, _)| id)
}

/// Takes away what an earlier run left.
pub(crate) fn begin(shared: &Shared, id: &str) -> Result<(), Error> {
    clear(&shared.settings.mounts_folder(id))
}

/// Makes the mounts of a run that has begun.
pub(crate) async fn stage(shared: &Shared, record: &Record) -> Result<Staged, Error> {
    let folder = shared.settings.mounts_folder(&record.id);
    let mut staged = Staged { mounts: (*record.mounts).clone(), shm: None };
    for (index, mount) in staged.mounts.iter_mut().enumerate() {
        let place = folder.join(index.to_string());
        match mount.kind {
            MountKind::Image => {
                let snapshot = shared.containerd.snapshot_mounts(&image_snapshot(&record.id, index)).await?;
                let layers = Layers::of(&snapshot).unwrap_or_default();
                let failed = |source| Error::file("mount the image at", Path::new(&mount.destination), source);
                let maps = user_namespaces::maps(shared, &record.host_config);
                stage_image(&layers, maps.as_ref(), &mount.subpath, &place).map_err(failed)?;
            }
            MountKind::Volume => {
                let path = volumes::mount(shared, record, mount).await?;
                mount.source = path.to_string_lossy().into_owned();
                if mount.subpath.is_empty() {
                    continue;
                }
                let failed =
                    |source| Error::file("mount the volume's folder at", Path::new(&mount.destination), source);
                let volume = open_folder(&path).map_err(|error| failed(error.into()))?;
                bind_inside(volume.as_fd(), &mount.subpath, &place).map_err(|error| {
                    match Errno::from_io_error(&error) {
                        Some(Errno::NOENT) => messages::no_subpath(&path.to_string_lossy(), &mount.subpath),
                        Some(Errno::XDEV) => messages::subpath_escapes(&path.to_string_lossy(), &mount.subpath),
                        _ => failed(error),
                    }
                })?;
            }
            _ => continue,
        }
        mount.source = place.to_string_lossy().into_owned();
    }
    staged.shm = stage_shm(shared, record, &folder)?;
    Ok(staged)
}

/// Takes them away; the container has its own by then, or does not run.
pub(crate) fn unstage(shared: &Shared, id: &str) {
    let folder = shared.settings.mounts_folder(id);
    if let Err(error) = clear(&folder) {
        tracing::warn!(container = id, error = %errors::chain(&error), "cannot take mounts of a container away");
    }
}

/// The same for containers that do not run, of a daemon before this one.
pub(crate) fn unstage_others(shared: &Shared, runs: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(shared.settings.mounts_folder("")) else { return };
    for entry in entries.flatten() {
        if let Some(id) = entry.file_name().to_str().filter(|id| !runs(id)) {
            unstage(shared, id);
        }
    }
}

fn stage_shm(shared: &Shared, record: &Record, folder: &Path) -> Result<Option<String>, Error> {
    let HostConfig { ipc_mode, shm_size, .. } = &*record.host_config;
    let place = match ipc_mode.as_str() {
        "host" if !Path::new("/dev/shm").exists() => return Err(messages::no_host_shm()),
        "host" => return Ok(Some("/dev/shm".to_owned())),
        "shareable" if record.mounts.iter().any(|mount| mount.destination == "/dev/shm") => return Ok(None),
        "shareable" => {
            let place = folder.join(SHM);
            mount_shm(&place, *shm_size).map_err(|source| Error::file("mount shared memory at", &place, source))?;
            user_namespaces::give(shared, &record.host_config, &place)?;
            place
        }
        mode => {
            let Some(donor) = mode.strip_prefix("container:") else { return Ok(None) };
            let place = shared.settings.mounts_folder(donor).join(SHM);
            if !place.is_dir() {
                return Err(messages::ipc_not_shareable(donor));
            }
            place
        }
    };
    Ok(Some(place.to_string_lossy().into_owned()))
}

fn mount_shm(place: &Path, size: i64) -> io::Result<()> {
    make_folder(place)?;
    let flags = MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
    let options = std::ffi::CString::new(format!("mode=1777,size={size}"))?;
    Ok(rustix::mount::mount("shm", place, "tmpfs", flags, options.as_c_str())?)
}

fn stage_image(layers: &Layers, users: Option<&IdMaps>, subpath: &str, place: &Path) -> io::Result<()> {
    if let Some(users) = users {
        let whole = place.with_extension("image");
        make_folder(&whole)?;
        sys::layers::mount_layers(&[mapped(layers, users)?], &whole)?;
        return bind_inside(open_folder(&whole)?.as_fd(), subpath, place);
    }
    if layers.directories.len() == 1 || subpath.is_empty() {
        let root = layers.mount()?;
        if layers.directories.len() == 1 {
            return bind_inside(root.as_fd(), subpath, place);
        }
        make_folder(place)?;
        return attach(root, place);
    }
    // A part of a mount can be bound once the mount is attached (open_tree(2)).
    let whole = place.with_extension("image");
    make_folder(&whole)?;
    attach(layers.mount()?, &whole)?;
    bind_inside(open_folder(&whole)?.as_fd(), subpath, place)
}

/// The layers, read only, as users of another namespace see them.
fn mapped(layers: &Layers, users: &IdMaps) -> io::Result<LayerMount> {
    let names: Option<Vec<&str>> = layers.directories.iter().map(|path| path.to_str()).collect();
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| io::Error::other("an image without layers"))?;
    let (kind, source, mut options) = match names[..] {
        [only] => ("bind", only, vec!["bind".to_owned()]),
        _ => ("overlay", "overlay", vec![format!("lowerdir={}", names.join(":"))]),
    };
    options.push("ro".to_owned());
    options.extend(users.to_options());
    Ok(LayerMount { kind: kind.to_owned(), source: source.to_owned(), options })
}

/// Binds what is at a path inside a folder, links resolved inside it.
fn bind_inside(folder: BorrowedFd<'_>, subpath: &str, place: &Path) -> io::Result<()> {
    let path = if subpath.is_empty() { "." } else { subpath };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let inside = rustix::fs::openat2(folder, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let is_folder = FileType::from_raw_mode(rustix::fs::fstat(&inside)?.st_mode) == FileType::Directory;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&inside, "", flags | OpenTreeFlags::AT_RECURSIVE)?;
    attach_at(tree, is_folder, place)
}

/// Attaches a detached mount at a place that is made for it.
pub(crate) fn attach_at(tree: OwnedFd, is_folder: bool, place: &Path) -> io::Result<()> {
    if is_folder {
        make_folder(place)?;
    } else {
        make_folder(place.parent().unwrap_or(Path::new("/")))?;
        fs::File::create(place)?;
    }
    attach(tree, place)
}

fn attach(tree: OwnedFd, place: &Path) -> io::Result<()> {
    let place = rustix::fs::open(place, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", place, "", flags)?)
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o711).create(path)
}

/// Never deletes through a mount that would not go: each place is unmounted, and then removed as the empty thing that it is.
fn clear(folder: &Path) -> Result<(), Error> {
    let failed = |path: &Path, source: io::Error| Error::file("take away the mount", path, source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(folder, error)),
    };
    let places: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    for place in places {
        loop {
            match rustix::mount::unmount(&place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                // No mount (any more).
                Err(Errno::INVAL) => break,
                Err(error) => return Err(failed(&place, error.into())),
            }
        }
        let removed = if place.is_dir() { fs::remove_dir(&place) } else { fs::remove_file(&place) };
        removed.map_err(|error| failed(&place, error))?;
    }
    fs::remove_dir(folder).map_err(|error| failed(folder, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_inside_a_volume_is_bound_and_a_link_out_of_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::write(volume.join("a/b/file"), "text").unwrap();
        symlink("a/b", volume.join("inside")).unwrap();
        symlink("/etc", volume.join("outside")).unwrap();
        let opened = open_folder(&volume).unwrap();
        let staged = folder.path().join("staged");
        bind_inside(opened.as_fd(), "inside", &staged.join("0")).unwrap();
        bind_inside(opened.as_fd(), "a/b/file", &staged.join("1")).unwrap();
        assert_eq!(fs::read_to_string(staged.join("0/file")).unwrap(), "text");
        assert_eq!(fs::read_to_string(staged.join("1")).unwrap(), "text");
        for outside in ["outside", "a/../../x", "missing"] {
            assert!(bind_inside(opened.as_fd(), outside, &staged.join("2")).is_err(), "{outside}");
        }
        clear(&staged).unwrap();
        assert!(!staged.exists() && volume.join("a/b/file").exists());
    }

    #[test]
    fn an_image_of_many_layers_is_staged_whole_or_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let layers = ["up", "down"].map(|name| folder.path().join(name));
        for layer in &layers {
            fs::create_dir_all(layer.join("srv")).unwrap();
            fs::write(layer.join("srv").join(layer.file_name().unwrap()), "x").unwrap();
        }
        let layers = Layers { directories: layers.to_vec(), ..Layers::default() };
        let staged = folder.path().join("staged");
        stage_image(&layers, None, "", &staged.join("0")).unwrap();
        stage_image(&layers, None, "srv", &staged.join("1")).unwrap();
        assert!(staged.join("0/srv/up").exists() && staged.join("0/srv/down").exists());
        assert!(staged.join("1/up").exists() && fs::write(staged.join("1/new"), "").is_err());
        clear(&staged).unwrap();
        assert!(folder.path().join("up/srv/up").exists());
    }
}
