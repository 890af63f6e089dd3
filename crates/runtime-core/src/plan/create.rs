//! The plan of a container's first process.
//!
//! Order: identity and cgroups (while everything is still the host's), namespaces, mounts by descriptor below the new
//! root, hooks, pivot, console, what must be read-only, then [`finish`].

use super::finish::{self, Ending};
use super::mount_options::{self, MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};
use super::mounts::{self, Context, HostFacts};
use super::namespaces::{
    CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS, Namespaces,
};
use super::{Attributes, HookPlace, InRoot, Open, Plan, Point, Slot, Step, devices, paths, scheduling, trees};
use crate::error::c_string;
use crate::seccomp::Filter;
use crate::spec::{IdMapping, Mount, Process, Spec};
use crate::{SpecError, validate};

const MS_REC: u64 = 1 << 14;
const CAP_SYS_ADMIN: u64 = 1 << 21;
/// SIGHUP, SIGINT, SIGQUIT, SIGTERM.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// What the command line adds to `config.json`.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    pub id: String,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub preserve_fds: u32,
    pub wait_for_start: bool,
    /// The runtime waits for the end and passes a terminal's output on.
    pub foreground: bool,
}

pub fn plan(
    spec: &Spec,
    facts: &HostFacts,
    filter: Option<&Filter>,
    options: &CreateOptions,
) -> Result<Plan, SpecError> {
    validate::spec(spec)?;
    let process =
        spec.process.as_ref().ok_or_else(|| SpecError::Invalid("process is missing in config.json".into()))?;
    let namespaces = Namespaces::parse(&spec.linux.namespaces)?;
    validate::namespaces(spec, &namespaces)?;
    if !spec.linux.mount_label.is_empty() && !facts.selinux {
        return Err(SpecError::Invalid("mountLabel is set, but SELinux is not enabled on this host".into()));
    }
    let parent_may_mount = facts.permitted & CAP_SYS_ADMIN != 0;
    let facts = &facts.inside(namespaces.own(CLONE_NEWUSER));
    let first_propagation = first_propagation(spec, &namespaces)?;
    let context = Context { spec, facts, namespaces: &namespaces, first_propagation, parent_may_mount };
    let mut plan = Plan {
        clone_flags: if namespaces.needs_two_clones() { 0 } else { namespaces.cloned() },
        pid_namespace: namespaces.join_pid.clone().filter(|_| !child_joins_pid(&context)),
        ..Plan::default()
    };
    if let Some(filter) = filter {
        finish::set_filter(&mut plan, filter);
    }
    push_identity(&mut plan, &context, process, options)?;
    push_root(&mut plan, &context, options)?;
    push_console(&mut plan, process, options.foreground);
    push_settings(&mut plan, &context)?;
    let ending = Ending {
        preserve_fds: options.preserve_fds,
        wait_for_start: options.wait_for_start,
        start_hooks: spec.hooks.start_container.clone(),
        setgroups_denied: facts.setgroups_denied,
        shown_to_owner: namespaces.is_new(CLONE_NEWUSER) && !parent_may_mount,
    };
    if !namespaces.own(CLONE_NEWUSER) {
        finish::push_limits(&mut plan, process, facts)?;
    }
    let personality = spec.linux.personality.as_ref().map(scheduling::personality).transpose()?;
    let memory_policy = spec.linux.memory_policy.as_ref().map(scheduling::memory_policy).transpose()?;
    scheduling::push_shared(&mut plan, personality, memory_policy);
    finish::push(&mut plan, process, facts, ending)?;
    Ok(plan)
}

/// The host must not see what is mounted here, and the root's own wish is applied after the pivot, except that a shared
/// root can only be kept from the beginning (mount_namespaces(7)); never across user namespaces.
fn first_propagation(spec: &Spec, namespaces: &Namespaces) -> Result<u64, SpecError> {
    let wanted = mount_options::root_propagation(&spec.linux.rootfs_propagation)?.map_or(0, |found| found.kind);
    Ok(match wanted {
        MS_SHARED if !namespaces.own(CLONE_NEWUSER) => 0,
        MS_PRIVATE | MS_UNBINDABLE => MS_PRIVATE,
        _ => MS_SLAVE,
    })
}

fn push_identity(
    plan: &mut Plan,
    context: &Context,
    process: &Process,
    options: &CreateOptions,
) -> Result<(), SpecError> {
    let (facts, namespaces) = (context.facts, context.namespaces);
    let maps_itself = namespaces.is_new(CLONE_NEWUSER) && facts.setgroups_denied;
    plan.push(Step::ResetSignals { ending_on: if options.wait_for_start { &ENDING } else { &[] } });
    if !maps_itself {
        plan.push(Step::HideFromTracers);
    }
    for file in &context.facts.tasks_files {
        let tasks = plan.open(Open::CgroupTasks(file.clone()))?;
        plan.push(Step::JoinCgroup { tasks });
    }
    plan.push(Step::SetAffinity(Vec::new()));
    push_namespaces(plan, context, process)?;
    // Who is not root may write the maps of those only that it may look into; without rights it may join or ask them only
    // then as well. Nobody else may: in the new user namespace there is no other process.
    if maps_itself && context.parent_may_mount {
        plan.push(Step::HideFromTracers);
    }
    plan.push(Step::NewSession);
    if !options.no_new_keyring {
        plan.push(Step::SessionKeyring { name: c_string("id", format!("_ses.{}", options.id))? });
    }
    if context.namespaces.is_new(CLONE_NEWNET) {
        plan.push(Step::LoopbackUp);
    }
    let linux = &context.spec.linux;
    if linux.intel_rdt.is_some() || !linux.net_devices.is_empty() {
        plan.push(Step::WaitParent(Point::Handover));
    }
    Ok(())
}

