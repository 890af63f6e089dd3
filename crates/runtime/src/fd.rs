//! Owned descriptors from the raw ones of `sys`.

use crate::RuntimeError;
use std::os::fd::{AsRawFd, RawFd};

/// The descriptors to be passed on must all be there: else one that this program opens would get a number among them and
/// reach the container (as in CVE-2024-21626).
pub fn check_preserved(count: u32) -> Result<(), RuntimeError> {
    for offset in 0..count {
        let fd = i32::try_from(offset).ok().and_then(|offset| offset.checked_add(3));
        if !fd.is_some_and(sys::file::is_inherited) {
            let message = format!("please check that preserved-fd {} (of {count}) is present", u64::from(offset) + 3);
            return Err(RuntimeError::InvalidArgument(message));
        }
    }
    Ok(())
}

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
