//! Unpacks a layer into a directory (OCI image-spec layer.md, "Applying Changesets").

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ids::Digest;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, futimens, linkat, makedev, mkdirat, mknodat, openat,
    symlinkat,
};
use rustix::io::Errno;

use crate::compression::Decompressed;
use crate::entry::{Entry, EntryKind};
use crate::error::ArchiveError;
use crate::limits::Limits;
use crate::pipeline;
use crate::reader::{TarReader, shown};
use crate::root::{
    Attributes, Inside, Replaced, Root, failed, is_directory, is_whiteout, remove, set_attributes, set_owner, set_time,
    stat, times,
};
use crate::xattrs;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself and old layers still carry.
const AUFS: &[u8] = b".wh..wh.";
/// Bytes of directory names kept until the end for their times; about a million directories.
const MAX_DIRECTORY_BYTES: usize = 128 << 20;

/// What a `.wh.` entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// The directory is a whole tree: what a whiteout names is deleted.
    #[default]
    Delete,
    /// The directory is an overlay's upper one: a whiteout becomes a character device 0:0, an opaque mark the attribute
    /// `trusted.overlay.opaque`.
    Overlay,
}

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    pub whiteouts: Whiteouts,
    /// The layers below, uppermost first, where the target is an overlay's upper directory: a directory that the archive
    /// implies without an entry of its own takes owner and mode from there.
    pub lower: Vec<PathBuf>,
    pub limits: Limits,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Digest and bytes of the decompressed archive: the layer's DiffID.
    pub diff_id: Digest,
    pub size: u64,
    pub entries: u64,
}

/// Unpacks `source`, compressed by gzip, zstd or not at all, into the directory `root`, and reads it to its end. After an
/// error the directory holds a part of the layer; the caller throws it away.
pub fn apply(source: impl Read + Send, root: &Path, options: &ApplyOptions) -> Result<Applied, ArchiveError> {
    let plain = Decompressed::new(source, options.limits.archive_bytes).map_err(ArchiveError::Read)?;
    let (entries, (diff_id, size)) = pipeline::run(plain, |plain| unpack_all(plain, root, options))?;
    Ok(Applied { diff_id, size, entries })
}

fn unpack_all(plain: &mut impl BufRead, root: &Path, options: &ApplyOptions) -> Result<u64, ArchiveError> {
    let mut reader = TarReader::new(plain, options.limits.clone());
    let mut unpacking = Unpacking {
        root: Root::open(root, &options.lower)?,
        whiteouts: options.whiteouts,
        directories: Vec::new(),
        directory_bytes: 0,
        unpacked: HashSet::new(),
    };
    let mut entries = 0;
    while let Some(entry) = reader.next_entry()? {
        unpacking.unpack(&entry, &mut reader)?;
        entries += 1;
    }
    unpacking.set_directory_times()?;
    // The digests are over what is behind the archive's end as well.
    reader.drain()?;
    Ok(entries)
}

struct Unpacking {
    root: Root,
    whiteouts: Whiteouts,
    /// Times of directories, set last: every entry made inside changes them.
    directories: Vec<(Vec<u8>, (i64, u32))>,
    directory_bytes: usize,
    /// Hashes of this layer's own paths, which its opaque marks and whiteouts do not touch. Only kept where they delete.
    unpacked: HashSet<u64>,
}

impl Unpacking {
    fn unpack<R: BufRead>(&mut self, entry: &Entry, reader: &mut TarReader<R>) -> Result<(), ArchiveError> {
        let path = Inside::parse(&entry.path)?;
        let (directory, name) = path.split();
        if name.starts_with(AUFS) && name != OPAQUE {
            return Ok(());
        }
        if name.starts_with(WHITEOUT) {
            return self.white_out(directory, name, &entry.path);
        }
        let parent = self.parent(directory)?;
        match &entry.kind {
            EntryKind::File => self.file(&parent, name, entry, reader)?,
            EntryKind::Directory => self.directory(&parent, name, path.bytes(), entry)?,
            EntryKind::HardLink(target) => self.hard_link(&parent, name, target, entry)?,
            EntryKind::Symlink(target) => {
                self.create(&parent, name, entry, "symlink", || symlinkat(target.as_slice(), &*parent, name))?;
                let attributes = attributes(entry);
                set_owner(parent.as_fd(), name, &attributes).map_err(|e| fail("lchown", entry, e))?;
                xattrs::set(parent.as_fd(), name, &entry.xattrs).map_err(|e| fail("set xattrs of", entry, e))?;
                set_time(parent.as_fd(), name, entry.mtime).map_err(|e| fail("set times of", entry, e))?;
            }
            EntryKind::Character { .. } | EntryKind::Block { .. } | EntryKind::Fifo => {
                self.node(&parent, name, entry)?;
            }
        }
        if self.whiteouts == Whiteouts::Delete {
            self.remember(path.bytes());
        }
        Ok(())
    }

