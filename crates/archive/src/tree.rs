//! Archives a tree that somebody else may be changing: a container's, by `docker cp`, `export` and `commit`.
//!
//! Nothing is reached by a path of more than one component: each directory is opened from its parent without following a
//! link, and what is read is what was opened. So a name that becomes a link meanwhile leads nowhere (CVE-2018-15664).
//! What goes away while it is being read is left out; a file that shrinks is filled up, so that the archive stays whole.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat};
use rustix::io::Errno;
use sys::users::IdMaps;

use crate::entry::{Entry, EntryKind};
use crate::error::ArchiveError;
use crate::owners;
use crate::root::{failed, is_whiteout, itself, through};
use crate::write::TarWriter;
use crate::xattrs;

/// Directories inside directories: each level holds a descriptor.
pub const DEEPEST: usize = 512;
/// Bytes of the names of one directory, which are sorted in memory.
const MAX_NAME_BYTES: usize = 64 << 20;

/// What becomes of one name of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// With everything below it.
    Whole,
    /// Itself, as an empty directory.
    Shallow,
    /// A directory only if something below it is archived.
    IfNeeded,
    Skip,
}

/// Whether the marks of an overlay mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    None,
    /// The tree is an upper directory: character devices 0:0 and opaque directories become `.wh.` entries.
    Overlay,
}

/// How a tree becomes an archive.
pub struct TreeOptions<'a> {
    /// What the tree's root is called in the archive; without a name it has no entry and its children's names are bare.
    pub name: Option<Vec<u8>>,
    pub marks: Marks,
    /// Decides by the path inside the tree (without the root) and what is there.
    pub visit: &'a dyn Fn(&Path, &Stat) -> Visit,
}

/// An archive that trees and single files are added to.
pub struct TreeWriter<W: Write> {
    writer: TarWriter<W>,
    /// Files with several names, by device and inode: the first name written.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    /// Directories that are written once something below them is, outermost first.
    pending: Vec<Entry>,
    /// Whose namespace's owners the archive tells; none: those of the files.
    users: Option<IdMaps>,
}

impl<W: Write> TreeWriter<W> {
    pub fn new(target: W) -> Self {
        Self { writer: TarWriter::new(target), links: HashMap::new(), entries: 0, pending: Vec::new(), users: None }
    }

    /// The archive tells who owns the files inside of a user namespace.
    pub fn for_users(mut self, users: Option<IdMaps>) -> Self {
        self.users = users;
        self
    }

    /// Everything below an open directory, and itself if it has a name.
    pub fn add_tree(&mut self, directory: BorrowedFd<'_>, options: &TreeOptions<'_>) -> Result<(), ArchiveError> {
        let root = reopen(directory).map_err(|e| failed("open", Path::new("/"), e))?;
        if let Some(name) = &options.name {
            let stat = fstat(&root).map_err(|e| failed("stat", Path::new("/"), e))?;
            let entry = directory_entry(name, &stat, root.as_fd(), b".")?;
            self.put(&entry, &mut io::empty())?;
        }
        let mut inside = PathBuf::new();
        self.walk(root.as_fd(), options, &mut inside, options.name.as_deref(), 0)
    }

