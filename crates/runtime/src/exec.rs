//! `exec`: one more process in a running container.

use crate::create::{console_ends, send_pidfd, write_pid_file};
use crate::launch::{self, Given, Wish};
use crate::{Notes, Record, Root, RuntimeError, Status, bundle, fd, filter, foreground, idmaps, notify};
use runtime_core::plan::exec::{self as planner, ExecOptions};
use runtime_core::plan::namespaces::{CLONE_NEWNS, CLONE_NEWUSER};
use runtime_core::plan::{Plan, Step};
use runtime_core::spec::{Capabilities, Process};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use sys::file::O_PATH;
use sys::process;

#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    pub id: String,
    pub process: ProcessSource,
    pub console_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub detach: bool,
    pub preserve_fds: u32,
    pub ignore_paused: bool,
    /// Cgroups below the container's own.
    pub sub_cgroups: Vec<String>,
    /// Gets the pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
}

/// Where the process's description comes from.
#[derive(Debug, Clone)]
pub enum ProcessSource {
    File(PathBuf),
    /// The container's own process with these changes.
    Arguments(Box<Changes>),
}

impl Default for ProcessSource {
    fn default() -> Self {
        Self::Arguments(Box::default())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub args: Vec<String>,
    pub terminal: bool,
    pub cwd: Option<String>,
    pub env: Vec<String>,
    /// `uid[:gid]`.
    pub user: Option<String>,
    pub additional_gids: Vec<u32>,
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub apparmor: Option<String>,
    pub process_label: Option<String>,
}

/// The exit code for the caller.
pub fn exec(root: &Root, request: &ExecRequest, notes: &mut Notes) -> Result<i32, RuntimeError> {
    fd::check_preserved(request.preserve_fds)?;
    let mut record = root.load(&request.id)?;
    match root.status(&record) {
        Status::Stopped | Status::Creating => return Err(RuntimeError::ExecStopped),
        Status::Paused if !request.ignore_paused => return Err(RuntimeError::ExecPaused),
        _ => {}
    }
    let process = match &request.process {
        ProcessSource::File(path) => bundle::load_process(path)?,
        ProcessSource::Arguments(changes) => changed(&record.bundle, changes)?,
    };
    foreground::check_terminal(process.terminal, request.console_socket.is_some(), !request.detach)?;
    for name in &request.sub_cgroups {
        enter_sub_cgroup(&mut record.group, name)?;
    }
    let mut facts = bundle::facts(&record.group, Some(&process), "")?;
    facts.setgroups_denied = record.namespaces & CLONE_NEWUSER != 0 && idmaps::denies_setgroups(record.pid);
    let filter = filter::load(&root.folder(&request.id)?)?;
    let options = ExecOptions {
        id: request.id.clone(),
        namespaces: record.namespaces,
        preserve_fds: request.preserve_fds,
        no_new_keyring: record.no_new_keyring,
        personality: record.personality,
        memory_policy: record.memory_policy.clone(),
        foreground: !request.detach,
    };
    let plan = planner::plan(&process, &facts, filter.as_ref(), &options)?;
    let init = record.pidfd()?;
    let cgroup = v2_folder_of(&record)?;
    let mut given = Given { init: Some(init), cgroup, stays: !request.detach, ..Given::default() };
    if record.namespaces & CLONE_NEWNS == 0 {
        given.init_root = Some(launch::open_path(&format!("/proc/{}/root", record.pid), O_PATH)?);
    }
    notes.detail(|| format!("nsexec container setup: the steps of the process\n{}", plan.describe()));
    if let Some(mask) = initial_affinity(&plan) {
        notes.detail(|| format!("nsexec-0[{}]: affinity: {mask:#x}", process::pid()));
    }
    let mut ours = None;
    if process.terminal {
        (given.console, ours) = console_ends(request.console_socket.as_deref())?;
    }
    let signals = if request.detach { None } else { Some(foreground::take_signals()?) };
    let mut launched = launch::launch(plan, &given)?;
    drop(given);
    let pid = launched.pid;
    notes.detail(|| format!("child process in init(): pid {pid}"));
    let followed = launched.wait_ready(|wish| match wish {
        Wish::Listener(listener) => notify::send(&record, Status::Running, pid, &listener),
        Wish::Point(_) => Ok(()),
    });
    notes.detail(|| "setns_init: about to exec".to_string());
    let followed = followed.and_then(|()| launched.wait_executed());
    notes.warnings.append(&mut launched.warnings);
    let written =
        followed.and_then(|()| request.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, launched.pid)));
    let written = written.and_then(|()| send_pidfd(request.pidfd_socket.as_deref(), pid, "setns"));
    if let Err(error) = written {
        launched.abort();
        return Err(error);
    }
    match signals {
        Some(signals) => foreground::wait(launched.pid, ours, signals, false),
        None => Ok(0),
    }
}

