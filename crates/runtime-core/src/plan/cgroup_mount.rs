//! The mount of type `cgroup`: on v2 one file system, on v1 a tmpfs with one folder a hierarchy.

use super::mount_options::{NODEV, NOEXEC, NOSUID, Parsed, RDONLY};
use super::mounts::{Context, filesystem};
use super::namespaces::{CLONE_NEWCGROUP, CLONE_NEWUSER};
use super::{Attributes, BindMount, Entry, FilesystemMount, InRoot, Plan, Step, Target, paths, trees};
use crate::SpecError;
use crate::error::c_string;

/// How control groups are mounted on the host, and where the container's own are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupFacts {
    /// v1, and the v1 side of a hybrid layout.
    V1(Vec<HierarchyFacts>),
    /// Where the host has it.
    V2(String),
    /// The host has none mounted.
    Absent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HierarchyFacts {
    /// `cpu,cpuacct`, or `systemd` for `name=systemd`: the folder's name on the host.
    pub folder: String,
    /// The controllers one by one; `name=systemd` for the named one.
    pub controllers: Vec<String>,
    /// The container's cgroup on the host, seen from the host.
    pub directory: String,
}

pub(super) fn push(plan: &mut Plan, context: &Context, destination: &str, parsed: &Parsed) -> Result<(), SpecError> {
    match &context.facts.cgroup {
        CgroupFacts::V2(mount_point) => v2(plan, context, destination, parsed, mount_point)?,
        CgroupFacts::V1(hierarchies) => v1(plan, context, destination, parsed, hierarchies)?,
        CgroupFacts::Absent => return Err(SpecError::Invalid("no control groups are mounted on the host".into())),
    }
    Ok(())
}

fn v2(
    plan: &mut Plan,
    context: &Context,
    destination: &str,
    parsed: &Parsed,
    mount_point: &str,
) -> Result<(), SpecError> {
    let path = InRoot::new(destination)?;
    let target = Target { path, plain: true, on_procfs: false, propagation: parsed.propagation };
    let set = parsed.attributes.set | parsed.attributes.set_recursive;
    if context.namespaces.own(CLONE_NEWUSER) && !context.namespaces.own(CLONE_NEWCGROUP) {
        // A user namespace may mount the hierarchy only of a cgroup namespace that belongs to it: it gets the host's mount,
        // with the attributes that were asked for whatever lies below (CVE-2023-25809).
        let attributes = Attributes { set, ..Attributes::default() };
        let tree = match context.parent_copies_mounts() {
            true => Some(trees::plain(plan, context, mount_point, false, attributes)?),
            false => None,
        };
        let source = c_string("cgroup path", mount_point)?;
        plan.push(Step::MountBind(BindMount { source, tree, recursive: false, attributes, target }));
    } else {
        plan.push(Step::MountFilesystem(filesystem("cgroup2", "cgroup", &parsed.rest, set, target)?));
    }
    Ok(())
}

fn v1(
    plan: &mut Plan,
    context: &Context,
    destination: &str,
    parsed: &Parsed,
    hierarchies: &[HierarchyFacts],
) -> Result<(), SpecError> {
    let plain = |path: &str| -> Result<Target, SpecError> {
        Ok(Target { path: InRoot::new(path)?, plain: true, on_procfs: false, propagation: None })
    };
    let options = [(c"mode".into(), Some(c"755".into()))].to_vec();
    plan.push(Step::MountFilesystem(FilesystemMount {
        kind: c"tmpfs".into(),
        source: c"tmpfs".into(),
        options,
        attributes: NOEXEC | NOSUID | NODEV,
        target: plain(destination)?,
        copy_up: false,
        keeps_mode: false,
    }));
    let readonly = (parsed.attributes.set | parsed.attributes.set_recursive) & RDONLY;
    let attributes = NOEXEC | NOSUID | NODEV | readonly;
    let mut links = Vec::new();
    for hierarchy in hierarchies {
        let target = plain(&format!("{destination}/{}", hierarchy.folder))?;
        if context.namespaces.own(CLONE_NEWCGROUP) {
            let mount = filesystem("cgroup", "cgroup", &hierarchy.controllers, attributes, target)?;
            plan.push(Step::MountFilesystem(mount));
        } else {
            let attributes = Attributes { set: attributes, ..Attributes::default() };
            let tree = match context.parent_copies_mounts() {
                true => Some(trees::plain(plan, context, &hierarchy.directory, false, attributes)?),
                false => None,
            };
            plan.push(Step::MountBind(BindMount {
                source: c_string("cgroup path", hierarchy.directory.as_str())?,
                tree,
                recursive: false,
                attributes,
                target,
            }));
        }
        // Programs look for /sys/fs/cgroup/cpu where the host mounts cpu and cpuacct together.
        if hierarchy.controllers.len() > 1 {
            for controller in hierarchy.controllers.iter().filter(|name| **name != hierarchy.folder) {
                let name = c_string("controller", controller.as_str())?;
                links.push(Entry::Link { name, target: c_string("controller", hierarchy.folder.as_str())? });
            }
        }
    }
    let path = InRoot::new(&paths::absolute(destination))?;
    if !links.is_empty() {
        plan.push(Step::Populate { directory: path.clone(), entries: links });
    }
    if readonly != 0 {
        plan.push(Step::MakeReadonly { path });
    }
    Ok(())
}
