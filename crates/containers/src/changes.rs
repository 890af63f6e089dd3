//! `docker diff`: what a container's upper directory changes of the layers below (overlayfs.rst).
//!
//! The upper directory is the container's to change while it is read: each folder is opened from its parent. The layers below
//! never change, and a link in them is not followed. What the runtime puts there to mount on is no change of the container's.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use archive::{ArchiveError, DEEPEST};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat};
use rustix::io::Errno;

use crate::error::Error;
use crate::messages;
use crate::record::Container;
use crate::request::{Change, ChangeKind};
use crate::rootfs::Layers;
use crate::service::{Shared, blocking};
use crate::view::is_directory;

/// Made by the runtime for its mounts where the image lacks them; in Docker they are a layer of their own between image
/// and container.
const PLACES: [&str; 10] = [
    "dev/pts",
    "dev/shm",
    "proc",
    "sys",
    ".dockerenv",
    "etc/resolv.conf",
    "etc/hosts",
    "etc/hostname",
    "dev/console",
    "etc/mtab",
];
/// Folders that hold them.
const FOLDERS: [&str; 2] = ["dev", "etc"];

pub(crate) async fn changes(shared: &Shared, container: &Container) -> Result<Vec<Change>, Error> {
    let tree = Upper::of(shared, container).await?;
    let found = blocking(move || tree.changes()).await?;
    found.map_err(Error::Archive)
}

/// A container's own layer on those of its image.
pub(crate) struct Upper {
    pub root: OwnedFd,
    pub lower: Lower,
}

/// The layers below, uppermost first.
pub(crate) struct Lower(Vec<OwnedFd>);

impl Upper {
    pub async fn of(shared: &Shared, container: &Container) -> Result<Self, Error> {
        let mounts = container.rootfs(&shared.containerd).await?;
        let layers = Layers::of(&mounts).ok_or_else(messages::no_layers)?;
        let open = |path: &PathBuf| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(path, flags, Mode::empty());
            opened.map_err(|errno| Error::file("open the layer", path, errno.into()))
        };
        let mut opened = layers.directories.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if opened.is_empty() {
            return Err(messages::no_layers());
        }
        let root = opened.remove(0);
        Ok(Self { root, lower: Lower(opened) })
    }

    /// As Docker tells them: a folder counts as modified when its owner or mode is another, or anything below it changed.
    pub fn changes(&self) -> Result<Vec<Change>, ArchiveError> {
        let mut found = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            openat(&self.root, ".", flags, Mode::empty()).map_err(|errno| wrong("open", Path::new("/"), errno))?;
        self.walk(root.as_fd(), &mut PathBuf::new(), 0, &mut found)?;
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Adds the changes below a folder.
    fn walk(
        &self,
        directory: BorrowedFd<'_>,
        inside: &mut PathBuf,
        depth: usize,
        found: &mut Vec<Change>,
    ) -> Result<(), ArchiveError> {
        if depth > DEEPEST {
            return Err(ArchiveError::Limit { what: "depth of the tree", limit: DEEPEST as u64 });
        }
        let names = archive::names(directory).map_err(|error| wrong("read", inside, error))?;
        for name in names {
            let stat = match statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(wrong("stat", inside, errno)),
            };
            inside.push(OsStr::from_bytes(name.to_bytes()));
            let walked = self.visit(directory, &name, &stat, inside, depth, found);
            inside.pop();
            walked?;
        }
        Ok(())
    }

    fn visit(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        inside: &mut PathBuf,
        depth: usize,
        found: &mut Vec<Change>,
    ) -> Result<(), ArchiveError> {
        if is_of_the_runtime(inside, stat) {
            return Ok(());
        }
        let below = self.lower.stat(inside).map_err(|errno| wrong("compare", inside, errno))?;
        let kind = match &below {
            None if is_whiteout(stat) => return Ok(()),
            None => Some(ChangeKind::Added),
            Some(_) if is_whiteout(stat) => Some(ChangeKind::Deleted),
            Some(below) => is_different(stat, below).then_some(ChangeKind::Modified),
        };
        let path = Path::new("/").join(&*inside);
        let before = found.len();
        found.extend(kind.map(|kind| Change { path: path.clone(), kind }));
        if !is_directory(stat) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = match openat(directory, name, flags, Mode::empty()) {
            Ok(open) => open,
            // It went away, or became something else, since it was looked at.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(wrong("open", inside, errno)),
        };
        if below.as_ref().is_some_and(is_directory) && is_opaque(&open).map_err(|errno| wrong("read", inside, errno))? {
            self.add_hidden(open.as_fd(), inside, found)?;
        }
        self.walk(open.as_fd(), inside, depth + 1, found)?;
        let changed = found.len() > before;
        match kind {
            None if changed => found.push(Change { path, kind: ChangeKind::Modified }),
            // It was only made to hold places of the runtime's.
            Some(ChangeKind::Added) if found.len() == before + 1 && is_folder_of_places(inside) => {
                found.truncate(before)
            }
            _ => {}
        }
        Ok(())
    }

    /// A folder that was deleted and made again: what it had and has no longer.
    fn add_hidden(&self, upper: BorrowedFd<'_>, inside: &Path, found: &mut Vec<Change>) -> Result<(), ArchiveError> {
        let fail = |error| wrong("read", inside, error);
        let now = archive::names(upper).map_err(fail)?;
        for name in self.lower.names(inside).map_err(fail)? {
            if now.binary_search(&name).is_err() {
                let path = Path::new("/").join(inside).join(OsStr::from_bytes(name.to_bytes()));
                found.push(Change { path, kind: ChangeKind::Deleted });
            }
        }
        Ok(())
    }
}

