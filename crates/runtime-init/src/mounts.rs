//! Mounts by descriptor, below a root that no path leaves (openat2(2), RESOLVE_IN_ROOT).

use crate::child::Failure;
use crate::copy;
use crate::message::{Detail, Message};
use crate::prepared::Fds;
use crate::steps::Outcome;
use runtime_core::plan::{Attributes, BindMount, Entry, FilesystemMount, InRoot, Propagation, Slot, Target};
use std::ffi::CStr;
use sys::file::{self, AT_EMPTY_PATH, AT_FDCWD, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY};
use sys::numbered_path::NumberedPath;
use sys::{Errno, mount, rooted_path, socket};

const CLONE_EMPTY: u32 = mount::OPEN_TREE_CLONE | AT_EMPTY_PATH as u32;

/// A descriptor that closes itself.
struct Fd(i32);

impl Drop for Fd {
    fn drop(&mut self) {
        file::close(self.0);
    }
}

fn open_in(root: i32, path: &CStr, flags: i32, resolve: u64) -> Result<i32, Errno> {
    file::openat2(root, path, flags, 0, file::RESOLVE_IN_ROOT | file::RESOLVE_NO_MAGICLINKS | resolve)
}

/// Opens a directory inside the root, making those that are missing.
pub fn make_directory(root: i32, path: &InRoot) -> Result<i32, Errno> {
    make_directory_with(root, path, path.prefixes.len(), 0)
}

/// The same for the first `depth` components.
fn make_directory_with(root: i32, path: &InRoot, depth: usize, resolve: u64) -> Result<i32, Errno> {
    let whole = if depth == path.prefixes.len() { Some(path.path.as_c_str()) } else { depth_path(path, depth) };
    match open_in(root, whole.unwrap_or(c"."), O_PATH | O_DIRECTORY, resolve) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    let mut parent = Fd(open_in(root, c".", O_PATH | O_DIRECTORY, 0)?);
    for (prefix, name) in path.prefixes.iter().take(depth) {
        let next = match open_in(root, prefix, O_PATH | O_DIRECTORY, resolve) {
            Err(Errno::ENOENT) => {
                match file::mkdirat(parent.0, name, 0o755) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                open_in(root, prefix, O_PATH | O_DIRECTORY, resolve)?
            }
            other => other?,
        };
        parent = Fd(next);
    }
    let fd = parent.0;
    std::mem::forget(parent);
    Ok(fd)
}

fn depth_path(path: &InRoot, depth: usize) -> Option<&CStr> {
    depth.checked_sub(1).and_then(|last| path.prefixes.get(last)).map(|(prefix, _)| prefix.as_c_str())
}

/// Opens the place for a mount: a directory, or for a file's bind mount a file.
fn open_target(root: i32, target: &Target, directory: bool) -> Result<Fd, Failure> {
    let resolve = if target.plain { file::RESOLVE_NO_SYMLINKS } else { 0 };
    let path = &target.path;
    let mut opened = if directory {
        make_directory_with(root, path, path.prefixes.len(), resolve)
    } else {
        open_or_make_file(root, path)
    };
    if opened == Err(Errno::ENOENT) && resolve == 0 {
        // A link on the way leads nowhere.
        opened = rooted_path::make(root, &path.path, directory);
    }
    let fd = Fd(opened.map_err(Failure::at(Detail::Target))?);
    if !target.on_procfs && file::fstatfs_magic(fd.0)? == file::PROC_SUPER_MAGIC && !is_proc_root(target) {
        return Err(Failure { errno: Errno::EPERM, detail: Detail::Forbidden, number: 0 });
    }
    Ok(fd)
}

/// procfs may be mounted over procfs.
fn is_proc_root(target: &Target) -> bool {
    target.path.path.as_c_str() == c"proc"
}