/// The processors that an exec has before it is in its cgroup; of the first 64.
fn initial_affinity(plan: &Plan) -> Option<u64> {
    let mut early = plan.steps.iter().take_while(|step| !matches!(step, Step::JoinCgroup { .. }));
    early.find_map(|step| match step {
        Step::SetAffinity(mask) => mask.first().copied(),
        _ => None,
    })
}

/// Where an exec is born on v2: the container's folder, unless its program (an init system) has made folders of its own
/// below it and lets them have controllers. Then none may be born in the upper one (cgroup-v2.rst, no internal processes),
/// and the exec joins the first process.
fn v2_folder_of(record: &Record) -> Result<Option<OwnedFd>, RuntimeError> {
    let delegated = |folder: &PathBuf| {
        std::fs::read(folder.join("cgroup.subtree_control")).is_ok_and(|text| text.iter().any(u8::is_ascii_lowercase))
    };
    if record.group.is_v2() && record.group.v2.as_ref().is_some_and(delegated) {
        return Ok(cgroup::Group::of_process(record.pid)?.open_v2()?);
    }
    Ok(record.group.open_v2()?)
}

/// The process of `config.json` with what the command line changes.
fn changed(bundle_path: &str, changes: &Changes) -> Result<Process, RuntimeError> {
    let bundle = bundle::load(&PathBuf::from(bundle_path))?;
    let mut process = bundle.spec.process.unwrap_or_default();
    process.args.clone_from(&changes.args);
    process.terminal = changes.terminal;
    if !changes.terminal {
        process.console_size = None;
    }
    if let Some(cwd) = &changes.cwd {
        process.cwd.clone_from(cwd);
    }
    process.env.extend(changes.env.iter().cloned());
    if let Some(user) = &changes.user {
        let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
        let number = |text: &str| {
            text.parse().map_err(|_| RuntimeError::InvalidArgument(format!("parsing {text:?} as a number failed")))
        };
        process.user.uid = number(uid)?;
        if let Some(gid) = gid {
            process.user.gid = number(gid)?;
        }
    }
    process.user.additional_gids.extend(&changes.additional_gids);
    add_capabilities(&mut process, &changes.capabilities);
    process.no_new_privileges |= changes.no_new_privileges;
    if let Some(profile) = &changes.apparmor {
        process.apparmor_profile.clone_from(profile);
    }
    if let Some(label) = &changes.process_label {
        process.selinux_label.clone_from(label);
    }
    Ok(process)
}

/// Inheritable stays as it is: a capability given to one exec does not pass through files (CVE-2022-29162). What the container
/// has as inheritable becomes ambient as well.
fn add_capabilities(process: &mut Process, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let sets = process.capabilities.get_or_insert_with(Capabilities::default);
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.extend(names.iter().map(|name| name.to_uppercase()));
    }
    let inheritable = names.iter().map(|name| name.to_uppercase()).filter(|name| sets.inheritable.contains(name));
    sets.ambient.extend(inheritable);
}

/// `NAME`, or `CONTROLLER:NAME` on v1, below the container's cgroup.
fn enter_sub_cgroup(group: &mut cgroup::Group, text: &str) -> Result<(), RuntimeError> {
    let (controllers, name) = text.split_once(':').map_or((None, text), |(list, name)| (Some(list), name));
    if name.split('/').any(|part| part == "..") {
        return Err(RuntimeError::InvalidArgument(format!("{name} is not a sub cgroup path")));
    }
    let known = |wanted: &str| group.v1.iter().any(|member| member.controllers.iter().any(|name| name == wanted));
    if let Some(wanted) = controllers.into_iter().flat_map(|list| list.split(',')).find(|wanted| !known(wanted)) {
        return Err(RuntimeError::InvalidArgument(format!("unknown controller {wanted} in SubCgroupPaths")));
    }
    let name = name.trim_matches('/');
    if name.is_empty() {
        return Ok(());
    }
    for member in &mut group.v1 {
        let chosen = |list: &str| list.split(',').any(|wanted| member.controllers.iter().any(|name| name == wanted));
        if controllers.is_none_or(chosen) {
            member.path.push(name);
        }
    }
    if let (None, Some(path)) = (controllers, &mut group.v2) {
        path.push(name);
    }
    match group.paths().find(|path| !path.exists()) {
        Some(missing) => Err(RuntimeError::InvalidArgument(format!(
            "adding pid to cgroups: open {}/cgroup.procs: no such file or directory",
            missing.display()
        ))),
        None => Ok(()),
    }
}
