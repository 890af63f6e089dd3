//! The directory that an archive is unpacked into, and nothing outside of it.
//!
//! Every directory is opened by openat2(2) with `RESOLVE_IN_ROOT`: symbolic links inside, absolute ones too, lead to
//! places inside (runc's and Docker's long row of escapes, CVE-2018-15664 for one, had checked paths first and used
//! them later). The last component is always handled by a call that does not follow it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat,
    mkdirat, openat2, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::ArchiveError;
use crate::reader::shown;
use crate::xattrs;

/// openat2(2) answers EAGAIN when something was renamed meanwhile.
const RESOLVE_TRIES: u32 = 64;

/// A path inside the root: components joined by one slash, neither `.` nor `..`; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inside(Vec<u8>);

impl Inside {
    /// Cleaned as by Go's path.Clean; a path that climbs over the root is refused, as Docker's unpacker does.
    pub fn parse(path: &[u8]) -> Result<Self, ArchiveError> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or_else(|| ArchiveError::Path(shown(path)))?;
                }
                part if part.len() > 255 => return Err(ArchiveError::Path(shown(path))),
                part => parts.push(part),
            }
        }
        Ok(Self(parts.join(&b'/')))
    }

    /// Directory and last component; the root's own is `.`, which every *at call takes.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None if self.0.is_empty() => (b"", b"."),
            None => (b"", &self.0),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A file's owner, permissions and times.
pub(crate) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
}

