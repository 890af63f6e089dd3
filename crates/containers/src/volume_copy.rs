//! Copying what an image has at a place into a fresh volume.
//!
//! The image is an attacker's: it is read through a detached mount, every path is resolved inside it, links are copied and
//! never followed, and files are reached by descriptor only.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use sys::users::IdMaps;

use crate::rootfs::Layers;

/// Folders inside folders; deeper trees are refused.
const DEEPEST: u32 = 256;
/// Bytes of the names of one file's attributes, and of one's value (xattr(7): XATTR_LIST_MAX, XATTR_SIZE_MAX).
const MOST_ATTRIBUTES: usize = 64 << 10;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What the image has at a volume's place; `None` when that is no folder.
pub(crate) fn open_source(layers: &Layers, inside: &Path) -> std::io::Result<Option<OwnedFd>> {
    let root = layers.mount()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, inside, FOLDER, Mode::empty(), resolve) {
        Ok(source) => Ok(Some(source)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is anything to copy but the folder itself.
pub(crate) fn has_entries(source: BorrowedFd<'_>) -> std::io::Result<bool> {
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Into a volume that is empty: any other is left as it is. In the volume files belong to who their owners are on the host.
/// Of several who come at once one copies, and the others wait.
pub(crate) fn copy_up(source: BorrowedFd<'_>, volume: &Path, users: Option<&IdMaps>) -> std::io::Result<()> {
    let target = rustix::fs::open(volume, FOLDER, Mode::empty())?;
    // A file system without locks (flock(2)) is somebody else's, who has his own ways.
    let _ = rustix::fs::flock(&target, FlockOperation::LockExclusive);
    if has_entries(target.as_fd())? {
        return Ok(());
    }
    let mut copy = Copy { volume: target.as_fd(), users, known: HashMap::new() };
    copy.folder(source, target.as_fd(), Path::new(""), 0)
}

struct Copy<'a> {
    volume: BorrowedFd<'a>,
    users: Option<&'a IdMaps>,
    /// Files of several names, by device and number: where the first of them is in the volume.
    known: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn folder(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        place: &Path,
        depth: u32,
    ) -> std::io::Result<()> {
        if depth > DEEPEST {
            return Err(std::io::Error::other("folders are nested too deeply"));
        }
        for entry in Dir::read_from(source)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entry(source, target, name, place, depth)?;
            }
        }
        let stat = rustix::fs::fstat(source)?;
        copy_attributes(source, target);
        let (uid, gid) = owner(&stat, self.users)?;
        rustix::fs::fchown(target, uid, gid)?;
        rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode))?;
        rustix::fs::futimens(target, &times(&stat))?;
        Ok(())
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        place: &Path,
        depth: u32,
    ) -> std::io::Result<()> {
        let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let place = place.join(OsStr::from_bytes(name.to_bytes()));
        let open =
            |flags: OFlags| rustix::fs::openat(source, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        match kind {
            FileType::Directory => {
                let inner = open(OFlags::RDONLY | OFlags::DIRECTORY)?;
                rustix::fs::mkdirat(target, name, Mode::RWXU)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(target, name, flags, Mode::empty())?;
                return self.folder(inner.as_fd(), made.as_fd(), &place, depth + 1);
            }
            FileType::RegularFile => {
                if self.is_linked(&stat, target, name, &place) {
                    return Ok(());
                }
                let from = open(OFlags::RDONLY | OFlags::NONBLOCK)?;
                return self.file(from, target, name, &stat);
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(source, name, Vec::new())?;
                rustix::fs::symlinkat(link, target, name)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                rustix::fs::mknodat(target, name, kind, Mode::RUSR, stat.st_rdev)?;
                rustix::fs::chmodat(target, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
            }
            // A socket without its listener is of no use to anyone.
            _ => return Ok(()),
        }
        let (uid, gid) = owner(&stat, self.users)?;
        rustix::fs::chownat(target, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// A further name of a file that was copied already becomes one of the copy's. The volume may be somebody else's, too,
    /// by now: the copy is looked up without following any link.
    fn is_linked(&mut self, stat: &Stat, target: BorrowedFd<'_>, name: &CStr, place: &Path) -> bool {
        if stat.st_nlink < 2 {
            return false;
        }
        let Some(first) = self.known.get(&(stat.st_dev, stat.st_ino)) else {
            self.known.insert((stat.st_dev, stat.st_ino), place.to_owned());
            return false;
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let copied = rustix::fs::openat2(self.volume, first, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        copied.is_ok_and(|copied| rustix::fs::linkat(&copied, "", target, name, AtFlags::EMPTY_PATH).is_ok())
    }

    fn file(&self, from: OwnedFd, target: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(target, name, flags, Mode::RUSR | Mode::WUSR)?;
        let (mut from, mut to) = (File::from(from), File::from(to));
        std::io::copy(&mut from, &mut to)?;
        let (uid, gid) = owner(stat, self.users)?;
        // The owner first: a change of it takes set-user-ID and capabilities away (chown(2)).
        rustix::fs::fchown(&to, uid, gid)?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
        copy_attributes(from.as_fd(), to.as_fd());
        rustix::fs::futimens(&to, &times(stat))?;
        Ok(())
    }
}

/// Capabilities and the users' own attributes; a file system that has none is no obstacle.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut names = vec![0_u8; MOST_ATTRIBUTES];
    let Ok(length) = rustix::fs::flistxattr(from, &mut names[..]) else { return };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name != b"security.capability" && !name.starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0_u8; MOST_ATTRIBUTES];
        if let Ok(length) = rustix::fs::fgetxattr(from, name, &mut value[..]) {
            // Best effort, as said above.
            let _ = rustix::fs::fsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty());
        }
    }
}

fn owner(stat: &Stat, users: Option<&IdMaps>) -> std::io::Result<(Option<rustix::fs::Uid>, Option<rustix::fs::Gid>)> {
    let (uid, gid) = match users {
        None => (stat.st_uid, stat.st_gid),
        Some(maps) => {
            let unknown = |id: u32| std::io::Error::other(format!("Container ID {id} cannot be mapped to a host ID"));
            let uid = sys::users::outside(&maps.uids, stat.st_uid).ok_or_else(|| unknown(stat.st_uid))?;
            (uid, sys::users::outside(&maps.gids, stat.st_gid).ok_or_else(|| unknown(stat.st_gid))?)
        }
    };
    Ok((Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid))))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_is_copied_with_owners_modes_and_links_and_nothing_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let (image, volume) = (folder.path().join("image"), folder.path().join("volume"));
        fs::create_dir_all(image.join("srv/inner")).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(image.join("srv/inner/file"), "text").unwrap();
        fs::set_permissions(image.join("srv"), fs::Permissions::from_mode(0o1770)).unwrap();
        std::os::unix::fs::chown(image.join("srv/inner/file"), Some(7), Some(8)).unwrap();
        fs::set_permissions(image.join("srv/inner/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("/etc/passwd", image.join("srv/link")).unwrap();
        fs::hard_link(image.join("srv/inner/file"), image.join("srv/zz")).unwrap();
        let layers = Layers { directories: vec![image.clone()], ..Layers::default() };
        copy_up(open_source(&layers, Path::new("/srv")).unwrap().unwrap().as_fd(), &volume, None).unwrap();
        let copied = fs::metadata(volume.join("inner/file")).unwrap();
        assert_eq!((copied.uid(), copied.gid(), copied.mode() & 0o7777), (7, 8, 0o4751));
        assert_eq!((copied.ino(), copied.nlink()), (fs::metadata(volume.join("zz")).unwrap().ino(), 2));
        assert_eq!(fs::read_link(volume.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o1770);
    }

    #[test]
    fn a_link_to_the_host_in_the_images_path_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        fs::create_dir_all(&image).unwrap();
        symlink("/etc", image.join("srv")).unwrap();
        let layers = Layers { directories: vec![image], ..Layers::default() };
        assert!(open_source(&layers, Path::new("/srv")).unwrap().is_none());
    }
}