/// Joins, with the rights of who joins; then the user namespace; then what is to belong to it.
fn push_namespaces(plan: &mut Plan, context: &Context, process: &Process) -> Result<(), SpecError> {
    let namespaces = context.namespaces;
    if namespaces.needs_two_clones() {
        finish::push_limits(plan, process, context.facts)?;
    } else if namespaces.is_new(CLONE_NEWUSER) {
        let mut limits = Plan::default();
        finish::push_limits(&mut limits, process, context.facts)?;
        plan.parent_limits = limits.steps;
        plan.push(Step::WaitParent(Point::IdMaps));
        plan.push(Step::BecomeNamespaceRoot);
    }
    // The user namespace last: the others are joined with the host's rights; but first by who has none.
    let (users, others): (Vec<_>, Vec<_>) = namespaces.join.iter().partition(|(kind, _)| *kind == CLONE_NEWUSER);
    let pid = namespaces.join_pid.iter().filter(|_| child_joins_pid(context));
    let joined: Vec<(i32, &String)> = match context.parent_may_mount {
        true => others.iter().chain(&users).map(|(kind, path)| (*kind, path)).collect(),
        false => users.iter().chain(&others).map(|(kind, path)| (*kind, path)).collect(),
    };
    for (kind, path) in joined.into_iter().chain(pid.map(|path| (CLONE_NEWPID, path))) {
        let slot = plan.open(Open::Namespace(path.clone()))?;
        plan.push(Step::EnterNamespaceFile { slot, kind });
    }
    if namespaces.needs_two_clones() {
        plan.push(Step::CloneAgain { namespaces: namespaces.cloned() });
        if namespaces.is_new(CLONE_NEWUSER) {
            plan.push(Step::WaitParent(Point::IdMaps));
        }
        plan.push(Step::BecomeNamespaceRoot);
    }
    if namespaces.is_new(CLONE_NEWCGROUP) {
        plan.push(Step::NewCgroupNamespace);
    }
    if namespaces.is_new(CLONE_NEWTIME) {
        plan.push(Step::NewTimeNamespace);
        if !context.spec.linux.time_offsets.is_empty() {
            plan.push(Step::WaitParent(Point::TimeOffsets));
        }
        plan.push(Step::EnterTimeNamespace);
    }
    Ok(())
}

/// A parent without rights may not join a pid namespace: the child does, with those of the user namespace that it has joined,
/// for the second child.
fn child_joins_pid(context: &Context) -> bool {
    !context.parent_may_mount && context.namespaces.needs_two_clones()
}

fn push_root(plan: &mut Plan, context: &Context, options: &CreateOptions) -> Result<(), SpecError> {
    let spec = context.spec;
    let wanted = mount_options::root_propagation(&spec.linux.rootfs_propagation)?.map_or(0, |found| found.kind);
    if !context.namespaces.own(CLONE_NEWNS) {
        // The mounts are the host's, and so is what becomes of them.
    } else if context.first_propagation == 0 {
        if let Some(parent) = &context.facts.rootfs_parent_mount {
            plan.push(Step::SetPathPropagation { path: c_string("root", parent.as_str())?, kind: MS_PRIVATE });
        }
    } else {
        plan.push(Step::SetRootPropagation { kind: context.first_propagation | MS_REC });
    }
    if context.parent_copies_mounts() {
        // The way to the root file system may be closed to whom its ids are mapped to.
        let tree = trees::plain(plan, context, &context.facts.rootfs, true, Attributes::default())?;
        plan.push(Step::AttachRoot { tree });
    } else {
        plan.push(Step::BindRoot { path: c_string("root", context.facts.rootfs.as_str())? });
    }
    mounts::push_all(plan, context)?;
    devices::push(plan, context)?;
    let hooks = &spec.hooks;
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        plan.push(Step::WaitParent(Point::RuntimeHooks));
    }
    if !hooks.create_container.is_empty() {
        let place = HookPlace::Rootfs;
        plan.push(Step::RunHooks { kind: "createContainer", place, hooks: finish::hooks(&hooks.create_container)? });
    }
    plan.push(match (context.namespaces.own(CLONE_NEWNS), options.no_pivot) {
        (false, _) => Step::ChangeRoot { slot: Slot::ROOT },
        (true, true) => Step::MoveRoot,
        (true, false) => Step::PivotRoot,
    });
    if context.namespaces.own(CLONE_NEWNS) && matches!(wanted, MS_UNBINDABLE | MS_SHARED) {
        plan.push(Step::SetPathPropagation { path: c"/".into(), kind: wanted });
    }
    let cwd = spec.process.as_ref().map_or("/", |process| process.cwd.as_str());
    if !matches!(paths::absolute(cwd).as_str(), "/") {
        plan.push(Step::MakeDirectory { path: InRoot::new(cwd)? });
    }
    Ok(())
}

