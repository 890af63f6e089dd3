//! What of a container comes from outside: mounts, namespaces, streams.

use super::rpc::{ExternalMount, InheritedFd, JoinedNamespace};
use crate::RuntimeError;
use crate::bundle::Bundle;
use crate::fd::Fd;
use crate::launch::open_path;
use cgroup::Group;
use runtime_core::plan::namespaces::Namespaces;
use runtime_core::plan::namespaces::{CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUSER};
use runtime_core::plan::paths;
use runtime_core::spec::{Mount, Spec};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use sys::file::{self, O_DIRECTORY, O_PATH, O_RDONLY};
use sys::rooted_path;

const STANDARD_STREAMS: i32 = 3;
/// Nodes that are bound from the host in a user namespace, as none can be made there.
const DEFAULT_NODES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

pub fn is_bind(mount: &Mount) -> bool {
    mount.kind == "bind" || mount.options.iter().any(|option| option == "bind" || option == "rbind")
}

/// The container's root, and its places with all links followed inside it.
pub struct Rootfs {
    path: String,
    fd: Fd,
}

impl Rootfs {
    pub fn open(path: &str) -> Result<Self, RuntimeError> {
        Ok(Self { path: path.into(), fd: open_path(path, O_PATH | O_DIRECTORY)? })
    }

    /// Where a mount's destination leads; what is not there yet leads where it says.
    fn resolve(&self, destination: &str) -> String {
        let wanted = paths::absolute(destination);
        let resolved = || {
            let name = CString::new(wanted.trim_start_matches('/')).ok()?;
            let opened = file::openat2(self.fd.raw(), &name, O_PATH, 0, file::RESOLVE_IN_ROOT).map(Fd::new).ok()?;
            let path = fs::read_link(format!("/proc/self/fd/{}", opened.raw())).ok()?;
            Some(path.to_str()?.strip_prefix(&self.path)?.to_string())
        };
        resolved().filter(|path| path.starts_with('/')).unwrap_or(wanted)
    }

    /// Makes the places of mounts that a rebuilt image may lack, as a create would. What lies on a tmpfs comes back with it.
    pub fn make_places(&self, spec: &Spec) -> Result<(), RuntimeError> {
        let below =
            |place: &str, mount: &Mount| place.starts_with(&format!("{}/", paths::absolute(&mount.destination)));
        for mount in spec.mounts.iter().filter(|mount| mount.kind != "cgroup") {
            let place = paths::absolute(&mount.destination);
            if place == "/" || spec.mounts.iter().any(|over| !is_bind(over) && below(&place, over)) {
                continue;
            }
            // On a bind mount its source has the place.
            let over = spec.mounts.iter().filter(|over| is_bind(over) && below(&place, over));
            let over = over.max_by_key(|over| over.destination.len());
            let (root, rest) = match over {
                None => (None, place.as_str()),
                Some(over) => {
                    let source = open_path(&over.source, O_PATH | O_DIRECTORY)?;
                    (Some(source), place.strip_prefix(&paths::absolute(&over.destination)).unwrap_or(&place))
                }
            };
            let folder = !is_bind(mount) || fs::metadata(&mount.source).is_ok_and(|facts| facts.is_dir());
            let name = CString::new(rest.trim_start_matches('/')).map_err(|_| no_nul(rest))?;
            let at = root.as_ref().unwrap_or(&self.fd).raw();
            let made = rooted_path::make(at, &name, folder).map(Fd::new);
            made.map_err(RuntimeError::system(format!("create criu restore mountpoint for {place} mount")))?;
        }
        Ok(())
    }
}

fn no_nul(path: &str) -> RuntimeError {
    RuntimeError::InvalidArgument(format!("path {path:?} has a NUL byte"))
}

/// Which side of a mount's pair is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Dump,
    Restore,
}

/// Mounts whose contents are the host's.
pub fn external_mounts(
    bundle: &Bundle,
    rootfs: &Rootfs,
    group: &Group,
    side: Side,
) -> Result<Vec<ExternalMount>, RuntimeError> {
    let spec = &bundle.spec;
    let namespaces = Namespaces::parse(&spec.linux.namespaces)?;
    let mut found = Vec::new();
    let mut put = |destination: String, source: &str| {
        let value = if side == Side::Dump { destination.clone() } else { source.to_string() };
        found.push(ExternalMount { key: destination, value });
    };
    for mount in &spec.mounts {
        let destination = rootfs.resolve(&mount.destination);
        if is_bind(mount) {
            let source = match mount.source.starts_with('/') {
                true => mount.source.clone(),
                false => format!("{}/{}", bundle.path, mount.source),
            };
            put(destination, &source);
        } else if mount.kind == "cgroup" && !namespaces.own(CLONE_NEWCGROUP) {
            // On v1 a hierarchy each, bound from the host.
            for member in &group.v1 {
                let folder = member.controllers.join(",").replace("name=", "");
                put(format!("{destination}/{folder}"), &member.path.to_string_lossy());
            }
        }
    }
    let nodes = spec.linux.devices.iter().map(|device| device.path.as_str());
    let bound: &[&str] = if namespaces.own(CLONE_NEWUSER) { &DEFAULT_NODES } else { &[] };
    for node in nodes.chain(bound.iter().copied()) {
        put(node.to_string(), node);
    }
    Ok(found)
}

