//! A look into an image's file system without mounting it where anyone could see it.
//!
//! Its layers become one detached mount, in which every path is resolved by descriptor (openat2(2),
//! `RESOLVE_IN_ROOT`): a link of the image leads nowhere but inside of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use archive::{DEEPEST, EntryKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, major, minor};
use rustix::io::Errno;
pub(crate) use sys::detached_layers::mount;

use crate::error::BuildError;
use crate::paths::{bytes_of, join, parents, text_of};
use crate::tree::{Node, NodeKind, Store, Tree};

/// Links that lead to links, as the kernel has it.
const MAX_LINKS: usize = 40;
/// Names of one tree.
const MAX_NAMES: usize = 2_000_000;
/// The largest file of accounts.
const MAX_ACCOUNTS: u64 = 8 << 20;
/// How often a path is resolved again that changed meanwhile.
const TRIES: usize = 16;
const CAPABILITY: &str = "security.capability";

/// What is at a path in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Without links, without the slash before it.
    pub path: String,
    pub kind: Option<FoundKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundKind {
    Folder,
    Other,
}

/// Follows a path, links and all, as far as it goes.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &str) -> io::Result<Found> {
    let mut pending: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let (mut at, mut kind, mut links) = (String::new(), Some(FoundKind::Folder), 0);
    while let Some(part) = pending.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.truncate(at.rfind('/').unwrap_or(0));
                kind = Some(FoundKind::Folder);
                continue;
            }
            _ => {}
        }
        let next = join(&at, &part);
        let stat = if kind == Some(FoundKind::Folder) { look(root, &next)? } else { None };
        match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::Symlink) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = read_link(root, &next)?;
                if target.starts_with('/') {
                    at.clear();
                }
                pending.extend(target.split('/').rev().map(str::to_owned));
            }
            Some(FileType::Directory) => (at, kind) = (next, Some(FoundKind::Folder)),
            Some(_) => (at, kind) = (next, Some(FoundKind::Other)),
            None => (at, kind) = (next, None),
        }
    }
    Ok(Found { path: at, kind })
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { ".".as_bytes().into() } else { bytes_of(path) };
    for _ in 0..TRIES {
        let resolved = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(root, &*path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolved) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

fn look(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<Stat>> {
    match open(root, path, OFlags::PATH) {
        Ok(found) => Ok(Some(rustix::fs::fstat(found)?)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn read_link(root: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    let link = open(root, path, OFlags::PATH)?;
    let target = rustix::fs::readlinkat(link, "", Vec::new())?;
    Ok(text_of(target.as_bytes()))
}

/// A regular file.
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &str) -> io::Result<File> {
    let file = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other(format!("{path} is no regular file")));
    }
    Ok(File::from(file))
}

/// `/etc/passwd` and `/etc/group`; empty where they are not.
pub(crate) fn read_accounts(root: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    let found = resolve(root, path)?;
    if found.kind != Some(FoundKind::Other) {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    open_file(root, &found.path)?.take(MAX_ACCOUNTS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is at a path and below it. The names are those of the image, links resolved up to the path itself.
pub(crate) fn load(root: OwnedFd, path: &str) -> Result<Tree, BuildError> {
    let failed = |error: io::Error| BuildError::file(format!("read {path:?} of the image"), error);
    let mut nodes = BTreeMap::new();
    if let Some(stat) = look(root.as_fd(), path).map_err(failed)? {
        let found = node(root.as_fd(), path, &stat).map_err(failed)?;
        let is_folder = found.is_folder();
        if !path.is_empty() {
            nodes.extend(parents(path).map(|parent| (parent.to_owned(), Node::folder())));
            nodes.insert(path.to_owned(), found);
        }
        if is_folder {
            walk(root.as_fd(), path, 0, &mut nodes).map_err(failed)?;
        }
    }
    Ok(Tree { nodes, store: Store::Root(root) })
}

fn walk(root: BorrowedFd<'_>, path: &str, depth: usize, nodes: &mut BTreeMap<String, Node>) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(format!("more than {DEEPEST} folders in folders")));
    }
    let folder = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    for name in archive::names(folder.as_fd())? {
        let stat = rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let below = join(path, &text_of(name.as_bytes()));
        let found = node(root, &below, &stat)?;
        let is_folder = found.is_folder();
        nodes.insert(below.clone(), found);
        if nodes.len() > MAX_NAMES {
            return Err(io::Error::other(format!("more than {MAX_NAMES} files")));
        }
        if is_folder {
            walk(root, &below, depth + 1, nodes)?;
        }
    }
    Ok(())
}

fn node(root: BorrowedFd<'_>, path: &str, stat: &Stat) -> io::Result<Node> {
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => NodeKind::Directory,
        FileType::Symlink => NodeKind::Symlink(read_link(root, path)?),
        FileType::Fifo => NodeKind::Special(EntryKind::Fifo),
        FileType::CharacterDevice => NodeKind::Special(EntryKind::Character { major: device.0, minor: device.1 }),
        FileType::BlockDevice => NodeKind::Special(EntryKind::Block { major: device.0, minor: device.1 }),
        FileType::Socket => return Err(io::Error::other(format!("{path} is a socket"))),
        _ => NodeKind::File { size: u64::try_from(stat.st_size).unwrap_or(0), offset: 0, digest: None },
    };
    let xattrs = if matches!(kind, NodeKind::File { .. }) { capability(root, path)? } else { Vec::new() };
    Ok(Node {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        xattrs,
    })
}

/// The one extended attribute that a program needs to be the same elsewhere (capabilities(7)).
fn capability(root: BorrowedFd<'_>, path: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let file = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let mut value = vec![0; 256];
    match rustix::fs::fgetxattr(&file, CAPABILITY, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(vec![(CAPABILITY.as_bytes().to_vec(), value)])
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(Vec::new()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_an_image_stay_inside_of_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        std::fs::write(folder.path().join("usr/bin/x"), "x").unwrap();
        symlink("usr/bin", folder.path().join("bin")).unwrap();
        symlink("/../../etc", folder.path().join("out")).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        let root = mount(&[folder.path().to_owned()]).unwrap();
        let found = |path: &str| resolve(root.as_fd(), path).map(|found| (found.path, found.kind)).ok();
        assert_eq!(found("/bin/x"), Some(("usr/bin/x".to_owned(), Some(FoundKind::Other))));
        assert_eq!(found("/bin/new/deep"), Some(("usr/bin/new/deep".to_owned(), None)));
        assert_eq!(found("/out/passwd"), Some(("etc/passwd".to_owned(), None)));
        assert_eq!(found("/bin/.."), Some(("usr".to_owned(), Some(FoundKind::Folder))));
        assert_eq!(found("/loop"), None);
        let tree = load(root, "usr").unwrap();
        assert_eq!(tree.nodes.keys().collect::<Vec<_>>(), ["usr", "usr/bin", "usr/bin/x"]);
        assert_eq!(tree.read("usr/bin/x", 9).unwrap().as_deref(), Some(&b"x"[..]));
    }
}
