//! Makes a layer: from an overlay's upper directory, or from the difference of two trees (image-spec layer.md,
//! "Representing Changes"). The same trees give the same bytes: names are sorted, times are whole seconds, nothing of the
//! host gets in.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ids::Digest;
use rustix::fs::{OFlags, major, minor};

use crate::entry::{Entry, EntryKind};
use crate::error::ArchiveError;
use crate::hashed_writer::HashedWriter;
use crate::root::failed;
use crate::write::TarWriter;
use crate::xattrs;

/// What was written, before any compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The layer's DiffID.
    pub diff_id: Digest,
    pub size: u64,
    pub entries: u64,
}

/// The layer that an overlay's upper directory holds: character devices 0:0 and opaque marks become whiteouts.
pub fn diff_upper(upper: &Path, target: impl Write) -> Result<Written, ArchiveError> {
    let mut layer = Layer::new(target);
    layer.add_upper(upper, &mut PathBuf::new())?;
    layer.finish()
}

/// The layer that makes `upper` of `lower`. Without `lower` it is the whole tree.
pub fn diff_directories(lower: Option<&Path>, upper: &Path, target: impl Write) -> Result<Written, ArchiveError> {
    let mut layer = Layer::new(target);
    layer.add_changes(lower, upper, &mut PathBuf::new())?;
    layer.finish()
}

struct Layer<W: Write> {
    writer: TarWriter<HashedWriter<W>>,
    /// Files with several names, by device and inode: the first name written.
    links: HashMap<(u64, u64), PathBuf>,
    /// Directories above a change that are not written yet, outermost first.
    pending: Vec<(PathBuf, PathBuf)>,
    entries: u64,
}

impl<W: Write> Layer<W> {
    fn new(target: W) -> Self {
        let target = HashedWriter::new(target);
        Self { writer: TarWriter::new(target), links: HashMap::new(), pending: Vec::new(), entries: 0 }
    }

    fn finish(self) -> Result<Written, ArchiveError> {
        let target = self.writer.finish()?;
        Ok(Written { diff_id: target.hasher.finish(), size: target.bytes, entries: self.entries })
    }

    fn add_upper(&mut self, directory: &Path, inside: &mut PathBuf) -> Result<(), ArchiveError> {
        if xattrs::is_opaque(directory).map_err(|e| failed("read", directory, e))? && !inside.as_os_str().is_empty() {
            self.whiteout(&inside.join(".wh..wh..opq"))?;
        }
        for name in names(directory)? {
            let path = directory.join(&name);
            let metadata = look(&path)?;
            inside.push(&name);
            if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
                self.whiteout(&inside.with_file_name(whiteout_name(&name)))?;
            } else {
                self.add(&path, inside, &metadata)?;
                if metadata.is_dir() {
                    self.add_upper(&path, inside)?;
                }
            }
            inside.pop();
        }
        Ok(())
    }

    fn add_changes(&mut self, lower: Option<&Path>, upper: &Path, inside: &mut PathBuf) -> Result<(), ArchiveError> {
        let above = names(upper)?;
        let below = lower.map(names).transpose()?.unwrap_or_default();
        let mut gone = below.iter().filter(|name| above.binary_search(name).is_err()).peekable();
        for name in &above {
            // Whiteouts stand where the name would: the order is that of the names.
            while let Some(removed) = gone.next_if(|removed| *removed < name) {
                self.removed(inside, removed)?;
            }
            inside.push(name);
            let old = lower.map(|lower| lower.join(name)).filter(|_| below.binary_search(name).is_ok());
            self.add_change(old.as_deref(), &upper.join(name), inside)?;
            inside.pop();
        }
        gone.try_for_each(|removed| self.removed(inside, removed))
    }

    fn add_change(&mut self, lower: Option<&Path>, upper: &Path, inside: &mut PathBuf) -> Result<(), ArchiveError> {
        let new = look(upper)?;
        let old = lower.map(look).transpose()?;
        let same = match (lower, &old) {
            (Some(lower), Some(old)) => unchanged(lower, old, upper, &new)?,
            _ => false,
        };
        if !new.is_dir() {
            return if same { Ok(()) } else { self.add_below_pending(upper, inside, &new) };
        }
        if !same {
            self.add_below_pending(upper, inside, &new)?;
        } else {
            self.pending.push((upper.to_owned(), inside.clone()));
        }
        let lower = lower.filter(|_| old.as_ref().is_some_and(Metadata::is_dir));
        self.add_changes(lower, upper, inside)?;
        if self.pending.last().is_some_and(|(_, pending)| pending == inside) {
            self.pending.pop();
        }
        Ok(())
    }

    fn add_below_pending(&mut self, path: &Path, inside: &Path, metadata: &Metadata) -> Result<(), ArchiveError> {
        self.write_pending()?;
        self.add(path, inside, metadata)
    }

    fn removed(&mut self, directory: &Path, name: &OsStr) -> Result<(), ArchiveError> {
        self.write_pending()?;
        self.whiteout(&directory.join(whiteout_name(name)))
    }

    /// A layer names the directories above a change, so that whoever unpacks it alone gives them the right mode.
    fn write_pending(&mut self) -> Result<(), ArchiveError> {
        for (path, inside) in std::mem::take(&mut self.pending) {
            let metadata = look(&path)?;
            self.add(&path, &inside, &metadata)?;
        }
        Ok(())
    }

    fn whiteout(&mut self, inside: &Path) -> Result<(), ArchiveError> {
        self.entries += 1;
        self.writer.append(&Entry::new(inside.as_os_str().as_bytes(), EntryKind::File, 0), &mut io::empty())
    }

    fn add(&mut self, path: &Path, inside: &Path, metadata: &Metadata) -> Result<(), ArchiveError> {
        let Some(kind) = kind_of(path, metadata)? else { return Ok(()) };
        let mut name = inside.as_os_str().as_bytes().to_vec();
        if kind == EntryKind::Directory {
            name.push(b'/');
        }
        let mut entry = Entry::new(name, kind, metadata.mode() & 0o7777);
        entry.uid = metadata.uid();
        entry.gid = metadata.gid();
        entry.mtime = (metadata.mtime(), 0);
        self.entries += 1;
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let first = self.links.entry((metadata.dev(), metadata.ino())).or_insert_with(|| inside.to_owned());
            if first != inside {
                entry.kind = EntryKind::HardLink(first.as_os_str().as_bytes().to_vec());
                return self.writer.append(&entry, &mut io::empty());
            }
        }
        entry.xattrs = xattrs::read(path).map_err(|e| failed("read xattrs of", path, e))?;
        if entry.kind != EntryKind::File {
            return self.writer.append(&entry, &mut io::empty());
        }
        entry.size = metadata.size();
        self.writer.append(&entry, &mut open(path)?)
    }
}

