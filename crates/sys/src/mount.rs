//! The mount API by descriptor (fsopen(2), open_tree(2), move_mount(2), mount_setattr(2)), and the old calls.

use crate::Result;
use crate::errno::{check_fd, check_unit};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

pub use libc::{
    MNT_DETACH, MS_BIND, MS_MOVE, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_UNBINDABLE,
};

pub const MOUNT_ATTR_RDONLY: u64 = 0x01;
pub const MOUNT_ATTR_NOSUID: u64 = 0x02;
pub const MOUNT_ATTR_NODEV: u64 = 0x04;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x08;
/// The three access-time modes share this field; relatime is zero.
pub const MOUNT_ATTR_ATIME: u64 = 0x70;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

pub const OPEN_TREE_CLONE: u32 = 1;
pub const AT_RECURSIVE: u32 = 0x8000;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

pub fn fsopen(fs_type: &CStr) -> Result<RawFd> {
    // SAFETY: the C string outlives the call.
    check_fd(unsafe { libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), FSOPEN_CLOEXEC) })
}

pub fn fsconfig_string(fs: RawFd, key: &CStr, value: &CStr) -> Result<()> {
    // SAFETY: both C strings outlive the call.
    check_unit(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0) })
}

pub fn fsconfig_flag(fs: RawFd, key: &CStr) -> Result<()> {
    let none: *const libc::c_char = ptr::null();
    // SAFETY: the C string outlives the call; a flag has no value.
    check_unit(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key.as_ptr(), none, 0) })
}

pub fn fsconfig_create(fs: RawFd) -> Result<()> {
    let none: *const libc::c_char = ptr::null();
    // SAFETY: the command takes neither key nor value.
    check_unit(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, none, none, 0) })
}

/// The detached mount of a created file system.
pub fn fsmount(fs: RawFd, attributes: u64) -> Result<RawFd> {
    // SAFETY: no memory is passed.
    check_fd(unsafe { libc::syscall(libc::SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes as u32) })
}

/// `flags`: OPEN_TREE_CLONE, AT_RECURSIVE, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW.
pub fn open_tree(dir: RawFd, path: &CStr, flags: u32) -> Result<RawFd> {
    // SAFETY: the C string outlives the call.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags | OPEN_TREE_CLOEXEC) })
}

/// Puts a detached mount onto what another descriptor refers to.
pub fn move_mount(mount: RawFd, target: RawFd) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are static empty C strings.
    check_unit(unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), target, c"".as_ptr(), flags) })
}

/// Changes the mount behind a descriptor, and those below it when `recursive` is AT_RECURSIVE (mount_setattr(2), Linux 5.12).
pub fn set_attributes(mount: RawFd, recursive: u32, set: u64, clear: u64, propagation: u64) -> Result<()> {
    let attr = MountAttr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH as u32 | recursive;
    // SAFETY: the structure outlives the call and its size is given.
    check_unit(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount, c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
    })
}

/// A mount of its own of one file, read-only and attached nowhere: what is executed from it can be overwritten by nobody
/// who comes by its /proc/PID/exe.
pub fn readonly_clone(path: &CStr) -> Result<OwnedFd> {
    let tree = open_tree(libc::AT_FDCWD, path, OPEN_TREE_CLONE)?;
    // SAFETY: the descriptor was made above and is owned by nothing else.
    let tree = unsafe { OwnedFd::from_raw_fd(tree) };
    set_attributes(tree.as_raw_fd(), 0, MOUNT_ATTR_RDONLY, 0, 0)?;
    Ok(tree)
}

/// Lets a detached mount show its files under the ids of a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP).
pub fn set_id_map(mount: RawFd, recursive: u32, user_namespace: RawFd) -> Result<()> {
    let attr = MountAttr { attr_set: MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: user_namespace as u64 };
    let flags = libc::AT_EMPTY_PATH as u32 | recursive;
    // SAFETY: the structure outlives the call and its size is given.
    check_unit(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount, c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
    })
}

/// mount(2). `None` stands for a null pointer.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fs_type: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: all C strings outlive the call; null is allowed for each of the optional ones.
    check_unit(
        unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(fs_type), flags, pointer(data).cast()) }.into(),
    )
}

pub fn umount(target: &CStr, flags: i32) -> Result<()> {
    // SAFETY: the C string outlives the call.
    check_unit(unsafe { libc::umount2(target.as_ptr(), flags) }.into())
}

pub fn pivot_root(new_root: &CStr, put_old: &CStr) -> Result<()> {
    // SAFETY: both C strings outlive the call.
    check_unit(unsafe { libc::syscall(libc::SYS_pivot_root, new_root.as_ptr(), put_old.as_ptr()) })
}
