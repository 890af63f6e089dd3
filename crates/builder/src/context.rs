//! A context's archive, taken in once: an index of names, and one file that has all contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use archive::{ArchiveError, Decompressed, Entry, EntryKind, Incoming, Limits, TarReader};
use bytes::Bytes;
use dockerfile::IgnoreRules;
use ids::Hasher;
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;

use crate::error::BuildError;
use crate::lent::{ContextFiles, ContextKind};
use crate::paths::{absolute, clean, parents, text_of};
use crate::request::IgnoreFile;
use crate::tree::{Node, NodeKind, Store, Tree};

/// Names of one context, and bytes of it.
const MAX_NAMES: u64 = 2_000_000;
const MAX_BYTES: u64 = 1 << 40;
const IGNORE_FILE: &str = ".dockerignore";
const MAX_IGNORE_BYTES: u64 = 1 << 20;

/// Reads an archive, compressed or not, to its end.
pub(crate) fn read(source: impl Read, spool_folder: &Path) -> Result<Tree, BuildError> {
    let limits = Limits { entries: MAX_NAMES, archive_bytes: MAX_BYTES, ..Limits::default() };
    let plain =
        Decompressed::new(source, MAX_BYTES).map_err(|error| BuildError::file("read the build context", error))?;
    let mut reader = TarReader::new(plain, limits);
    let spool = spool(spool_folder).map_err(|error| BuildError::file("make room for the build context", error))?;
    let mut taking = Taking { nodes: BTreeMap::new(), spool: BufWriter::with_capacity(256 << 10, spool), at: 0 };
    while let Some(entry) = reader.next_entry().map_err(BuildError::Context)? {
        taking.take(&entry, &mut reader)?;
    }
    reader.drain().map_err(BuildError::Context)?;
    let spool = taking.spool.into_inner().map_err(|error| written(error.into_error()))?;
    Ok(Tree { nodes: taking.nodes, store: Store::Spool(spool) })
}

/// A context of one file.
pub(crate) fn of_file(name: &str, content: &[u8], spool_folder: &Path) -> Result<Tree, BuildError> {
    let mut tree = empty(spool_folder)?;
    let Store::Spool(file) = &mut tree.store else { return Ok(tree) };
    file.write_all(content).map_err(written)?;
    let kind = NodeKind::File { size: content.len() as u64, offset: 0, digest: None };
    tree.nodes.insert(name.to_owned(), Node { kind, mode: 0o644, ..Node::folder() });
    Ok(tree)
}

/// A context whose contents lie here.
pub(crate) fn of_files(files: ContextFiles) -> Result<Tree, BuildError> {
    let mut nodes = BTreeMap::new();
    for entry in files.entries {
        let kind = match entry.kind {
            ContextKind::File { size, digest } => NodeKind::File { size, offset: 0, digest: Some(digest) },
            ContextKind::Folder => NodeKind::Directory,
            ContextKind::Link(target) => NodeKind::Symlink(text_of(target.as_bytes())),
            ContextKind::Fifo => NodeKind::Special(EntryKind::Fifo),
            ContextKind::CharacterDevice { major, minor } => NodeKind::Special(EntryKind::Character { major, minor }),
            ContextKind::BlockDevice { major, minor } => NodeKind::Special(EntryKind::Block { major, minor }),
        };
        let Some(path) = name(entry.path.as_bytes())? else { continue };
        let (mode, mtime, xattrs) = (entry.mode & 0o7777, entry.mtime, entry.xattrs);
        nodes.insert(path, Node { kind, mode, uid: 0, gid: 0, mtime, xattrs });
    }
    Ok(Tree { nodes, store: Store::Contents(files.contents) })
}

pub(crate) fn empty(spool_folder: &Path) -> Result<Tree, BuildError> {
    let spool = spool(spool_folder).map_err(|error| BuildError::file("make room for the build context", error))?;
    Ok(Tree { nodes: BTreeMap::new(), store: Store::Spool(spool) })
}

