//! A container's file system as its process sees it, or would: a descriptor of its root, from which everything is reached.
//!
//! Of a container that runs it is the root of its own mount namespace, so that volumes and tmpfs are there. Of one that does
//! not it is put together in a mount namespace that nobody else sees and that goes with the descriptor. Either way a thread
//! of its own goes there, opens the root, and ends: no path of the container is ever looked up from the daemon's root,
//! nothing of the container's is run or loaded (CVE-2019-14271), and a process that has made another directory its
//! root changes nothing (chroot(2) is not the namespace's).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use container_core::{MountKind, MountPoint};
use containerd_api::types::Mount;
use containerd_api::v1::types::Status;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use sys::layers::LayerMount;
use sys::users::{Acting, IdMaps};

use crate::error::Error;
use crate::record::{Container, Record};
use crate::service::{Shared, blocking};
use crate::user_namespaces;
use crate::volumes::Held;

/// A start or an end may come between two looks at a container.
const LOOKS: u32 = 5;
/// openat2(2) answers EAGAIN when something was renamed meanwhile.
const RESOLVE_TRIES: u32 = 64;

/// The root, and what keeps its mounts together.
pub(crate) struct View {
    root: OwnedFd,
    /// A mount namespace lasts as long as somebody has it open (namespaces(7)).
    _namespace: OwnedFd,
    /// Of a container that does not run.
    #[expect(dead_code, reason = "held until the view goes")]
    volumes: Option<Held>,
    /// Of a container with users of its own.
    users: Option<IdMaps>,
}

/// Whether a view of a container that does not run may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What is mounted into a container that does not run.
#[derive(Debug, Clone)]
pub(crate) struct Bind {
    source: PathBuf,
    /// The folder of the source that is meant; empty for all of it. The source may be an attacker's.
    subpath: PathBuf,
    destination: PathBuf,
    read_write: bool,
    recursive: bool,
}

/// A container's view. With [`Access::Write`] the caller holds the gate, so that the container does not start meanwhile.
pub(crate) async fn open(shared: &Shared, container: &Container, access: Access) -> Result<View, Error> {
    for _ in 0..LOOKS {
        let record = container.record();
        if record.state.has_process() {
            let pid = record.state.pid();
            let opened = blocking(move || View::of_process(pid)).await?;
            if is_process(shared, &record).await? {
                let users = user_namespaces::maps(shared, &record.host_config);
                let opened = opened.map(|view| View { users, ..view });
                return opened.map_err(|error| Error::file("enter the container's", Path::new("namespace"), error));
            }
            if access == Access::Write {
                break;
            }
            continue;
        }
        // Held while it is put together: a start mounts the same directories.
        let _gate = if access == Access::Read { Some(container.gate.lock().await) } else { None };
        if container.record().state.has_process() {
            continue;
        }
        return at_rest(shared, container, access).await;
    }
    Err(crate::messages::not_running(&container.id))
}

/// The container's own file system, without what is mounted into it, read only.
pub(crate) async fn open_bare(shared: &Shared, container: &Container) -> Result<View, Error> {
    let users = user_namespaces::maps(shared, &container.record().host_config);
    for _ in 0..LOOKS {
        let record = container.record();
        if record.state.has_process() {
            let pid = record.state.pid();
            let opened = blocking(move || View::bare_of_process(pid)).await?;
            if is_process(shared, &record).await? {
                let opened = opened.map(|view| View { users, ..view });
                return opened.map_err(|error| Error::file("enter the container's", Path::new("namespace"), error));
            }
            continue;
        }
        let mounts = user_namespaces::through(users.as_ref(), container.rootfs(&shared.containerd).await?);
        let place = shared.settings.runc_root();
        let opened = blocking(move || View::of_snapshot(&place, &mounts, &[], Access::Read)).await?;
        return opened.map_err(|error| Error::file("mount the container's", Path::new("rootfs"), error));
    }
    Err(crate::messages::not_running(&container.id))
}

async fn at_rest(shared: &Shared, container: &Container, access: Access) -> Result<View, Error> {
    let users = user_namespaces::maps(shared, &container.record().host_config);
    let mounts = user_namespaces::through(users.as_ref(), container.rootfs(&shared.containerd).await?);
    let (held, own) = Held::of(shared, &container.record()).await?;
    let binds = binds(&own, &shared.settings.container_folder(&container.id));
    let place = shared.settings.runc_root();
    let opened = blocking(move || View::of_snapshot(&place, &mounts, &binds, access)).await?;
    let view = opened.map_err(|error| Error::file("mount the container's", Path::new("rootfs"), error))?;
    Ok(View { volumes: Some(held), ..view })
}

