//! Which file a program is: after an upgrade its path leads to another one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One file of a program, as long as nobody writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Version {
    /// `None` where there is no file, or none that may be looked at.
    pub fn of(program: &Path) -> Option<Self> {
        let file = fs::metadata(program).ok()?;
        Some(Self { device: file.dev(), inode: file.ino(), changed: (file.ctime(), file.ctime_nsec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_another_version() {
        let folder = tempfile::tempdir().expect("tempdir");
        let program = folder.path().join("program");
        assert_eq!(Version::of(&program), None);
        fs::write(&program, "old").expect("write");
        let old = Version::of(&program);
        assert!(old.is_some() && old == Version::of(&program));
        let new = folder.path().join("new");
        fs::write(&new, "new").expect("write");
        fs::rename(&new, &program).expect("rename");
        assert_ne!(Version::of(&program), old);
    }
}