/// The Dockerfile and the ignore file stay out of what is copied if the rules say so; everything else that they name the
/// client has left at home. Answers the rules.
pub(crate) fn hide_ignored(tree: &mut Tree, dockerfile: &str) -> Result<Option<IgnoreFile>, BuildError> {
    let rules =
        tree.read(IGNORE_FILE, MAX_IGNORE_BYTES).map_err(|error| BuildError::file("read .dockerignore", error))?;
    let Some(rules) = rules else { return Ok(None) };
    let rules = IgnoreRules::parse(&String::from_utf8_lossy(&rules))
        .map_err(|error| BuildError::invalid(format!("error reading .dockerignore: {error}")))?;
    for name in [IGNORE_FILE, dockerfile] {
        if rules.ignores(name) {
            tree.nodes.remove(name);
        }
    }
    Ok(Some(IgnoreFile { name: IGNORE_FILE.to_owned(), rules }))
}

/// A file without a name (open(2), O_TMPFILE).
pub(crate) fn spool(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?))
}

fn written(error: io::Error) -> BuildError {
    BuildError::file("keep the build context", error)
}

struct Taking {
    nodes: BTreeMap<String, Node>,
    spool: BufWriter<File>,
    at: u64,
}

impl Taking {
    fn take<R: io::BufRead>(&mut self, entry: &Entry, reader: &mut TarReader<R>) -> Result<(), BuildError> {
        let Some(path) = name_in_archive(&entry.path) else { return Ok(()) };
        let kind = match &entry.kind {
            EntryKind::File => self.content(reader)?,
            EntryKind::Directory => NodeKind::Directory,
            EntryKind::Symlink(target) => NodeKind::Symlink(text_of(target)),
            EntryKind::HardLink(target) => self.linked(target)?,
            special => NodeKind::Special(special.clone()),
        };
        for parent in parents(&path) {
            // What stands in a folder's place is replaced, as unpacking would.
            match self.nodes.get(parent) {
                Some(node) if node.is_folder() => {}
                _ => drop(self.nodes.insert(parent.to_owned(), Node::folder())),
            }
        }
        if kind != NodeKind::Directory {
            self.forget_below(&path);
        }
        let node = Node {
            kind,
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        };
        self.nodes.insert(path, node);
        Ok(())
    }

    fn forget_below(&mut self, path: &str) {
        if self.nodes.get(path).is_some_and(Node::is_folder) {
            let prefix = format!("{path}/");
            self.nodes.retain(|name, _| !name.starts_with(&prefix));
        }
    }

    fn content<R: io::BufRead>(&mut self, reader: &mut TarReader<R>) -> Result<NodeKind, BuildError> {
        let (offset, mut hasher) = (self.at, Hasher::new());
        let taken = reader.content(|piece| {
            hasher.update(piece);
            self.at += piece.len() as u64;
            self.spool.write_all(piece)
        });
        taken.map_err(BuildError::Context)?.map_err(written)?;
        Ok(NodeKind::File { size: self.at - offset, offset, digest: Some(hasher.finish()) })
    }

    /// A hard link is its target's content under another name; it can only name what came before.
    fn linked(&self, target: &[u8]) -> Result<NodeKind, BuildError> {
        let path = name_in_archive(target).unwrap_or_default();
        match self.nodes.get(&path) {
            Some(node) if !node.is_folder() => Ok(node.kind.clone()),
            _ => Err(BuildError::invalid(format!("the build context has a hard link to {path:?}, which is not in it"))),
        }
    }
}

/// `None` for the root itself.
fn name(path: &[u8]) -> Result<Option<String>, BuildError> {
    let path = text_of(path);
    match clean(&path) {
        Some(path) => Ok(Some(path).filter(|path| !path.is_empty())),
        None => Err(BuildError::Context(ArchiveError::Path(path.into()))),
    }
}

/// The same of an archive, where `..` stops at the root: as Docker has it, which unpacks it there.
fn name_in_archive(path: &[u8]) -> Option<String> {
    let path = absolute("", &text_of(path)).trim_start_matches('/').to_owned();
    Some(path).filter(|path| !path.is_empty())
}

