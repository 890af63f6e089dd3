//! What is kept of a container between two commands, and what its status is.

use crate::RuntimeError;
use crate::fd::Fd;
use crate::resctrl::Class;
use cgroup::Group;
use cgroup::freeze::Frozen;
use runtime_core::seccomp::Listener;
use runtime_core::spec::Hooks;
use runtime_core::unit::Unit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::process;

pub const FIFO: &str = "exec.fifo";
pub const FILTER: &str = "seccomp.bpf";
const RECORD: &str = "state.json";
const MAX_ID_LENGTH: usize = 1024;
/// No record of ours comes near this.
const MAX_RECORD: u64 = 16 << 20;

/// `state.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    pub oci_version: String,
    pub id: String,
    pub bundle: String,
    pub rootfs: String,
    pub pid: i32,
    /// Of the first process, in clock ticks since boot (proc(5)): a pid alone may be another's by now.
    pub start_time: u64,
    pub created: String,
    pub owner: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// CLONE_NEW* of the namespaces that differ from the host's.
    pub namespaces: i32,
    pub group: Group,
    pub hooks: Hooks,
    #[serde(default)]
    pub no_new_keyring: bool,
    /// Its processes do not end with the first one: they have no pid namespace of their own.
    #[serde(default)]
    pub outlives_init: bool,
    /// Who answers the calls that the filter asks about; execs have listeners of their own there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    /// What execs have as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<(u32, Vec<u64>)>,
    /// The systemd unit that its control group belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Its class of caches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<Class>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The folder that has one folder a container.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of a container; the id becomes a path, so it is checked.
    pub fn folder(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
        if id.is_empty() || id.len() > MAX_ID_LENGTH || id == "." || id == ".." || !id.chars().all(allowed) {
            return Err(RuntimeError::InvalidId(id.chars().take(128).collect()));
        }
        Ok(self.0.join(id))
    }

    /// Takes the id: whoever makes the folder has it.
    pub fn claim(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        let folder = self.folder(id)?;
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o711);
        match builder.create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.0).map_err(failed("create", &self.0))?;
                builder.create(&folder)
            }
            other => other,
        }
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RuntimeError::Exists(id.into()),
            _ => failed("create", &folder)(source),
        })?;
        Ok(folder)
    }

    pub fn load(&self, id: &str) -> Result<Record, RuntimeError> {
        let path = self.folder(id)?.join(RECORD);
        let length = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(RuntimeError::NotFound),
            other => other.map_err(failed("read", &path))?.len(),
        };
        if length > MAX_RECORD {
            return Err(RuntimeError::InvalidArgument(format!("{} is too large", path.display())));
        }
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| RuntimeError::Json { what: path.display().to_string(), source })
    }

    pub fn save(&self, record: &Record) -> Result<(), RuntimeError> {
        let folder = self.folder(&record.id)?;
        let (path, new) = (folder.join(RECORD), folder.join("state.json.new"));
        let bytes = serde_json::to_vec(record)
            .map_err(|source| RuntimeError::Json { what: path.display().to_string(), source })?;
        fs::write(&new, bytes).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("write", &path))
    }

    /// Forgets a container.
    pub fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let folder = self.folder(id)?;
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &folder)(error)),
            _ => Ok(()),
        }
    }

    /// The ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<String>, RuntimeError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed("read", &self.0))?,
        };
        let names = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let ids = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = ids.filter(|id| self.folder(id).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }

    pub fn status(&self, record: &Record) -> Status {
        if record.pid == 0 {
            return Status::Creating;
        }
        if !record.is_alive() {
            return Status::Stopped;
        }
        if self.folder(&record.id).is_ok_and(|folder| folder.join(FIFO).exists()) {
            return Status::Created;
        }
        if record.group.frozen() == Frozen::Yes { Status::Paused } else { Status::Running }
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RuntimeError {
    RuntimeError::file(format!("cannot {verb} {}", path.display()))
}

impl Record {
    /// Whether the first process still runs; one that has ended and is not yet waited for does not.
    pub fn is_alive(&self) -> bool {
        matches!(process_stat(self.pid), Some((state, start)) if start == self.start_time && !matches!(state, b'Z' | b'X'))
    }

    /// The first process as a pidfd, sure to be the right one.
    pub fn pidfd(&self) -> Result<Fd, RuntimeError> {
        let pidfd = process::pidfd_open(self.pid).map(Fd::new).map_err(|_| RuntimeError::NotRunning)?;
        if self.is_alive() { Ok(pidfd) } else { Err(RuntimeError::NotRunning) }
    }

    /// The state as the specification describes it, for `state` and for hooks (runtime-spec runtime.md, state).
    pub fn oci_state(&self, status: Status, pid: i32) -> serde_json::Value {
        let mut state = serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status.name(),
        });
        if status != Status::Stopped {
            state["pid"] = pid.into();
        }
        state["bundle"] = self.bundle.as_str().into();
        if !self.annotations.is_empty() {
            state["annotations"] = serde_json::json!(self.annotations);
        }
        state
    }
}

/// State and start time of a process (proc(5), stat): the name in parentheses may hold anything, so from behind it.
pub fn process_stat(pid: i32) -> Option<(u8, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = fields.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_the_root() {
        let root = Root::new("/run/x".into());
        for id in ["", ".", "..", "a/b", "a b", "ä"] {
            assert!(root.folder(id).is_err(), "{id:?}");
        }
        assert!(root.folder("a_b-c.d+1").is_ok());
    }

    #[test]
    fn this_process_has_a_start_time() {
        let (state, start) = process_stat(std::process::id() as i32).expect("it runs");
        assert!(matches!(state, b'R' | b'S') && start > 0);
    }
}
