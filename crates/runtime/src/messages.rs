//! What the child's (step, errno) means, in runc's words where callers search for them.

use runtime_core::plan::{InRoot, Plan, Step, namespaces};
use runtime_init::{Detail, HOOK_SIGNALLED};
use std::ffi::CStr;
use sys::Errno;

pub struct Failed {
    pub step: u32,
    pub errno: Errno,
    pub detail: Detail,
    pub number: u32,
}

fn quoted(text: &CStr) -> String {
    format!("{:?}", text.to_string_lossy())
}

fn place(path: &InRoot) -> String {
    match path.path.to_str() {
        Ok(".") => "\"/\"".into(),
        _ => format!("\"/{}\"", path.path.to_string_lossy()),
    }
}

pub fn describe(plan: &Plan, failed: &Failed) -> String {
    let Failed { errno, detail, number, .. } = failed;
    let Some(step) = plan.steps.get(failed.step as usize) else {
        return format!("error during container init: {errno}");
    };
    if *detail == Detail::Parent {
        return format!("error during container init: the runtime is gone: {errno}");
    }
    match step {
        Step::FindProgram { candidates } => program(plan, candidates.len(), *errno),
        Step::Execute => format!("exec {}: {errno}", argument(plan)),
        Step::ChangeDirectory { .. } if *detail == Detail::OutsideRoot => {
            "current working directory is outside of container mount namespace root -- possible container breakout detected"
                .into()
        }
        Step::ChangeDirectory { path, .. } => {
            format!("chdir to cwd ({}) set in config.json failed: {errno}", quoted(path))
        }
        Step::RunHooks { kind, .. } => hook(kind, failed),
        // setresuid(2): no id of this user namespace.
        Step::SetUser { .. } if *errno == Errno::EINVAL => {
            "unable to setup user: cannot set uid to unmapped user in user namespace".into()
        }
        other => format!("error during container init: {}: {errno}", setting(other, *detail, *number, *errno)),
    }
}

fn argument(plan: &Plan) -> String {
    plan.args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default()
}

fn program(plan: &Plan, candidates: usize, errno: Errno) -> String {
    let name = argument(plan);
    match errno {
        Errno::ENOENT if !name.contains('/') && candidates > 0 => {
            format!("exec: {name:?}: executable file not found in $PATH")
        }
        Errno::ENOENT => format!("exec: {name:?}: stat {name}: no such file or directory"),
        errno => format!("exec: {name:?}: {errno}"),
    }
}

fn hook(kind: &str, failed: &Failed) -> String {
    match failed.detail {
        Detail::HookExit => {
            let (index, status) = (failed.number >> 16, failed.number & 0xffff);
            let end = match status & HOOK_SIGNALLED {
                0 => format!("exit status {status}"),
                _ => format!("signal: {}", signal_words((status & !HOOK_SIGNALLED) as usize)),
            };
            format!("error running {kind} hook #{index}: {end}")
        }
        Detail::HookTimeout => format!("error running {kind} hook: it ran past its timeout"),
        _ => format!("error running {kind} hook: {}", failed.errno),
    }
}

/// A signal as Go's programs name it (strsignal(3), without capitals).
pub(crate) fn signal_words(signal: usize) -> String {
    const WORDS: [&str; 32] = [
        "signal 0",
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
        "stack fault",
        "child exited",
        "continued",
        "stopped (signal)",
        "stopped",
        "stopped (tty input)",
        "stopped (tty output)",
        "urgent I/O condition",
        "CPU time limit exceeded",
        "file size limit exceeded",
        "virtual timer expired",
        "profiling timer expired",
        "window changed",
        "I/O possible",
        "power failure",
        "bad system call",
    ];
    WORDS.get(signal).map_or_else(|| format!("signal {signal}"), ToString::to_string)
}

