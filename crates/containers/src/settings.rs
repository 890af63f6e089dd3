//! Where this daemon keeps its things and whom it talks to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use container_core::LogConfig;
use container_core::spec::{Policy, Remap};

use crate::ports::{EventSink, ImageSource, Sandboxes, VolumeSource};

/// Plain configuration; every path is absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    /// Folder of `attach/`: the exec root, or a shorter one when socket paths would pass 108 bytes.
    pub socket_root: PathBuf,
    /// `moby`.
    pub namespace: String,
    /// `/docker`, or `/docker-<hash>` when roots are not the default ones.
    pub cgroup_parent: String,
    pub runc_path: PathBuf,
    /// For `--init`.
    pub init_path: Option<PathBuf>,
    /// Runtime name or absolute path of the shim; `None`: `io.containerd.runc.v2`.
    pub shim: Option<String>,
    /// Taken by containers that name no driver.
    pub log_defaults: LogConfig,
    pub defaults: Defaults,
}

/// What containers get that ask for nothing of their own.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub policy: Policy,
    /// 0: 64 MiB.
    pub shm_size: i64,
    /// Empty: `private`.
    pub ipc_mode: String,
    /// Empty: `private` on cgroup v2, else `host`.
    pub cgroupns_mode: String,
    /// OCI runtimes beside our own, by name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Empty: `runc`.
    pub runtime: String,
    /// Folders of CDI specifications.
    pub cdi_folders: Vec<PathBuf>,
    /// Of `--userns-remap`.
    pub remap: Option<Remap>,
    /// Of the groups above containers.
    pub cpu_realtime: CpuRealtime,
}

/// Microseconds that processes with real-time priority may run in a period; 0: the kernel's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuRealtime {
    pub period_us: i64,
    pub runtime_us: i64,
}

/// A configured OCI runtime: a program in runc's place, or a shim of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    Program {
        path: PathBuf,
        arguments: Vec<String>,
    },
    Shim {
        /// `io.containerd.runc.v2`, or the path of a shim.
        name: String,
        /// As in `daemon.json`, by the fields of containerd's options.
        options: BTreeMap<String, serde_json::Value>,
    },
}

/// The services next door.
#[derive(Clone)]
pub struct Neighbours {
    pub images: Arc<dyn ImageSource>,
    pub sandboxes: Arc<dyn Sandboxes>,
    pub volumes: Arc<dyn VolumeSource>,
    pub events: Arc<dyn EventSink>,
}

impl Settings {
    pub(crate) fn container_folder(&self, id: &str) -> PathBuf {
        self.data_root.join("containers").join(id)
    }

    pub(crate) fn log_path(&self, id: &str) -> PathBuf {
        self.container_folder(id).join(format!("{id}-json.log"))
    }

    pub(crate) fn attach_folder(&self) -> PathBuf {
        self.socket_root.join("attach")
    }

    /// Of a container or an exec; half of the id, so that the path fits a socket's 108 bytes (unix(7)).
    pub(crate) fn attach_path(&self, id: &str) -> PathBuf {
        self.attach_folder().join(format!("{}.sock", id.get(..32).unwrap_or(id)))
    }

    pub(crate) fn runc_root(&self) -> PathBuf {
        self.exec_root.join("runtime-runc")
    }

    /// Mounts that the daemon makes for one container.
    pub(crate) fn mounts_folder(&self, id: &str) -> PathBuf {
        self.exec_root.join("mounts").join(id)
    }

    pub(crate) fn volumes_folder(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    pub(crate) fn runtime_name(&self) -> &str {
        self.shim.as_deref().unwrap_or("io.containerd.runc.v2")
    }
}
