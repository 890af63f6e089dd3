//! A folder that is lent: of this machine's disk, or of a few files in memory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fsutil::{FolderSource, Outgoing, OutgoingName};

use crate::selection::{Choice, Selection};

const SECOND: i64 = 1_000_000_000;
/// Links from one name to the next.
const MAX_LINKS: usize = 32;
/// What of a file's attributes images have; others would make another image of the same folder elsewhere.
const CAPABILITY: &str = "security.capability";
const MAX_CAPABILITY: usize = 256;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub enum Folder {
    Disk(PathBuf),
    /// Names without slashes, sorted, and what is in them.
    Memory(Vec<(String, Vec<u8>)>),
}

/// A part of it, under way to the builder.
pub(crate) struct Sent {
    pub folder: Folder,
    pub selection: Selection,
}

impl Folder {
    /// What these paths lead to through links, so that it travels too. Paths with wildcards stay what they are.
    pub(crate) fn follow(&self, paths: &[String]) -> Vec<String> {
        let Self::Disk(root) = self else { return paths.to_vec() };
        let mut found = Vec::new();
        for path in paths {
            let path = path.trim_matches('/').to_owned();
            found.push(path.clone());
            follow_one(root, path, &mut found);
        }
        found
    }
}

/// Every link on the way is one more path, and so is where it leads; nothing outside of the folder is.
fn follow_one(root: &Path, path: String, found: &mut Vec<String>) {
    let mut left: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let (mut at, mut links) = (Vec::<String>::new(), 0);
    while let Some(part) = left.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.pop();
                continue;
            }
            _ => at.push(part),
        }
        let here = at.join("/");
        let Ok(target) = fs::read_link(root.join(&here)) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return;
        }
        found.push(here);
        at.pop();
        if target.is_absolute() {
            at.clear();
        }
        for part in target.to_string_lossy().split('/').rev() {
            left.push_front(part.to_owned());
        }
    }
    found.push(at.join("/"));
}

impl FolderSource for Sent {
    fn names(&self) -> Box<dyn Iterator<Item = io::Result<OutgoingName>> + '_> {
        match &self.folder {
            Folder::Disk(root) => Box::new(Walk::new(root, &self.selection)),
            Folder::Memory(files) => Box::new(
                files
                    .iter()
                    .filter(|(path, _)| self.selection.choose(path, false) == Choice::Wanted)
                    .map(|(path, text)| Ok(in_memory(path, text.len()))),
            ),
        }
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        match &self.folder {
            // A name that became a link or a pipe meanwhile is neither followed nor waited for.
            Folder::Disk(root) => {
                let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
                let flags = i32::try_from(flags.bits()).unwrap_or(0);
                Ok(Box::new(fs::OpenOptions::new().read(true).custom_flags(flags).open(root.join(path))?))
            }
            Folder::Memory(files) => {
                let found = files.iter().find(|(name, _)| name == path);
                let (_, text) = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                Ok(Box::new(text.as_slice()))
            }
        }
    }
}

fn in_memory(path: &str, size: usize) -> OutgoingName {
    let kind = Outgoing::File { size: size as u64 };
    OutgoingName { path: path.to_owned(), kind, mode: 0o644, modified: 0, attributes: Vec::new() }
}

/// Names of a folder in order, part by part. A folder that is not wanted itself comes when something in it is.
struct Walk<'a> {
    root: &'a Path,
    selection: &'a Selection,
    levels: Vec<Level>,
    ready: VecDeque<OutgoingName>,
    failed: Option<io::Error>,
}

struct Level {
    /// With a slash behind it; empty for the folder itself.
    prefix: String,
    /// It has not come yet.
    pending: Option<OutgoingName>,
    names: std::vec::IntoIter<OsString>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path, selection: &'a Selection) -> Self {
        let mut walk = Self { root, selection, levels: Vec::new(), ready: VecDeque::new(), failed: None };
        if let Err(error) = walk.enter(String::new(), None) {
            walk.failed = Some(error);
        }
        walk
    }

    fn enter(&mut self, prefix: String, pending: Option<OutgoingName>) -> io::Result<()> {
        let path = self.root.join(&prefix);
        let entries = fs::read_dir(&path).map_err(|error| told("open", &path, &error))?;
        let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        self.levels.push(Level { prefix, pending, names: names.into_iter() });
        Ok(())
    }

    /// Looks at the next name; `false`: there is none.
    fn step(&mut self) -> io::Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        let Some(name) = level.names.next() else {
            self.levels.pop();
            return Ok(true);
        };
        let Some(name) = name.to_str() else {
            let shown = format!("{}{}", level.prefix, name.as_bytes().escape_ascii());
            return Err(io::Error::other(format!("the name {shown:?} in the build context is not UTF-8")));
        };
        let path = format!("{}{name}", level.prefix);
        let full = self.root.join(&path);
        let found = match fs::symlink_metadata(&full) {
            // It went while it was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            found => found.map_err(|error| told("stat", &full, &error))?,
        };
        let choice = self.selection.choose(&path, found.is_dir());
        if choice == Choice::Skip || found.file_type().is_socket() {
            return Ok(true);
        }
        let prefix = found.is_dir().then(|| format!("{path}/"));
        let outgoing = outgoing(&full, path, &found)?;
        if choice == Choice::Wanted {
            self.ready.extend(self.levels.iter_mut().filter_map(|level| level.pending.take()));
            self.ready.push_back(outgoing);
            if let Some(prefix) = prefix {
                self.enter(prefix, None)?;
            }
        } else if let Some(prefix) = prefix {
            self.enter(prefix, Some(outgoing))?;
        }
        Ok(true)
    }
}

