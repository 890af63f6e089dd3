//! Bind mounts made for a container with a user namespace, and user namespaces made for nothing but their maps.

use crate::RuntimeError;
use crate::fd::Fd;
use crate::idmaps;
use crate::launch::open_path;
use runtime_core::plan::{IdMap, IdMapSource, Tree};
use runtime_core::spec::IdMapping;
use std::ffi::CString;
use sys::file::{self, AT_EMPTY_PATH, AT_FDCWD, O_RDONLY};
use sys::process::{self, Clone};
use sys::{Errno, mount, socket};

/// Bytes of a reason that one process of ours tells another.
const MAX_REASON: usize = 1024;

/// A copy of a mount that is attached nowhere, and whether its attributes are set: kernels before 5.12 want them set once it
/// is attached.
pub fn make(tree: &Tree) -> Result<(Fd, bool), RuntimeError> {
    let opened = mount::open_tree(AT_FDCWD, &tree.source, mount::OPEN_TREE_CLONE | below(tree.recursive));
    finish(tree, opened, users_of(tree)?.as_ref())
}

fn users_of(tree: &Tree) -> Result<Option<Fd>, RuntimeError> {
    tree.id_map.as_ref().map(user_namespace).transpose()
}

fn below(recursive: bool) -> u32 {
    if recursive { mount::AT_RECURSIVE } else { 0 }
}

/// `users`: whose ids its files are shown under.
fn finish(tree: &Tree, opened: Result<i32, Errno>, users: Option<&Fd>) -> Result<(Fd, bool), RuntimeError> {
    let name = tree.source.to_string_lossy().into_owned();
    let failed = |doing: &str, errno: Errno| {
        let clause = format!("error mounting {name:?} to rootfs: {doing}: {errno}");
        RuntimeError::Start(format!("error during container init: {clause}"))
    };
    let opened = opened.map(Fd::new).map_err(|errno| failed("the source cannot be opened", errno))?;
    if tree.propagation != 0 {
        match mount::set_attributes(opened.raw(), mount::AT_RECURSIVE, 0, 0, tree.propagation) {
            // In the new mount namespace it is a slave anyway.
            Ok(()) | Err(Errno::ENOSYS) => {}
            Err(errno) => return Err(failed("its propagation cannot be set", errno)),
        }
    }
    let done = set_attributes(&opened, tree).map_err(|errno| failed("its attributes cannot be set", errno))?;
    if let (Some(id_map), Some(users)) = (&tree.id_map, users) {
        mount::set_id_map(opened.raw(), below(id_map.recursive), users.raw()).map_err(|errno| match errno {
            Errno::ENOSYS | Errno::EINVAL => failed("the file system or the kernel has no id-mapped mounts", errno),
            errno => failed("its ids cannot be mapped", errno),
        })?;
    }
    Ok((opened, done))
}

/// The same of a source that lies in the mount namespace of a process: only from there it can be copied. A process of our own
/// goes there and sends back what it has made, or why it has not.
pub fn make_inside(tree: &Tree, source: &Fd, pid: i32) -> Result<Fd, RuntimeError> {
    let namespace = open_path(&format!("/proc/{pid}/ns/mnt"), O_RDONLY)?;
    let (ours, theirs) = socket::packet_pair().map_err(RuntimeError::system("socketpair"))?;
    let (ours, theirs) = (Fd::new(ours), Fd::new(theirs));
    let child = match process::fork().map_err(RuntimeError::system("fork"))? {
        Clone::Parent { child } => child,
        Clone::Child => {
            let _ = match copy_inside(tree, source, &namespace) {
                Ok(made) => socket::send_fd(theirs.raw(), b"0", made.raw()),
                Err(error) => {
                    let reason = error.to_string();
                    socket::send(theirs.raw(), reason.as_bytes().get(..MAX_REASON).unwrap_or(reason.as_bytes()))
                }
            };
            process::exit_now(0)
        }
    };
    drop(theirs);
    let mut reason = [0; MAX_REASON];
    let answer = socket::receive(ours.raw(), &mut reason);
    let _ = process::wait(child, false);
    match answer.map_err(RuntimeError::system("receive a mount"))? {
        (_, Some(made)) => Ok(Fd::new(made)),
        (length, None) => {
            let reason = String::from_utf8_lossy(reason.get(..length).unwrap_or_default()).into_owned();
            Err(RuntimeError::Start(reason.trim_start_matches("unable to start container process: ").into()))
        }
    }
}

fn copy_inside(tree: &Tree, source: &Fd, namespace: &Fd) -> Result<Fd, RuntimeError> {
    // While this process still sees the host's procfs.
    let users = users_of(tree)?;
    process::setns(namespace.raw(), process::CLONE_NEWNS)
        .map_err(RuntimeError::system("setns to the mount namespace"))?;
    let flags = mount::OPEN_TREE_CLONE | AT_EMPTY_PATH as u32 | below(tree.recursive);
    finish(tree, mount::open_tree(source.raw(), c"", flags), users.as_ref()).map(|(made, _)| made)
}

fn set_attributes(opened: &Fd, tree: &Tree) -> Result<bool, Errno> {
    let attributes = tree.attributes;
    let sets = [
        (mount::AT_RECURSIVE, attributes.set_recursive, attributes.clear_recursive),
        (0, attributes.set, attributes.clear),
    ];
    for (recursive, set, clear) in sets {
        if (set, clear) == (0, 0) {
            continue;
        }
        match mount::set_attributes(opened.raw(), recursive, set, clear, 0) {
            Err(Errno::ENOSYS) if recursive == 0 => return Ok(false),
            other => other?,
        }
    }
    Ok(true)
}

fn user_namespace(id_map: &IdMap) -> Result<Fd, RuntimeError> {
    match &id_map.users {
        IdMapSource::Namespace(path) => {
            let name = CString::new(path.as_str())
                .map_err(|_| RuntimeError::InvalidArgument(format!("path {path:?} has a NUL byte")))?;
            let opened = file::openat(AT_FDCWD, &name, O_RDONLY, 0);
            opened.map(Fd::new).map_err(|errno| RuntimeError::Start(format!("open {path}: {errno}")))
        }
        IdMapSource::Maps { uids, gids } => made_for_maps(uids, gids),
    }
}

/// A user namespace lives as long as a process in it or a descriptor: the process is needed for its maps only.
fn made_for_maps(uids: &[IdMapping], gids: &[IdMapping]) -> Result<Fd, RuntimeError> {
    let pid = match process::clone_process(process::CLONE_NEWUSER, None) {
        Ok(Clone::Parent { child }) => child,
        Ok(Clone::Child) => {
            // Until it is killed, or its parent is gone.
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            let _ = process::poll(&mut [], -1);
            process::exit_now(0)
        }
        Err(errno) => return Err(RuntimeError::System { what: "clone into a new user namespace".into(), errno }),
    };
    let opened = idmaps::write(pid, uids, gids).and_then(|()| {
        let name = CString::new(format!("/proc/{pid}/ns/user")).unwrap_or_default();
        file::openat(AT_FDCWD, &name, O_RDONLY, 0).map(Fd::new).map_err(RuntimeError::system("open a user namespace"))
    });
    let _ = process::kill(pid, libc::SIGKILL);
    let _ = process::wait(pid, false);
    opened
}