fn setting(step: &Step, detail: Detail, number: u32, errno: Errno) -> String {
    match step {
        Step::JoinCgroup { .. } => "cannot join the cgroup".into(),
        Step::EnterNamespaceFile { kind, .. } => format!("setns to the {} namespace", namespaces::file_name(*kind)),
        Step::EnterNamespacesOf { kinds, .. } => format!("setns to {}", namespaces::names(*kinds)),
        Step::NewCgroupNamespace => "unshare cgroup".into(),
        Step::NewTimeNamespace => "unshare time".into(),
        Step::EnterTimeNamespace => "enter the time namespace".into(),
        Step::CloneAgain { namespaces: 0 } => "clone into the namespaces of the container".into(),
        Step::CloneAgain { namespaces } => format!("clone into new namespaces ({})", namespaces::names(*namespaces)),
        Step::BecomeNamespaceRoot => "failed to become root in user namespace".into(),
        Step::SetScheduler(_) => "error setting scheduler".into(),
        Step::SetIoPriority { .. } => "error setting ioPriority".into(),
        Step::SetAffinity(_) => "error setting CPU affinity".into(),
        Step::SetMemoryPolicy { .. } => "error setting memory policy".into(),
        Step::SetPersonality(_) => "error setting personality".into(),
        Step::AttachRoot { .. } => "error mounting rootfs".into(),
        Step::SessionKeyring { .. } => "unable to create session key".into(),
        Step::WriteProc { what, path, value, .. } => {
            format!("cannot set {what}: write {} to /proc/{}", quoted(value), path.to_string_lossy())
        }
        Step::LoopbackUp => "bring up the loopback interface".into(),
        Step::SetRootPropagation { .. } | Step::SetPathPropagation { .. } => "set the root's mount propagation".into(),
        Step::BindRoot { path } => format!("error mounting rootfs {}", quoted(path)),
        Step::MountFilesystem(mount) if mount.target.plain && detail == Detail::Target && errno == Errno::ELOOP => {
            format!("filesystem {} must be mounted on ordinary directory", quoted(&mount.kind))
        }
        Step::MountFilesystem(mount) => {
            let option = match (detail, mount.options.get(number as usize)) {
                (Detail::Option, Some((key, _))) => format!(" (option {})", quoted(key)),
                _ => reason(detail).into(),
            };
            format!("error mounting {} to rootfs at {}{option}", quoted(&mount.source), place(&mount.target.path))
        }
        Step::MountBind(mount) => format!(
            "error mounting {} to rootfs at {}{}",
            quoted(&mount.source),
            place(&mount.target.path),
            reason(detail)
        ),
        Step::AskForTree { path, .. } => format!("error mounting {} of the rootfs{}", place(path), reason(detail)),
        Step::Populate { directory, .. } => format!("create device nodes in {} (entry {number})", place(directory)),
        Step::PivotRoot => "pivot_root".into(),
        Step::ChangeRoot { .. } => "chroot".into(),
        Step::MoveRoot => "error jailing process inside rootfs".into(),
        Step::MakeReadonly { path } | Step::ReadonlyPath(path) => format!("make {} read-only", place(path)),
        Step::MaskPath(_) if detail == Detail::NotNull => "the container's /dev/null is not the null device".into(),
        Step::MaskPath(path) => format!("mask {}", place(path)),
        Step::OpenConsole { .. } => "open the console".into(),
        Step::OwnProc => "use the container's own procfs".into(),
        Step::OwnNull => "reopen /dev/null inside the container".into(),
        Step::MakeDirectory { path } => format!("mkdir {}", place(path)),
        Step::SetHostname(_) => "sethostname".into(),
        Step::SetDomainname(_) => "setdomainname".into(),
        Step::SetRlimit { name, .. } => format!("error setting rlimit type {name}"),
        Step::InstallSeccomp => "unable to init seccomp".into(),
        Step::SetUser { uid, gid, .. } => format!("unable to set up user {uid}:{gid}"),
        Step::DropBounding { .. } | Step::SetCapabilities { .. } | Step::KeepCapabilities => {
            "unable to apply caps".into()
        }
        other => format!("{other:?}"),
    }
}

fn reason(detail: Detail) -> &'static str {
    match detail {
        Detail::Source => ": the source cannot be opened",
        Detail::Target => ": the target cannot be opened",
        Detail::Forbidden => ": the target lies on procfs",
        Detail::CopyUp => ": what lies below it cannot be copied",
        Detail::Create => ": the file system cannot be created",
        Detail::Attributes => ": its attributes cannot be set",
        _ => "",
    }
}
