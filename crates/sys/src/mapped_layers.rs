//! Layers that are seen through the maps of a user namespace: on disk they keep the container's own ids.
//!
//! An overlay cannot be mounted through a map, the folders that it is made of can (Linux 5.19; mount_setattr(2),
//! MOUNT_ATTR_IDMAP). Copies of their mounts are put onto the target, where a killed mounter leaves them for whoever clears the
//! target away; the overlay is mounted from those, and takes their place.

use crate::layers::{self, LayerMount};
use crate::mount::{self, AT_RECURSIVE, MS_BIND, MS_RDONLY, MS_REC, OPEN_TREE_CLONE};
use crate::users::{self, Acting, IdMaps};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const PATHS: [&str; 3] = ["lowerdir", "upperdir", "workdir"];

/// Mounts one layer, or an overlay of many, on `target`.
pub(crate) fn mount(layer: &LayerMount, maps: &IdMaps, target: &Path) -> io::Result<()> {
    let users = users::user_namespace(maps)?;
    let place = rustix::fs::open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (flags, data) = layers::parse_options(&layer.options);
    match layer.kind.as_str() {
        "overlay" => mount_overlay(layer, maps, target, &place, &users),
        _ if flags & MS_BIND != 0 => {
            let copy = copy_of(Path::new(&layer.source), flags & MS_REC != 0, &users)?;
            if flags & MS_RDONLY != 0 {
                mount::set_attributes(copy.as_raw_fd(), 0, mount::MOUNT_ATTR_RDONLY, 0, 0)?;
            }
            Ok(mount::move_mount(copy.as_raw_fd(), place.as_raw_fd())?)
        }
        kind => {
            let message = format!("a mount of type {kind:?} cannot be seen through maps of ids: {data:?}");
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        }
    }
}

/// Whether files below a folder can be seen through maps at all.
pub fn probe(folder: &Path, maps: &IdMaps) -> io::Result<()> {
    copy_of(folder, false, &users::user_namespace(maps)?).map(drop)
}

fn mount_overlay(layer: &LayerMount, maps: &IdMaps, target: &Path, place: &OwnedFd, users: &OwnedFd) -> io::Result<()> {
    let (_, data) = layers::parse_options(&layer.options);
    let mut copies = Copies { target, mounted: 0, of: Vec::new() };
    copies.make(&paths(&data), place, users)?;
    let mut options: Vec<String> = layer.options.iter().filter(|option| !is_path(option)).cloned().collect::<Vec<_>>();
    for option in data.iter().filter(|option| is_path(option)) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let named: Vec<String> = value.split(':').map(|path| copies.name(Path::new(path))).collect();
        options.push(format!("{key}={}", named.join(":")));
    }
    let through = LayerMount { kind: layer.kind.clone(), source: layer.source.clone(), options };
    {
        // What the overlay makes for itself is made by its mounter, who has to be in the map.
        let (uid, gid) = maps.root().ok_or_else(|| io::Error::other("the maps have no root"))?;
        let _acting = Acting::start(uid, gid)?;
        layers::mount_layers(std::slice::from_ref(&through), target)?;
    }
    copies.mounted += 1;
    let name = layers::c_path(target)?;
    let whole = mount::open_tree(rustix::fs::CWD.as_raw_fd(), &name, OPEN_TREE_CLONE)?;
    // SAFETY: the descriptor was made above and is owned by nothing else.
    let whole = unsafe { OwnedFd::from_raw_fd(whole) };
    drop(copies);
    Ok(mount::move_mount(whole.as_raw_fd(), place.as_raw_fd())?)
}

/// The copies that stand on the target, the uppermost last; taken off again when dropped.
struct Copies<'a> {
    target: &'a Path,
    mounted: usize,
    /// Which folder it is a copy of, and the copy's root.
    of: Vec<(PathBuf, OwnedFd)>,
}

impl Copies<'_> {
    /// One for every mount that has some of the folders.
    fn make(&mut self, folders: &[PathBuf], place: &OwnedFd, users: &OwnedFd) -> io::Result<()> {
        let mut groups: Vec<(u64, PathBuf)> = Vec::new();
        for folder in folders {
            let found = rustix::fs::statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?.stx_mnt_id;
            match groups.iter_mut().find(|(mount, _)| *mount == found) {
                Some((_, common)) => {
                    while !folder.starts_with(&common) {
                        common.pop();
                    }
                }
                None => groups.push((found, folder.clone())),
            }
        }
        for (_, folder) in groups {
            let copy = copy_of(&folder, false, users)?;
            mount::move_mount(copy.as_raw_fd(), place.as_raw_fd())?;
            self.mounted += 1;
            self.of.push((folder, copy));
        }
        Ok(())
    }

    /// The folder as it is reached inside of its copy: by descriptor, since copies cover each other.
    fn name(&self, path: &Path) -> String {
        let inside = self.of.iter().filter_map(|(folder, copy)| Some((path.strip_prefix(folder).ok()?, folder, copy)));
        // Of copies of folders inside each other the one of the innermost.
        match inside.max_by_key(|(_, folder, _)| folder.components().count()) {
            Some((rest, _, copy)) => format!("/proc/self/fd/{}/{}", copy.as_raw_fd(), rest.display()),
            None => path.display().to_string(),
        }
    }
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        for _ in 0..self.mounted {
            // What would not go is seen by who mounts, or clears away, the target next.
            let _ = layers::unmount_layer(self.target);
        }
    }
}