/// A number means a process only as long as the shim has not reaped it: asked after the process was looked at.
async fn is_process(shared: &Shared, record: &Record) -> Result<bool, Error> {
    let task = shared.containerd.get(&record.id, "").await?;
    Ok(task.is_some_and(|task| task.pid == record.state.pid() && task.status != Status::Stopped))
}

/// Volumes and folders by place, outer ones first, and the three files in /etc. A tmpfs is the run's alone.
fn binds(mounts: &[MountPoint], folder: &Path) -> Vec<Bind> {
    let of_the_host = |mount: &&MountPoint| matches!(mount.kind, MountKind::Bind | MountKind::Volume);
    let mounts = mounts.iter().filter(of_the_host).map(|mount| Bind {
        source: PathBuf::from(&mount.source),
        subpath: PathBuf::from(&mount.subpath),
        destination: PathBuf::from(&mount.destination),
        read_write: mount.read_write,
        recursive: !mount.non_recursive,
    });
    let file = |name: &str| Bind {
        source: folder.join(name),
        subpath: PathBuf::new(),
        destination: Path::new("/etc").join(name),
        read_write: true,
        recursive: false,
    };
    let files = ["hostname", "hosts", "resolv.conf"].map(file);
    let mut binds: Vec<Bind> = mounts.chain(files).filter(|bind| bind.source.exists()).collect();
    binds.sort_by_key(|bind| bind.destination.components().count());
    binds
}

impl View {
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whose files these are: as they lie here they belong to who those are on the host.
    pub fn users(&self) -> Option<&IdMaps> {
        self.users.as_ref()
    }

    /// Who writes into a root file system through maps has to be in them.
    pub fn act_as_root(&self) -> io::Result<Option<Acting>> {
        act_as_root(self.users.as_ref())
    }

    fn of_process(pid: u32) -> io::Result<Self> {
        let namespace = OwnedFd::from(File::open(format!("/proc/{pid}/ns/mnt"))?);
        apart(move || {
            enter(&namespace)?;
            Ok(Self { root: open_path(Path::new("/"))?, _namespace: namespace, volumes: None, users: None })
        })
    }

    /// A copy of the root's mount alone: what is mounted on it is not below it.
    fn bare_of_process(pid: u32) -> io::Result<Self> {
        let namespace = OwnedFd::from(File::open(format!("/proc/{pid}/ns/mnt"))?);
        apart(move || {
            enter(&namespace)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            Ok(Self {
                root: rustix::mount::open_tree(CWD, "/", flags)?,
                _namespace: namespace,
                volumes: None,
                users: None,
            })
        })
    }

    fn of_snapshot(place: &Path, rootfs: &[Mount], binds: &[Bind], access: Access) -> io::Result<Self> {
        let (place, binds) = (place.to_owned(), binds.to_vec());
        let users = users_of(rootfs)?;
        let read_only: Vec<LayerMount> = rootfs.iter().map(read_only).collect();
        let writable: Vec<LayerMount> = rootfs.iter().map(as_it_is).collect();
        apart(move || {
            sys::process::unshare(sys::process::CLONE_NEWNS).map_err(io::Error::from)?;
            // Nothing that is mounted from here on may reach the host (mount_namespaces(7), propagation).
            let change = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", change)?;
            let sources = binds.iter().map(open_source).collect::<io::Result<Vec<_>>>()?;
            if access == Access::Read {
                sys::layers::mount_layers(&read_only, &place)?;
                let root = open_path(&place)?;
                if binds.iter().all(|bind| resolve(root.as_fd(), &bind.destination).is_ok()) {
                    return Self::assembled(root, &binds, sources, users);
                }
                drop(root);
                sys::layers::unmount_layer(&place)?;
            }
            sys::layers::mount_layers(&writable, &place)?;
            let root = open_path(&place)?;
            let acting = act_as_root(users.as_ref())?;
            for bind in &binds {
                provide(root.as_fd(), bind)?;
            }
            drop(acting);
            if access == Access::Read {
                drop(root);
                sys::layers::unmount_layer(&place)?;
                sys::layers::mount_layers(&read_only, &place)?;
                return Self::assembled(open_path(&place)?, &binds, sources, users);
            }
            Self::assembled(root, &binds, sources, users)
        })
    }

