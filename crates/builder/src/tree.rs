//! Files that steps copy from: a context's, or those below a path of an image. Names are text as `paths.rs` makes it of any
//! bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use archive::EntryKind;
use dockerfile::Glob;
use ids::{Digest, Hasher};

use crate::error::BuildError;
use crate::lent::Contents;
use crate::paths::{clean, join};
use crate::rootfs;

/// Links that lead to links.
const MAX_LINKS: usize = 64;

/// One name.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub kind: NodeKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// `digest` of the content where it is known already; `offset` in the spool.
    File {
        size: u64,
        offset: u64,
        digest: Option<Digest>,
    },
    Directory,
    Symlink(String),
    /// A device or a pipe.
    Special(EntryKind),
}

/// Names by path, sorted; the root is no member.
#[derive(Debug)]
pub(crate) struct Tree {
    pub nodes: BTreeMap<String, Node>,
    pub store: Store,
}

/// Where the content of files is.
#[derive(Debug)]
pub(crate) enum Store {
    /// One file that has all contents, one behind the other.
    Spool(File),
    /// An image's root.
    Root(OwnedFd),
    /// Files by their digests.
    Contents(Arc<dyn Contents>),
}

impl Node {
    pub fn folder() -> Self {
        Self { kind: NodeKind::Directory, mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() }
    }

    pub fn is_folder(&self) -> bool {
        self.kind == NodeKind::Directory
    }
}

impl Tree {
    /// The path behind all links, inside of the tree; `None` where nothing is.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut pending: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&at, &part);
            match self.nodes.get(&next)?.kind {
                NodeKind::Symlink(ref target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    pending.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => at = next,
            }
        }
        Some(at)
    }

    /// A path that led through links to what this tree was made of names the same.
    pub fn name_links(&mut self, path: &str, real: &str) {
        if path == real || path.is_empty() {
            return;
        }
        for parent in crate::paths::parents(path) {
            self.nodes.entry(parent.to_owned()).or_insert_with(Node::folder);
        }
        let link = Node { kind: NodeKind::Symlink(format!("/{real}")), ..Node::folder() };
        self.nodes.insert(path.to_owned(), link);
    }

    /// Everything below a folder, by its path inside of it.
    pub fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let length = prefix.len();
        let from = self.nodes.range(prefix.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&prefix)).map(move |(path, node)| (&path[length..], node))
    }

    /// Paths that a pattern names, in order. A path without a pattern is answered as it is, there or not.
    pub fn matching(&self, pattern: &str) -> Result<Vec<String>, BuildError> {
        let wrong = || BuildError::invalid(format!("syntax error in pattern: {pattern}"));
        let cleaned = clean(pattern).ok_or_else(|| BuildError::invalid(format!("forbidden path: {pattern}")))?;
        let glob = Glob::deep(&cleaned).ok_or_else(wrong)?;
        if glob.is_literal() {
            return Ok(vec![cleaned]);
        }
        Ok(self.nodes.keys().filter(|path| glob.matches(path)).cloned().collect())
    }

    /// A file's content.
    pub fn open(&self, path: &str, node: &Node) -> io::Result<Box<dyn Read + '_>> {
        match (&self.store, &node.kind) {
            (Store::Spool(file), NodeKind::File { size, offset, .. }) => {
                Ok(Box::new(Part { file, at: *offset, end: offset.saturating_add(*size) }))
            }
            (Store::Root(root), NodeKind::File { .. }) => Ok(Box::new(rootfs::open_file(root.as_fd(), path)?)),
            (Store::Contents(contents), NodeKind::File { digest: Some(digest), .. }) => {
                Ok(Box::new(contents.open(digest)?))
            }
            _ => Ok(Box::new(io::empty())),
        }
    }

    /// A whole file, if it has not more bytes than this.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(resolved) = self.resolve(path) else { return Ok(None) };
        let Some(node) = self.nodes.get(&resolved) else { return Ok(None) };
        let NodeKind::File { size, .. } = node.kind else { return Ok(None) };
        if size > limit {
            return Err(io::Error::other(format!("{path} has more than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        self.open(&resolved, node)?.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The digest of a file's content, read if need be.
    pub fn content_digest(&self, path: &str, node: &Node) -> io::Result<Digest> {
        match &node.kind {
            NodeKind::File { digest: Some(digest), .. } => Ok(*digest),
            _ => {
                let mut hasher = Hasher::new();
                let mut reader = self.open(path, node)?;
                let mut buffer = vec![0; 64 << 10];
                loop {
                    match reader.read(&mut buffer)? {
                        0 => return Ok(hasher.finish()),
                        length => hasher.update(&buffer[..length]),
                    }
                }
            }
        }
    }
}

/// A part of a file that others read too.
struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let length = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[(&str, NodeKind)]) -> Tree {
        let node = |kind: &NodeKind| Node { kind: kind.clone(), ..Node::folder() };
        Tree {
            nodes: names.iter().map(|(name, kind)| ((*name).to_owned(), node(kind))).collect(),
            store: Store::Spool(tempfile::tempfile().unwrap()),
        }
    }

    #[test]
    fn links_lead_nowhere_but_inside() {
        let link = |target: &str| NodeKind::Symlink(target.to_owned());
        let tree = tree(&[
            ("a", NodeKind::Directory),
            ("a/up", link("../../../b")),
            ("a/abs", link("/b")),
            ("b", NodeKind::Directory),
            ("loop", link("loop")),
            ("out", link("/etc/passwd")),
        ]);
        assert_eq!(tree.resolve("a/up").as_deref(), Some("b"));
        assert_eq!(tree.resolve("a/abs").as_deref(), Some("b"));
        assert_eq!(tree.resolve("loop"), None);
        assert_eq!(tree.resolve("out"), None);
        assert_eq!(tree.matching("[ab]").unwrap(), ["a", "b"]);
        assert_eq!(tree.matching("a/*").unwrap(), ["a/abs", "a/up"]);
        assert!(tree.matching("../x").is_err());
        assert_eq!(tree.below("a").map(|(path, _)| path).collect::<Vec<_>>(), ["abs", "up"]);
    }
}