    /// One name of an open directory, whatever it is; of a directory nothing that is below it.
    pub fn add_one(&mut self, parent: BorrowedFd<'_>, name: &[u8], shown_as: &[u8]) -> Result<(), ArchiveError> {
        let path = Path::new(OsStr::from_bytes(shown_as));
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed("stat", path, e))?;
        self.leaf(parent, name, shown_as.to_vec(), &stat, path)
    }

    /// A file that is in no tree.
    pub fn add_file(&mut self, name: &[u8], mode: u32, content: &[u8]) -> Result<(), ArchiveError> {
        let mut entry = Entry::new(name, EntryKind::File, mode);
        entry.size = content.len() as u64;
        self.put(&entry, &mut &content[..])
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes the archive's end and gives the target back.
    pub fn finish(self) -> Result<W, ArchiveError> {
        self.writer.finish()
    }

    fn walk(
        &mut self,
        directory: BorrowedFd<'_>,
        options: &TreeOptions<'_>,
        inside: &mut PathBuf,
        shown_as: Option<&[u8]>,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        if depth > DEEPEST {
            return Err(ArchiveError::Limit { what: "depth of the tree", limit: DEEPEST as u64 });
        }
        for name in names(directory).map_err(|e| failed("read", inside, e))? {
            let bytes = name.to_bytes();
            let Some(stat) = look(directory, bytes).map_err(|e| failed("stat", inside, e))? else { continue };
            inside.push(OsStr::from_bytes(bytes));
            let named = |name: &[u8]| shown_as.map_or_else(|| name.to_vec(), |above| [above, b"/", name].concat());
            let visited = match (options.visit)(inside, &stat) {
                Visit::Skip => Ok(()),
                _ if options.marks == Marks::Overlay && is_whiteout(&stat) => {
                    let mark = Entry::new(named(&[b".wh.", bytes].concat()), EntryKind::File, 0);
                    self.put(&mark, &mut io::empty())
                }
                visit if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    self.directory(directory, bytes, options, inside, &named(bytes), visit, depth)
                }
                _ => self.leaf(directory, bytes, named(bytes), &stat, inside),
            };
            inside.pop();
            visited?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one step of one recursion, whose state this is")]
    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        options: &TreeOptions<'_>,
        inside: &mut PathBuf,
        shown_as: &[u8],
        visit: Visit,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = match openat(parent, name, flags, Mode::empty()) {
            Ok(open) => open,
            // It went away, or became something else, since it was looked at.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(failed("open", inside, errno)),
        };
        let stat = fstat(&open).map_err(|e| failed("stat", inside, e))?;
        let entry = directory_entry(shown_as, &stat, open.as_fd(), b".")?;
        let waiting = self.pending.len();
        if visit == Visit::IfNeeded {
            self.pending.push(entry);
        } else {
            self.put(&entry, &mut io::empty())?;
        }
        if visit == Visit::Shallow {
            return Ok(());
        }
        if options.marks == Marks::Overlay && is_opaque(open.as_fd(), inside)? {
            let mark = Entry::new([shown_as, b"/.wh..wh..opq"].concat(), EntryKind::File, 0);
            self.put(&mark, &mut io::empty())?;
        }
        self.walk(open.as_fd(), options, inside, Some(shown_as), depth + 1)?;
        self.pending.truncate(waiting);
        Ok(())
    }

    /// Anything but a directory below which more is archived.
    fn leaf(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        shown_as: Vec<u8>,
        stat: &Stat,
        inside: &Path,
    ) -> Result<(), ArchiveError> {
        let fail = |operation, errno: Errno| failed(operation, inside, errno);
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(parent, name, shown_as, inside),
            FileType::Directory => {
                let entry = directory_entry(&shown_as, stat, parent, name)?;
                return self.put(&entry, &mut io::empty());
            }
            FileType::Symlink => match readlinkat(parent, name, Vec::new()) {
                Ok(target) => EntryKind::Symlink(target.into_bytes()),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                Err(errno) => return Err(fail("read", errno)),
            },
            FileType::CharacterDevice => EntryKind::Character { major: device.0, minor: device.1 },
            FileType::BlockDevice => EntryKind::Block { major: device.0, minor: device.1 },
            FileType::Fifo => EntryKind::Fifo,
            // An archive has no type for sockets, and they are of no use without their process.
            _ => return Ok(()),
        };
        let mut entry = entry_of(shown_as, kind, stat);
        if let Some(first) = self.earlier_name(stat, &entry.path) {
            entry.kind = EntryKind::HardLink(first);
            return self.put(&entry, &mut io::empty());
        }
        entry.xattrs = xattrs::read(&through(parent, name)).or_else(gone).map_err(|e| fail("read xattrs of", e))?;
        self.put(&entry, &mut io::empty())
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        shown_as: Vec<u8>,
        inside: &Path,
    ) -> Result<(), ArchiveError> {
        let fail = |operation, errno: Errno| failed(operation, inside, errno);
        // Without NONBLOCK a FIFO in its place would hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(parent, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(()),
            Err(errno) => return Err(fail("open", errno)),
        };
        let stat = fstat(&file).map_err(|e| fail("stat", e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let mut entry = entry_of(shown_as, EntryKind::File, &stat);
        if let Some(first) = self.earlier_name(&stat, &entry.path) {
            entry.kind = EntryKind::HardLink(first);
            entry.size = 0;
            return self.put(&entry, &mut io::empty());
        }
        entry.xattrs = xattrs::read_followed(&itself(file.as_fd())).map_err(|e| fail("read xattrs of", e))?;
        let mut content = Filled { file: File::from(file), ended: false };
        self.put(&entry, &mut content)
    }

    /// The name under which a file with several names was written before; remembers this one if there is none.
    fn earlier_name(&mut self, stat: &Stat, name: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        match self.links.entry((stat.st_dev, stat.st_ino)) {
            std::collections::hash_map::Entry::Occupied(known) => Some(known.get().clone()),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(name.to_vec());
                None
            }
        }
    }

    fn put(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ArchiveError> {
        for above in std::mem::take(&mut self.pending) {
            self.entries += 1;
            self.writer.append(&self.told(&above), &mut io::empty())?;
        }
        self.entries += 1;
        self.writer.append(&self.told(entry), content)
    }

    fn told<'e>(&self, entry: &'e Entry) -> Cow<'e, Entry> {
        let mut told = Cow::Borrowed(entry);
        if let Some(users) = &self.users {
            owners::inside(told.to_mut(), users);
        }
        told
    }
}

