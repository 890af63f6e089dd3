//! `start`: makes the socket, leaves the serving process behind and prints the address.
//!
//! The serving process is a copy of this one, which has read all that it needs: executing the program again would cost
//! more than everything else here.

use crate::arguments::Arguments;
use crate::{Error, failed_to, server};
use cgroup::{Group, Layout};
use containerd_api::runc::v1::Options;
use containerd_api::{Any, any};
use prost::Message;
use rustix::thread::{CoreSchedulingScope, create_core_scheduling_cookie};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use sys::process::Clone;

/// sun_path of unix(7) without its final zero.
const LONGEST_SOCKET: usize = 107;
/// Bytes of bootstrap parameters that are read.
const STDIN_LIMIT: u64 = 10 << 20;
/// containerd's folder for bundles below its state; its sockets are beside it.
const TASKS_FOLDER: &str = "io.containerd.runtime.v2.task";

/// What containerd 2.3 and later write to stdin, as far as it matters here (bootstrap.proto).
#[derive(Clone, PartialEq, Message)]
struct BootstrapParams {
    #[prost(string, tag = "1")]
    instance_id: String,
    #[prost(string, optional, tag = "9")]
    socket_dir: Option<String>,
}

pub fn start(arguments: &Arguments) -> Result<(), Error> {
    let bundle = match &arguments.bundle {
        Some(bundle) => bundle.clone(),
        None => std::env::current_dir().map_err(failed_to("find the bundle"))?,
    };
    let address = match leave(arguments, &bundle, &read_input())? {
        Left::Serving(serving) => return serving.serve(arguments.clone(), &bundle),
        Left::At(address) => address,
    };
    let answer = match std::env::var_os("MAX_SHIM_VERSION") {
        Some(_) => serde_json::json!({ "version": 2, "address": address, "protocol": "ttrpc" }).to_string(),
        None => address,
    };
    io::stdout().write_all(answer.as_bytes()).map_err(failed_to("print the address"))
}

/// Who comes back from [`leave`].
pub enum Left {
    /// The process that was asked; a shim serves at this address.
    At(String),
    /// The copy, which has to serve.
    Serving(Serving),
}

pub struct Serving {
    socket: PathBuf,
    listener: UnixListener,
}

impl Serving {
    pub fn serve(self, arguments: Arguments, bundle: &Path) -> Result<(), Error> {
        server::serve(arguments, bundle, self.socket, self.listener)
    }
}

/// Leaves the shim of a container behind, unless one lives. `input` is what containerd writes to the stdin of `start`.
pub fn leave(arguments: &Arguments, bundle: &Path, input: &[u8]) -> Result<Left, Error> {
    let socket = socket_path(arguments, bundle, requested_folder(arguments, input).as_deref());
    let address = format!("unix://{}", socket.display());
    let Some(listener) = listen(&socket).map_err(failed_to("create new shim socket"))? else {
        return Ok(Left::At(address));
    };
    let left = match leave_copy() {
        Ok(Clone::Child) => return Ok(Left::Serving(Serving { socket, listener })),
        Ok(Clone::Parent { child }) => {
            let introduced = enter_cgroup(&shim_cgroup(input), child).and_then(|()| {
                adjust_oom_score(child);
                write_address(bundle, &address).map_err(failed_to("write the address"))
            });
            introduced.inspect_err(|_| {
                // Nobody will hear of it.
                let _ = sys::process::kill(child, nix::libc::SIGKILL);
            })
        }
        Err(error) => Err(error),
    };
    match left {
        Ok(()) => Ok(Left::At(address)),
        Err(error) => {
            // Nobody will connect to it.
            let _ = fs::remove_file(&socket);
            Err(error)
        }
    }
}

/// What containerd says before the shim serves: from 2.3 on [`BootstrapParams`], before that the runtime's options, which
/// come again in Create.
fn read_input() -> Vec<u8> {
    let mut input = Vec::new();
    match io::stdin().take(STDIN_LIMIT).read_to_end(&mut input) {
        Ok(_) => input,
        // Nothing was to be read: another program's stdin.
        Err(_) => Vec::new(),
    }
}

/// The cgroup that the shim shall be in, by the runtime's options; empty for the caller's own.
fn shim_cgroup(input: &[u8]) -> String {
    let options = Any::decode(input).ok().filter(any::is::<Options>);
    options
        .and_then(|options| any::unpack::<Options>(&options).ok())
        .map(|options| options.shim_cgroup)
        .unwrap_or_default()
}

/// The cgroup has to be there, as for containerd's shim.
fn enter_cgroup(path: &str, pid: i32) -> Result<(), Error> {
    if path.is_empty() {
        return Ok(());
    }
    let joined = Layout::detect().and_then(|layout| Group::plan(&layout, path, "")?.add(pid));
    joined.map_err(|source| Error::Cgroup { path: path.to_owned(), source })
}

