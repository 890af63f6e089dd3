//! Folders as one file system, read-only, that has no place in the tree: it is reached by descriptor, and gone with it.
//!
//! Allocates. A single folder is opened as it is. Linux 6.5 takes the layers of an overlay one by one; an older kernel takes
//! them as one value, of at most 255 bytes by fsconfig(2). There mount(2) does it, with its page of options, on a thread with a
//! mount namespace of its own, out of which the mount is cloned (open_tree(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags};

use crate::layers::{self, LayerMount};
use crate::mount::{self, OPEN_TREE_CLONE};

/// The uppermost folder first.
pub fn mount(folders: &[PathBuf]) -> io::Result<OwnedFd> {
    if let [only] = folders {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return Ok(rustix::fs::open(only, flags, Mode::empty())?);
    }
    // Not to be told from other errors on an older kernel, which says what it does not know when all is there.
    one_by_one(folders).or_else(|_| at_once(folders))
}

fn one_by_one(folders: &[PathBuf]) -> io::Result<OwnedFd> {
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let add = |fs: BorrowedFd<'_>, folder: &Path| rustix::mount::fsconfig_set_string(fs, "lowerdir+", folder);
    folders.iter().try_for_each(|folder| add(overlay.as_fd(), folder))?;
    rustix::mount::fsconfig_create(overlay.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
    Ok(rustix::mount::fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn at_once(folders: &[PathBuf]) -> io::Result<OwnedFd> {
    let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let options = vec![format!("lowerdir={}", names.join(":")), "ro".to_owned(), "nosuid".to_owned()];
    let overlay = LayerMount { kind: "overlay".to_owned(), source: "overlay".to_owned(), options };
    // In a namespace of its own any folder is as good as another to be covered.
    let place = folders.first().ok_or(io::ErrorKind::InvalidInput)?;
    std::thread::scope(|scope| {
        let mounter = scope.spawn(|| {
            crate::process::unshare(libc::CLONE_NEWNS)?;
            rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            layers::mount_layers(&[overlay], place)?;
            let clone = mount::open_tree(CWD.as_raw_fd(), &layers::c_path(place)?, OPEN_TREE_CLONE)?;
            // SAFETY: the descriptor was made above and is owned by nothing else.
            Ok(unsafe { OwnedFd::from_raw_fd(clone) })
        });
        mounter.join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread panicked")))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// More than one value of fsconfig(2), and more than a page of mount(2) by long names.
    #[test]
    fn a_hundred_layers_are_one_file_system_in_either_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = folder.path().join("x".repeat(100));
        let layers: Vec<PathBuf> = (0..100).map(|number| long.join(format!("{number}/fs"))).collect();
        for (number, layer) in layers.iter().enumerate() {
            fs::create_dir_all(layer).expect("a layer");
            fs::write(layer.join(format!("file-{number}")), "").expect("a file");
            fs::write(layer.join("who"), number.to_string()).expect("a file");
        }
        for mount in [mount, at_once] {
            let whole = mount(&layers).expect("a mount");
            let inside = PathBuf::from(format!("/proc/self/fd/{}", whole.as_raw_fd()));
            assert_eq!(fs::read_dir(&inside).expect("a root").count(), 101);
            assert_eq!(fs::read_to_string(inside.join("who")).expect("the uppermost"), "0");
            assert_eq!(
                fs::write(inside.join("who"), "").expect_err("read-only").kind(),
                io::ErrorKind::ReadOnlyFilesystem
            );
            let table = fs::read_to_string("/proc/self/mountinfo").expect("a table");
            assert!(!table.contains(&*long.to_string_lossy()), "it is nowhere in the tree");
        }
    }
}