/// A file's content for as long as it lasts, zeros from then on: a member has the size that its header says.
struct Filled {
    file: File,
    ended: bool,
}

impl Read for Filled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ended {
            match self.file.read(buffer) {
                Ok(0) => self.ended = true,
                answer => return answer,
            }
        }
        buffer.fill(0);
        Ok(buffer.len())
    }
}

fn entry_of(name: Vec<u8>, kind: EntryKind, stat: &Stat) -> Entry {
    let mut entry = Entry::new(name, kind, stat.st_mode & 0o7777);
    entry.uid = stat.st_uid;
    entry.gid = stat.st_gid;
    entry.mtime = (stat.st_mtime, 0);
    if entry.kind == EntryKind::File {
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
    }
    entry
}

fn directory_entry(shown_as: &[u8], stat: &Stat, at: BorrowedFd<'_>, name: &[u8]) -> Result<Entry, ArchiveError> {
    let mut path = shown_as.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    let mut entry = entry_of(path, EntryKind::Directory, stat);
    let fail = |e| failed("read xattrs of", Path::new(OsStr::from_bytes(shown_as)), e);
    entry.xattrs = xattrs::read(&through(at, name)).or_else(gone).map_err(fail)?;
    Ok(entry)
}

fn gone<T: Default>(errno: Errno) -> Result<T, Errno> {
    if errno == Errno::NOENT { Ok(T::default()) } else { Err(errno) }
}

