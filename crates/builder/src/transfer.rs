//! COPY and ADD: which files go where, and the layer that they make.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use archive::{Entry, EntryKind, TarWriter};
use build_core::KeyMaker;
use dockerfile::Glob;
use ids::Digest;

use crate::error::BuildError;
use crate::layer;
use crate::messages;
use crate::owners;
use crate::paths::{base_name, bytes_of, clean, join, parents};
use crate::ports::LayerStream;
use crate::tree::{Node, NodeKind, Tree};

/// One file or folder on its way.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub place: Place,
    pub content: Content,
    pub node: Node,
    /// It keeps the owner that it has: what was unpacked.
    pub keeps_owner: bool,
}

/// Where it goes, relative to the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The destination itself, or this name inside of it if that is a folder.
    Itself(String),
    /// Below it, which is a folder.
    Below(String),
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Tree(Arc<Tree>, String),
    Inline(Arc<[u8]>),
}

/// Everything that one instruction copies.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub items: Vec<Item>,
    /// Sources after patterns: more than one need a folder.
    pub sources: usize,
    /// One source that is a folder, or was unpacked.
    pub has_folder: bool,
    /// The one source is a folder itself.
    pub is_folder: bool,
    /// What the first source is, by which folders above the destination are made.
    first: First,
}

/// The first source of an instruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum First {
    #[default]
    File,
    Folder,
    Unpacked,
}

/// How sources are found.
pub(crate) struct Selection<'a> {
    pub instruction: &'static str,
    pub exclude: &'a [Glob],
    pub parents: bool,
    /// Of a stage or an image: other words for what is missing.
    pub from_image: bool,
}

impl Gathered {
    /// What a path or a pattern names.
    pub fn add_path(&mut self, tree: &Arc<Tree>, path: &str, how: &Selection<'_>) -> Result<(), BuildError> {
        let (pivot, whole) = match path.split_once("/./").filter(|_| how.parents) {
            Some((before, _)) => (clean(before).unwrap_or_default(), path.replacen("/./", "/", 1)),
            None => (String::new(), path.to_owned()),
        };
        if clean(&whole).is_none() && !how.from_image {
            return Err(messages::forbidden_path(how.instruction, path));
        }
        let cleaned = clean(&whole).unwrap_or_default();
        let matching = tree.matching(&cleaned)?;
        if matching.is_empty() {
            return Err(messages::no_sources(how.instruction));
        }
        for path in matching {
            let Some(resolved) = tree.resolve(&path) else {
                return Err(match how.from_image {
                    true => messages::not_in_stage(how.instruction, &path),
                    false => messages::not_in_context(how.instruction, &path),
                });
            };
            let kept =
                how.parents.then(|| path.strip_prefix(&pivot).unwrap_or(&path).trim_start_matches('/').to_owned());
            self.add_resolved(tree, &resolved, base_name(&path), kept.as_deref(), how);
        }
        Ok(())
    }

    fn add_resolved(&mut self, tree: &Arc<Tree>, path: &str, name: &str, kept: Option<&str>, how: &Selection<'_>) {
        let excluded = |relative: &str| {
            how.exclude
                .iter()
                .any(|glob| glob.matches(relative) || parents(relative).any(|parent| glob.matches(parent)))
        };
        let node = if path.is_empty() { None } else { tree.nodes.get(path) };
        if let Some(node) = node.filter(|node| !node.is_folder()) {
            self.sources += 1;
            if excluded(name) {
                return;
            }
            let place = match kept {
                Some(kept) => Place::Below(kept.to_owned()),
                None => Place::Itself(name.to_owned()),
            };
            self.push(tree, path, node, place);
            return;
        }
        self.note_first(First::Folder);
        self.sources += 1;
        (self.has_folder, self.is_folder) = (true, true);
        if let (Some(kept), Some(node)) = (kept.filter(|kept| !kept.is_empty()), node) {
            self.push(tree, path, node, Place::Below(kept.to_owned()));
        }
        for (relative, node) in tree.below(path).filter(|(relative, _)| !excluded(relative)) {
            let place = Place::Below(join(kept.unwrap_or_default(), relative));
            self.push(tree, &join(path, relative), node, place);
        }
    }

    fn note_first(&mut self, first: First) {
        if self.sources == 0 {
            self.first = first;
        }
    }

    /// Whose a folder is that is made for the destination. As in Docker: `--chown` counts for those that a file needs, for a
    /// folder only at the destination itself, and for nothing that an archive needs.
    fn owner_of_missing(&self, folder: &str, to: &Destination) -> (u32, u32) {
        let given = to.owner.unwrap_or((0, 0));
        match self.first {
            First::File => given,
            First::Folder if folder == to.path => given,
            First::Folder | First::Unpacked => (0, 0),
        }
    }

    fn push(&mut self, tree: &Arc<Tree>, path: &str, node: &Node, place: Place) {
        let content = Content::Tree(Arc::clone(tree), path.to_owned());
        self.items.push(Item { place, content, node: node.clone(), keeps_owner: false });
    }

    /// A text of the Dockerfile.
    pub fn add_inline(&mut self, name: &str, content: &str) {
        let kind = NodeKind::File { size: content.len() as u64, offset: 0, digest: None };
        let node = Node { kind, mode: 0o644, ..Node::folder() };
        let content = Content::Inline(content.as_bytes().into());
        self.items.push(Item { place: Place::Itself(name.to_owned()), content, node, keeps_owner: false });
        self.sources += 1;
    }