impl Lower {
    /// What a path is in the image: whiteouts and opaque folders hide what lies below them.
    pub fn stat(&self, inside: &Path) -> Result<Option<Stat>, Errno> {
        for layer in &self.0 {
            match self.look(layer, inside)? {
                Below::Is(stat) => return Ok(Some(stat)),
                Below::Hidden => return Ok(None),
                Below::Nothing => {}
            }
        }
        Ok(None)
    }

    fn look(&self, layer: &OwnedFd, inside: &Path) -> Result<Below, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(layer, inside, path, Mode::empty(), resolve) {
            Ok(found) => {
                let stat = rustix::fs::fstat(&found)?;
                return Ok(if is_whiteout(&stat) { Below::Hidden } else { Below::Is(stat) });
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno),
        }
        // Nearest first: the deepest folder that the layer has decides.
        for above in inside.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match openat2(layer, above, path, Mode::empty(), resolve) {
                Ok(found) => {
                    let stat = rustix::fs::fstat(&found)?;
                    let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                    let hides = !folder || is_opaque(&reopened(&found)?)?;
                    return Ok(if hides { Below::Hidden } else { Below::Nothing });
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Below::Nothing)
    }
}

impl Lower {
    /// The names in a folder of the image.
    fn names(&self, inside: &Path) -> std::io::Result<Vec<CString>> {
        let mut names = std::collections::BTreeSet::new();
        for layer in &self.0 {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = match openat2(layer, inside, flags, Mode::empty(), resolve) {
                Ok(open) => open,
                Err(Errno::NOENT) => continue,
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                Err(errno) => return Err(errno.into()),
            };
            names.extend(archive::names(open.as_fd())?);
            if is_opaque(&open)? {
                break;
            }
        }
        // A name may stand for a whiteout, which hides those below it.
        let there = |name: &CString| {
            let path = inside.join(OsStr::from_bytes(name.to_bytes()));
            Ok::<_, Errno>(self.stat(&path)?.is_some())
        };
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            if there(&name)? {
                found.push(name);
            }
        }
        Ok(found)
    }
}

enum Below {
    Is(Stat),
    /// A whiteout, an opaque folder, or something that is no folder.
    Hidden,
    Nothing,
}

/// Docker's comparison: of folders neither time nor size count, which move with every change inside.
fn is_different(upper: &Stat, lower: &Stat) -> bool {
    let own = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    if own(upper) != own(lower) {
        return true;
    }
    // An archive's times are whole seconds.
    let fraction = upper.st_mtime_nsec == lower.st_mtime_nsec || upper.st_mtime_nsec == 0 || lower.st_mtime_nsec == 0;
    !is_directory(upper) && !(upper.st_size == lower.st_size && upper.st_mtime == lower.st_mtime && fraction)
}

/// Whether a folder's owner and mode are those that it has below.
pub(crate) fn is_same_folder(upper: &Stat, lower: &Stat) -> bool {
    is_directory(lower) && !is_different(upper, lower)
}

/// Whether it is a place that the runtime made and mounted on: an empty file, or a folder.
pub(crate) fn is_of_the_runtime(inside: &Path, stat: &Stat) -> bool {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let pristine = kind == FileType::Directory || (kind == FileType::RegularFile && stat.st_size == 0);
    pristine && PLACES.iter().any(|place| inside == Path::new(place))
}

pub(crate) fn is_folder_of_places(inside: &Path) -> bool {
    FOLDERS.iter().any(|folder| inside == Path::new(folder))
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn reopened(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// `y` in `trusted.overlay.opaque`.
fn is_opaque(directory: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0; 8];
    match rustix::fs::fgetxattr(directory, "trusted.overlay.opaque", &mut value) {
        Ok(length) => Ok(length > 0 && value[0] == b'y'),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn wrong(operation: &'static str, path: &Path, error: impl Into<std::io::Error>) -> ArchiveError {
    ArchiveError::Entry { operation, path: path.to_owned(), source: error.into() }
}

#[cfg(test)]
mod tests;