/// What a client sends, as a reader for code that blocks.
pub(crate) fn incoming(mut pieces: mpsc::Receiver<io::Result<Bytes>>) -> BufReader<Incoming<Bytes>> {
    BufReader::with_capacity(256 << 10, Incoming::new(move || pieces.blocking_recv()))
}

#[cfg(test)]
mod tests {
    use archive::TarWriter;

    use super::*;

    fn archive(entries: &[(&str, EntryKind, &str)]) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (path, kind, content) in entries {
            let mut entry = Entry::new(*path, kind.clone(), 0o644);
            entry.size = content.len() as u64;
            writer.append(&entry, &mut content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn taken(entries: &[(&str, EntryKind, &str)]) -> Result<Tree, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        read(&archive(entries)[..], folder.path())
    }

    #[test]
    fn contents_are_found_again_by_name_and_link() {
        let tree = taken(&[
            ("./d/a", EntryKind::File, "alpha"),
            ("b", EntryKind::HardLink(b"d/a".to_vec()), ""),
            ("l", EntryKind::Symlink(b"d/a".to_vec()), ""),
        ])
        .unwrap();
        assert_eq!(tree.nodes.keys().collect::<Vec<_>>(), ["b", "d", "d/a", "l"]);
        for path in ["d/a", "b", "l"] {
            assert_eq!(tree.read(path, 100).unwrap().as_deref(), Some(&b"alpha"[..]), "{path}");
        }
        assert!(tree.read("d/a", 4).is_err());
    }

    #[test]
    fn names_of_any_bytes_are_taken_and_told_apart() {
        let mut writer = TarWriter::new(Vec::new());
        for name in [&b"gr\xfc\xdfe"[..], "grüße".as_bytes()] {
            let mut entry = Entry::new(name, EntryKind::File, 0o644);
            entry.size = name.len() as u64;
            writer.append(&entry, &mut &name[..]).unwrap();
        }
        let link = Entry::new("link", EntryKind::Symlink(b"gr\xfc\xdfe".to_vec()), 0o777);
        writer.append(&link, &mut &b""[..]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tree = read(&writer.finish().unwrap()[..], folder.path()).unwrap();
        assert_eq!(tree.nodes.len(), 3);
        assert_eq!(tree.read("link", 100).unwrap().as_deref(), Some(&b"gr\xfc\xdfe"[..]));
        assert_eq!(tree.matching("gr*e").unwrap().len(), 2);
    }

    #[test]
    fn a_hostile_archive_reaches_nothing() {
        for (path, inside) in [("../a", "a"), ("/../a", "a"), ("a/../../b", "b")] {
            let tree = taken(&[(path, EntryKind::File, "x")]).unwrap();
            assert_eq!(tree.nodes.keys().collect::<Vec<_>>(), [inside], "{path}");
        }
        assert!(taken(&[("a", EntryKind::HardLink(b"/etc/passwd".to_vec()), "")]).is_err());
        let tree = taken(&[
            ("a", EntryKind::Symlink(b"/etc".to_vec()), ""),
            ("a/passwd", EntryKind::File, "mine"),
            ("e", EntryKind::Symlink(b"/etc/passwd".to_vec()), ""),
        ])
        .unwrap();
        assert_eq!(tree.read("a/passwd", 100).unwrap().as_deref(), Some(&b"mine"[..]));
        assert_eq!(tree.read("e", 100).unwrap(), None);
    }

    #[test]
    fn the_dockerfile_is_hidden_where_the_rules_say_so() {
        let mut tree = taken(&[
            ("Dockerfile", EntryKind::File, "FROM a"),
            (".dockerignore", EntryKind::File, "Dockerfile\n.dockerignore\n"),
            ("x", EntryKind::File, ""),
        ])
        .unwrap();
        hide_ignored(&mut tree, "Dockerfile").unwrap();
        assert_eq!(tree.nodes.keys().collect::<Vec<_>>(), ["x"]);
    }
}