    /// The path and all directories above it, which an entry implies.
    fn remember(&mut self, path: &[u8]) {
        let mut end = path.len();
        while self.unpacked.insert(hash(&path[..end])) {
            match path[..end].iter().rposition(|b| *b == b'/') {
                Some(slash) => end = slash,
                None => return,
            }
        }
    }

    fn parent(&mut self, directory: &[u8]) -> Result<std::rc::Rc<OwnedFd>, ArchiveError> {
        let overlay = self.whiteouts == Whiteouts::Overlay;
        self.root.ensure(directory, &mut |parent, name| match stat(parent, name) {
            // A whiteout of this layer is in the way of a directory of this layer: both hold.
            Ok(Some(found)) if overlay && is_whiteout(&found) && remove(parent, name).is_ok() => {
                Replaced::Gone { whiteout: true }
            }
            _ => Replaced::Kept,
        })
    }

    /// Runs `make`; what is in its way is removed first.
    fn create<T>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        operation: &'static str,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, ArchiveError> {
        match make() {
            Err(Errno::EXIST) => {}
            answer => return answer.map_err(|e| fail(operation, entry, e)),
        }
        if name == b"." {
            return Err(ArchiveError::Path(shown(&entry.path)));
        }
        self.root.forget();
        remove(parent.as_fd(), name).map_err(|e| fail("replace", entry, e))?;
        make().map_err(|e| fail(operation, entry, e))
    }

    fn file<R: BufRead>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), ArchiveError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            self.create(parent, name, entry, "create", || openat(parent, name, flags, Mode::RUSR | Mode::WUSR))?;
        reader.content_to(file.as_fd())?.map_err(|e| fail("write", entry, e))?;
        let set = || -> Result<(), Errno> {
            fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
            fchmod(&file, Mode::from_raw_mode(entry.mode))?;
            // After the owner: chown(2) drops file capabilities.
            xattrs::set(parent.as_fd(), name, &entry.xattrs)?;
            futimens(&file, &times(entry.mtime))
        };
        set().map_err(|e| fail("set attributes of", entry, e))
    }

    fn directory(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8], entry: &Entry) -> Result<(), ArchiveError> {
        let mode = Mode::from_raw_mode(0o700);
        let made = if name == b"." { Err(Errno::EXIST) } else { mkdirat(parent, name, mode) };
        match made {
            Err(Errno::EXIST) => {
                let found = stat(parent.as_fd(), name).map_err(|e| fail("stat", entry, e))?;
                if !found.as_ref().is_some_and(is_directory) {
                    let opaque = self.whiteouts == Whiteouts::Overlay && found.as_ref().is_some_and(is_whiteout);
                    self.create(parent, name, entry, "mkdir", || mkdirat(parent, name, mode))?;
                    if opaque {
                        xattrs::set_opaque(parent.as_fd(), name).map_err(|e| fail("mark opaque", entry, e))?;
                    }
                }
            }
            answer => answer.map_err(|e| fail("mkdir", entry, e))?,
        }
        set_attributes(parent.as_fd(), name, &attributes(entry)).map_err(|e| fail("set attributes of", entry, e))?;
        xattrs::set(parent.as_fd(), name, &entry.xattrs).map_err(|e| fail("set xattrs of", entry, e))?;
        self.directory_bytes += path.len() + size_of::<(Vec<u8>, (i64, u32))>();
        if self.directory_bytes > MAX_DIRECTORY_BYTES {
            return Err(ArchiveError::Limit { what: "size of all directory names", limit: MAX_DIRECTORY_BYTES as u64 });
        }
        self.directories.push((path.to_vec(), entry.mtime));
        Ok(())
    }

    fn hard_link(&mut self, parent: &OwnedFd, name: &[u8], target: &[u8], entry: &Entry) -> Result<(), ArchiveError> {
        let target = Inside::parse(target)?;
        let (from, from_name) = target.split();
        let from = self.root.find(from).map_err(|e| fail("link", entry, e))?;
        let link = || linkat(&*from, from_name, parent, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {}
            answer => return answer.map_err(|e| fail("link", entry, e)),
        }
        let same = |one: Option<rustix::fs::Stat>, other: Option<rustix::fs::Stat>| match (one, other) {
            (Some(one), Some(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
            _ => false,
        };
        let look = |directory: BorrowedFd, name: &[u8]| stat(directory, name).map_err(|e| fail("stat", entry, e));
        if same(look(from.as_fd(), from_name)?, look(parent.as_fd(), name)?) {
            return Ok(());
        }
        self.create(parent, name, entry, "link", link)
    }

    fn node(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), ArchiveError> {
        let (kind, device) = match entry.kind {
            EntryKind::Character { major, minor } => (FileType::CharacterDevice, makedev(major, minor)),
            EntryKind::Block { major, minor } => (FileType::BlockDevice, makedev(major, minor)),
            _ => (FileType::Fifo, 0),
        };
        let mode = Mode::from_raw_mode(0o600);
        self.create(parent, name, entry, "mknod", || mknodat(parent, name, kind, mode, device))?;
        set_attributes(parent.as_fd(), name, &attributes(entry)).map_err(|e| fail("set attributes of", entry, e))?;
        xattrs::set(parent.as_fd(), name, &entry.xattrs).map_err(|e| fail("set xattrs of", entry, e))
    }

    fn white_out(&mut self, directory: &[u8], name: &[u8], shown_path: &[u8]) -> Result<(), ArchiveError> {
        if name == OPAQUE {
            return match self.whiteouts {
                Whiteouts::Overlay => self.mark_opaque(directory),
                Whiteouts::Delete => self.empty(directory),
            };
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(ArchiveError::Path(shown(shown_path)));
        }
        match self.whiteouts {
            Whiteouts::Overlay => self.leave_whiteout(directory, hidden),
            Whiteouts::Delete => self.delete(directory, hidden),
        }
    }

    fn mark_opaque(&mut self, directory: &[u8]) -> Result<(), ArchiveError> {
        let open = self.parent(directory)?;
        xattrs::set_opaque(open.as_fd(), b".").map_err(|e| failed("mark opaque", &shown(directory), e))
    }

    /// In an upper directory. What this layer has put there itself stays: whiteouts speak of lower layers only.
    fn leave_whiteout(&mut self, directory: &[u8], hidden: &[u8]) -> Result<(), ArchiveError> {
        let parent = self.parent(directory)?;
        let path = || shown(&join(directory, hidden));
        let mode = Mode::from_raw_mode(0);
        match mknodat(&*parent, hidden, FileType::CharacterDevice, mode, makedev(0, 0)) {
            Err(Errno::EXIST) => {
                let found = stat(parent.as_fd(), hidden).map_err(|e| failed("stat", &path(), e))?;
                if found.as_ref().is_some_and(is_directory) {
                    xattrs::set_opaque(parent.as_fd(), hidden).map_err(|e| failed("mark opaque", &path(), e))?;
                }
                Ok(())
            }
            answer => answer.map_err(|e| failed("mknod", &path(), e)),
        }
    }

    fn delete(&mut self, directory: &[u8], hidden: &[u8]) -> Result<(), ArchiveError> {
        let path = join(directory, hidden);
        let parent = match self.root.find(directory) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(failed("open", &shown(directory), errno)),
        };
        if self.unpacked.contains(&hash(&path)) {
            // A directory of this layer in its place: only what is from below goes.
            return match stat(parent.as_fd(), hidden).map_err(|e| failed("stat", &shown(&path), e))? {
                Some(found) if is_directory(&found) => self.empty(&path),
                _ => Ok(()),
            };
        }
        self.root.forget();
        remove(parent.as_fd(), hidden).map_err(|e| failed("remove", &shown(&path), e))
    }

    /// Removes everything in a directory that this layer has not put there.
    fn empty(&mut self, directory: &[u8]) -> Result<(), ArchiveError> {
        let fail = |e: io::Error| failed("empty", &shown(directory), e);
        let open = match self.root.find(directory) {
            Ok(open) => open,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(fail(errno.into())),
        };
        self.root.forget();
        for found in std::fs::read_dir(crate::root::through(open.as_fd(), b".")).map_err(fail)? {
            let found = found.map_err(fail)?;
            let name = found.file_name();
            let path = join(directory, name.as_bytes());
            if !self.unpacked.contains(&hash(&path)) {
                remove(open.as_fd(), name.as_bytes()).map_err(fail)?;
            } else if found.file_type().map_err(fail)?.is_dir() {
                self.empty(&path)?;
            }
        }
        Ok(())
    }

    fn set_directory_times(&mut self) -> Result<(), ArchiveError> {
        // Nearest first: setting a time does not change the parent's.
        for (path, mtime) in std::mem::take(&mut self.directories) {
            self.root.set_directory_time(&path, mtime).map_err(|e| failed("set times of", &shown(&path), e))?;
        }
        Ok(())
    }
}

fn attributes(entry: &Entry) -> Attributes {
    Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// Keyed at random by the standard library: nobody can choose paths that collide.
fn hash(path: &[u8]) -> u64 {
    use std::hash::BuildHasher;
    static KEYS: std::sync::LazyLock<std::hash::RandomState> = std::sync::LazyLock::new(std::hash::RandomState::new);
    KEYS.hash_one(path)
}

pub(crate) fn write_all(file: BorrowedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn fail(operation: &'static str, entry: &Entry, error: impl Into<io::Error>) -> ArchiveError {
    failed(operation, Path::new(OsStr::from_bytes(&entry.path)), error)
}