pub(crate) struct Root {
    directory: Rc<OwnedFd>,
    /// Lower layers, uppermost first: a directory that the archive only implies takes their attributes.
    lower: Vec<OwnedFd>,
    /// The directory of the last entry: archives name siblings one behind the other.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl Root {
    pub fn open(path: &Path, lower: &[PathBuf]) -> Result<Self, ArchiveError> {
        let open = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))
        };
        let lower = lower.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Self { directory: Rc::new(open(path)?), lower, last: None })
    }

    /// Must be called whenever something was removed or replaced: the remembered directory may be gone.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The directory at this path, or the error the kernel gave.
    pub fn find(&mut self, directory: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if directory.is_empty() {
            return Ok(self.directory.clone());
        }
        if let Some((path, open)) = &self.last
            && path == directory
        {
            return Ok(open.clone());
        }
        let open = Rc::new(resolve(self.directory.as_fd(), directory)?);
        self.last = Some((directory.to_vec(), open.clone()));
        Ok(open)
    }

    /// The directory at this path, made with its parents where the archive implies it.
    pub fn ensure(
        &mut self,
        directory: &[u8],
        replace: &mut dyn FnMut(BorrowedFd, &[u8]) -> Replaced,
    ) -> Result<Rc<OwnedFd>, ArchiveError> {
        match self.find(directory) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            answer => return answer.map_err(|errno| failed("open", &shown(directory), errno)),
        }
        let mut end = 0;
        while end < directory.len() {
            let start = end;
            end = directory[start + 1..].iter().position(|b| *b == b'/').map_or(directory.len(), |at| start + 1 + at);
            let (prefix, whole) = (&directory[..start], &directory[..end]);
            if self.find(whole).is_ok() {
                continue;
            }
            let name = whole.strip_prefix(prefix).unwrap_or(whole);
            let name = name.strip_prefix(b"/").unwrap_or(name);
            let parent = self.find(prefix).map_err(|errno| failed("open", &shown(prefix), errno))?;
            self.imply(&parent, name, whole, replace)?;
        }
        self.find(directory).map_err(|errno| failed("open", &shown(directory), errno))
    }

    fn imply(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        replace: &mut dyn FnMut(BorrowedFd, &[u8]) -> Replaced,
    ) -> Result<(), ArchiveError> {
        let fail = |errno| failed("mkdir", &shown(path), errno);
        let mut made = mkdirat(parent, name, Mode::from_raw_mode(0o755));
        let mut opaque = false;
        if made == Err(Errno::EXIST) {
            match replace(parent.as_fd(), name) {
                Replaced::Kept => return Err(fail(Errno::NOTDIR)),
                Replaced::Gone { whiteout } => opaque = whiteout,
            }
            made = mkdirat(parent, name, Mode::from_raw_mode(0o755));
        }
        made.map_err(fail)?;
        if opaque {
            xattrs::set_opaque(parent.as_fd(), name).map_err(fail)?;
            return Ok(());
        }
        if let Some(attributes) = self.lower_attributes(path) {
            set_attributes(parent.as_fd(), name, &attributes).map_err(fail)?;
        }
        Ok(())
    }

    fn lower_attributes(&self, path: &[u8]) -> Option<Attributes> {
        self.lower.iter().find_map(|lower| {
            let stat = rustix::fs::fstat(resolve(lower.as_fd(), path).ok()?).ok()?;
            Some(Attributes {
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
                mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            })
        })
    }

    /// Sets the times of a directory that is still one; what replaced it has its own.
    pub fn set_directory_time(&mut self, path: &[u8], mtime: (i64, u32)) -> Result<(), Errno> {
        match self.find(path) {
            Ok(directory) => utimensat(&*directory, ".", &times(mtime), AtFlags::empty()),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// What became of something that was in the way.
pub(crate) enum Replaced {
    Kept,
    Gone { whiteout: bool },
}

/// Opens a directory as seen from `root`.
pub(crate) fn resolve(root: BorrowedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for _ in 0..RESOLVE_TRIES {
        match openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

pub(crate) fn stat(directory: BorrowedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// An overlay's mark for a removed name (Documentation/filesystems/overlayfs.rst): a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Removes a name and everything below it; nothing there is fine.
pub(crate) fn remove(directory: BorrowedFd, name: &[u8]) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // The standard library's walk opens each level without following links (CVE-2022-21658).
        Err(Errno::ISDIR) => std::fs::remove_dir_all(through(directory, name)),
        Err(errno) => Err(errno.into()),
    }
}

/// A path for calls that take no descriptor: the directory by descriptor, the last component as it is.
pub(crate) fn through(directory: BorrowedFd, name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    path.push(shown(name));
    path
}

/// The same for an open file itself, whatever it is: proc(5), /proc/pid/fd.
pub(crate) fn itself(file: BorrowedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

pub(crate) fn times(mtime: (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: i64::from(mtime.1) };
    Timestamps { last_access: time, last_modification: time }
}

/// Of anything but a symbolic link. Owner first: chown(2) clears the set-id bits.
pub(crate) fn set_attributes(directory: BorrowedFd, name: &[u8], attributes: &Attributes) -> Result<(), Errno> {
    set_owner(directory, name, attributes)?;
    chmodat(directory, name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
    set_time(directory, name, attributes.mtime)
}

pub(crate) fn set_owner(directory: BorrowedFd, name: &[u8], attributes: &Attributes) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn set_time(directory: BorrowedFd, name: &[u8], mtime: (i64, u32)) -> Result<(), Errno> {
    utimensat(directory, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn failed(operation: &'static str, path: &Path, error: impl Into<io::Error>) -> ArchiveError {
    ArchiveError::Entry { operation, path: path.to_owned(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_those_that_climb_out_refused() {
        for (given, expected) in
            [("a/b", "a/b"), ("/a//b/", "a/b"), ("./a/./b", "a/b"), ("a/../b", "b"), (".", ""), ("/", "")]
        {
            assert_eq!(Inside::parse(given.as_bytes()).unwrap().bytes(), expected.as_bytes(), "{given}");
        }
        for given in ["..", "../a", "a/../../b", "/.."] {
            assert!(matches!(Inside::parse(given.as_bytes()), Err(ArchiveError::Path(_))), "{given}");
        }
        assert!(Inside::parse("x".repeat(256).as_bytes()).is_err());
    }

    #[test]
    fn a_path_splits_into_directory_and_name() {
        assert_eq!(Inside::parse(b"a/b/c").unwrap().split(), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(Inside::parse(b"a").unwrap().split(), (&b""[..], &b"a"[..]));
        assert_eq!(Inside::parse(b"").unwrap().split(), (&b""[..], &b"."[..]));
    }
}
