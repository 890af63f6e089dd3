//! Walking and copying small trees without allocation: what a new tmpfs takes over from the folder below it.

use crate::Result;
use crate::errno::{check, check_unit};
use std::ffi::CStr;
use std::os::fd::RawFd;

/// Fills the buffer with entries of a folder (getdents64(2)); 0 at the end.
pub fn read_entries(folder: RawFd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is writable for its whole length.
    let length = unsafe { libc::syscall(libc::SYS_getdents64, folder, buffer.as_mut_ptr(), buffer.len()) };
    check(length).map(|length| length as usize)
}

/// The names in what [`read_entries`] answered; `.` and `..` are left out.
pub fn names(entries: &[u8]) -> Names<'_> {
    Names(entries)
}

pub struct Names<'a>(&'a [u8]);

/// d_ino, d_off; then d_reclen, d_type and the name.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

impl<'a> Iterator for Names<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        loop {
            let length = self.0.get(LENGTH_AT..LENGTH_AT + 2)?;
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
            let entry = self.0.get(..length)?;
            self.0 = self.0.get(length.max(1)..)?;
            let name = CStr::from_bytes_until_nul(entry.get(NAME_AT..)?).ok()?;
            if name != c"." && name != c".." {
                return Some(name);
            }
        }
    }
}

/// Gives a file its permissions by descriptor.
pub fn set_mode(fd: RawFd, mode: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fchmod(fd, mode) }.into())
}

/// Gives an entry of a folder the times of another file; links are not followed.
pub fn set_times(folder: RawFd, name: &CStr, like: &libc::stat) -> Result<()> {
    let times = [
        libc::timespec { tv_sec: like.st_atime, tv_nsec: like.st_atime_nsec },
        libc::timespec { tv_sec: like.st_mtime, tv_nsec: like.st_mtime_nsec },
    ];
    // SAFETY: the name and both times outlive the call.
    let answer = unsafe { libc::utimensat(folder, name.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    check_unit(answer.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_folders_names_are_read_without_allocation() {
        let folder = std::env::temp_dir().join(format!("sys-tree-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder");
        for name in ["one", "two", "a name that is a little longer"] {
            std::fs::write(folder.join(name), "").expect("a file");
        }
        let opened = std::fs::File::open(&folder).expect("open");
        let mut buffer = [0; 1024];
        let mut found = Vec::new();
        loop {
            let length = read_entries(opened.as_raw_fd(), &mut buffer).expect("read");
            if length == 0 {
                break;
            }
            found.extend(names(&buffer[..length]).map(|name| name.to_str().expect("ASCII").to_owned()));
        }
        found.sort();
        assert_eq!(found, ["a name that is a little longer", "one", "two"]);
        std::fs::remove_dir_all(&folder).expect("remove");
        assert_eq!(names(&[0; 5]).count(), 0);
        assert_eq!(names(&[0; 64]).count(), 0);
    }
}
