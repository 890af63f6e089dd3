//! Owned descriptors from the raw ones of `sys`.

use std::os::fd::{AsRawFd, RawFd};

/// A descriptor that closes itself.
#[derive(Debug)]
pub struct Fd(RawFd);

impl Fd {
    pub fn new(raw: RawFd) -> Self {
        Self(raw)
    }

    pub fn raw(&self) -> RawFd {
        self.0
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::file::close(self.0);
    }
}
