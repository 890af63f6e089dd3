//! Unpacks an archive into a place of a file system that somebody else may be changing: `docker cp` into a container.
//!
//! Directories are found by openat2(2) inside the container's root, links resolved there. Whatever is made is made under
//! an open directory without following a link, and owner, mode and times are set on what was opened, never by a name
//! that may mean something else by then (CVE-2018-15664, CVE-2019-14271: no path is ever used in the host's root).

use std::ffi::OsStr;
use std::io::{BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmod, chownat, fchmod, fchown, fstat, futimens, linkat, makedev,
    mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;
use sys::users::IdMaps;

use crate::compression::Decompressed;
use crate::entry::{Entry, EntryKind};
use crate::error::ArchiveError;
use crate::limits::Limits;
use crate::owners;
use crate::pipeline;
use crate::reader::{TarReader, shown};
use crate::root::{Inside, failed, is_directory, itself, remove, resolve, stat, times};
use crate::xattrs;

/// Bytes of directory names kept until the end for their times; about a million directories.
const MAX_DIRECTORY_BYTES: usize = 128 << 20;

/// What may become of a name that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It is replaced; two directories are merged.
    #[default]
    Replace,
    /// The same, but a directory stays one, and nothing else becomes one.
    KeepKind,
}

/// A first component of paths, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl Renamed {
    /// Whether `./x`, `/x` and `x` begin with it; then with the new name, of any number of components.
    fn apply(&self, path: &[u8]) -> Vec<u8> {
        let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        let start = if path[start..].starts_with(b"./") && self.from != b"." { start + 2 } else { start };
        match path[start..].strip_prefix(self.from.as_slice()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => [self.to.as_slice(), rest].concat(),
            _ => path.to_vec(),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    pub overwrite: Overwrite,
    /// Everything belongs to these instead of whom the archive says.
    pub owner: Option<(u32, u32)>,
    /// What the first component of every path is called here, where it is called something: links inside follow.
    pub renamed: Option<Renamed>,
    /// Owners are users of this user namespace, and belong to who they are outside.
    pub users: Option<IdMaps>,
    pub limits: Limits,
}

/// Unpacks `source`, compressed by gzip, zstd or not at all, below the directory `place` as seen from `root`. Answers the
/// number of entries. After an error a part of the archive is there.
pub fn extract(
    source: impl Read + Send,
    root: BorrowedFd<'_>,
    place: &Path,
    options: &ExtractOptions,
) -> Result<u64, ArchiveError> {
    let plain = Decompressed::new(source, options.limits.archive_bytes).map_err(ArchiveError::Read)?;
    let (entries, _) = pipeline::run(plain, |plain| extract_all(plain, root, place, options))?;
    Ok(entries)
}

fn extract_all(
    plain: &mut impl BufRead,
    root: BorrowedFd<'_>,
    place: &Path,
    options: &ExtractOptions,
) -> Result<u64, ArchiveError> {
    let mut reader = TarReader::new(plain, options.limits.clone());
    let mut extraction = Extraction { root, place, options, directories: Vec::new(), directory_bytes: 0 };
    let mut entries = 0;
    while let Some(mut entry) = reader.next_entry()? {
        if let Some(renamed) = &options.renamed {
            entry.path = renamed.apply(&entry.path);
            if let EntryKind::HardLink(target) = &mut entry.kind {
                *target = renamed.apply(target);
            }
        }
        if let Some((uid, gid)) = options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(users) = &options.users {
            owners::outside(&mut entry, users)?;
        }
        extraction.entry(&entry, &mut reader)?;
        entries += 1;
    }
    extraction.set_directory_times()?;
    reader.drain()?;
    Ok(entries)
}

struct Extraction<'a> {
    root: BorrowedFd<'a>,
    place: &'a Path,
    options: &'a ExtractOptions,
    /// Times of directories, set last: every entry made inside changes them.
    directories: Vec<(Inside, (i64, u32))>,
    directory_bytes: usize,
}

