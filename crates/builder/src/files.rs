//! The files of a result, for whoever wants them instead of an image.

use std::io::{self, Read};

use archive::{Entry, EntryKind, TarWriter};
use bytes::Bytes;

use crate::layer;
use crate::paths::bytes_of;
use crate::ports::LayerStream;
use crate::tree::{Node, NodeKind, Tree};

/// The files of an image.
#[derive(Debug)]
pub struct ImageFiles {
    tree: Tree,
    /// Where they are in a result of several platforms; empty for the root.
    folder: String,
    /// Further files beside them.
    more: Vec<(String, Bytes)>,
}

/// One of them; its kind is never a hard link.
#[derive(Debug, Clone)]
pub struct ImageFile {
    /// As [`ImageFiles::open`] takes it.
    pub path: String,
    pub kind: EntryKind,
    pub size: u64,
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

impl ImageFile {
    /// Its name as it is, where that is text.
    pub fn name(&self) -> Option<&str> {
        (*bytes_of(&self.path) == *self.path.as_bytes()).then_some(self.path.as_str())
    }
}

impl ImageFiles {
    pub(crate) fn of(tree: Tree) -> Self {
        Self { tree, folder: String::new(), more: Vec::new() }
    }

    /// The same files in a folder of their own.
    pub fn below(self, folder: &str) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }

    /// Adds a file; one of the image's that has its name is hidden.
    pub fn add(&mut self, name: &str, content: Bytes) {
        self.tree.nodes.remove(name);
        self.more.push((name.to_owned(), content));
    }

    fn path(&self, path: &str) -> String {
        crate::paths::join(&self.folder, path)
    }

    /// Sorted part by part; each folder before what is in it.
    pub fn list(&self) -> Vec<ImageFile> {
        let own = self.tree.nodes.iter().map(|(path, node)| file(self.path(path), node));
        let more = self.more.iter().map(|(name, content)| ImageFile {
            path: self.path(name),
            kind: EntryKind::File,
            size: content.len() as u64,
            mode: 0o644,
            mtime: 0,
        });
        let folder = Some(file(self.folder.clone(), &Node::folder())).filter(|folder| !folder.path.is_empty());
        let mut files: Vec<ImageFile> = own.chain(more).chain(folder).collect();
        files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        files
    }

    pub fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let own = match self.folder.as_str() {
            "" => path,
            folder => path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).ok_or_else(missing)?,
        };
        if let Some((_, content)) = self.more.iter().find(|(name, _)| name == own) {
            return Ok(Box::new(&content[..]));
        }
        self.tree.open(own, self.tree.nodes.get(own).ok_or_else(missing)?)
    }

    /// All of these as one archive.
    pub fn into_tar(all: Vec<Self>) -> LayerStream {
        layer::make(move |out| {
            let mut writer = TarWriter::new(out);
            for files in &all {
                files.write(&mut writer)?;
            }
            writer.finish().map(drop).map_err(told)
        })
    }

    fn write<W: io::Write>(&self, writer: &mut TarWriter<W>) -> io::Result<()> {
        if !self.folder.is_empty() {
            let entry = Entry::new(format!("{}/", self.folder), EntryKind::Directory, 0o755);
            writer.append(&entry, &mut io::empty()).map_err(told)?;
        }
        for (path, node) in &self.tree.nodes {
            let file = file(self.path(path), node);
            let mut name = bytes_of(&file.path).into_owned();
            name.extend(node.is_folder().then_some(b'/'));
            let mut entry = Entry::new(name, file.kind, file.mode);
            (entry.uid, entry.gid, entry.size) = (node.uid, node.gid, file.size);
            entry.mtime = (file.mtime, 0);
            entry.xattrs.clone_from(&node.xattrs);
            writer.append(&entry, &mut self.tree.open(path, node)?).map_err(told)?;
        }
        for (name, content) in &self.more {
            let mut entry = Entry::new(self.path(name), EntryKind::File, 0o644);
            entry.size = content.len() as u64;
            writer.append(&entry, &mut &content[..]).map_err(told)?;
        }
        Ok(())
    }
}

fn told(error: archive::ArchiveError) -> io::Error {
    io::Error::other(errors::chain(&error))
}

fn file(path: String, node: &Node) -> ImageFile {
    let (kind, size) = match &node.kind {
        NodeKind::File { size, .. } => (EntryKind::File, *size),
        NodeKind::Directory => (EntryKind::Directory, 0),
        NodeKind::Symlink(target) => (EntryKind::Symlink(bytes_of(target).into_owned()), 0),
        NodeKind::Special(kind) => (kind.clone(), 0),
    };
    ImageFile { path, kind, size, mode: node.mode, mtime: node.mtime.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tree::Store;

    fn files(names: &[&str]) -> ImageFiles {
        let nodes: BTreeMap<String, Node> = names.iter().map(|name| ((*name).to_owned(), Node::folder())).collect();
        ImageFiles::of(Tree { nodes, store: Store::Spool(tempfile::tempfile().unwrap()) })
    }

    fn listed(files: &ImageFiles) -> Vec<String> {
        files.list().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn files_stand_behind_their_folder() {
        assert_eq!(listed(&files(&["a", "a.txt", "a/b", "a/b/c"])), ["a", "a/b", "a/b/c", "a.txt"]);
    }

    #[test]
    fn a_platform_has_a_folder_and_further_files() {
        let mut files = files(&["a", "sbom.json"]).below("linux_amd64");
        files.add("sbom.json", Bytes::from_static(b"{}"));
        assert_eq!(listed(&files), ["linux_amd64", "linux_amd64/a", "linux_amd64/sbom.json"]);
        let mut text = String::new();
        files.open("linux_amd64/sbom.json").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}");
        assert!(files.open("sbom.json").is_err() && files.open("linux_amd64/missing").is_err());
    }
}
