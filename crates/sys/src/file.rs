//! Files by descriptor: openat2(2), the *at calls, statfs(2), close_range(2).

use crate::errno::{check, check_fd, check_unit};
use crate::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

pub use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
pub use libc::{
    O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY,
};
pub use libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG};

pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub const RESOLVE_BENEATH: u64 = 0x08;
/// The directory descriptor is `/` for the path, its symbolic links and its `..` (openat2(2)).
pub const RESOLVE_IN_ROOT: u64 = 0x10;

/// statfs(2) magic of procfs.
pub const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// statfs(2) magic of cgroup v2.
pub const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// How often a racing rename may make openat2(2) answer EAGAIN before it is an error.
const OPEN_RETRIES: u32 = 128;

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

pub fn openat(dir: RawFd, path: &CStr, flags: i32, mode: u32) -> Result<RawFd> {
    loop {
        // SAFETY: path is a C string that outlives the call.
        let answer = check_fd(unsafe { libc::openat(dir, path.as_ptr(), flags | O_CLOEXEC, mode) }.into());
        if answer != Err(Errno::EINTR) {
            return answer;
        }
    }
}

/// Opens a path without ever leaving what `resolve` allows; all descriptors are close-on-exec.
pub fn openat2(dir: RawFd, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<RawFd> {
    let how = OpenHow { flags: (flags | O_CLOEXEC) as u64, mode: mode.into(), resolve };
    for _ in 0..OPEN_RETRIES {
        // SAFETY: path and how outlive the call; the size is that of the structure.
        let answer = check_fd(unsafe {
            libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), &raw const how, size_of::<OpenHow>())
        });
        match answer {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

pub fn close(fd: RawFd) {
    // SAFETY: closing a number touches no memory; a wrong number is EBADF.
    unsafe { libc::close(fd) };
}

/// Has a part of a file go to the disk soon, and does not wait for it (sync_file_range(2)): a later fsync(2) finds less to do.
pub fn start_writeback(file: BorrowedFd<'_>, offset: i64, length: i64) -> Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed; no memory is passed.
    check_unit(unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) }.into())
}

pub fn mkdirat(dir: RawFd, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::mkdirat(dir, path.as_ptr(), mode) }.into())
}

pub fn mknodat(dir: RawFd, path: &CStr, mode: u32, device: u64) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::mknodat(dir, path.as_ptr(), mode, device) }.into())
}

pub fn symlinkat(target: &CStr, dir: RawFd, path: &CStr) -> Result<()> {
    // SAFETY: both are C strings that outlive the call.
    check_unit(unsafe { libc::symlinkat(target.as_ptr(), dir, path.as_ptr()) }.into())
}

/// The target of a symbolic link, cut at the buffer's length.
pub fn readlinkat<'a>(dir: RawFd, path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    // SAFETY: the buffer is writable for its whole length.
    let length =
        check(unsafe { libc::readlinkat(dir, path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) } as i64)?;
    Ok(&buffer[..(length as usize).min(buffer.len())])
}

pub fn unlinkat(dir: RawFd, path: &CStr, flags: i32) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::unlinkat(dir, path.as_ptr(), flags) }.into())
}

pub fn fchownat(dir: RawFd, path: &CStr, uid: u32, gid: u32, flags: i32) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::fchownat(dir, path.as_ptr(), uid, gid, flags) }.into())
}

pub fn fchmodat(dir: RawFd, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::fchmodat(dir, path.as_ptr(), mode, 0) }.into())
}

pub fn fchown(fd: RawFd, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fchown(fd, uid, gid) }.into())
}

pub fn fstat(fd: RawFd) -> Result<libc::stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills the structure, which is plain data and was zeroed.
    check_unit(unsafe { libc::fstat(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: see above.
    Ok(unsafe { stat.assume_init() })
}

/// The file system's magic number behind a descriptor.
pub fn fstatfs_magic(fd: RawFd) -> Result<i64> {
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel fills the structure, which is plain data and was zeroed.
    check_unit(unsafe { libc::fstatfs(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: see above.
    Ok(unsafe { stat.assume_init() }.f_type)
}

/// Whether the mount behind a descriptor is read-only.
pub fn mount_is_readonly(fd: RawFd) -> Result<bool> {
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the C library fills the structure, which is plain data and was zeroed.
    check_unit(unsafe { libc::fstatvfs(fd, stat.as_mut_ptr()) }.into())?;
    // SAFETY: see above.
    Ok(unsafe { stat.assume_init() }.f_flag & libc::ST_RDONLY != 0)
}

pub fn read(fd: RawFd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is writable for its whole length.
        match check(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as i64) {
            Err(Errno::EINTR) => {}
            other => return other.map(|length| length as usize),
        }
    }
}

pub fn write(fd: RawFd, bytes: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: the bytes are readable for their whole length.
        match check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } as i64) {
            Err(Errno::EINTR) => {}
            other => return other.map(|length| length as usize),
        }
    }
}

pub fn pwrite(fd: RawFd, bytes: &[u8], offset: i64) -> Result<usize> {
    // SAFETY: the bytes are readable for their whole length.
    check(unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), offset) } as i64).map(|length| length as usize)
}

