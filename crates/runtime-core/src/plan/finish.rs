//! The last steps of every process, a container's first and an exec's alike: from its limits to execve(2).

use super::mounts::HostFacts;
use super::{CapabilitySets, HookPlace, HookStep, Plan, Step, paths, scheduling};
use crate::error::c_string;
use crate::seccomp;
use crate::spec::{Capabilities, Hook, Process};
use crate::{SpecError, capability};
use kernel_names::RESOURCE_LIMITS;
use std::ffi::CString;

const CAP_SYS_RESOURCE: u64 = 1 << 24;
/// What the search path is when the environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Descriptors 0 to 2.
const STANDARD_STREAMS: u32 = 3;

/// How the end of a plan differs between create, run and exec.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Descriptors behind the standard streams that the program inherits.
    pub preserve_fds: u32,
    /// `create` leaves the process waiting for `start`.
    pub wait_for_start: bool,
    pub start_hooks: Vec<Hook>,
    /// Whether the user namespace denies setgroups(2) (user_namespaces(7)).
    pub setgroups_denied: bool,
    /// The runtime has no rights but those over a user namespace that it made: it may look into the process only as into any
    /// of its user's.
    pub shown_to_owner: bool,
}

/// oom_score_adj and rlimits: what needs the host's rights, so before they are given up.
pub(super) fn push_limits(plan: &mut Plan, process: &Process, facts: &HostFacts) -> Result<(), SpecError> {
    if let Some(score) = process.oom_score_adj {
        if !(-1000..=1000).contains(&score) {
            return Err(SpecError::Invalid(format!("oomScoreAdj {score} is not between -1000 and 1000")));
        }
        // Lowering needs CAP_SYS_RESOURCE; without it a container gets the score it can have, as under containerd.
        plan.push(Step::WriteProc {
            what: "oom_score_adj",
            path: c"self/oom_score_adj".into(),
            value: c_string("oomScoreAdj", score.to_string())?,
            lenient: facts.permitted & CAP_SYS_RESOURCE == 0,
        });
    }
    for limit in &process.rlimits {
        let (resource, name) = (0..)
            .zip(RESOURCE_LIMITS.map(|limit| limit.constant))
            .find(|(_, name)| *name == limit.kind)
            .ok_or_else(|| SpecError::Invalid(format!("invalid rlimit type {:?}", limit.kind)))?;
        if limit.soft > limit.hard {
            return Err(SpecError::Invalid(format!("{name}: the soft limit is above the hard one")));
        }
        plan.push(Step::SetRlimit { name, resource, soft: limit.soft, hard: limit.hard });
    }
    Ok(())
}

/// Labels, filter, capabilities, user, directory, program.
pub(super) fn push(plan: &mut Plan, process: &Process, facts: &HostFacts, ending: Ending) -> Result<(), SpecError> {
    scheduling::push(plan, process)?;
    push_labels(plan, process, facts)?;
    let user = &process.user;
    let filtered = !plan.seccomp.is_empty();
    if ending.wait_for_start {
        plan.push(Step::OwnProc);
    }
    // Before a filter that may know nothing of close_range(2).
    plan.push(Step::CloseOnExec { first: STANDARD_STREAMS + ending.preserve_fds });
    if process.no_new_privileges {
        plan.push(Step::NoNewPrivileges);
    } else if filtered {
        // Without no_new_privs a filter needs CAP_SYS_ADMIN (seccomp(2)): it comes before the capabilities go.
        plan.push(Step::InstallSeccomp);
    }
    let cwd = if process.cwd.is_empty() { "/" } else { process.cwd.as_str() };
    let cwd = c_string("cwd", paths::absolute(cwd))?;
    plan.push(Step::ChangeDirectory { path: cwd.clone(), required: false });
    let (sets, ambient, bounding) = capabilities(plan, process.capabilities.as_ref(), facts);
    plan.push(Step::DropBounding { keep: bounding, highest: facts.highest_capability });
    plan.push(Step::KeepCapabilities);
    if ending.setgroups_denied && !user.additional_gids.is_empty() {
        return Err(SpecError::Invalid("cannot set any additional groups in a rootless container".into()));
    }
    let groups = (!ending.setgroups_denied).then(|| user.additional_gids.clone());
    plan.push(Step::OwnStandardStreams { uid: user.uid });
    if let Some(mask) = user.umask {
        plan.push(Step::SetUmask(mask & 0o777));
    } else {
        plan.push(Step::SetUmask(0o022));
    }
    plan.push(Step::SetUser { uid: user.uid, gid: user.gid, groups });
    if ending.shown_to_owner {
        // The change of the user has hidden it (prctl(2), PR_SET_DUMPABLE).
        plan.push(Step::ShowToTracers);
    }
    plan.push(Step::SetCapabilities { sets, ambient });
    plan.push(Step::ChangeDirectory { path: cwd, required: true });
    push_program(plan, process)?;
    if process.no_new_privileges && filtered {
        plan.push(Step::InstallSeccomp);
    }
    plan.push(Step::Ready);
    if ending.wait_for_start {
        plan.push(Step::WaitForStart);
    }
    if !ending.start_hooks.is_empty() {
        let mut hooks = hooks(&ending.start_hooks)?;
        // In the container's own surroundings, unless they name others.
        hooks.iter_mut().for_each(|hook| hook.inherits_env = hook.env.is_empty());
        plan.push(Step::RunHooks { kind: "startContainer", place: HookPlace::WorkingDirectory, hooks });
    }
    plan.push(Step::Execute);
    Ok(())
}