/// `None` for sockets: an archive has no type for them, and they are of no use without their process.
fn kind_of(path: &Path, metadata: &Metadata) -> Result<Option<EntryKind>, ArchiveError> {
    let kind = metadata.file_type();
    let device = (major(metadata.rdev()), minor(metadata.rdev()));
    Ok(Some(if kind.is_file() {
        EntryKind::File
    } else if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(|e| failed("read", path, e))?;
        EntryKind::Symlink(target.into_os_string().as_bytes().to_vec())
    } else if kind.is_char_device() {
        EntryKind::Character { major: device.0, minor: device.1 }
    } else if kind.is_block_device() {
        EntryKind::Block { major: device.0, minor: device.1 }
    } else if kind.is_fifo() {
        EntryKind::Fifo
    } else {
        return Ok(None);
    }))
}

/// Whether nothing that a layer records differs. Of a directory the time does not count: every change inside moves it.
fn unchanged(lower: &Path, old: &Metadata, upper: &Path, new: &Metadata) -> Result<bool, ArchiveError> {
    let frame = |m: &Metadata| (m.mode(), m.uid(), m.gid(), m.rdev());
    if frame(old) != frame(new) {
        return Ok(false);
    }
    let read = |path: &Path| xattrs::read(path).map_err(|e| failed("read xattrs of", path, e));
    if (old.dev(), old.ino()) == (new.dev(), new.ino()) {
        return Ok(true);
    }
    if read(lower)? != read(upper)? {
        return Ok(false);
    }
    if new.is_dir() {
        return Ok(true);
    }
    if new.file_type().is_symlink() {
        let target = |path: &Path| fs::read_link(path).map_err(|e| failed("read", path, e));
        return Ok(target(lower)? == target(upper)?);
    }
    if old.size() != new.size() || old.mtime() != new.mtime() {
        return Ok(false);
    }
    if old.mtime_nsec() == new.mtime_nsec() && new.mtime_nsec() != 0 {
        return Ok(true);
    }
    // Whole seconds on one side at least: an archive's time, which says little.
    if new.is_file() { same_content(lower, upper) } else { Ok(true) }
}

fn same_content(one: &Path, other: &Path) -> Result<bool, ArchiveError> {
    let (mut first, mut second) = (open(one)?, open(other)?);
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = first.read(&mut left).map_err(|e| failed("read", one, e))?;
        if length == 0 {
            return Ok(true);
        }
        match second.read_exact(&mut right[..length]) {
            Ok(()) if left[..length] == right[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(failed("read", other, error)),
        }
    }
}

fn open(path: &Path) -> Result<File, ArchiveError> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| failed("open", path, e))
}

fn look(path: &Path) -> Result<Metadata, ArchiveError> {
    fs::symlink_metadata(path).map_err(|e| failed("stat", path, e))
}

fn names(directory: &Path) -> Result<Vec<OsString>, ArchiveError> {
    let fail = |e| failed("read", directory, e);
    let mut names = fs::read_dir(directory)
        .map_err(fail)?
        .map(|found| found.map(|found| found.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    names.sort();
    Ok(names)
}

fn whiteout_name(name: &OsStr) -> OsString {
    let mut whiteout = OsString::from(".wh.");
    whiteout.push(name);
    whiteout
}