/// A directory's own descriptor, to be read from: the caller's may only name it (O_PATH).
fn reopen(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn look(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    crate::root::stat(directory, name)
}

fn is_opaque(directory: BorrowedFd<'_>, inside: &Path) -> Result<bool, ArchiveError> {
    xattrs::is_opaque(&through(directory, b".")).map_err(|e| failed("read", inside, e))
}

/// The names in an open directory, sorted.
pub fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    let mut bytes = 0;
    for found in Dir::read_from(directory)? {
        let found = found?;
        let name = found.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        bytes += name.count_bytes();
        if bytes > MAX_NAME_BYTES {
            return Err(io::Error::other("the directory has too many names"));
        }
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::reader::TarReader;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn everything(_: &Path, _: &Stat) -> Visit {
        Visit::Whole
    }

    fn archive(root: &Path, name: Option<&str>, marks: Marks, visit: &dyn Fn(&Path, &Stat) -> Visit) -> Vec<String> {
        let mut writer = TreeWriter::new(Vec::new());
        let open = File::open(root).unwrap();
        let options = TreeOptions { name: name.map(|name| name.as_bytes().to_vec()), marks, visit };
        writer.add_tree(open.as_fd(), &options).unwrap();
        listed(&writer.finish().unwrap())
    }

    fn listed(archive: &[u8]) -> Vec<String> {
        let mut reader = TarReader::new(archive, Limits::default());
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let name = String::from_utf8(entry.path).unwrap();
            found.push(match entry.kind {
                EntryKind::HardLink(first) => format!("{name} = {}", String::from_utf8(first).unwrap()),
                EntryKind::Symlink(target) => format!("{name} -> {}", String::from_utf8(target).unwrap()),
                _ => name,
            });
        }
        found
    }

    fn sample() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "text").unwrap();
        fs::hard_link(folder.path().join("a/b/file"), folder.path().join("a/again")).unwrap();
        symlink("/etc", folder.path().join("z")).unwrap();
        folder
    }

    #[test]
    fn the_root_s_name_stands_before_all_others() {
        let folder = sample();
        let list = |name| archive(folder.path(), name, Marks::None, &everything);
        assert_eq!(list(None), ["a/", "a/again", "a/b/", "a/b/file = a/again", "z -> /etc"]);
        assert_eq!(list(Some("x")), ["x/", "x/a/", "x/a/again", "x/a/b/", "x/a/b/file = x/a/again", "x/z -> /etc"]);
        assert_eq!(list(Some("."))[..2], ["./", "./a/"]);
        assert_eq!(list(Some(""))[..2], ["/", "/a/"]);
    }

    #[test]
    fn a_directory_can_be_left_out_shown_empty_or_only_where_something_is_in_it() {
        let folder = sample();
        let list = |wanted: Visit| {
            let visit = move |path: &Path, _: &Stat| if path == Path::new("a/b") { wanted } else { Visit::Whole };
            archive(folder.path(), None, Marks::None, &visit)
        };
        assert_eq!(list(Visit::Skip), ["a/", "a/again", "z -> /etc"]);
        assert_eq!(list(Visit::Shallow), ["a/", "a/again", "a/b/", "z -> /etc"]);
        let visit = |path: &Path, _: &Stat| match path.to_str() {
            Some("a" | "a/b") => Visit::IfNeeded,
            Some("a/again" | "a/b/file") => Visit::Skip,
            _ => Visit::Whole,
        };
        assert_eq!(archive(folder.path(), None, Marks::None, &visit), ["z -> /etc"]);
        fs::write(folder.path().join("a/b/more"), "").unwrap();
        assert_eq!(archive(folder.path(), None, Marks::None, &visit), ["a/", "a/b/", "a/b/more", "z -> /etc"]);
    }

    #[test]
    fn an_overlay_s_marks_become_whiteouts() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        let mark = folder.path().join("gone");
        rustix::fs::mknodat(rustix::fs::CWD, mark, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        let opened = File::open(folder.path()).unwrap();
        xattrs::set_opaque(opened.as_fd(), b"d").unwrap();
        assert_eq!(archive(folder.path(), None, Marks::Overlay, &everything), ["d/", "d/.wh..wh..opq", ".wh.gone"]);
    }

    #[test]
    fn a_file_that_shrinks_leaves_a_whole_archive() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "abc").unwrap();
        let mut content = Filled { file: File::open(folder.path().join("f")).unwrap(), ended: false };
        let mut read = [b'x'; 6];
        content.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"abc\0\0\0");
    }

    #[test]
    fn modes_and_owners_are_those_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "x").unwrap();
        std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
        let mut writer = TreeWriter::new(Vec::new());
        writer.add_one(File::open(folder.path()).unwrap().as_fd(), b"f", b"shown").unwrap();
        let bytes = writer.finish().unwrap();
        let entry = TarReader::new(&bytes[..], Limits::default()).next_entry().unwrap().unwrap();
        assert_eq!((entry.uid, entry.gid, entry.mode, entry.size), (7, 8, 0o4751, 1));
        assert_eq!(entry.path, b"shown");
    }
}
