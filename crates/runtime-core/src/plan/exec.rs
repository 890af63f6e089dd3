//! The plan of a process that joins a running container.

use super::finish::{self, Ending};
use super::mounts::HostFacts;
use super::namespaces::{CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};
use super::{Open, Plan, Step, scheduling};
use crate::error::c_string;
use crate::seccomp::Filter;
use crate::spec::Process;
use crate::{SpecError, validate};

#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    pub id: String,
    /// CLONE_NEW* in which the container differs from the host.
    pub namespaces: i32,
    pub preserve_fds: u32,
    pub no_new_keyring: bool,
    /// The container's own.
    pub personality: Option<u64>,
    pub memory_policy: Option<(u32, Vec<u64>)>,
    /// The runtime waits for the end and passes a terminal's output on.
    pub foreground: bool,
}

pub fn plan(
    process: &Process,
    facts: &HostFacts,
    filter: Option<&Filter>,
    options: &ExecOptions,
) -> Result<Plan, SpecError> {
    validate::process(process)?;
    let mut plan = Plan::default();
    if let Some(filter) = filter {
        finish::set_filter(&mut plan, filter);
    }
    plan.push(Step::ResetSignals { ending_on: &[] });
    // Nobody in the container may look into this process until it is one of theirs (CVE-2016-9962).
    plan.push(Step::HideFromTracers);
    let affinity = process.exec_cpu_affinity.clone().unwrap_or_default();
    let initial = scheduling::mask("execCPUAffinity.initial", &affinity.initial)?;
    let last = scheduling::mask("execCPUAffinity.final", &affinity.last)?;
    if !initial.is_empty() {
        plan.push(Step::SetAffinity(initial));
    }
    for file in &facts.tasks_files {
        let tasks = plan.open(Open::CgroupTasks(file.clone()))?;
        plan.push(Step::JoinCgroup { tasks });
    }
    plan.push(Step::SetAffinity(last));
    finish::push_limits(&mut plan, process, facts)?;
    let init = plan.open(Open::Init)?;
    if options.namespaces != 0 {
        plan.push(Step::EnterNamespacesOf { init, kinds: options.namespaces });
    }
    // From the clone on the container sees this process. One that may trace finds nothing of the host's in it then, neither
    // its mounts nor its procfs; what a label is written through is guarded by the label's own module.
    if process.apparmor_profile.is_empty() && process.selinux_label.is_empty() {
        plan.push(Step::CloseProc);
    }
    if options.namespaces & CLONE_NEWPID != 0 {
        plan.push(Step::CloneAgain { namespaces: 0 });
    }
    if options.namespaces & CLONE_NEWUSER != 0 {
        plan.push(Step::BecomeNamespaceRoot);
    }
    if options.namespaces & CLONE_NEWNS == 0 {
        let slot = plan.open(Open::InitRoot)?;
        plan.push(Step::ChangeRoot { slot });
    }
    plan.push(Step::NewSession);
    if !options.no_new_keyring {
        plan.push(Step::SessionKeyring { name: c_string("id", format!("_ses.{}", options.id))? });
    }
    if process.terminal {
        let size = process.console_size.unwrap_or_default();
        // The container's /dev/console is its first process's.
        let bind_console = false;
        let foreground = options.foreground;
        plan.push(Step::OpenConsole { rows: size.height, columns: size.width, bind_console, foreground });
    }
    let ending =
        Ending { preserve_fds: options.preserve_fds, setgroups_denied: facts.setgroups_denied, ..Ending::default() };
    scheduling::push_shared(&mut plan, options.personality, options.memory_policy.clone());
    finish::push(&mut plan, process, &facts.inside(options.namespaces & CLONE_NEWUSER != 0), ending)?;
    Ok(plan)
}
