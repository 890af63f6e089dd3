//! The kernel's error number, and the words that the ecosystem prints for it.

use std::fmt;

/// A failed system call's `errno`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

pub type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    pub const EPERM: Self = Self(libc::EPERM);
    pub const ENOENT: Self = Self(libc::ENOENT);
    pub const ESRCH: Self = Self(libc::ESRCH);
    pub const EINTR: Self = Self(libc::EINTR);
    pub const EBADF: Self = Self(libc::EBADF);
    pub const EAGAIN: Self = Self(libc::EAGAIN);
    pub const EACCES: Self = Self(libc::EACCES);
    pub const EBUSY: Self = Self(libc::EBUSY);
    pub const EEXIST: Self = Self(libc::EEXIST);
    pub const ENOTDIR: Self = Self(libc::ENOTDIR);
    pub const EISDIR: Self = Self(libc::EISDIR);
    pub const EINVAL: Self = Self(libc::EINVAL);
    pub const EROFS: Self = Self(libc::EROFS);
    pub const ENOSYS: Self = Self(libc::ENOSYS);
    pub const ENODEV: Self = Self(libc::ENODEV);
    pub const ETIMEDOUT: Self = Self(libc::ETIMEDOUT);
    pub const EOPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    pub const ENAMETOOLONG: Self = Self(libc::ENAMETOOLONG);
    pub const ECHILD: Self = Self(libc::ECHILD);
    pub const ELOOP: Self = Self(libc::ELOOP);
    pub const EXDEV: Self = Self(libc::EXDEV);
    pub const EIO: Self = Self(libc::EIO);
    pub const EPROTO: Self = Self(libc::EPROTO);
    pub const ENOTCONN: Self = Self(libc::ENOTCONN);

    /// The number the last call of this thread left behind.
    pub fn last() -> Self {
        // SAFETY: glibc answers a valid pointer to this thread's errno.
        Self(unsafe { *libc::__errno_location() })
    }

    /// The words for this number as Go prints them, lower case: callers of an OCI runtime search for them.
    pub fn text(self) -> String {
        let error = std::io::Error::from_raw_os_error(self.0).to_string();
        let words = error.split(" (os error").next().unwrap_or("");
        let mut letters = words.chars();
        match letters.next() {
            Some(first) => first.to_lowercase().chain(letters).collect(),
            None => format!("errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}, {})", self.0, self.text())
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// A raw call's return value: -1 means that errno holds the reason.
pub(crate) fn check(value: i64) -> Result<i64> {
    if value < 0 { Err(Errno::last()) } else { Ok(value) }
}

/// The same for calls that answer a descriptor or another small number.
pub(crate) fn check_fd(value: i64) -> Result<i32> {
    check(value).map(|fd| fd as i32)
}

pub(crate) fn check_unit(value: i64) -> Result<()> {
    check(value).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_ones_that_go_prints() {
        assert_eq!(Errno::ENOENT.to_string(), "no such file or directory");
        assert_eq!(Errno::EACCES.to_string(), "permission denied");
        assert_eq!(Errno(libc::ENOEXEC).to_string(), "exec format error");
    }
}