fn open_or_make_file(root: i32, path: &InRoot) -> Result<i32, Errno> {
    match open_in(root, &path.path, O_PATH, 0) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    let Some((_, name)) = path.prefixes.last() else { return Err(Errno::EISDIR) };
    let parent = Fd(make_directory_with(root, path, path.prefixes.len() - 1, 0)?);
    match file::openat(parent.0, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDONLY, 0o755) {
        Ok(fd) => file::close(fd),
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    open_in(root, &path.path, O_PATH, 0)
}

fn propagate(mount: i32, propagation: Option<Propagation>) -> Outcome {
    let Some(Propagation { kind, recursive }) = propagation else { return Ok(()) };
    let recursive_flag = if recursive { mount::AT_RECURSIVE } else { 0 };
    match mount::set_attributes(mount, recursive_flag, 0, 0, kind) {
        Err(Errno::ENOSYS) => {
            let flags = kind | if recursive { mount::MS_REC } else { 0 };
            by_old_call(mount, flags)
        }
        other => Ok(other.map_err(Failure::at(Detail::Attributes))?),
    }
}

/// mount(2) on a descriptor for kernels before 5.12; the host's /proc is still there when mounts are made.
fn by_old_call(mount: i32, flags: u64) -> Outcome {
    let path = NumberedPath::new(c"/proc/self/fd/", mount.unsigned_abs());
    Ok(mount::mount(None, path.as_c(), None, flags, None).map_err(Failure::at(Detail::Attributes))?)
}

/// The permissions of the folder that a mount will cover.
fn mode_below(root: i32, target: &Target) -> Option<u32> {
    let folder = Fd(open_in(root, &target.path.path, O_PATH | O_DIRECTORY, 0).ok()?);
    Some(file::fstat(folder.0).ok()?.st_mode & 0o7777)
}

/// Four octal digits and the end of a C string.
fn octal(mode: u32) -> [u8; 5] {
    let mut text = *b"0000\0";
    for (place, digit) in text.iter_mut().take(4).enumerate() {
        *digit = b'0' + (mode >> (9 - 3 * place) & 7) as u8;
    }
    text
}

pub fn filesystem(root: i32, step: &FilesystemMount) -> Outcome {
    // Before the folder is made, if it is not there: then the file system has a mode of its own.
    let mode = if step.keeps_mode { mode_below(root, &step.target) } else { None };
    let target = open_target(root, &step.target, true)?;
    let fs = Fd(mount::fsopen(&step.kind)?);
    // Only for show in mountinfo; file systems without a source refuse it.
    let _ = mount::fsconfig_string(fs.0, c"source", &step.source);
    for (index, (key, value)) in step.options.iter().enumerate() {
        let set = match value {
            Some(value) => mount::fsconfig_string(fs.0, key, value),
            None => mount::fsconfig_flag(fs.0, key),
        };
        set.map_err(|errno| Failure { errno, detail: Detail::Option, number: index as u32 })?;
    }
    if let Some(mode) = mode {
        let text = octal(mode);
        let value = CStr::from_bytes_until_nul(&text).map_err(|_| Errno::EINVAL)?;
        mount::fsconfig_string(fs.0, c"mode", value)?;
    }
    mount::fsconfig_create(fs.0).map_err(Failure::at(Detail::Create))?;
    // A tmpfs that is to be filled is writable until it is.
    let first = if step.copy_up { step.attributes & !mount::MOUNT_ATTR_RDONLY } else { step.attributes };
    let mounted = Fd(mount::fsmount(fs.0, first)?);
    if step.copy_up {
        copy::copy_up(target.0, mounted.0).map_err(Failure::at(Detail::CopyUp))?;
    }
    if first != step.attributes {
        mount::set_attributes(mounted.0, 0, mount::MOUNT_ATTR_RDONLY, 0, 0).map_err(Failure::at(Detail::Attributes))?;
    }
    mount::move_mount(mounted.0, target.0)?;
    propagate(mounted.0, step.target.propagation)
}

/// Puts the root file system that the parent has made over the old root: the only place that is sure to be in reach.
pub fn attach_root(fds: &mut Fds, tree: Slot) -> Outcome {
    let over = Fd(file::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?);
    mount::move_mount(fds.get(tree), over.0)?;
    fds.set(Slot::ROOT, fds.get(tree));
    Ok(())
}

/// Makes the root file system a mount of its own, where it lies.
pub fn bind_root(fds: &mut Fds, path: &CStr) -> Outcome {
    mount::mount(Some(path), path, None, mount::MS_BIND | mount::MS_REC, None)?;
    fds.set(Slot::ROOT, file::openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0)?);
    Ok(())
}