/// The socket folder that containerd names, if it does.
fn requested_folder(arguments: &Arguments, input: &[u8]) -> Option<PathBuf> {
    let params = BootstrapParams::decode(input).ok()?;
    if params.instance_id != arguments.id {
        return None;
    }
    params.socket_dir.filter(|folder| folder.starts_with('/')).map(PathBuf::from)
}

/// Beside the bundles, so that private roots stay private; the name is a hash of what makes the shim unique.
fn socket_path(arguments: &Arguments, bundle: &Path, requested: Option<&Path>) -> PathBuf {
    let mut hash = Sha256::new();
    for part in [arguments.address.as_bytes(), arguments.namespace.as_bytes(), arguments.id.as_bytes()] {
        hash.update(part);
        hash.update(b"/");
    }
    hash.update(bundle.as_os_str().as_bytes());
    let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = requested.map(Path::to_owned).or_else(|| beside_bundles(bundle));
    let folder = folder.unwrap_or_else(|| PathBuf::from("/run/containerd/s"));
    for length in [name.len(), 32] {
        let path = folder.join(&name[..length]);
        if path.as_os_str().as_bytes().len() <= LONGEST_SOCKET {
            return path;
        }
    }
    Path::new("/run/longshore").join(&name[..16]).join(&name[..32])
}

/// STATE/s for a bundle STATE/NAMESPACE/ID or STATE/io.containerd.runtime.v2.task/NAMESPACE/ID.
fn beside_bundles(bundle: &Path) -> Option<PathBuf> {
    let tasks = bundle.parent()?.parent()?;
    let state = if tasks.ends_with(TASKS_FOLDER) { tasks.parent()? } else { tasks };
    Some(state.join("s"))
}

/// Listens on the path. `None` if a living shim of the same container does so already.
fn listen(path: &Path) -> io::Result<Option<UnixListener>> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
    }
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Ok(None);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(Some(listener))
}

/// Copies this process, which has one thread.
fn leave_copy() -> Result<Clone, Error> {
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        let this = rustix::process::getpid();
        create_core_scheduling_cookie(this, CoreSchedulingScope::ProcessGroup)
            .map_err(failed_to("enable sched core support"))?;
    }
    sys::process::fork().map_err(|errno| failed_to("start the serving process")(io::Error::from(errno)))
}

/// One more than containerd's, so that the kernel takes the shim before the daemon. Lowering needs a capability that
/// may be missing; then the score stays what it was inherited as.
fn adjust_oom_score(pid: i32) {
    let Some(parent) = rustix::process::getppid() else { return };
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", parent.as_raw_nonzero()));
    let Some(score) = score.ok().and_then(|text| text.trim().parse::<i32>().ok()) else { return };
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), (score + 1).min(1000).to_string());
}

/// From here a restarted containerd 1.x finds the shim again.
fn write_address(bundle: &Path, address: &str) -> io::Result<()> {
    let draft = bundle.join(".address");
    fs::write(&draft, address)?;
    fs::rename(&draft, bundle.join("address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(id: &str) -> Arguments {
        let line = ["shim", "-namespace", "moby", "-address", "/run/c.sock", "-id", id, "start"];
        Arguments::parse(line.map(std::ffi::OsString::from)).expect("arguments")
    }

    #[test]
    fn sockets_lie_beside_the_bundles_of_the_same_state() {
        let containerds = Path::new("/r/state/io.containerd.runtime.v2.task/moby/a");
        assert!(socket_path(&arguments("a"), containerds, None).starts_with("/r/state/s"));
        assert!(socket_path(&arguments("a"), Path::new("/r/daemon/moby/a"), None).starts_with("/r/daemon/s"));
        let requested = socket_path(&arguments("a"), containerds, Some(Path::new("/run/x")));
        assert_eq!(requested.parent(), Some(Path::new("/run/x")));
        let other = socket_path(&arguments("b"), containerds, None);
        assert_ne!(socket_path(&arguments("a"), containerds, None), other);
    }

    #[test]
    fn a_socket_path_never_passes_the_kernels_limit() {
        for length in [1, 40, 60, 75, 100, 300] {
            let bundle = PathBuf::from(format!("/{}/moby/a", "x".repeat(length)));
            let path = socket_path(&arguments("a"), &bundle, None);
            assert!(path.as_os_str().len() <= LONGEST_SOCKET, "{}", path.display());
        }
    }

    #[test]
    fn a_dead_shims_socket_is_replaced_and_a_living_ones_is_not() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("s").join("x");
        let living = listen(&path).expect("listen").expect("new");
        assert!(listen(&path).expect("listen").is_none());
        drop(living);
        assert!(listen(&path).expect("listen").is_some());
    }
}