    /// What an archive has in it.
    pub fn add_unpacked(&mut self, tree: &Arc<Tree>) {
        self.note_first(First::Unpacked);
        self.sources += 1;
        self.has_folder = true;
        for (path, node) in tree.below("") {
            let content = Content::Tree(Arc::clone(tree), path.to_owned());
            let place = Place::Below(path.to_owned());
            self.items.push(Item { place, content, node: node.clone(), keeps_owner: true });
        }
    }

    /// A digest over names and contents, whatever their times and owners in the context are. Reads files: blocks.
    pub fn digest(&self) -> Result<Digest, BuildError> {
        let mut key = KeyMaker::new("files");
        for item in &self.items {
            let place = match &item.place {
                Place::Itself(name) => format!("={name}"),
                Place::Below(path) => format!("/{path}"),
            };
            let owner = if item.keeps_owner { format!("{}:{}", item.node.uid, item.node.gid) } else { String::new() };
            key = key.field(place).field(item.node.mode.to_be_bytes()).field(owner);
            key = match &item.node.kind {
                NodeKind::File { .. } => key.field("file").field(item.content_digest()?.to_string()),
                NodeKind::Directory => key.field("folder"),
                NodeKind::Symlink(target) => key.field("link").field(target),
                NodeKind::Special(kind) => key.field(format!("{kind:?}")),
            };
            key = key.fields(item.node.xattrs.iter().flat_map(|(name, value)| [name, value]));
        }
        Ok(key.finish())
    }
}

impl Item {
    fn content_digest(&self) -> Result<Digest, BuildError> {
        match &self.content {
            Content::Inline(bytes) => Ok(Digest::of(bytes)),
            Content::Tree(tree, path) => {
                tree.content_digest(path, &self.node).map_err(|error| BuildError::file(format!("read {path:?}"), error))
            }
        }
    }

    pub fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        match &self.content {
            Content::Inline(bytes) => Ok(Box::new(&bytes[..])),
            Content::Tree(tree, path) => tree.open(path, &self.node),
        }
    }
}

/// Where files go, and as whose.
pub(crate) struct Destination {
    /// Inside of the image, links resolved, without the slash before it.
    pub path: String,
    pub is_folder: bool,
    /// Folders that are not there yet, the outermost first.
    pub missing: Vec<String>,
    pub owner: Option<(u32, u32)>,
    pub chmod: String,
    /// Of folders that are made; the latest that a file may have.
    pub now: i64,
    pub epoch: Option<i64>,
}

/// The layer of all this, its names sorted.
pub(crate) fn to_layer(gathered: Gathered, to: &Destination) -> Result<LayerStream, BuildError> {
    let mut entries: BTreeMap<String, (Entry, Option<Item>)> = BTreeMap::new();
    let owner = to.owner.unwrap_or((0, 0));
    for folder in &to.missing {
        let mut entry = Entry::new(bytes_of(folder), EntryKind::Directory, 0o755);
        (entry.uid, entry.gid) = gathered.owner_of_missing(folder, to);
        entry.mtime = (to.epoch.unwrap_or(to.now), 0);
        entries.insert(folder.clone(), (entry, None));
    }
    for item in gathered.items {
        let path = match &item.place {
            Place::Itself(name) if to.is_folder => join(&to.path, name),
            Place::Itself(_) => to.path.clone(),
            Place::Below(relative) => join(&to.path, relative),
        };
        if path.is_empty() {
            return Err(BuildError::invalid("the root of an image cannot become a file"));
        }
        let entry = entry(&path, &item, to)?;
        for parent in parents(&path).filter(|parent| parent.len() > to.path.len()) {
            let made = || {
                let mut made = Entry::new(bytes_of(parent), EntryKind::Directory, 0o755);
                (made.uid, made.gid) = owner;
                made.mtime = (to.epoch.unwrap_or(to.now), 0);
                (made, None)
            };
            entries.entry(parent.to_owned()).or_insert_with(made);
        }
        entries.insert(path, (entry, Some(item)));
    }
    Ok(layer::make(move |out| {
        let mut writer = TarWriter::new(out);
        for (mut entry, item) in entries.into_values() {
            if entry.kind == EntryKind::Directory {
                entry.path.push(b'/');
            }
            let mut content = match &item {
                Some(item) => item.open()?,
                None => Box::new(io::empty()),
            };
            writer.append(&entry, &mut content).map_err(|error| io::Error::other(errors::chain(&error)))?;
        }
        writer.finish().map(drop).map_err(|error| io::Error::other(errors::chain(&error)))
    }))
}

fn entry(path: &str, item: &Item, to: &Destination) -> Result<Entry, BuildError> {
    let node = &item.node;
    let kind = match &node.kind {
        NodeKind::File { .. } => EntryKind::File,
        NodeKind::Directory => EntryKind::Directory,
        NodeKind::Symlink(target) => EntryKind::Symlink(bytes_of(target).into_owned()),
        NodeKind::Special(kind) => kind.clone(),
    };
    let is_link = matches!(kind, EntryKind::Symlink(_));
    let mode = match to.chmod.as_str() {
        chmod if !chmod.is_empty() && !is_link => owners::mode(chmod, node.mode, node.is_folder())?,
        _ => node.mode,
    };
    let mut entry = Entry::new(bytes_of(path), kind, mode);
    (entry.uid, entry.gid) = match to.owner {
        Some(owner) => owner,
        None if item.keeps_owner => (node.uid, node.gid),
        None => (0, 0),
    };
    if let NodeKind::File { size, .. } = node.kind {
        entry.size = size;
    }
    entry.mtime = (node.mtime.0, 0);
    if let Some(epoch) = to.epoch {
        entry.mtime = entry.mtime.min((epoch, 0));
    }
    entry.xattrs.clone_from(&node.xattrs);
    Ok(entry)
}