/// Opens the source, sends it, and gets a mount of it.
pub fn ask_for_tree(fds: &mut Fds, slot: Slot, path: &InRoot) -> Outcome {
    let source = Fd(open_in(fds.get(Slot::ROOT), &path.path, O_PATH, 0).map_err(Failure::at(Detail::Source))?);
    let sync = fds.get(Slot::SYNC);
    let wanted = Message::Tree { slot: slot.0 as u32 }.encode();
    socket::send_fd(sync, &wanted, source.0).map_err(Failure::at(Detail::Parent))?;
    match socket::receive(sync, &mut [0]).map_err(Failure::at(Detail::Parent))? {
        (_, Some(tree)) => fds.set(slot, tree),
        (_, None) => return Err(Failure { errno: Errno::EPROTO, detail: Detail::Parent, number: 0 }),
    }
    Ok(())
}

pub fn bind(fds: &mut Fds, step: &BindMount) -> Outcome {
    let root = fds.get(Slot::ROOT);
    let recursive = if step.recursive { mount::AT_RECURSIVE } else { 0 };
    let source = match step.tree {
        Some(slot) => fds.take(slot),
        None => {
            let opened = mount::open_tree(AT_FDCWD, &step.source, mount::OPEN_TREE_CLONE | recursive);
            opened.map_err(Failure::at(Detail::Source))?
        }
    };
    let source = Fd(source);
    let directory = file::fstat(source.0)?.st_mode & file::S_IFMT == file::S_IFDIR;
    let target = open_target(root, &step.target, directory)?;
    let late = set_bind_attributes(source.0, step.attributes)?;
    mount::move_mount(source.0, target.0)?;
    if late {
        by_old_call(source.0, mount::MS_BIND | mount::MS_REMOUNT | old_flags(step.attributes.set))?;
    }
    propagate(source.0, step.target.propagation)
}

/// Answers whether the kernel cannot (before 5.12), so that a remount has to follow.
fn set_bind_attributes(mount: i32, attributes: Attributes) -> Result<bool, Failure> {
    let Attributes { set, clear, set_recursive, clear_recursive } = attributes;
    for (recursive, set, clear) in [(mount::AT_RECURSIVE, set_recursive, clear_recursive), (0, set, clear)] {
        if set == 0 && clear == 0 {
            continue;
        }
        match mount::set_attributes(mount, recursive, set, clear, 0) {
            Err(Errno::ENOSYS) if recursive == 0 => return Ok(true),
            other => other.map_err(Failure::at(Detail::Attributes))?,
        }
    }
    Ok(false)
}

/// MOUNT_ATTR_* as MS_*: the first four have the same values.
fn old_flags(attributes: u64) -> u64 {
    let mut flags = attributes & 0xf;
    for (attribute, flag) in [
        (mount::MOUNT_ATTR_NOATIME, libc::MS_NOATIME),
        (mount::MOUNT_ATTR_STRICTATIME, libc::MS_STRICTATIME),
        (mount::MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME),
        (mount::MOUNT_ATTR_NOSYMFOLLOW, 256),
    ] {
        if attributes & attribute != 0 {
            flags |= flag;
        }
    }
    flags
}