impl Iterator for Walk<'_> {
    type Item = io::Result<OutgoingName>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        loop {
            if let Some(name) = self.ready.pop_front() {
                return Some(Ok(name));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.levels.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

fn outgoing(full: &Path, path: String, found: &fs::Metadata) -> io::Result<OutgoingName> {
    let kind = found.file_type();
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    let kind = if kind.is_dir() {
        Outgoing::Folder
    } else if kind.is_symlink() {
        let target = fs::read_link(full).map_err(|error| told("readlink", full, &error))?;
        let wrong =
            |_| io::Error::other(format!("the link {path:?} in the build context leads to a name that is not UTF-8"));
        Outgoing::Link(target.into_os_string().into_string().map_err(wrong)?)
    } else if kind.is_fifo() {
        Outgoing::Fifo
    } else if kind.is_char_device() {
        Outgoing::CharacterDevice { major, minor }
    } else if kind.is_block_device() {
        Outgoing::BlockDevice { major, minor }
    } else {
        Outgoing::File { size: found.len() }
    };
    let attributes = match kind {
        Outgoing::File { .. } => capability(full),
        _ => Vec::new(),
    };
    let modified = found.mtime().saturating_mul(SECOND).saturating_add(found.mtime_nsec());
    Ok(OutgoingName { path, kind, mode: found.permissions().mode() & 0o7777, modified, attributes })
}

fn capability(full: &Path) -> Vec<(String, Vec<u8>)> {
    let mut buffer = [0; MAX_CAPABILITY];
    match rustix::fs::lgetxattr(full, CAPABILITY, &mut buffer) {
        Ok(length) if length > 0 => vec![(CAPABILITY.to_owned(), buffer[..length].to_vec())],
        _ => Vec::new(),
    }
}

/// As Go tells it: `open /a/b: permission denied`.
fn told(action: &str, path: &Path, error: &io::Error) -> io::Error {
    let words = match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::ACCESS) => "permission denied".to_owned(),
        Some(rustix::io::Errno::NOENT) => "no such file or directory".to_owned(),
        _ => error.to_string(),
    };
    io::Error::other(format!("{action} {}: {words}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Folder, include: &[&str], exclude: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let include = folder.follow(&owned(include));
        let sent = Sent { folder: folder.clone(), selection: Selection::new(&include, &owned(exclude)).unwrap() };
        sent.names().map(|name| name.unwrap().path).collect()
    }

    fn tree() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        for path in ["a.txt", "a/b/c", "a/d.log", "z"] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        std::os::unix::fs::symlink("a/b", home.path().join("link")).unwrap();
        std::os::unix::fs::symlink("../../../etc/passwd", home.path().join("out")).unwrap();
        let folder = Folder::Disk(home.path().to_owned());
        (home, folder)
    }

    #[test]
    fn names_are_sorted_part_by_part() {
        let (_home, folder) = tree();
        let all = names(&folder, &[], &[]);
        assert_eq!(all, ["a", "a/b", "a/b/c", "a/d.log", "a.txt", "link", "out", "z"]);
        assert!(all.is_sorted_by(|a, b| fsutil::compare(a, b).is_lt()));
        assert_eq!(names(&folder, &[], &["**/*.log", "a/b"]), ["a", "a.txt", "link", "out", "z"]);
    }

    #[test]
    fn folders_come_when_something_in_them_is_wanted() {
        let (_home, folder) = tree();
        assert_eq!(names(&folder, &["a/b/c"], &[]), ["a", "a/b", "a/b/c"]);
        assert_eq!(names(&folder, &["nothing"], &[]), Vec::<String>::new());
        assert_eq!(names(&folder, &[], &["*", "!a/d.log"]), ["a", "a/d.log"]);
    }

    #[test]
    fn links_bring_what_they_lead_to_and_nothing_from_outside() {
        let (_home, folder) = tree();
        assert_eq!(names(&folder, &["link/c"], &[]), ["a", "a/b", "a/b/c", "link"]);
        assert_eq!(names(&folder, &["out"], &[]), ["out"]);
    }

    #[test]
    fn a_name_that_is_no_utf8_is_told() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(std::ffi::OsStr::from_bytes(b"b\xff")), "").unwrap();
        let sent = Sent { folder: Folder::Disk(home.path().to_owned()), selection: Selection::default() };
        let error = sent.names().next().unwrap().unwrap_err().to_string();
        assert_eq!(error, r#"the name "b\\xff" in the build context is not UTF-8"#);
    }

    #[test]
    fn files_in_memory_are_a_folder_too() {
        let folder = Folder::Memory(vec![("Dockerfile".to_owned(), b"FROM a".to_vec())]);
        assert_eq!(names(&folder, &["Dockerfile", "dockerfile"], &[]), ["Dockerfile"]);
        let sent = Sent { folder, selection: Selection::default() };
        let mut text = String::new();
        sent.open("Dockerfile").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "FROM a");
    }
}
