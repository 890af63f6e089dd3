//! A look into a container's file system without mounting it where anyone could see it.
//!
//! passwd and group are read from the layers directly: topmost first, as overlayfs would (kernel documentation,
//! filesystems/overlayfs). Whatever is not plain on the way (a link, a redirect, a mount that is no overlay) is read
//! through a detached mount instead, with every path resolved inside it by descriptor (openat2(2), RESOLVE_IN_ROOT).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use containerd_api::types::Mount;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Files of accounts beyond this are refused: no system has them, an attacker's image may.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;

/// The directories that make up a file system, the uppermost first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    pub directories: Vec<PathBuf>,
    pub upper: String,
    pub work: String,
    pub lower: String,
}

impl Layers {
    /// From what the snapshotter says; `None` for mounts of another make.
    pub fn of(mounts: &[Mount]) -> Option<Self> {
        let [mount] = mounts else { return None };
        if matches!(mount.r#type.as_str(), "bind" | "rbind") {
            let upper = mount.source.clone();
            return Some(Self { directories: vec![PathBuf::from(&upper)], upper, ..Self::default() });
        }
        if mount.r#type != "overlay" {
            return None;
        }
        let option = |key: &str| mount.options.iter().find_map(|option| option.strip_prefix(key)).unwrap_or("");
        let (upper, work, lower) = (option("upperdir="), option("workdir="), option("lowerdir="));
        // A backslash escapes a colon in a path; no snapshotter has such paths.
        if lower.is_empty() || lower.contains('\\') {
            return None;
        }
        let directories =
            std::iter::once(upper).chain(lower.split(':')).filter(|path| path.starts_with('/')).map(PathBuf::from);
        let directories = directories.collect::<Vec<_>>();
        Some(Self { directories, upper: upper.to_owned(), work: work.to_owned(), lower: lower.to_owned() })
    }

    /// One detached, read-only mount of them all.
    pub fn mount(&self) -> std::io::Result<OwnedFd> {
        sys::detached_layers::mount(&self.directories)
    }

    /// Whether something that is no folder is at a path, or on the way there; links are resolved inside.
    pub fn has_other_than_folder(&self, inside: &Path) -> std::io::Result<bool> {
        let root = self.mount()?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat2(&root, inside, flags, Mode::empty(), resolve) {
            Ok(_) | Err(Errno::NOENT | Errno::LOOP) => Ok(false),
            Err(Errno::NOTDIR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// A small file, empty when it is not there.
pub(crate) fn read_small(layers: &Layers, folder: &str, name: &str) -> Result<Vec<u8>, Error> {
    let place = Path::new("/").join(folder).join(name);
    let failed = |source: std::io::Error| Error::file("read from the image", &place, source);
    for directory in &layers.directories {
        match look(directory, folder, name).map_err(|error| failed(error.into()))? {
            Found::File(file) => return read(file).map_err(failed),
            Found::Nothing => {}
            Found::Hidden => return Ok(Vec::new()),
            Found::NotPlain => {
                let root = layers.mount().map_err(failed)?;
                return read_inside(root.as_fd(), &place).map_err(failed);
            }
        }
    }
    Ok(Vec::new())
}

enum Found {
    File(OwnedFd),
    Nothing,
    /// A whiteout or an opaque folder: lower layers do not count.
    Hidden,
    NotPlain,
}

fn look(directory: &Path, folder: &str, name: &str) -> Result<Found, Errno> {
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, path | OFlags::DIRECTORY, Mode::empty())?;
    let folder = match rustix::fs::openat(&root, folder, path, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    match kind(folder.as_fd())? {
        Kind::Whiteout => return Ok(Found::Hidden),
        Kind::Other(FileType::Directory) => {}
        Kind::Other(_) => return Ok(Found::NotPlain),
    }
    match rustix::fs::openat(&folder, name, path, Mode::empty()) {
        Ok(file) => match kind(file.as_fd())? {
            Kind::Whiteout => Ok(Found::Hidden),
            Kind::Other(FileType::RegularFile) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Ok(Found::File(rustix::fs::openat(&folder, name, flags, Mode::empty())?))
            }
            Kind::Other(_) => Ok(Found::NotPlain),
        },
        Err(Errno::NOENT) => {
            let readable =
                rustix::fs::openat(&folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            // `y`: opaque; a redirect points to another folder below.
            let mut value = [0; 8];
            let opaque = rustix::fs::fgetxattr(&readable, "trusted.overlay.opaque", &mut value)
                .is_ok_and(|n| n > 0 && value[0] == b'y');
            let redirected =
                rustix::fs::fgetxattr(&readable, "trusted.overlay.redirect", &mut [0_u8; 0][..]).is_ok_and(|n| n > 0);
            Ok(match (opaque, redirected) {
                (true, _) => Found::Hidden,
                (_, true) => Found::NotPlain,
                _ => Found::Nothing,
            })
        }
        Err(error) => Err(error),
    }
}

enum Kind {
    Whiteout,
    Other(FileType),
}

fn kind(file: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let stat = rustix::fs::fstat(file)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
    Ok(if whiteout { Kind::Whiteout } else { Kind::Other(kind) })
}

/// A regular file below `root`, links resolved inside it; empty when it is not there.
fn read_inside(root: BorrowedFd<'_>, path: &Path) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile => read(file),
        Ok(_) => Err(std::io::Error::other("not a regular file")),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn read(file: OwnedFd) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(file).take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other("larger than 8 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;

    fn layers(folder: &Path, names: &[&str]) -> Layers {
        let directories: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        for directory in &directories {
            fs::create_dir_all(directory.join("etc")).unwrap();
        }
        Layers { directories, ..Layers::default() }
    }

    #[test]
    fn the_uppermost_file_counts_and_a_whiteout_hides_those_below() {
        let folder = tempfile::tempdir().unwrap();
        let layers = layers(folder.path(), &["up", "down"]);
        fs::write(layers.directories[1].join("etc/passwd"), "low").unwrap();
        assert_eq!(read_small(&layers, "etc", "passwd").unwrap(), b"low");
        fs::write(layers.directories[0].join("etc/passwd"), "high").unwrap();
        assert_eq!(read_small(&layers, "etc", "passwd").unwrap(), b"high");
        assert_eq!(read_small(&layers, "etc", "group").unwrap(), b"");
        fs::remove_file(layers.directories[0].join("etc/passwd")).unwrap();
        rustix::fs::mknodat(CWD, layers.directories[0].join("etc/passwd"), FileType::CharacterDevice, Mode::empty(), 0)
            .unwrap();
        assert_eq!(read_small(&layers, "etc", "passwd").unwrap(), b"");
    }

    #[test]
    fn a_link_is_resolved_inside_the_image_and_never_on_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let layers = layers(folder.path(), &["only"]);
        let root = &layers.directories[0];
        std::os::unix::fs::symlink("/etc/../../../../../../etc/real", root.join("etc/passwd")).unwrap();
        assert_eq!(read_small(&layers, "etc", "passwd").unwrap(), b"");
        fs::write(root.join("etc/real"), "inside").unwrap();
        assert_eq!(read_small(&layers, "etc", "passwd").unwrap(), b"inside");
    }

    #[test]
    fn a_file_in_place_of_a_folder_is_seen_through_links_that_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let layers = layers(folder.path(), &["only"]);
        let root = &layers.directories[0];
        fs::write(root.join("etc/file"), "").unwrap();
        std::os::unix::fs::symlink("/etc/file", root.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("folder")).unwrap();
        let has = |path: &str| layers.has_other_than_folder(Path::new(path)).unwrap();
        assert!(has("/etc/file") && has("/link") && has("/folder/file") && has("/etc/file/below"));
        assert!(!has("/etc") && !has("/folder") && !has("/new/one") && !has("/folder/../etc"));
    }

    #[test]
    fn a_fifo_in_place_of_a_file_is_an_error_and_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let layers = layers(folder.path(), &["only"]);
        let path = layers.directories[0].join("etc/passwd");
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(read_small(&layers, "etc", "passwd").is_err());
    }

    #[test]
    fn layers_are_read_from_the_snapshotters_mounts() {
        let mount = |kind: &str, source: &str, options: &[&str]| Mount {
            r#type: kind.into(),
            source: source.into(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            ..Mount::default()
        };
        let overlay = mount("overlay", "overlay", &["workdir=/w", "upperdir=/u", "lowerdir=/b:/a", "index=off"]);
        let layers = Layers::of(&[overlay]).unwrap();
        assert_eq!(layers.directories, [Path::new("/u"), Path::new("/b"), Path::new("/a")]);
        assert_eq!(Layers::of(&[mount("bind", "/s", &["rbind", "rw"])]).unwrap().directories, [Path::new("/s")]);
        assert_eq!(Layers::of(&[mount("ext4", "/dev/x", &[])]), None);
        assert_eq!(Layers::of(&[]), None);
    }
}