impl Extraction<'_> {
    fn entry<R: BufRead>(&mut self, entry: &Entry, reader: &mut TarReader<R>) -> Result<(), ArchiveError> {
        let outside = |_| ArchiveError::Outside { name: shown(&entry.path), root: self.place.to_owned() };
        let path = Inside::parse(&entry.path).map_err(outside)?;
        if path.bytes().is_empty() {
            // The place itself, which keeps what it has.
            return Ok(());
        }
        let (directory, name) = path.split();
        let parent = self.parent(directory)?;
        self.make_room(parent.as_fd(), name, entry)?;
        let wrong = |operation| move |errno: Errno| failed(operation, &shown(&entry.path), errno);
        match &entry.kind {
            EntryKind::File => self.file(parent.as_fd(), name, entry, reader),
            EntryKind::Directory => self.directory(parent.as_fd(), name, path.clone(), entry),
            EntryKind::HardLink(target) => self.hard_link(parent.as_fd(), name, target, entry),
            EntryKind::Symlink(target) => {
                symlinkat(target.as_slice(), &parent, name).map_err(wrong("symlink"))?;
                self.dress(parent.as_fd(), name, entry)
            }
            EntryKind::Character { .. } | EntryKind::Block { .. } | EntryKind::Fifo => {
                let (kind, device) = match entry.kind {
                    EntryKind::Character { major, minor } => (FileType::CharacterDevice, makedev(major, minor)),
                    EntryKind::Block { major, minor } => (FileType::BlockDevice, makedev(major, minor)),
                    _ => (FileType::Fifo, 0),
                };
                mknodat(&parent, name, kind, Mode::RUSR | Mode::WUSR, device).map_err(wrong("mknod"))?;
                self.dress(parent.as_fd(), name, entry)
            }
        }
    }

    fn inside(&self, path: &[u8]) -> Vec<u8> {
        [self.place.as_os_str().as_bytes(), b"/", path].concat()
    }

    /// The directory of an entry, made with those above it where the archive has none of them.
    fn parent(&self, directory: &[u8]) -> Result<OwnedFd, ArchiveError> {
        let fail = |operation, path: &[u8]| {
            let path = shown(path);
            move |errno: Errno| failed(operation, &path, errno)
        };
        let whole = self.inside(directory);
        match resolve(self.root, &whole) {
            Err(Errno::NOENT) => {}
            answer => return answer.map_err(fail("open", directory)),
        }
        let mut parent = resolve(self.root, &self.inside(b"")).map_err(fail("open", b"/"))?;
        let mut done = Vec::new();
        for part in directory.split(|byte| *byte == b'/') {
            done.extend_from_slice(part);
            let next = match resolve(self.root, &self.inside(&done)) {
                Err(Errno::NOENT) => {
                    match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                        Err(Errno::EXIST) => {}
                        made => made.map_err(fail("mkdir", &done))?,
                    }
                    resolve(self.root, &self.inside(&done))
                }
                answer => answer,
            };
            parent = next.map_err(fail("open", &done))?;
            done.push(b'/');
        }
        Ok(parent)
    }

    /// Takes away what is in the way of an entry.
    fn make_room(&self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), ArchiveError> {
        let fail = |errno: Errno| failed("stat", &shown(&entry.path), errno);
        let Some(found) = stat(parent, name).map_err(fail)? else { return Ok(()) };
        let (was, becomes) = (is_directory(&found), entry.kind == EntryKind::Directory);
        if was != becomes && self.options.overwrite == Overwrite::KeepKind {
            let words = |directory| if directory { "directory" } else { "non-directory" };
            return Err(ArchiveError::Overwrite {
                old: words(was),
                new: words(becomes),
                path: self.place.join(OsStr::from_bytes(&entry.path)),
                root: self.place.to_owned(),
            });
        }
        if was && becomes {
            return Ok(());
        }
        remove(parent, name).map_err(|error| failed("replace", &shown(&entry.path), error))
    }

    fn file<R: BufRead>(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), ArchiveError> {
        let fail = |operation| move |errno: Errno| failed(operation, &shown(&entry.path), errno);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(fail("create"))?;
        reader.content_to(file.as_fd())?.map_err(fail("write"))?;
        self.dress_open(&file, entry).map_err(fail("set attributes of"))?;
        futimens(&file, &times(entry.mtime)).map_err(fail("set times of"))
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: Inside,
        entry: &Entry,
    ) -> Result<(), ArchiveError> {
        let fail = |operation| move |errno: Errno| failed(operation, &shown(&entry.path), errno);
        match mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            made => made.map_err(fail("mkdir"))?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = openat(parent, name, flags, Mode::empty()).map_err(fail("open"))?;
        self.dress_open(&open, entry).map_err(fail("set attributes of"))?;
        self.directory_bytes += path.bytes().len() + size_of::<(Inside, (i64, u32))>();
        if self.directory_bytes > MAX_DIRECTORY_BYTES {
            return Err(ArchiveError::Limit { what: "size of all directory names", limit: MAX_DIRECTORY_BYTES as u64 });
        }
        self.directories.push((path, entry.mtime));
        Ok(())
    }

    fn hard_link(&self, parent: BorrowedFd<'_>, name: &[u8], target: &[u8], entry: &Entry) -> Result<(), ArchiveError> {
        let refuse =
            |_| ArchiveError::HardLink { name: self.place.join(PathBuf::from(shown(target))), target: shown(target) };
        let target = Inside::parse(target).map_err(refuse)?;
        let (directory, from) = target.split();
        let fail = |errno: Errno| failed("link", &shown(&entry.path), errno);
        let directory = resolve(self.root, &self.inside(directory)).map_err(fail)?;
        linkat(&directory, from, parent, name, AtFlags::empty()).map_err(fail)
    }

    /// Owner first: chown(2) takes set-id bits and capabilities away.
    fn dress_open(&self, file: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
        let (uid, gid) = owner(entry);
        fchown(file, uid, gid)?;
        fchmod(file, Mode::from_raw_mode(entry.mode))?;
        xattrs::set_followed(&itself(file.as_fd()), &entry.xattrs)
    }

    /// What cannot be opened to be read: through a descriptor that only names it (open(2), O_PATH).
    fn dress(&self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), ArchiveError> {
        let fail = |errno: Errno| failed("set attributes of", &shown(&entry.path), errno);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let named = openat(parent, name, flags, Mode::empty()).map_err(fail)?;
        let (uid, gid) = owner(entry);
        chownat(&named, "", uid, gid, AtFlags::EMPTY_PATH).map_err(fail)?;
        let kind = FileType::from_raw_mode(fstat(&named).map_err(fail)?.st_mode);
        if kind != FileType::Symlink {
            chmod(itself(named.as_fd()), Mode::from_raw_mode(entry.mode)).map_err(fail)?;
        }
        utimensat(&named, "", &times(entry.mtime), AtFlags::EMPTY_PATH).map_err(fail)
    }

    fn set_directory_times(&mut self) -> Result<(), ArchiveError> {
        for (path, mtime) in std::mem::take(&mut self.directories) {
            match resolve(self.root, &self.inside(path.bytes())) {
                Ok(open) => utimensat(&open, ".", &times(mtime), AtFlags::empty()),
                // Somebody has taken it away.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(errno),
            }
            .map_err(|errno| failed("set times of", &shown(path.bytes()), errno))?;
        }
        Ok(())
    }
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

#[cfg(test)]
mod tests;
