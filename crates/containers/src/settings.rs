//! Where this daemon keeps its things and whom it talks to.

use std::path::PathBuf;
use std::sync::Arc;

use container_core::LogConfig;

use crate::ports::{EventSink, ImageSource, Sandboxes};

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
}

/// The services next door.
#[derive(Clone)]
pub struct Neighbours {
    pub images: Arc<dyn ImageSource>,
    pub sandboxes: Arc<dyn Sandboxes>,
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

    pub(crate) fn volumes_folder(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    pub(crate) fn runtime_name(&self) -> &str {
        self.shim.as_deref().unwrap_or("io.containerd.runc.v2")
    }
}
