//! One container's cgroups in all hierarchies: their folders, made and removed.

use crate::{CgroupError, Layout};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may need to let go of a cgroup whose processes have ended.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_PATH: usize = 3000;
/// Files of a group that its owner may have; since Linux 4.15.
const DELEGATED: &str = "/sys/kernel/cgroup/delegate";
const DELEGATED_ALWAYS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// A v1 folder and the controllers that its hierarchy has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub controllers: Vec<String>,
    pub path: PathBuf,
}

/// Serializable: whoever keeps this finds the cgroups again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub v1: Vec<Member>,
    pub v2: Option<PathBuf>,
}

impl Group {
    /// The folders for `cgroupsPath`: absolute from each hierarchy's root, relative from this process's own cgroup; an
    /// empty one stands for the id (runtime-spec config-linux.md, cgroups path).
    pub fn plan(layout: &Layout, cgroups_path: &str, id: &str) -> Result<Self, CgroupError> {
        let wanted = if cgroups_path.is_empty() { id } else { cgroups_path };
        let invalid =
            wanted.len() > LONGEST_PATH || wanted.contains('\0') || wanted.split('/').any(|part| part == "..");
        if invalid || wanted.trim_matches('/').is_empty() {
            return Err(CgroupError::InvalidPath(wanted.chars().take(128).collect()));
        }
        let place = |mount_point: &Path, own: &str| {
            let below = wanted.trim_matches('/');
            match wanted.starts_with('/') {
                true => mount_point.join(below),
                false => mount_point.join(own.trim_start_matches('/')).join(below),
            }
        };
        Ok(Self {
            v1: layout
                .v1
                .iter()
                .map(|hierarchy| Member {
                    controllers: hierarchy.controllers.clone(),
                    path: place(&hierarchy.mount_point, &hierarchy.own),
                })
                .collect(),
            v2: layout.v2.as_ref().map(|unified| place(&unified.mount_point, &unified.own)),
        })
    }

    /// The cgroups that a process is in now.
    pub fn of_process(pid: i32) -> Result<Self, CgroupError> {
        let layout = Layout::of_process(&pid.to_string())?;
        let place = |mount_point: &Path, own: &str| mount_point.join(own.trim_start_matches('/'));
        Ok(Self {
            v1: layout
                .v1
                .iter()
                .map(|hierarchy| Member {
                    controllers: hierarchy.controllers.clone(),
                    path: place(&hierarchy.mount_point, &hierarchy.own),
                })
                .collect(),
            v2: layout.v2.as_ref().map(|unified| place(&unified.mount_point, &unified.own)),
        })
    }

    /// Makes all folders; those that exist are used.
    pub fn create(&self) -> Result<(), CgroupError> {
        for member in &self.v1 {
            make(&member.path)?;
            if member.controllers.iter().any(|name| name == "cpuset") {
                inherit_cpuset(&member.path)?;
            }
        }
        if let Some(path) = &self.v2 {
            make(path)?;
            if self.v1.is_empty() {
                enable_controllers(path)?;
            }
        }
        Ok(())
    }

    /// The v1 folder of a controller.
    pub fn member(&self, controller: &str) -> Option<&Path> {
        let has = |member: &&Member| member.controllers.iter().any(|name| name == controller);
        self.v1.iter().find(has).map(|member| member.path.as_path())
    }

    /// Whether v2 has the controllers, because there is no v1.
    pub fn is_v2(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }

    /// A folder whose list of processes is that of the container.
    pub fn any_path(&self) -> Option<&Path> {
        let freezer = self.member("freezer").or_else(|| self.v1.first().map(|member| member.path.as_path()));
        freezer.or(self.v2.as_deref())
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|member| member.path.as_path()).chain(self.v2.as_deref())
    }

    /// The files through which a process with one thread joins: `tasks` on v1 (its migration takes no lock that waits for
    /// an RCU period, `cgroup.procs` does), and nothing for v2, where the clone goes straight into the folder.
    pub fn tasks_files(&self) -> Vec<String> {
        self.v1.iter().map(|member| member.path.join("tasks").to_string_lossy().into_owned()).collect()
    }

    pub fn exists(&self) -> bool {
        self.paths().any(Path::exists)
    }

    /// Gives a group of v2 to a user, with the files that the kernel names for it (cgroups(7), delegation). v1 is not safe to
    /// be delegated.
    pub fn delegate(&self, owner: u32) -> Result<(), CgroupError> {
        let Some(path) = self.v2.as_ref().filter(|_| self.is_v2()) else { return Ok(()) };
        let named = fs::read_to_string(DELEGATED).unwrap_or_else(|_| DELEGATED_ALWAYS.into());
        let files = named.lines().filter(|name| !name.is_empty() && !name.contains('/')).map(|name| path.join(name));
        for place in std::iter::once(path.clone()).chain(files) {
            match std::os::unix::fs::chown(&place, Some(owner), None) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CgroupError::Delegate { path: place, source: error });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folders with all below them. Processes in them must have ended.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        let mut first_error = None;
        for path in self.paths() {
            if let Err(error) = remove_tree(path, deadline) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn make(path: &Path) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::Create { path: path.to_path_buf(), source };
    match fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().ok_or_else(|| CgroupError::InvalidPath(path.to_string_lossy().into_owned()))?;
            make(parent)?;
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
                _ => Ok(()),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// A new v1 cpuset is empty, and nothing can join it: it takes its parent's processors and memory nodes, from the first
/// ancestor that has some downwards.
fn inherit_cpuset(path: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        inherit_file(path, file)?;
    }
    Ok(())
}

fn inherit_file(path: &Path, file: &str) -> Result<String, CgroupError> {
    let at = path.join(file);
    let own = fs::read_to_string(&at).map_err(CgroupError::read(&at))?;
    if !own.trim().is_empty() {
        return Ok(own);
    }
    let parent = path.parent().ok_or_else(|| CgroupError::InvalidPath(path.to_string_lossy().into_owned()))?;
    let inherited = inherit_file(parent, file)?;
    let value = inherited.trim().to_string();
    fs::write(&at, &value).map_err(|source| CgroupError::Write { path: at, value, source })?;
    Ok(inherited)
}

/// Lets every ancestor hand its controllers down (cgroup-v2.rst, enabling and disabling).
fn enable_controllers(path: &Path) -> Result<(), CgroupError> {
    let mut ancestors: Vec<&Path> =
        path.ancestors().skip(1).take_while(|dir| dir.join("cgroup.controllers").exists()).collect();
    ancestors.reverse();
    for dir in ancestors {
        let file = dir.join("cgroup.controllers");
        let available = fs::read_to_string(&file).map_err(CgroupError::read(&file))?;
        let control = dir.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&control).map_err(CgroupError::read(&control))?;
        for controller in available.split_whitespace().filter(|name| !enabled.split_whitespace().any(|on| on == *name))
        {
            // One by one: a controller that cannot be enabled here (rt processes, threads) does not keep back the others.
            // Whether a limit really needs it is found out when the limit is set.
            let _ = fs::write(&control, format!("+{controller}"));
        }
    }
    Ok(())
}

fn remove_tree(path: &Path, deadline: Instant) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::Remove { path: path.to_path_buf(), source };
    match fs::remove_dir(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        Err(error) => return Err(failed(error)),
    }
    for entry in fs::read_dir(path).map_err(CgroupError::read(path))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path(), deadline)?;
        }
    }
    let mut pause = Duration::from_micros(200);
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {}
            Err(error) => return Err(failed(error)),
        }
        // No file tells of the last process's end on v1; the kernel needs microseconds for it.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hierarchy;

    fn layout() -> Layout {
        let hierarchy = Hierarchy {
            controllers: vec!["memory".into()],
            mount_point: "/sys/fs/cgroup/memory".into(),
            own: "/a/b".into(),
        };
        Layout { v1: vec![hierarchy], v2: None }
    }

    #[test]
    fn a_relative_path_lies_below_the_callers_cgroup() {
        let place = |path| Group::plan(&layout(), path, "id").map(|group| group.v1[0].path.display().to_string());
        assert_eq!(place("/docker/x").ok().as_deref(), Some("/sys/fs/cgroup/memory/docker/x"));
        assert_eq!(place("x").ok().as_deref(), Some("/sys/fs/cgroup/memory/a/b/x"));
        assert_eq!(place("").ok().as_deref(), Some("/sys/fs/cgroup/memory/a/b/id"));
    }

    #[test]
    fn a_path_cannot_leave_its_hierarchy() {
        assert!(Group::plan(&layout(), "/../../etc", "id").is_err());
        assert!(Group::plan(&layout(), "/", "id").is_err());
    }
}