fn copy_of(folder: &Path, recursive: bool, users: &OwnedFd) -> io::Result<OwnedFd> {
    let below = if recursive { AT_RECURSIVE } else { 0 };
    let copy = mount::open_tree(CWD.as_raw_fd(), &layers::c_path(folder)?, OPEN_TREE_CLONE | below)?;
    // SAFETY: the descriptor was made above and is owned by nothing else.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    mount::set_id_map(copy.as_raw_fd(), below, users.as_raw_fd())?;
    Ok(copy)
}

fn is_path(option: &str) -> bool {
    option.split_once('=').is_some_and(|(key, _)| PATHS.contains(&key))
}

fn paths(data: &[String]) -> Vec<PathBuf> {
    let values = data.iter().filter(|option| is_path(option)).filter_map(|option| option.split_once('='));
    values.flat_map(|(_, value)| value.split(':')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::IdRange;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};

    fn maps() -> IdMaps {
        let range = vec![IdRange { inside: 0, outside: 100_000, size: 65536 }];
        IdMaps { uids: range.clone(), gids: range }
    }

    /// In a mount namespace of the thread's own, where there is the right to one and maps are known.
    fn apart(work: impl FnOnce(&Path) + Send) {
        let folder = tempfile::tempdir().expect("tempdir");
        if !rustix::process::geteuid().is_root() || probe(folder.path(), &maps()).is_err() {
            return;
        }
        std::thread::scope(|scope| {
            let apart = scope.spawn(|| {
                crate::process::unshare(crate::process::CLONE_NEWNS).expect("unshare");
                let change = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
                rustix::mount::mount_change("/", change).expect("private");
                work(folder.path());
            });
            apart.join().expect("the thread");
        });
    }

    fn owner(path: &Path) -> (u32, u32) {
        let found = fs::symlink_metadata(path).expect("stat");
        (found.uid(), found.gid())
    }

    fn layer(kind: &str, source: &Path, options: &[String]) -> LayerMount {
        let options = options.iter().cloned().chain(maps().to_options()).collect();
        LayerMount { kind: kind.to_owned(), source: source.display().to_string(), options }
    }

    #[test]
    fn an_overlay_shows_other_owners_than_its_folders_have() {
        apart(|folder| {
            for name in ["layers/1/fs/folder", "layers/2/fs", "layers/2/work", "apart/lowest", "root"] {
                fs::create_dir_all(folder.join(name)).expect("mkdir");
            }
            fs::write(folder.join("layers/1/fs/folder/file"), "low").expect("write");
            chown(folder.join("layers/1/fs/folder/file"), Some(7), Some(8)).expect("chown");
            fs::write(folder.join("apart/lowest/deep"), "").expect("write");
            let at = |name: &str| folder.join(name).display().to_string();
            // Another mount, so that there are two copies.
            rustix::mount::mount_bind(folder.join("apart"), folder.join("apart")).expect("bind");
            let options = [
                format!("lowerdir={}:{}", at("layers/1/fs"), at("apart/lowest")),
                format!("upperdir={}", at("layers/2/fs")),
                format!("workdir={}", at("layers/2/work")),
            ];
            let root = folder.join("root");
            layers::mount_layers(&[layer("overlay", Path::new("overlay"), &options)], &root).expect("mount");
            assert_eq!(owner(&root.join("folder/file")), (100_007, 100_008));
            assert_eq!(owner(&root.join("deep")), (100_000, 100_000));
            let acting = Acting::start(100_000, 100_000).expect("acting");
            fs::write(root.join("folder/file"), "high").expect("copied up");
            fs::write(root.join("new"), "").expect("made");
            fs::remove_file(root.join("deep")).expect("removed");
            drop(acting);
            assert_eq!(owner(&folder.join("layers/2/fs/folder/file")), (7, 8));
            assert_eq!(owner(&folder.join("layers/2/fs/new")), (0, 0));
            assert_eq!(fs::read(folder.join("layers/1/fs/folder/file")).expect("read"), b"low");
            layers::unmount_layer(&root).expect("unmount");
            assert_eq!(fs::read_dir(&root).expect("read").count(), 0, "nothing else is mounted there");
        });
    }

    #[test]
    fn a_single_layer_is_bound_through_the_maps() {
        apart(|folder| {
            fs::create_dir_all(folder.join("layer")).expect("mkdir");
            fs::create_dir_all(folder.join("root")).expect("mkdir");
            fs::write(folder.join("layer/file"), "").expect("write");
            let bind = layer("bind", &folder.join("layer"), &["rbind".to_owned(), "ro".to_owned()]);
            layers::mount_layers(&[bind], &folder.join("root")).expect("mount");
            assert_eq!(owner(&folder.join("root/file")), (100_000, 100_000));
            assert!(fs::write(folder.join("root/other"), "").is_err());
            layers::unmount_layer(&folder.join("root")).expect("unmount");
        });
    }
}