pub fn populate(root: i32, directory: &InRoot, entries: &[Entry]) -> Outcome {
    let directory = Fd(make_directory(root, directory).map_err(Failure::at(Detail::Target))?);
    let old_mask = sys::process::umask(0);
    for (index, entry) in entries.iter().enumerate() {
        make_entry(directory.0, entry).map_err(|errno| Failure {
            errno,
            detail: Detail::None,
            number: index as u32,
        })?;
    }
    sys::process::umask(old_mask);
    Ok(())
}

fn make_entry(directory: i32, entry: &Entry) -> Result<(), Errno> {
    match entry {
        Entry::Node { name, mode, device, uid, gid } => {
            match file::mknodat(directory, name, *mode, file::device_number(device.0, device.1)) {
                Err(Errno::EEXIST) => return check_node(directory, name, *mode, *device),
                other => other?,
            }
            if *uid != 0 || *gid != 0 {
                file::fchownat(directory, name, *uid, *gid, file::AT_SYMLINK_NOFOLLOW)?;
            }
            Ok(())
        }
        Entry::BoundNode { name, source } => {
            let source = Fd(mount::open_tree(AT_FDCWD, source, mount::OPEN_TREE_CLONE)?);
            match file::openat(directory, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDONLY, 0o666) {
                Ok(fd) => file::close(fd),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let target = Fd(file::openat(directory, name, O_PATH | O_NOFOLLOW, 0)?);
            mount::move_mount(source.0, target.0)
        }
        Entry::Link { name, target } => match file::symlinkat(target, directory, name) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        },
    }
}

/// A node that the image brought is good only if it is the wanted one.
fn check_node(directory: i32, name: &CStr, mode: u32, device: (u32, u32)) -> Result<(), Errno> {
    let node = Fd(file::openat(directory, name, O_PATH | O_NOFOLLOW, 0)?);
    let stat = file::fstat(node.0)?;
    let same = stat.st_mode & file::S_IFMT == mode & file::S_IFMT
        && (mode & file::S_IFMT == file::S_IFIFO || stat.st_rdev == file::device_number(device.0, device.1));
    if same { Ok(()) } else { Err(Errno::EEXIST) }
}

/// pivot_root(2) with the new root as the place of the old one, which is then taken away: no folder in the container is
/// needed for it.
pub fn pivot(fds: &mut Fds) -> Outcome {
    let old = Fd(file::openat(AT_FDCWD, c"/", O_DIRECTORY | O_RDONLY, 0)?);
    file::fchdir(fds.get(Slot::ROOT))?;
    mount::pivot_root(c".", c".")?;
    file::fchdir(old.0)?;
    // Unmounting must not reach the host.
    mount::mount(None, c".", None, mount::MS_SLAVE | mount::MS_REC, None)?;
    mount::umount(c".", mount::MNT_DETACH)?;
    file::chdir(c"/")?;
    reopen_root(fds)
}

/// For a root that cannot be pivoted away from (an initramfs): moves the new one over `/`.
pub fn move_root(fds: &mut Fds) -> Outcome {
    // What lies below the moved root stays mounted, and a procfs that hides nothing would let a user namespace in the
    // container mount another one (mount_namespaces(7)).
    for bare in [c"/proc", c"/sys"] {
        while mount::umount(bare, mount::MNT_DETACH).is_ok() {}
    }
    file::fchdir(fds.get(Slot::ROOT))?;
    match mount::mount(Some(c"."), c"/", None, mount::MS_MOVE, None) {
        // It lies there already.
        Ok(()) | Err(Errno::ELOOP) => {}
        Err(errno) => return Err(errno.into()),
    }
    file::chroot(c".")?;
    file::chdir(c"/")?;
    reopen_root(fds)
}

/// For a container in the mount namespace of others: their root stays, this process gets another one.
pub fn change_root(fds: &mut Fds, slot: Slot) -> Outcome {
    file::fchdir(fds.get(slot))?;
    file::chroot(c".")?;
    file::chdir(c"/")?;
    reopen_root(fds)
}

fn reopen_root(fds: &mut Fds) -> Outcome {
    file::close(fds.get(Slot::ROOT));
    fds.set(Slot::ROOT, file::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?);
    Ok(())
}

