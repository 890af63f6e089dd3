//! Mounts in the order of `config.json` (runtime-spec config.md, mounts).

use super::cgroup_mount::{self, CgroupFacts};
use super::mount_options::{self, NODEV, NOEXEC, NOSUID, Parsed, RDONLY};
use super::namespaces::{CLONE_NEWUSER, Namespaces};
use super::{BindMount, FilesystemMount, InRoot, Plan, Step, Target, paths, trees};
use crate::SpecError;
use crate::error::c_string;
use crate::spec::{Mount, Spec};

/// What the planner knows about the host.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The bundle, absolute: relative sources are relative to it.
    pub bundle: String,
    /// The root file system, absolute and without symbolic links.
    pub rootfs: String,
    /// The mount point that holds the root file system; needed where the host's mounts are to stay shared.
    pub rootfs_parent_mount: Option<String>,
    /// The runtime's own bounding set and permitted capabilities.
    pub bounding: u64,
    pub permitted: u64,
    /// The highest capability that the kernel knows.
    pub highest_capability: u32,
    pub cgroup: CgroupFacts,
    pub apparmor: bool,
    pub selinux: bool,
    /// setgroups(2) is denied to the container's process: its ids were mapped without privileges.
    pub setgroups_denied: bool,
    /// Whether the cgroup hierarchy of v2 is joined by the clone itself.
    pub tasks_files: Vec<String>,
}

impl HostFacts {
    /// In a user namespace a process has all capabilities, whatever the host grants (user_namespaces(7)).
    pub(super) fn inside(&self, user_namespace: bool) -> Self {
        let mut facts = self.clone();
        if user_namespace {
            let all = u64::MAX >> (63 - facts.highest_capability.min(63));
            (facts.bounding, facts.permitted) = (all, all);
        }
        facts
    }
}

pub(super) struct Context<'a> {
    pub spec: &'a Spec,
    pub facts: &'a HostFacts,
    pub namespaces: &'a Namespaces,
    /// What cuts the host's mounts off from the container's: MS_SLAVE, MS_PRIVATE, or zero where they shall stay shared.
    pub first_propagation: u64,
    /// The parent has CAP_SYS_ADMIN, without which it can copy no mount.
    pub parent_may_mount: bool,
}

impl Context<'_> {
    /// Whether the parent copies the host's mounts for the child, which in a user namespace of its own may not reach every
    /// one, nor change it. What a parent without rights may not do either, the child does as far as it may.
    pub fn parent_copies_mounts(&self) -> bool {
        self.namespaces.own(CLONE_NEWUSER) && self.parent_may_mount
    }
}

/// Files of procfs that may be covered by a bind mount: what lxcfs serves. All else below /proc is refused
/// (CVE-2019-16884, CVE-2023-27561).
const COVERABLE_PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/net/dev",
];

pub(super) fn push_all(plan: &mut Plan, context: &Context) -> Result<(), SpecError> {
    for mount in &context.spec.mounts {
        push(plan, context, mount)?;
    }
    Ok(())
}

/// Whether `/dev` is the container's own: a bound one is left as it is.
pub(super) fn owns_dev(spec: &Spec) -> bool {
    !spec.mounts.iter().any(|mount| {
        paths::absolute(&mount.destination) == "/dev"
            && (mount.kind == "bind" || mount.options.iter().any(|option| option == "bind" || option == "rbind"))
    })
}

/// A read-only `/dev` can be made so only when it is filled.
pub(super) fn dev_is_readonly(spec: &Spec) -> bool {
    let on_dev = spec.mounts.iter().rfind(|mount| paths::absolute(&mount.destination) == "/dev");
    owns_dev(spec)
        && on_dev.is_some_and(|mount| {
            mount_options::parse(&mount.options).is_ok_and(|parsed| parsed.attributes.set & RDONLY != 0)
        })
}

