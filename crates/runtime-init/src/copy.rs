//! `tmpcopyup`: a new tmpfs begins with what lies in the folder below it.
//!
//! Everything goes by descriptor and stays on the folder's own file system. Folders, files, links, nodes and pipes keep their
//! owner, mode and times.

use sys::file::{self, AT_SYMLINK_NOFOLLOW, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY};
use sys::{Errno, tree};

/// Folders inside folders. Each takes a buffer on the stack.
const MAX_DEPTH: usize = 64;
const ENTRIES: usize = 4096;

struct Fd(i32);

impl Drop for Fd {
    fn drop(&mut self) {
        file::close(self.0);
    }
}

/// `from`: the folder; `mounted`: the tmpfs, attached nowhere yet.
pub fn copy_up(from: i32, mounted: i32) -> Result<(), Errno> {
    let from = Fd(file::openat(from, c".", O_RDONLY | O_DIRECTORY, 0)?);
    let to = Fd(file::openat(mounted, c".", O_RDONLY | O_DIRECTORY, 0)?);
    let device = file::fstat(from.0)?.st_dev;
    let old_mask = sys::process::umask(0);
    let answer = copy_folder(from.0, to.0, device, MAX_DEPTH);
    sys::process::umask(old_mask);
    answer
}

fn copy_folder(from: i32, to: i32, device: u64, depth: usize) -> Result<(), Errno> {
    let mut buffer = [0_u8; ENTRIES];
    loop {
        let length = tree::read_entries(from, &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        for name in tree::names(buffer.get(..length).unwrap_or_default()) {
            copy_entry(from, to, name, device, depth)?;
        }
    }
}

fn copy_entry(from: i32, to: i32, name: &std::ffi::CStr, device: u64, depth: usize) -> Result<(), Errno> {
    let entry = Fd(file::openat(from, name, file::O_PATH | O_NOFOLLOW, 0)?);
    let stat = file::fstat(entry.0)?;
    let mode = stat.st_mode & 0o7777;
    match stat.st_mode & file::S_IFMT {
        file::S_IFDIR => {
            file::mkdirat(to, name, 0o700)?;
            // What is mounted below is not the folder's.
            if stat.st_dev == device {
                let depth = depth.checked_sub(1).ok_or(Errno::ELOOP)?;
                let below = Fd(file::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?);
                let copy = Fd(file::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?);
                copy_folder(below.0, copy.0, device, depth)?;
            }
            own(to, name, &stat)?;
            file::fchmodat(to, name, mode)?;
        }
        file::S_IFREG => {
            let source = Fd(file::openat(from, name, O_RDONLY | O_NOFOLLOW, 0)?);
            let copy = Fd(file::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)?);
            file::copy_all(source.0, copy.0, usize::try_from(stat.st_size).map_err(|_| Errno::EINVAL)?)?;
            own(to, name, &stat)?;
            tree::set_mode(copy.0, mode)?;
        }
        libc::S_IFLNK => {
            let mut target = [0; libc::PATH_MAX as usize];
            let length =
                file::readlinkat(entry.0, c"", target.get_mut(..libc::PATH_MAX as usize - 1).unwrap_or_default())?
                    .len();
            let target = std::ffi::CStr::from_bytes_until_nul(target.get(..=length).unwrap_or_default());
            file::symlinkat(target.map_err(|_| Errno::EINVAL)?, to, name)?;
            own(to, name, &stat)?;
        }
        // A socket is nothing without who listens on it.
        libc::S_IFSOCK => return Ok(()),
        _ => {
            file::mknodat(to, name, stat.st_mode, stat.st_rdev)?;
            own(to, name, &stat)?;
            file::fchmodat(to, name, mode)?;
        }
    }
    tree::set_times(to, name, &stat)
}

fn own(folder: i32, name: &std::ffi::CStr, stat: &libc::stat) -> Result<(), Errno> {
    file::fchownat(folder, name, stat.st_uid, stat.st_gid, AT_SYMLINK_NOFOLLOW)
}