    /// Puts the sources onto their places below the root.
    fn assembled(root: OwnedFd, binds: &[Bind], sources: Vec<OwnedFd>, users: Option<IdMaps>) -> io::Result<Self> {
        for (bind, source) in binds.iter().zip(sources) {
            let target = resolve(root.as_fd(), &bind.destination)?;
            if !bind.read_write {
                let recursive = sys::mount::AT_RECURSIVE;
                sys::mount::set_attributes(source.as_raw_fd(), recursive, sys::mount::MOUNT_ATTR_RDONLY, 0, 0)
                    .map_err(io::Error::from)?;
            }
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            rustix::mount::move_mount(&source, "", &target, "", flags)?;
        }
        let namespace = OwnedFd::from(File::open("/proc/thread-self/ns/mnt")?);
        Ok(Self { root, _namespace: namespace, volumes: None, users })
    }
}

fn users_of(rootfs: &[Mount]) -> io::Result<Option<IdMaps>> {
    let found = rootfs.first().map(|mount| IdMaps::take_from(&mount.options)).transpose()?.flatten();
    Ok(found.map(|(maps, _)| maps))
}

fn act_as_root(users: Option<&IdMaps>) -> io::Result<Option<Acting>> {
    users.and_then(IdMaps::root).map(|(uid, gid)| Acting::start(uid, gid)).transpose()
}

/// On a thread that may leave the daemon's namespaces, because it comes back to nothing.
fn apart<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("view".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

fn enter(namespace: &OwnedFd) -> io::Result<()> {
    // A thread that shares its root with others may not change it (setns(2)).
    sys::process::unshare(sys::process::CLONE_FS).map_err(io::Error::from)?;
    sys::process::setns(namespace.as_raw_fd(), sys::process::CLONE_NEWNS).map_err(io::Error::from)
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The host's side of a bind, detached.
fn open_source(bind: &Bind) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if bind.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let source = rustix::fs::open(&bind.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let source = if bind.subpath.as_os_str().is_empty() { source } else { resolve(source.as_fd(), &bind.subpath)? };
    Ok(rustix::mount::open_tree(&source, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?)
}

/// Whatever is at a path inside, links resolved there.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    open_inside(root, path, OFlags::PATH)
}

/// The same with flags of open(2).
pub(crate) fn open_inside(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RESOLVE_TRIES {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

/// Makes the place of a bind as a start would: folders on the way, and a folder or an empty file.
fn provide(root: BorrowedFd<'_>, bind: &Bind) -> io::Result<()> {
    if resolve(root, &bind.destination).is_ok() {
        return Ok(());
    }
    let folder = std::fs::metadata(&bind.source)?.is_dir();
    let mut parent = resolve(root, Path::new("/"))?;
    let mut done = PathBuf::from("/");
    let parts: Vec<_> = bind.destination.components().skip(1).collect();
    for (at, part) in parts.iter().enumerate() {
        done.push(part);
        let (last, name) = (at + 1 == parts.len(), Path::new(part));
        if last && !folder {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o755))?;
            return Ok(());
        }
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        parent = resolve(root, &done)?;
    }
    Ok(())
}

fn as_it_is(mount: &Mount) -> LayerMount {
    LayerMount { kind: mount.r#type.clone(), source: mount.source.clone(), options: mount.options.clone() }
}

/// The same tree read only: an overlay's upper directory becomes its topmost lower one.
fn read_only(mount: &Mount) -> LayerMount {
    let mut layer = as_it_is(mount);
    layer.options.retain(|option| option != "rw");
    if layer.kind == "overlay" {
        let upper = layer.options.iter().find_map(|option| option.strip_prefix("upperdir=").map(str::to_owned));
        layer.options.retain(|option| !option.starts_with("upperdir=") && !option.starts_with("workdir="));
        for option in &mut layer.options {
            if let (Some(upper), Some(lower)) = (&upper, option.strip_prefix("lowerdir=")) {
                *option = format!("lowerdir={upper}:{lower}");
            }
        }
    }
    layer.options.push("ro".to_owned());
    layer
}

pub(crate) fn is_directory(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests;
