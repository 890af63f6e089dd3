//! Keeps a container from overwriting this program (CVE-2019-5736).
//!
//! In a container a file whose interpreter is /proc/self/exe makes this program run there, and another process of the
//! container can open it through /proc/PID/exe and write to it. So before anything of a container is touched, this program
//! executes itself again from a read-only mount of its own file that is attached nowhere, or from a sealed copy in memory.

use crate::RuntimeError;
use crate::fd::Fd;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use sys::file::{self, AT_EMPTY_PATH, AT_FDCWD, O_RDONLY};
use sys::mount;
use sys::process::{self, StringArray};

/// What is executed by descriptor is otherwise named after the descriptor's number, in ps and in the kernel's log.
pub fn keep_own_name() {
    // prctl(2) fails for no name of less than 16 bytes.
    let _ = process::set_name(c"docker-runc");
}

/// Whether this program was executed from where nobody can write to it.
pub fn is_protected() -> Result<bool, RuntimeError> {
    own_binary().map(|own| is_unwritable(&own))
}

pub fn protect_own_binary() -> Result<(), RuntimeError> {
    let own = own_binary()?;
    if is_unwritable(&own) {
        return Ok(());
    }
    let again =
        readonly_mount(&own).or_else(|_| sealed_copy(&own)).map_err(RuntimeError::system("protect the own binary"))?;
    let c_strings = |list: Vec<Vec<u8>>| list.into_iter().filter_map(|text| CString::new(text).ok()).collect();
    let args = StringArray::new(c_strings(std::env::args_os().map(OsStringExt::into_vec).collect()));
    let pair = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        [key.into_vec(), b"=".to_vec(), value.into_vec()].concat()
    };
    let env = StringArray::new(c_strings(std::env::vars_os().map(pair).collect()));
    let errno = process::exec_fd(again.raw(), &args, &env);
    Err(RuntimeError::System { what: "execute the protected binary".into(), errno })
}

fn own_binary() -> Result<Fd, RuntimeError> {
    let own = file::openat(AT_FDCWD, c"/proc/self/exe", O_RDONLY, 0).map(Fd::new);
    own.map_err(RuntimeError::system("open /proc/self/exe"))
}

fn is_unwritable(own: &Fd) -> bool {
    file::mount_is_readonly(own.raw()).unwrap_or(false) || file::is_sealed(own.raw())
}

fn readonly_mount(own: &Fd) -> sys::Result<Fd> {
    let tree = mount::open_tree(own.raw(), c"", mount::OPEN_TREE_CLONE | AT_EMPTY_PATH as u32).map(Fd::new)?;
    mount::set_attributes(tree.raw(), 0, mount::MOUNT_ATTR_RDONLY, 0, 0)?;
    Ok(tree)
}

fn sealed_copy(own: &Fd) -> sys::Result<Fd> {
    let copy = file::memfd(c"docker-runc", libc::MFD_ALLOW_SEALING).map(Fd::new)?;
    let length = usize::try_from(file::fstat(own.raw())?.st_size).map_err(|_| sys::Errno::EINVAL)?;
    file::copy_all(own.raw(), copy.raw(), length)?;
    file::seal(copy.raw())?;
    Ok(copy)
}