pub fn make_readonly(root: i32, path: &InRoot) -> Outcome {
    let fd = Fd(open_in(root, &path.path, O_PATH, file::RESOLVE_NO_SYMLINKS)?);
    match mount::set_attributes(fd.0, 0, mount::MOUNT_ATTR_RDONLY, 0, 0) {
        Err(Errno::ENOSYS) => by_old_call(fd.0, mount::MS_BIND | mount::MS_REMOUNT | mount::MS_RDONLY),
        other => Ok(other.map_err(Failure::at(Detail::Attributes))?),
    }
}

/// Makes what is there read-only by a bind mount on itself; what is missing needs nothing.
pub fn readonly_path(root: i32, path: &InRoot) -> Outcome {
    let target = match open_in(root, &path.path, O_PATH, 0) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        other => Fd(other.map_err(Failure::at(Detail::Target))?),
    };
    let clone = Fd(mount::open_tree(target.0, c"", CLONE_EMPTY | mount::AT_RECURSIVE)?);
    match mount::set_attributes(clone.0, mount::AT_RECURSIVE, mount::MOUNT_ATTR_RDONLY, 0, 0) {
        Err(Errno::ENOSYS) => {
            mount::move_mount(clone.0, target.0)?;
            by_old_call(clone.0, mount::MS_BIND | mount::MS_REMOUNT | mount::MS_RDONLY)
        }
        other => {
            other.map_err(Failure::at(Detail::Attributes))?;
            Ok(mount::move_mount(clone.0, target.0)?)
        }
    }
}

/// Hides a directory under an empty read-only tmpfs, a file under /dev/null (runtime-spec config-linux.md, masked paths).
pub fn mask_path(fds: &mut Fds, path: &InRoot) -> Outcome {
    let target = match open_in(fds.get(Slot::ROOT), &path.path, O_PATH, 0) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        other => Fd(other.map_err(Failure::at(Detail::Target))?),
    };
    if file::fstat(target.0)?.st_mode & file::S_IFMT == file::S_IFDIR {
        return mask_directory(fds, target.0);
    }
    if fds.get(Slot::NULL) < 0 {
        let null = Fd(open_in(fds.get(Slot::ROOT), c"dev/null", O_PATH | O_NOFOLLOW, file::RESOLVE_NO_SYMLINKS)?);
        // The image may have put something else there (CVE-2025-31133).
        let stat = file::fstat(null.0)?;
        if stat.st_mode & file::S_IFMT != file::S_IFCHR || stat.st_rdev != file::device_number(1, 3) {
            return Err(Failure { errno: Errno::EINVAL, detail: Detail::NotNull, number: 0 });
        }
        fds.set(Slot::NULL, null.0);
        std::mem::forget(null);
    }
    let clone = Fd(mount::open_tree(fds.get(Slot::NULL), c"", CLONE_EMPTY)?);
    Ok(mount::move_mount(clone.0, target.0)?)
}

/// The first mask is a new tmpfs, all others are clones of its mount.
fn mask_directory(fds: &mut Fds, target: i32) -> Outcome {
    if fds.get(Slot::MASK) >= 0 {
        let clone = Fd(mount::open_tree(fds.get(Slot::MASK), c"", CLONE_EMPTY)?);
        return Ok(mount::move_mount(clone.0, target)?);
    }
    let fs = Fd(mount::fsopen(c"tmpfs")?);
    mount::fsconfig_string(fs.0, c"nr_inodes", c"2").map_err(Failure::at(Detail::Option))?;
    mount::fsconfig_create(fs.0).map_err(Failure::at(Detail::Create))?;
    let mask = Fd(mount::fsmount(fs.0, mount::MOUNT_ATTR_RDONLY)?);
    mount::move_mount(mask.0, target)?;
    fds.set(Slot::MASK, mask.0);
    std::mem::forget(mask);
    Ok(())
}