fn push_console(plan: &mut Plan, process: &Process, foreground: bool) {
    if process.terminal {
        let size = process.console_size.unwrap_or_default();
        plan.push(Step::OpenConsole { rows: size.height, columns: size.width, bind_console: true, foreground });
    } else {
        plan.push(Step::OwnNull);
    }
}

fn push_settings(plan: &mut Plan, context: &Context) -> Result<(), SpecError> {
    let (spec, namespaces) = (context.spec, context.namespaces);
    if mounts::dev_is_readonly(spec) {
        plan.push(Step::MakeReadonly { path: InRoot::new("/dev")? });
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        plan.push(Step::MakeReadonly { path: InRoot::new("/")? });
    }
    if namespaces.own(CLONE_NEWUTS) {
        if !spec.hostname.is_empty() {
            plan.push(Step::SetHostname(c_string("hostname", spec.hostname.as_str())?));
        }
        if !spec.domainname.is_empty() {
            plan.push(Step::SetDomainname(c_string("domainname", spec.domainname.as_str())?));
        }
    }
    for (key, value) in &spec.linux.sysctl {
        validate::sysctl(key, namespaces)?;
        plan.push(Step::WriteProc {
            what: "sysctl",
            path: c_string("sysctl", format!("sys/{}", sysctl_path(key)))?,
            value: c_string("sysctl", value.as_str())?,
            lenient: false,
        });
    }
    for path in &spec.linux.readonly_paths {
        plan.push(Step::ReadonlyPath(InRoot::new(path)?));
    }
    let mut masked = std::collections::BTreeSet::new();
    for path in spec.linux.masked_paths.iter().filter(|path| masked.insert(paths::absolute(path))) {
        plan.push(Step::MaskPath(InRoot::new(path)?));
    }
    Ok(())
}

/// sysctl(8): a key with a slash has slashes between its parts, else dots.
fn sysctl_path(key: &str) -> String {
    match (key.find('/'), key.find('.')) {
        (Some(slash), Some(dot)) if dot < slash => key
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        (Some(_), _) => key.to_string(),
        (None, _) => key.replace('.', "/"),
    }
}

/// Which kinds an exec has to join later.
pub fn joined_by_exec(spec: &Spec) -> Result<i32, SpecError> {
    Ok(Namespaces::parse(&spec.linux.namespaces)?.all())
}

/// Who is to own the container's control group of v2, so that it can have groups below (runtime-spec config-linux.md, cgroup
/// ownership): its user, where it sees the group as its own root and may write there.
pub fn cgroup_owner(spec: &Spec) -> Result<Option<u32>, SpecError> {
    let writable = |mount: &Mount| {
        paths::absolute(&mount.destination) == "/sys/fs/cgroup"
            && mount.kind == "cgroup"
            && mount.source == "cgroup"
            && !mount.options.iter().any(|option| option == "ro")
    };
    let own = Namespaces::parse(&spec.linux.namespaces)?.is_new(CLONE_NEWCGROUP);
    if !own || !spec.mounts.iter().any(writable) {
        return Ok(None);
    }
    let uid = spec.process.as_ref().map_or(0, |process| process.user.uid);
    if spec.linux.uid_mappings.is_empty() {
        return Ok(Some(uid));
    }
    let host = |map: &IdMapping| Some(map.host_id + uid.checked_sub(map.container_id).filter(|at| *at < map.size)?);
    Ok(spec.linux.uid_mappings.iter().find_map(host))
}

/// Whether the container's mounts are apart from the host's.
pub fn has_own_mounts(spec: &Spec) -> Result<bool, SpecError> {
    Ok(Namespaces::parse(&spec.linux.namespaces)?.own(CLONE_NEWNS))
}

/// Whether the ids of the container's process are those of a user namespace, its own or one that it joins.
pub fn has_own_users(spec: &Spec) -> Result<bool, SpecError> {
    Ok(Namespaces::parse(&spec.linux.namespaces)?.own(CLONE_NEWUSER))
}

/// Whether the container's processes end with its first one.
pub fn makes_pid_namespace(spec: &Spec) -> Result<bool, SpecError> {
    Ok(Namespaces::parse(&spec.linux.namespaces)?.is_new(CLONE_NEWPID))
}

/// The pid by which hooks inside the container know its first process: 1 in a pid namespace of its own.
pub fn has_own_pid_namespace(spec: &Spec) -> Result<bool, SpecError> {
    Ok(Namespaces::parse(&spec.linux.namespaces)?.all() & CLONE_NEWPID != 0)
}