fn push(plan: &mut Plan, context: &Context, mount: &Mount) -> Result<(), SpecError> {
    // Some name the place as the host sees it; so read by runc.
    let destination = paths::absolute(&mount.destination);
    let destination = match destination.strip_prefix(&context.facts.rootfs) {
        Some(below) if below.starts_with('/') && context.facts.rootfs != "/" => below.to_string(),
        _ => destination,
    };
    let parsed = mount_options::parse(&mount.options)?;
    let kind = if parsed.bind { "bind" } else { mount.kind.as_str() };
    if destination == "/" && kind != "bind" {
        return Err(SpecError::Invalid(format!("a mount of type {kind:?} cannot replace the root")));
    }
    check_proc(&destination, kind)?;
    let mapped = parsed.id_map.is_some() || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if mapped && kind != "bind" {
        return Err(SpecError::Invalid(format!("the mount at {destination:?} is id-mapped, and no bind mount")));
    }
    if parsed.copy_up && kind != "tmpfs" {
        return Err(SpecError::Invalid(format!("tmpcopyup at {destination:?} is for a tmpfs, not for {kind:?}")));
    }
    let target = Target {
        path: InRoot::new(&destination)?,
        plain: matches!(kind, "proc" | "sysfs" | "mqueue"),
        on_procfs: destination.starts_with("/proc/"),
        propagation: parsed.propagation,
    };
    match kind {
        "bind" => {
            let step = bind(plan, context, mount, &parsed, target)?;
            plan.push(Step::MountBind(step));
        }
        "cgroup" => cgroup_mount::push(plan, context, &destination, &parsed)?,
        "" => return Err(SpecError::Invalid(format!("the mount at {destination:?} has no type"))),
        kind => {
            let mut attributes = parsed.attributes.set | parsed.attributes.set_recursive;
            if destination == "/dev" {
                attributes &= !RDONLY;
            }
            if matches!(kind, "proc" | "sysfs" | "mqueue")
                && !mount.options.iter().any(|option| option == "exec" || option == "suid")
            {
                attributes |= NOEXEC | NOSUID | NODEV;
            }
            let mut step = filesystem(kind, &mount.source, &parsed.rest, attributes, target)?;
            step.copy_up = parsed.copy_up;
            step.keeps_mode = kind == "tmpfs" && !parsed.rest.iter().any(|option| option.starts_with("mode="));
            let label = &context.spec.linux.mount_label;
            if !label.is_empty() && context.facts.selinux && matches!(kind, "tmpfs" | "devpts") {
                step.options.push((c"context".into(), Some(c_string("mountLabel", label.as_str())?)));
            }
            plan.push(Step::MountFilesystem(step));
        }
    }
    Ok(())
}

fn check_proc(destination: &str, kind: &str) -> Result<(), SpecError> {
    if destination == "/proc" && !matches!(kind, "proc" | "bind") {
        return Err(SpecError::Invalid(format!("{destination:?} cannot be mounted because it is not of type proc")));
    }
    if destination.starts_with("/proc/") && !COVERABLE_PROC_FILES.contains(&destination) {
        return Err(SpecError::Invalid(format!("{destination:?} cannot be mounted because it is inside /proc")));
    }
    Ok(())
}

pub(super) fn filesystem(
    kind: &str,
    source: &str,
    rest: &[String],
    attributes: u64,
    target: Target,
) -> Result<FilesystemMount, SpecError> {
    let mut options = Vec::with_capacity(rest.len());
    for option in rest {
        // newinstance is the only way devpts works since Linux 4.7 and not known to it any more as a key of its own there.
        match option.split_once('=') {
            // `name=systemd` is the key of a cgroup hierarchy like any other pair.
            Some((key, value)) => {
                options.push((c_string("mount option", key)?, Some(c_string("mount option", value)?)))
            }
            None if option.is_empty() => {}
            None => options.push((c_string("mount option", option.as_str())?, None)),
        }
    }
    Ok(FilesystemMount {
        kind: c_string("mount type", kind)?,
        source: c_string("mount source", if source.is_empty() { kind } else { source })?,
        options,
        attributes,
        target,
        copy_up: false,
        keeps_mode: false,
    })
}

fn bind(
    plan: &mut Plan,
    context: &Context,
    mount: &Mount,
    parsed: &Parsed,
    target: Target,
) -> Result<BindMount, SpecError> {
    // mount(2) takes no data for a bind mount, and configurations carry some.
    if !parsed.rest.is_empty() {
        let (place, options) = (&mount.destination, parsed.rest.join(","));
        plan.warnings.push(format!("the bind mount at {place:?} leaves out the options {options}"));
    }
    let source = match mount.source.as_str() {
        "" => return Err(SpecError::Invalid(format!("the bind mount at {:?} has no source", mount.destination))),
        path if path.starts_with('/') => path.to_string(),
        path => format!("{}/{path}", context.facts.bundle),
    };
    let source = c_string("mount source", source)?;
    let tree = trees::of_bind(plan, context, mount, parsed, &source)?;
    Ok(BindMount { source, tree, recursive: parsed.recursive_bind, attributes: parsed.attributes, target })
}
