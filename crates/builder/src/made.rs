//! What a build came to, before it has a name: an image in the making, and its files for whoever wants them instead.

use archive::{Entry, EntryKind, TarWriter};

use crate::builder::{Builder, blocking};
use crate::error::BuildError;
use crate::layer;
use crate::ports::{Image, LayerStream};
use crate::rootfs;
use crate::tree::{Node, NodeKind, Tree};

/// The result of a build.
#[derive(Debug, Clone)]
pub struct Made {
    pub id: String,
    pub image: Image,
    /// It is not in the store yet.
    pub(crate) is_new: bool,
}

/// The files of an image.
#[derive(Debug)]
pub struct ImageFiles {
    tree: Tree,
}

/// One of them; its kind is never a hard link.
#[derive(Debug, Clone)]
pub struct ImageFile {
    pub path: String,
    pub kind: EntryKind,
    pub size: u64,
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

impl Builder {
    /// Makes an image of it, without a name; answers its id.
    pub async fn store(&self, made: &Made) -> Result<String, BuildError> {
        match made.is_new {
            true => Ok(self.images().store(&made.image).await?),
            false => Ok(made.id.clone()),
        }
    }

    /// Names what was stored: `repository:tag`.
    pub async fn tag(&self, made: &Made, name: &str) -> Result<(), BuildError> {
        Ok(self.images().tag(&made.id, &made.image, name).await?)
    }

    /// Its files.
    pub async fn files(&self, made: &Made) -> Result<ImageFiles, BuildError> {
        if made.image.layers.is_empty() {
            return Ok(ImageFiles { tree: self.empty_tree()? });
        }
        let view = self.images().view(&made.image).await?;
        let mounted = rootfs::mount(&view.directories).map_err(|error| BuildError::file("look into the image", error));
        let tree = match mounted {
            Ok(root) => blocking(move || rootfs::load(root, "")).await.and_then(|tree| tree),
            Err(error) => Err(error),
        };
        // The tree has a descriptor of its own, through which the mount lives on.
        self.images().close(view).await?;
        Ok(ImageFiles { tree: tree? })
    }
}

impl ImageFiles {
    /// Sorted part by part; each folder before what is in it.
    pub fn list(&self) -> Vec<ImageFile> {
        let mut files: Vec<ImageFile> = self.tree.nodes.iter().map(|(path, node)| file(path, node)).collect();
        files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        files
    }

    pub fn open(&self, path: &str) -> std::io::Result<Box<dyn std::io::Read + '_>> {
        match self.tree.nodes.get(path) {
            Some(node) => self.tree.open(path, node),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// All of them as an archive.
    pub fn into_tar(self) -> LayerStream {
        layer::make(move |out| {
            let told = |error: archive::ArchiveError| std::io::Error::other(errors::chain(&error));
            let mut writer = TarWriter::new(out);
            for (path, node) in &self.tree.nodes {
                let file = file(path, node);
                let slash = if node.is_folder() { "/" } else { "" };
                let mut entry = Entry::new(format!("{path}{slash}"), file.kind, file.mode);
                (entry.uid, entry.gid, entry.size) = (node.uid, node.gid, file.size);
                entry.mtime = (file.mtime, 0);
                entry.xattrs.clone_from(&node.xattrs);
                writer.append(&entry, &mut self.tree.open(path, node)?).map_err(told)?;
            }
            writer.finish().map(drop).map_err(told)
        })
    }
}

fn file(path: &str, node: &Node) -> ImageFile {
    let (kind, size) = match &node.kind {
        NodeKind::File { size, .. } => (EntryKind::File, *size),
        NodeKind::Directory => (EntryKind::Directory, 0),
        NodeKind::Symlink(target) => (EntryKind::Symlink(target.clone().into_bytes()), 0),
        NodeKind::Special(kind) => (kind.clone(), 0),
    };
    ImageFile { path: path.to_owned(), kind, size, mode: node.mode, mtime: node.mtime.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tree::Store;

    #[test]
    fn files_stand_behind_their_folder() {
        let names = ["a", "a.txt", "a/b", "a/b/c"];
        let nodes: BTreeMap<String, Node> = names.iter().map(|name| ((*name).to_owned(), Node::folder())).collect();
        let files = ImageFiles { tree: Tree { nodes, store: Store::Spool(tempfile::tempfile().unwrap()) } };
        let listed: Vec<String> = files.list().into_iter().map(|file| file.path).collect();
        assert_eq!(listed, ["a", "a/b", "a/b/c", "a.txt"]);
    }
}