fn push_labels(plan: &mut Plan, process: &Process, facts: &HostFacts) -> Result<(), SpecError> {
    if !process.apparmor_profile.is_empty() {
        if !facts.apparmor {
            return Err(SpecError::Invalid("apparmorProfile is set, but AppArmor is not enabled on this host".into()));
        }
        plan.push(Step::WriteProc {
            what: "apparmor profile",
            path: c"thread-self/attr/exec".into(),
            value: c_string("apparmorProfile", format!("exec {}", process.apparmor_profile))?,
            lenient: false,
        });
    }
    if !process.selinux_label.is_empty() {
        if !facts.selinux {
            return Err(SpecError::Invalid("selinuxLabel is set, but SELinux is not enabled on this host".into()));
        }
        plan.push(Step::WriteProc {
            what: "selinux label",
            path: c"thread-self/attr/exec".into(),
            value: c_string("selinuxLabel", process.selinux_label.as_str())?,
            lenient: false,
        });
    }
    Ok(())
}

/// The sets, the ambient set, the bounding set. What this host does not have is left out with a warning, as runc does.
fn capabilities(plan: &mut Plan, wanted: Option<&Capabilities>, facts: &HostFacts) -> (CapabilitySets, u64, u64) {
    let none = Capabilities::default();
    let wanted = wanted.unwrap_or(&none);
    let mut missing = 0;
    let mut unknown: Vec<String> = Vec::new();
    let mut take = |names: &[String], available: u64| {
        let (set, strangers) = capability::bits(names);
        unknown.extend(strangers.into_iter().map(str::to_string));
        missing |= set & !available;
        set & available
    };
    let bounding = take(&wanted.bounding, facts.bounding);
    let permitted = take(&wanted.permitted, facts.permitted);
    let effective = take(&wanted.effective, facts.permitted) & permitted;
    let inheritable = take(&wanted.inheritable, facts.permitted);
    let ambient = take(&wanted.ambient, facts.permitted);
    unknown.sort();
    unknown.dedup();
    if !unknown.is_empty() {
        plan.warnings.push(format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" ")));
    }
    if missing != 0 {
        plan.warnings.push(format!("this host does not grant the capabilities {}", capability::list(missing)));
    }
    // capabilities(7): only what is both permitted and inheritable can be ambient.
    for name in capability::list(ambient & !(inheritable & permitted)).split(", ").filter(|name| !name.is_empty()) {
        plan.warnings.push(format!("can't raise ambient capability {name}: operation not permitted"));
    }
    (CapabilitySets { effective, permitted, inheritable }, ambient & inheritable & permitted, bounding)
}

fn push_program(plan: &mut Plan, process: &Process) -> Result<(), SpecError> {
    let name = process.args.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| SpecError::Invalid("args must not be empty".into()))?;
    let candidates = if name.contains('/') {
        vec![c_string("args", name.as_str())?]
    } else {
        let path = process.env.iter().rev().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        path.split(':')
            .map(|folder| c_string("PATH", format!("{}/{name}", if folder.is_empty() { "." } else { folder })))
            .collect::<Result<Vec<CString>, _>>()?
    };
    plan.push(Step::FindProgram { candidates });
    plan.args = process.args.iter().map(|arg| c_string("args", arg.as_str())).collect::<Result<_, _>>()?;
    let env = environment(&process.env);
    plan.env = env.iter().map(|pair| c_string("env", *pair)).collect::<Result<_, _>>()?;
    // Without HOME it is the user's folder by the container's own /etc/passwd, as runc has it.
    if !env.iter().any(|pair| pair.starts_with("HOME=")) {
        plan.push(Step::FindHome { uid: process.user.uid });
    }
    Ok(())
}

/// Each variable once, where and as it was set last. A HOME without a value says nothing.
fn environment(wanted: &[String]) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    let name = |pair: &'_ str| pair.split_once('=').map(|(name, _)| name.to_string());
    let mut env: Vec<&str> = wanted
        .iter()
        .rev()
        .filter(|pair| name(pair).is_none_or(|name| seen.insert(name)))
        .map(String::as_str)
        .collect();
    env.retain(|pair| *pair != "HOME=");
    env.reverse();
    env
}

pub(super) fn hooks(list: &[Hook]) -> Result<Vec<HookStep>, SpecError> {
    list.iter()
        .map(|hook| {
            if !hook.path.starts_with('/') {
                return Err(SpecError::Invalid(format!("hook path {:?} is not absolute", hook.path)));
            }
            let strings =
                |list: &[String]| list.iter().map(|text| c_string("hook", text.as_str())).collect::<Result<_, _>>();
            let args: Vec<CString> = strings(&hook.args)?;
            Ok(HookStep {
                path: c_string("hook", hook.path.as_str())?,
                args: if args.is_empty() { vec![c_string("hook", hook.path.as_str())?] } else { args },
                env: strings(&hook.env)?,
                inherits_env: false,
                timeout_ms: hook.timeout.map(|seconds| seconds.saturating_mul(1000)),
            })
        })
        .collect()
}

/// Compiles the profile into the plan. Its filter may come from a cache.
pub fn set_filter(plan: &mut Plan, filter: &seccomp::Filter) {
    plan.seccomp.clone_from(&filter.program);
    plan.seccomp_flags = filter.flags;
}
