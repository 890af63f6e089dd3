//! Reading a bundle, and the facts about the host that its plan needs.

use crate::RuntimeError;
use cgroup::layout::Unified;
use cgroup::{Group, Hierarchy, Layout};
use runtime_core::plan::cgroup_mount::{CgroupFacts, HierarchyFacts};
use runtime_core::plan::mounts::HostFacts;
use runtime_core::spec::{Process, Spec};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use sys::capability;

/// A `config.json` or `process.json` above this is refused before it is read into memory.
const MAX_CONFIG: u64 = 32 << 20;

#[derive(Debug)]
pub struct Bundle {
    pub path: String,
    pub spec: Spec,
}

pub fn read_bounded(path: &Path) -> Result<Vec<u8>, RuntimeError> {
    let file = File::open(path).map_err(RuntimeError::file(format!("open {}", path.display())))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_CONFIG + 1).read_to_end(&mut bytes);
    read.map_err(RuntimeError::file(format!("read {}", path.display())))?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(RuntimeError::InvalidArgument(format!("{} is larger than 32 MiB", path.display())));
    }
    Ok(bytes)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RuntimeError> {
    let bytes = read_bounded(path)?;
    serde_json::from_slice(&bytes).map_err(|source| RuntimeError::Json { what: path.display().to_string(), source })
}

pub fn load(path: &Path) -> Result<Bundle, RuntimeError> {
    let path = fs::canonicalize(path).map_err(RuntimeError::file(format!("bundle {}", path.display())))?;
    let config = path.join("config.json");
    if !config.exists() {
        return Err(RuntimeError::InvalidArgument(format!("JSON specification file {} not found", config.display())));
    }
    Ok(Bundle { spec: parse(&config)?, path: text(path)? })
}

pub fn load_process(path: &Path) -> Result<Process, RuntimeError> {
    parse(path)
}

pub fn text(path: PathBuf) -> Result<String, RuntimeError> {
    path.into_os_string()
        .into_string()
        .map_err(|path| RuntimeError::InvalidArgument(format!("path {} is not UTF-8", path.display())))
}

impl Bundle {
    /// The root file system: a directory, without symbolic links on the way.
    pub fn rootfs(&self) -> Result<String, RuntimeError> {
        let named = self.spec.root.as_ref().map_or("", |root| root.path.as_str());
        let path = Path::new(&self.path).join(named);
        let path = fs::canonicalize(&path).map_err(RuntimeError::file(format!("rootfs {}", path.display())))?;
        if !path.is_dir() {
            return Err(RuntimeError::InvalidArgument(format!("rootfs {} is not a directory", path.display())));
        }
        text(path)
    }
}

/// The facts that every plan needs.
pub fn facts(group: &Group, process: Option<&Process>, mount_label: &str) -> Result<HostFacts, RuntimeError> {
    let sets = capability::get().map_err(RuntimeError::system("capget"))?;
    let highest = highest_capability();
    let has_label = |label: fn(&Process) -> &String| process.is_some_and(|process| !label(process).is_empty());
    Ok(HostFacts {
        bundle: String::new(),
        rootfs: String::new(),
        rootfs_parent_mount: None,
        bounding: capability::bounding(),
        permitted: sets.permitted,
        highest_capability: highest,
        cgroup: CgroupFacts::Absent,
        apparmor: has_label(|process| &process.apparmor_profile) && apparmor_enabled(),
        selinux: (has_label(|process| &process.selinux_label) || !mount_label.is_empty())
            && Path::new("/sys/fs/selinux/enforce").exists(),
        setgroups_denied: false,
        tasks_files: group.tasks_files(),
    })
}

fn highest_capability() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    text.trim().parse().unwrap_or(runtime_core::capability::HIGHEST)
}

fn apparmor_enabled() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// The mounts of type cgroup that the container will see.
pub fn cgroup_facts(layout: &Layout, group: &Group) -> CgroupFacts {
    if layout.v1.is_empty() {
        let mount_point = |unified: &Unified| unified.mount_point.to_string_lossy().into_owned();
        return layout.v2.as_ref().map_or(CgroupFacts::Absent, |unified| CgroupFacts::V2(mount_point(unified)));
    }
    let hierarchy = |(hierarchy, member): (&Hierarchy, &cgroup::Member)| HierarchyFacts {
        folder: hierarchy.folder(),
        controllers: hierarchy.controllers.clone(),
        directory: member.path.to_string_lossy().into_owned(),
    };
    CgroupFacts::V1(layout.v1.iter().zip(&group.v1).map(hierarchy).collect())
}

/// The mount point that a path lies on, from /proc/self/mountinfo: the longest that is a prefix of it.
pub fn mount_point_of(path: &str) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let holds = |point: &&str| {
        *point == "/" || path == *point || path.strip_prefix(point).is_some_and(|rest| rest.starts_with('/'))
    };
    points.filter(holds).max_by_key(|point| point.len()).map(str::to_string)
}