/// Files of a running container that are hidden under its null device.
pub fn masked_files(spec: &Spec, pid: i32) -> Result<Vec<ExternalMount>, RuntimeError> {
    let root = open_path(&format!("/proc/{pid}/root"), O_PATH | O_DIRECTORY)?;
    let mut found = Vec::new();
    for path in &spec.linux.masked_paths {
        let name = CString::new(path.trim_start_matches('/')).map_err(|_| no_nul(path))?;
        let opened = file::openat2(root.raw(), &name, O_PATH, 0, file::RESOLVE_IN_ROOT).map(Fd::new);
        let Ok(opened) = opened else { continue };
        if file::fstat(opened.raw()).is_ok_and(|stat| stat.st_mode & file::S_IFMT != file::S_IFDIR) {
            found.push(ExternalMount { key: path.clone(), value: "/dev/null".into() });
        }
    }
    Ok(found)
}

/// criu's key of a namespace that stays outside of the images.
fn key(kind: i32) -> &'static str {
    if kind == CLONE_NEWNET { "extRootNetNS" } else { "extRootPidNS" }
}

/// Namespaces that the container joined by their paths.
fn joined(spec: &Spec) -> Result<Vec<(i32, String)>, RuntimeError> {
    let namespaces = Namespaces::parse(&spec.linux.namespaces)?;
    let pid = namespaces.join_pid.iter().map(|path| (CLONE_NEWPID, path.clone()));
    Ok(namespaces.join.iter().cloned().chain(pid).collect())
}

/// `net[INODE]:KEY` for network and pid namespaces by path.
pub fn external_namespaces(spec: &Spec) -> Result<Vec<String>, RuntimeError> {
    let mut found = Vec::new();
    for (kind, path) in joined(spec)?.into_iter().filter(|(kind, _)| matches!(*kind, CLONE_NEWNET | CLONE_NEWPID)) {
        let facts = fs::metadata(&path).map_err(RuntimeError::file(format!("stat {path}")))?;
        let name = runtime_core::plan::namespaces::file_name(kind);
        found.push(format!("{name}[{}]:{}", facts.ino(), key(kind)));
    }
    Ok(found)
}

/// Namespaces that a restored container joins: network and pid as descriptors, the others by their paths.
#[derive(Debug, Default)]
pub struct Joined {
    pub fds: Vec<(&'static str, Fd)>,
    pub others: Vec<JoinedNamespace>,
}

pub fn namespaces_to_join(spec: &Spec) -> Result<Joined, RuntimeError> {
    let mut found = Joined::default();
    for (kind, path) in joined(spec)? {
        match kind {
            CLONE_NEWNET | CLONE_NEWPID => found.fds.push((key(kind), open_path(&path, O_RDONLY)?)),
            CLONE_NEWCGROUP => {
                let message = "a cgroup namespace by its path cannot be restored: criu does not know how".to_string();
                return Err(RuntimeError::InvalidArgument(message));
            }
            kind => {
                let name = runtime_core::plan::namespaces::file_name(kind).to_string();
                found.others.push(JoinedNamespace { name, path });
            }
        }
    }
    Ok(found)
}

/// What stands behind the standard streams of a process: `pipe:[INODE]`, a path.
pub fn streams(pid: i32) -> Vec<String> {
    let target = |fd: i32| fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    (0..STANDARD_STREAMS)
        .map(|fd| target(fd).map_or(String::new(), |path| path.to_string_lossy().into_owned()))
        .collect()
}

/// Pipes of the dumped process become our own streams.
pub fn inherited_streams(dumped: &[String]) -> Vec<InheritedFd> {
    let pipes = (0..).zip(dumped).filter(|(_, name)| name.contains("pipe:"));
    pipes.map(|(fd, name)| InheritedFd { key: name.clone(), fd }).collect()
}
