//! Session keyrings (keyctl(2)).

use crate::Result;
use crate::errno::{check_fd, check_unit};
use std::ffi::CStr;

const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
const KEYCTL_SETPERM: i32 = 5;
const POSSESSOR_ALL: u32 = 0x3f00_0000;
const USER_VIEW_READ_SEARCH: u32 = 0x000b_0000;

/// Joins the named session keyring, making it when there is none of that name.
pub fn join_session(name: &CStr) -> Result<i32> {
    // SAFETY: the C string outlives the call.
    check_fd(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
}

/// Lets processes of the same user find the keyring: a later exec joins it by its name.
pub fn let_user_search(keyring: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, keyring, POSSESSOR_ALL | USER_VIEW_READ_SEARCH)
    })
}
