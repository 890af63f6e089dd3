//! Mounts of a snapshot as containerd's API describes them (type, source, options in fstab's words), performed in order.
//!
//! Allocates, and starts a thread for a list of layers that does not fit: mount(2) takes one page of options, which a
//! hundred layers under a long root exceed. That thread unshares its working directory (unshare(2), CLONE_FS), goes to
//! the folder that all layers share, and names them from there. Layers may be seen through maps of ids
//! ([`IdMaps::to_options`]).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::mapped_layers;
use crate::mount::{
    MNT_DETACH, MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, mount, umount,
};
use crate::users::IdMaps;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerMount {
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
}

/// mount(2) copies at most one page; the last byte is its end.
const MAX_DATA_BYTES: usize = 4095;
const PROPAGATION: u64 = MS_PRIVATE | MS_SHARED | MS_SLAVE;

/// Mounts all of them on `target`, each on top of the one before. On an error those that were made are undone.
pub fn mount_layers(mounts: &[LayerMount], target: &Path) -> io::Result<()> {
    for (made, layer) in mounts.iter().enumerate() {
        if let Err(error) = mount_one(layer, target) {
            for _ in 0..made {
                unmount_layer(target)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Takes the topmost mount off `target`, lazily.
pub fn unmount_layer(target: &Path) -> io::Result<()> {
    umount(&c_path(target)?, MNT_DETACH).map_err(io::Error::from)
}

fn mount_one(layer: &LayerMount, target: &Path) -> io::Result<()> {
    if let Some((maps, options)) = IdMaps::take_from(&layer.options)? {
        return mapped_layers::mount(&LayerMount { options, ..layer.clone() }, &maps, target);
    }
    let (flags, data) = parse_options(&layer.options);
    if data.join(",").len() <= MAX_DATA_BYTES {
        return perform(layer, target, flags, &data);
    }
    let Some((folder, data)) = shortened(&data) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "mount options are longer than a page"));
    };
    if data.join(",").len() > MAX_DATA_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many layers for one mount"));
    }
    let target = std::path::absolute(target)?;
    std::thread::scope(|scope| {
        let mounter = scope.spawn(|| {
            // SAFETY: no memory is passed; the working directory of this thread alone is detached from its process.
            if unsafe { libc::unshare(libc::CLONE_FS) } != 0 {
                return Err(io::Error::last_os_error());
            }
            std::env::set_current_dir(&folder)?;
            perform(layer, &target, flags, &data)
        });
        mounter.join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread panicked")))
    })
}

fn perform(layer: &LayerMount, target: &Path, flags: u64, data: &[String]) -> io::Result<()> {
    let (source, target) = (c_text(&layer.source)?, c_path(target)?);
    let (kind, data) = (c_text(&layer.kind)?, c_text(&data.join(","))?);
    let (propagation, flags) = (flags & PROPAGATION, flags & !PROPAGATION);
    let data = (!data.is_empty()).then_some(data.as_c_str());
    mount(Some(&source), &target, Some(&kind), flags, data)?;
    let rest = || {
        // A bind mount takes no other flag when it is made (mount(2), "Creating a bind mount").
        if flags & MS_BIND != 0 && flags & !(MS_BIND | MS_REC) != 0 {
            mount(None, &target, None, (flags & !MS_REC) | MS_REMOUNT, None)?;
        }
        if propagation != 0 {
            mount(None, &target, None, propagation | (flags & MS_REC), None)?;
        }
        crate::Result::Ok(())
    };
    rest().map_err(|error| {
        // The first error is the one to report; the mount underneath must not stay writable.
        let _ = umount(&target, MNT_DETACH);
        error.into()
    })
}

