//! How many bytes a folder's files have.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// stat(2): `st_blocks` counts units of this size whatever the file system's own is.
const BLOCK_BYTES: u64 = 512;

/// What all below a folder takes on the disk, each file once, however many names it has: du's figure. What is inside is a
/// container's: links are not followed, other mounts are not entered, and what vanishes meanwhile counts for nothing.
pub fn size_of(folder: &Path) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let (mut total, mut seen) = (0_u64, HashSet::new());
    let mut folders = vec![PathBuf::from(".")];
    while let Some(path) = folders.pop() {
        let opened = match rustix::fs::openat2(&root, &path, flags, Mode::empty(), resolve) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_folder {
                folders.push(path.join(OsStr::from_bytes(name.to_bytes())));
            }
            if is_folder || stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
                let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
                total = total.saturating_add(blocks.saturating_mul(BLOCK_BYTES));
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_count_once_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), [1; 100_000]).unwrap();
        fs::hard_link(folder.path().join("a/b/file"), folder.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("ab")).unwrap();
        let alone = size_of(folder.path()).unwrap();
        assert!((100_000..130_000).contains(&alone), "{alone}");
        // A hole takes nothing.
        let hole = fs::File::create(folder.path().join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        assert_eq!(size_of(folder.path()).unwrap(), alone);
        assert!(size_of(&folder.path().join("none")).is_err());
    }
}
