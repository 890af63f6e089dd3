//! Network namespaces: made ready at a path, entered by a short-lived thread, taken down without waiting.
//!
//! A namespace is joined by threads, not by processes (setns(2)), so the thread that enters one ends there and never
//! returns to a pool. The bind mount keeps the namespace alive (network_namespaces(7)); its unmount lets the kernel take
//! it down, links included, in the background.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::error::{Error, Result};

/// `NSFS_MAGIC`: the file system type of a namespace file, ioctl_ns(2).
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// That of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
const STACK: usize = 64 * 1024;

/// Makes a namespace at `path` (a new, empty file) and runs `inside` in it.
pub fn create<T: Send>(path: &Path, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    create_from(path, None, inside)
}

/// The same from a namespace that is there already.
pub fn create_from<T: Send>(
    path: &Path,
    made: Option<OwnedFd>,
    inside: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let failed = |action| move |source| Error::Namespace { action, path: path.to_path_buf(), source };
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(open(path, flags, Mode::from_raw_mode(0o444)).map_err(|error| failed("create")(error.into()))?);
    let made = in_thread(path, || {
        let entered = match made {
            Some(made) => setns(made.as_fd(), CloneFlags::CLONE_NEWNET),
            None => unshare(CloneFlags::CLONE_NEWNET),
        };
        entered.map_err(|errno| failed("create")(errno.into()))?;
        mount_bind(OWN, path).map_err(|errno| failed("mount")(errno.into()))?;
        inside()
    });
    if made.is_err() {
        // The first error counts; what is left behind is only this path.
        let _ = remove(path);
    }
    made
}

/// Moves the calling thread into a new namespace, which lives as long as what is answered. The thread cannot come back: it has
/// to end.
pub fn leave_for_new() -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    File::open(OWN).map(OwnedFd::from)
}

/// The same as [`create`], of a namespace that belongs to the user namespace at `users`.
pub fn create_for<T: Send>(path: &Path, users: &Path, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let failed = |action| move |source| Error::Namespace { action, path: path.to_path_buf(), source };
    let users = File::open(users).map_err(failed("create"))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(open(path, flags, Mode::from_raw_mode(0o444)).map_err(|error| failed("create")(error.into()))?);
    let made = sys::users::network_namespace(users.as_fd()).map_err(failed("create")).and_then(|made| {
        let name = format!("/proc/self/fd/{}", made.as_raw_fd());
        mount_bind(&name, path).map_err(|errno| failed("mount")(errno.into()))?;
        enter(path, inside)
    });
    if made.is_err() {
        // The first error counts; what is left behind is only this path.
        let _ = remove(path);
    }
    made
}

/// Runs `inside` in the namespace at `path`.
pub fn enter<T: Send>(path: &Path, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let failed = |source| Error::Namespace { action: "enter", path: path.to_path_buf(), source };
    let file = File::open(path).map_err(failed)?;
    in_thread(path, move || {
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
        inside()
    })
}

/// Whether a namespace stands at `path`.
pub fn exists(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|facts| facts.f_type as u64 == NSFS_MAGIC)
}

/// Lets go of the namespace at `path`. What is gone already is no error.
pub fn remove(path: &Path) -> Result<()> {
    let failed = |source| Error::Namespace { action: "remove", path: path.to_path_buf(), source };
    match unmount(path, UnmountFlags::DETACH) {
        // INVAL: a plain file, the mount went with a reboot or a mount namespace.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno.into())),
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Writes a value under `/proc/sys`; names under `net` belong to the caller's namespace.
pub fn write_sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(path, value).map_err(|source| Error::Sysctl { name: name.to_owned(), source })
}

fn in_thread<T: Send>(path: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("netns".to_owned()).stack_size(STACK).spawn_scoped(scope, work).map_err(
                |source| Error::Namespace { action: "start a thread for", path: path.to_path_buf(), source },
            )?;
        thread.join().map_err(|_| Error::Thread { path: path.to_path_buf() })?
    })
}