/// Options of mount(8) that are flags of mount(2), and the others, which are the file system's.
pub(crate) fn parse_options(options: &[String]) -> (u64, Vec<String>) {
    let (mut flags, mut data) = (0, Vec::new());
    for option in options {
        let (set, clear) = match option.as_str() {
            "bind" => (MS_BIND, 0),
            "rbind" => (MS_BIND | MS_REC, 0),
            "ro" => (MS_RDONLY, 0),
            "rw" => (0, MS_RDONLY),
            "nosuid" => (libc::MS_NOSUID, 0),
            "suid" => (0, libc::MS_NOSUID),
            "nodev" => (libc::MS_NODEV, 0),
            "dev" => (0, libc::MS_NODEV),
            "noexec" => (libc::MS_NOEXEC, 0),
            "exec" => (0, libc::MS_NOEXEC),
            "sync" => (libc::MS_SYNCHRONOUS, 0),
            "async" => (0, libc::MS_SYNCHRONOUS),
            "dirsync" => (libc::MS_DIRSYNC, 0),
            "noatime" => (libc::MS_NOATIME, 0),
            "nodiratime" => (libc::MS_NODIRATIME, 0),
            "relatime" => (libc::MS_RELATIME, 0),
            "strictatime" => (libc::MS_STRICTATIME, 0),
            "private" => (MS_PRIVATE, 0),
            "rprivate" => (MS_PRIVATE | MS_REC, 0),
            "shared" => (MS_SHARED, 0),
            "rshared" => (MS_SHARED | MS_REC, 0),
            "slave" => (MS_SLAVE, 0),
            "rslave" => (MS_SLAVE | MS_REC, 0),
            "defaults" => (0, 0),
            other => {
                data.push(other.to_owned());
                (0, 0)
            }
        };
        flags = (flags | set) & !clear;
    }
    (flags, data)
}

/// The same options with all layers named from the folder that they share; none if they share none but the root.
fn shortened(data: &[String]) -> Option<(PathBuf, Vec<String>)> {
    let paths = data.iter().flat_map(|option| layer_paths(option)).collect::<Vec<_>>();
    let mut folder = Path::new(paths.first()?).parent()?;
    while !paths.iter().all(|path| Path::new(path).starts_with(folder)) {
        folder = folder.parent()?;
    }
    if folder == Path::new("/") || !folder.is_absolute() {
        return None;
    }
    let prefix = format!("{}/", folder.display());
    let shorter = data.iter().map(|option| match option.split_once('=') {
        Some((key @ ("lowerdir" | "upperdir" | "workdir"), _)) => {
            let paths: Vec<&str> = layer_paths(option).iter().map(|p| p.strip_prefix(&prefix).unwrap_or(p)).collect();
            format!("{key}={}", paths.join(":"))
        }
        _ => option.clone(),
    });
    Some((folder.to_owned(), shorter.collect()))
}

fn layer_paths(option: &str) -> Vec<&str> {
    match option.split_once('=') {
        Some(("lowerdir", paths)) => paths.split(':').collect(),
        Some(("upperdir" | "workdir", path)) => vec![path],
        _ => Vec::new(),
    }
}

pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

fn c_text(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_become_flags_and_the_last_of_a_pair_wins() {
        let (flags, data) = parse_options(&options(&["rbind", "ro", "rw", "nosuid", "lowerdir=/a:/b", "index=off"]));
        assert_eq!(flags, MS_BIND | MS_REC | libc::MS_NOSUID);
        assert_eq!(data, options(&["lowerdir=/a:/b", "index=off"]));
    }

    #[test]
    fn layers_are_named_from_the_folder_that_they_share() {
        let data =
            options(&["workdir=/r/s/9/work", "upperdir=/r/s/9/fs", "lowerdir=/r/s/10/fs:/r/s/1/fs", "index=off"]);
        let (folder, shorter) = shortened(&data).expect("they share one");
        assert_eq!(folder, Path::new("/r/s"));
        assert_eq!(shorter, options(&["workdir=9/work", "upperdir=9/fs", "lowerdir=10/fs:1/fs", "index=off"]));
        assert_eq!(shortened(&options(&["lowerdir=/a/x:/b/x"])), None);
        assert_eq!(shortened(&options(&["index=off"])), None);
    }
}
