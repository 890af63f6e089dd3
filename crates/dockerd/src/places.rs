//! Where everything of this daemon lies. ARCHITECTURE.md, "Roots and places".

use std::path::{Path, PathBuf};

use container_core::spec::Remap;
use ids::Digest;

const DEFAULT_DATA_ROOT: &str = "/var/lib/docker";
const DEFAULT_EXEC_ROOT: &str = "/var/run/docker";
/// The longest path below the execution root that a socket has: `attach/` and 32 digits and `.sock`.
const LONGEST_SOCKET: usize = "/attach/.sock".len() + 32;
/// `sun_path` of unix(7), less its final zero.
const SOCKET_PATH: usize = 107;

/// The two roots, and what derives from them.
#[derive(Debug, Clone)]
pub struct Places {
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    /// Eight digits that tell this daemon from others on the machine; `None` for the default roots.
    pub hash: Option<String>,
    /// Of `--userns-remap`.
    pub remap: Option<Remap>,
}

impl Places {
    pub fn new(data_root: Option<PathBuf>, exec_root: Option<PathBuf>) -> Self {
        let default = data_root.is_none() && exec_root.is_none();
        let data_root = data_root.unwrap_or_else(|| DEFAULT_DATA_ROOT.into());
        let named = exec_root.unwrap_or_else(|| DEFAULT_EXEC_ROOT.into());
        let digits = Digest::of(format!("{}\n{}", data_root.display(), named.display())).hex()[..8].to_owned();
        let fits = named.as_os_str().len() + LONGEST_SOCKET <= SOCKET_PATH;
        let exec_root = if fits { named } else { PathBuf::from("/run/longshore").join(&digits) };
        Self { data_root, exec_root, hash: (!default).then_some(digits), remap: None }
    }

    pub fn database(&self) -> PathBuf {
        self.data_root.join("longshore.db")
    }

    /// The socket of the docker-containerd that this daemon starts.
    pub fn containerd_socket(&self) -> PathBuf {
        self.exec_root.join("containerd/containerd.sock")
    }

    pub fn containerd_pid_file(&self) -> PathBuf {
        self.exec_root.join("containerd/containerd.pid")
    }

    pub fn containerd_root(&self) -> PathBuf {
        self.data_root.join("containerd")
    }

    pub fn containerd_state(&self) -> PathBuf {
        self.exec_root.join("containerd/daemon")
    }

    /// `docker` with the hash behind it where there is one: the parent cgroup, and a prefix of names.
    pub fn cgroup_parent(&self) -> String {
        match &self.hash {
            Some(hash) => format!("/docker-{hash}"),
            None => "/docker".to_owned(),
        }
    }
}

/// The program of this name beside our own, else the one on the PATH.
pub fn sibling(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(|folder| folder.join(name)));
    match beside {
        Some(path) if path.is_file() => path,
        _ => Path::new(name).to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_with_roots_of_their_own_never_share_a_name() {
        let default = Places::new(None, None);
        let a = Places::new(Some("/a".into()), Some("/a/run".into()));
        let b = Places::new(Some("/b".into()), Some("/b/run".into()));
        assert_eq!(default.cgroup_parent(), "/docker");
        assert_ne!(a.cgroup_parent(), b.cgroup_parent());
        assert_eq!(a.containerd_socket(), Path::new("/a/run/containerd/containerd.sock"));
    }

    #[test]
    fn a_long_root_gets_a_short_place_for_its_sockets() {
        let long = format!("/{}", "x".repeat(100));
        let places = Places::new(Some("/d".into()), Some(long.into()));
        assert_eq!(places.exec_root, Path::new("/run/longshore").join(places.hash.unwrap()));
    }
}