/// Moves a descriptor's offset to its beginning.
pub fn rewind(fd: RawFd) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::lseek(fd, 0, libc::SEEK_SET) })
}

pub fn dup2(fd: RawFd, target: RawFd) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::dup2(fd, target) }.into())
}

/// Lets the next program have the descriptor under its number.
pub fn keep_on_exec(fd: RawFd) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into())
}

/// A close-on-exec copy of the descriptor, numbered `minimum` or higher.
pub fn duplicate_above(fd: RawFd, minimum: RawFd) -> Result<RawFd> {
    // SAFETY: no memory is passed.
    check_fd(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, minimum) }.into())
}

/// Whether the number is a descriptor that this program was executed with: all that it opens itself are close-on-exec.
pub fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: no memory is passed.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Whether the number is an open descriptor.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

pub fn set_nonblocking(fd: RawFd, on: bool) -> Result<()> {
    // SAFETY: no memory is passed.
    let flags = check_fd(unsafe { libc::fcntl(fd, libc::F_GETFL) }.into())?;
    let wanted = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fcntl(fd, libc::F_SETFL, wanted) }.into())
}

/// Marks every descriptor from `first` on close-on-exec: close_range(2), since Linux 5.11 with this flag.
/// On 5.10 the descriptors below `limit` are marked one by one.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    const FALLBACK_LIMIT: RawFd = 4096;
    // SAFETY: no memory is passed.
    match check_unit(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }) {
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            for fd in first..FALLBACK_LIMIT {
                // SAFETY: no memory is passed; a number that is not open is EBADF.
                unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            Ok(())
        }
        other => other,
    }
}

/// Closes the descriptors from `first` to `last`, those that are not open apart (close_range(2), since Linux 5.9).
pub fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: no memory is passed; the caller owns what it closes.
    check_unit(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// The same for a kernel without the call (Linux before 5.9): by this process's list of its own descriptors.
pub fn close_range_or_each(first: RawFd, last: RawFd) -> std::io::Result<()> {
    match close_range(first, last) {
        Err(Errno::ENOSYS) => close_each(first, last),
        other => Ok(other?),
    }
}

fn close_each(first: RawFd, last: RawFd) -> std::io::Result<()> {
    let list = std::fs::read_dir("/proc/self/fd")?;
    let numbers = list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The list has a descriptor itself, which is closed when it is read through.
    let open: Vec<RawFd> = numbers.filter(|number| (first..=last).contains(number)).collect();
    open.into_iter().for_each(close);
    Ok(())
}

pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::chdir(path.as_ptr()) }.into())
}

pub fn fchdir(fd: RawFd) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fchdir(fd) }.into())
}

pub fn chroot(path: &CStr) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::chroot(path.as_ptr()) }.into())
}

/// The working directory's path as the kernel writes it, NUL included. It begins with `(unreachable)` when the directory
/// is outside the root (getcwd(2)).
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the buffer is writable for its whole length.
    let length = check(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })? as usize;
    Ok(&buffer[..length.min(buffer.len())])
}

/// faccessat(2) with X_OK and the effective ids.
pub fn may_execute(path: &CStr) -> Result<()> {
    // SAFETY: path is a C string that outlives the call.
    check_unit(unsafe { libc::faccessat(AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) }.into())
}

pub fn memfd(name: &CStr, flags: u32) -> Result<RawFd> {
    // SAFETY: name is a C string that outlives the call.
    check_fd(unsafe { libc::memfd_create(name.as_ptr(), flags | libc::MFD_CLOEXEC) }.into())
}

/// Adds the seals after which a memfd can no longer be written, grown, shrunk or unsealed.
pub fn seal(fd: RawFd) -> Result<()> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }.into())
}

/// Whether a memfd can no longer be written; false for every other file.
pub fn is_sealed(fd: RawFd) -> bool {
    // SAFETY: no memory is passed.
    let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
    seals >= 0 && seals & libc::F_SEAL_WRITE != 0 && seals & libc::F_SEAL_SEAL != 0
}

/// Copies a whole regular file into another descriptor with sendfile(2).
pub fn copy_all(from: RawFd, to: RawFd, length: usize) -> Result<()> {
    let mut left = length;
    while left > 0 {
        // SAFETY: no memory is passed (null offset: the descriptor's own).
        let sent = check(unsafe { libc::sendfile(to, from, std::ptr::null_mut(), left) } as i64)? as usize;
        if sent == 0 {
            return Err(Errno::EIO);
        }
        left -= sent;
    }
    Ok(())
}

/// The number of a device node from its major and minor part.
pub fn device_number(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_close_range_the_same_descriptors_are_closed() {
        let null = openat(AT_FDCWD, c"/dev/null", O_RDONLY, 0).expect("open");
        let copies: Vec<RawFd> = (0..4).map(|_| duplicate_above(null, 700).expect("copy")).collect();
        let [first, second, third, fourth] = copies[..] else { panic!("{copies:?}") };
        close_each(second, third).expect("close");
        assert_eq!([first, second, third, fourth].map(is_open), [true, false, false, true]);
        close_each(fourth, RawFd::MAX).expect("close");
        assert!(is_open(first) && !is_open(fourth));
    }
}
