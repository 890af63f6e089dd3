//! The one container of a shim: its processes, and what its runtime is doing for it.

use crate::process::{Process, Reply};
use crate::runtime::Runtime;
use crate::stdio::Owner;
use crate::{messages, rootfs};
use ::runtime::start::Gate;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use ttrpc::{Request, Status};

/// Calls that wait while the runtime works on the container.
pub const MAX_WAITING: usize = 256;
/// Execs, finished ones included, until they are deleted.
pub const MAX_EXECS: usize = 4096;

#[derive(Debug)]
pub struct Container {
    pub id: String,
    pub namespace: String,
    pub bundle: PathBuf,
    pub runtime: Runtime,
    pub init: Process,
    pub execs: BTreeMap<String, Process>,
    /// Owner of the pipes.
    pub uid: u32,
    pub gid: u32,
    pub paused: bool,
    /// Found by the init process, once it is created.
    pub cgroup: Option<cgroup::Group>,
    /// Processes of the container die with its init: it has a PID namespace of its own.
    pub dies_with_init: bool,
    /// It has hooks that run once its program does.
    pub poststart: bool,
    /// What init waits at while it is being started, and whom to tell that it has come through.
    pub gate: Option<(Gate, Reply)>,
    /// Everything that is left is being killed after init's end.
    pub killing: bool,
    /// The runtime works on the container; calls that change it wait.
    pub busy: bool,
    pub waiting: VecDeque<(Reply, Request)>,
}

impl Container {
    /// The init process for an empty id, else the exec.
    pub fn process(&mut self, exec_id: &str) -> Result<&mut Process, Status> {
        if exec_id.is_empty() {
            return Ok(&mut self.init);
        }
        self.execs.get_mut(exec_id).ok_or_else(|| messages::no_process(exec_id))
    }

    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        std::iter::once(&mut self.init).chain(self.execs.values_mut())
    }

    /// The process with this number, as its exec id (empty for init).
    pub fn find(&self, pid: i32) -> Option<String> {
        let is_it = |process: &Process| process.pid == pid && process.life.outcome().is_none();
        if is_it(&self.init) {
            return Some(String::new());
        }
        self.execs.iter().find(|(_, process)| is_it(process)).map(|(id, _)| id.clone())
    }

    /// Takes the terminal that the runtime sent for a process.
    pub fn take_terminal(&mut self, exec_id: &str, poller: &logs::poller::Poller) -> Result<(), Status> {
        let (namespace, bundle, uid, gid) = (self.namespace.clone(), self.bundle.clone(), self.uid, self.gid);
        let id = if exec_id.is_empty() { self.id.clone() } else { exec_id.to_owned() };
        let process = self.process(exec_id)?;
        let owner = Owner { namespace: &namespace, id: &id, bundle: &bundle, uid, gid };
        process.stdio.take_terminal(&process.uris, owner, poller, process.base)
    }

    pub fn unmount(&self) {
        rootfs::unmount(&self.bundle.join("rootfs"));
    }
}

/// What matters here of the bundle's configuration. One that cannot be read is the runtime's to complain about.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    pub own_pid_namespace: bool,
    pub poststart: bool,
}

impl Traits {
    pub fn of(bundle: &Path) -> Self {
        #[derive(Deserialize)]
        struct Spec {
            linux: Option<Linux>,
            #[serde(default)]
            hooks: Option<Hooks>,
        }
        #[derive(Deserialize)]
        struct Linux {
            #[serde(default)]
            namespaces: Vec<Namespace>,
        }
        #[derive(Deserialize)]
        struct Namespace {
            r#type: String,
            #[serde(default)]
            path: String,
        }
        #[derive(Deserialize)]
        struct Hooks {
            #[serde(default)]
            poststart: Option<Vec<IgnoredAny>>,
        }
        let Ok(text) = fs::read(bundle.join("config.json")) else { return Self::default() };
        let Ok(spec) = serde_json::from_slice::<Spec>(&text) else { return Self::default() };
        let is_own = |one: &Namespace| one.r#type == "pid" && one.path.is_empty();
        Self {
            own_pid_namespace: spec.linux.is_some_and(|linux| linux.namespaces.iter().any(is_own)),
            poststart: spec.hooks.and_then(|hooks| hooks.poststart).is_some_and(|hooks| !hooks.is_empty()),
        }
    }
}

/// The process number that the runtime wrote.
pub fn read_pid(path: &Path) -> Result<i32, Status> {
    let text = fs::read_to_string(path);
    let parsed = text.ok().and_then(|text| text.trim().parse::<i32>().ok()).filter(|&pid| pid > 0);
    parsed.ok_or_else(|| {
        messages::unknown(format!("failed to retrieve OCI runtime container pid from {}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_pid_namespace_ends_with_its_init() {
        let folder = tempfile::tempdir().expect("tempdir");
        let traits = |namespaces: &str, hooks: &str| {
            let text = format!("{{\"ociVersion\":\"1\",\"linux\":{{\"namespaces\":{namespaces}}}{hooks}}}");
            fs::write(folder.path().join("config.json"), text).expect("write");
            Traits::of(folder.path())
        };
        let (own, none) = (Traits { own_pid_namespace: true, poststart: false }, Traits::default());
        assert_eq!(traits("[{\"type\":\"mount\"},{\"type\":\"pid\"}]", ""), own);
        assert_eq!(traits("[{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}]", ",\"hooks\":{\"poststart\":[]}"), none);
        assert_eq!(traits("[{\"type\":\"mount\"}]", ",\"hooks\":null"), none);
        let hooked = Traits { own_pid_namespace: false, poststart: true };
        assert_eq!(traits("[]", ",\"hooks\":{\"poststart\":[{\"path\":\"/bin/true\"}]}"), hooked);
        assert_eq!(Traits::of(Path::new("/nonexistent")), none);
    }
}
