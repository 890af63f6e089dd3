//! One function a step. Nothing here allocates, locks or panics.

use crate::child::{Failure, Progress, degrade};
use crate::message::{Detail, Message};
use crate::prepared::Prepared;
use crate::{console, mounts, program};
use runtime_core::plan::scheduling::Scheduler;
use runtime_core::plan::{CapabilitySets, Plan, Slot, Step};
use runtime_core::seccomp::FLAG_NEW_LISTENER;
use std::ffi::CStr;
use sys::capability::{self, Sets};
use sys::file;
use sys::numbered_path::NumberedPath;
use sys::process::Sibling;
use sys::{Errno, keyring, mount, process, scheduling, seccomp, signal, socket};

/// Words of a mask with more bits than a machine has processors; the kernel cuts it to those that the cgroup has.
const ALL_PROCESSORS: usize = 16;

pub type Outcome = Result<(), Failure>;

pub fn perform(prepared: &mut Prepared, progress: &mut Progress) -> Outcome {
    let Prepared { plan, fds, .. } = prepared;
    let Plan { steps, .. } = plan;
    let Some(step) = steps.get(progress.step) else { return Ok(()) };
    match step {
        Step::ResetSignals { ending_on } => signal::reset_ending_on(ending_on)?,
        Step::HideFromTracers | Step::ShowToTracers => process::set_dumpable(*step == Step::ShowToTracers)?,
        Step::JoinCgroup { tasks } => file::write(fds.get(*tasks), b"0").map(drop)?,
        Step::WaitParent(point) => wait_parent(fds.get(Slot::SYNC), *point as u32)?,
        Step::CloneAgain { namespaces } => clone_again(fds.get(Slot::SYNC), *namespaces)?,
        Step::CloseProc | Step::OwnProc => leave_proc(step, fds),
        Step::BecomeNamespaceRoot => set_user(0, 0, None)?,
        Step::EnterNamespaceFile { slot, kind } => process::setns(fds.get(*slot), *kind)?,
        Step::EnterNamespacesOf { init, kinds } => process::setns(fds.get(*init), *kinds)?,
        Step::NewCgroupNamespace => process::unshare(process::CLONE_NEWCGROUP)?,
        Step::NewTimeNamespace => process::unshare(process::CLONE_NEWTIME)?,
        Step::EnterTimeNamespace => enter_time_namespace(fds.get(Slot::PROC))?,
        Step::SetPersonality(_)
        | Step::SetScheduler(_)
        | Step::SetIoPriority { .. }
        | Step::SetAffinity(_)
        | Step::SetMemoryPolicy { .. } => schedule(step)?,
        Step::NewSession => process::session_leader()?,
        Step::SessionKeyring { name } => session_keyring(name)?,
        Step::WriteProc { path, value, lenient, .. } => {
            if !write_proc_or_not(fds.get(Slot::PROC), path, value, *lenient)? {
                degrade(prepared, progress, Errno::EACCES);
            }
        }
        Step::LoopbackUp => process::loopback_up()?,
        Step::SetRootPropagation { kind } => mount::mount(None, c"/", None, *kind, None)?,
        Step::SetPathPropagation { path, kind } => mount::mount(None, path, None, *kind, None)?,
        Step::BindRoot { path } => mounts::bind_root(fds, path)?,
        Step::MountFilesystem(step) => mounts::filesystem(fds.get(Slot::ROOT), step)?,
        Step::AttachRoot { tree } => mounts::attach_root(fds, *tree)?,
        Step::AskForTree { slot, path } => mounts::ask_for_tree(fds, *slot, path)?,
        Step::MountBind(step) => mounts::bind(fds, step)?,
        Step::Populate { directory, entries } => mounts::populate(fds.get(Slot::ROOT), directory, entries)?,
        Step::PivotRoot => mounts::pivot(fds)?,
        Step::ChangeRoot { slot } => mounts::change_root(fds, *slot)?,
        Step::MoveRoot => mounts::move_root(fds)?,
        Step::MakeReadonly { path } => mounts::make_readonly(fds.get(Slot::ROOT), path)?,
        Step::OpenConsole { .. } => open_console(fds, step)?,
        Step::OwnNull => own_null(fds.get(Slot::ROOT))?,
        Step::MakeDirectory { path } => file::close(mounts::make_directory(fds.get(Slot::ROOT), path)?),
        Step::SetHostname(name) => process::set_hostname(name.to_bytes())?,
        Step::SetDomainname(name) => process::set_domainname(name.to_bytes())?,
        Step::ReadonlyPath(path) => mounts::readonly_path(fds.get(Slot::ROOT), path)?,
        Step::MaskPath(path) => mounts::mask_path(fds, path)?,
        Step::SetRlimit { resource, soft, hard, .. } => process::set_rlimit(*resource, *soft, *hard)?,
        Step::OwnStandardStreams { uid } => own_standard_streams(*uid)?,
        Step::SetUmask(mask) => _ = process::umask(*mask),
        Step::NoNewPrivileges => process::set_no_new_privileges()?,
        Step::InstallSeccomp => install_filter(prepared)?,
        Step::DropBounding { keep, highest } => drop_bounding(*keep, *highest)?,
        Step::KeepCapabilities => process::set_keep_capabilities(true)?,
        Step::SetUser { uid, gid, groups } => set_user(*uid, *gid, groups.as_deref())?,
        Step::SetCapabilities { sets, ambient } => set_capabilities(*sets, *ambient)?,
        Step::ChangeDirectory { path, required } => {
            progress.entered = change_directory(path, *required, progress.entered)?
        }
        Step::CloseOnExec { first } => close_others(fds, *first as i32)?,
        Step::FindProgram { candidates } => progress.program = Some((program::find(candidates)?, progress.step)),
        Step::FindHome { uid } => program::find_home(*uid, prepared),
        Step::Ready => ready(fds.get(Slot::SYNC), progress)?,
        Step::WaitForStart => wait_for_start(fds)?,
        Step::RunHooks { .. } => program::run_hooks(prepared, progress)?,
        Step::Execute => return Err(program::execute(prepared, progress).into()),
    }
    Ok(())
}

fn open_console(fds: &crate::Fds, step: &Step) -> Outcome {
    let Step::OpenConsole { rows, columns, bind_console, foreground } = step else { return Ok(()) };
    let size = (*rows, *columns);
    console::open(fds.get(Slot::ROOT), fds.get(Slot::CONSOLE), size, *bind_console, *foreground)
}

fn wait_parent(sync: i32, point: u32) -> Outcome {
    socket::send(sync, &Message::Waiting { point }.encode()).map_err(Failure::at(Detail::Parent))?;
    let mut answer = [0; 1];
    match file::read(sync, &mut answer) {
        Ok(1) => Ok(()),
        Ok(_) => Err(Failure { errno: Errno::EPROTO, detail: Detail::Parent, number: 0 }),
        Err(errno) => Err(Failure { errno, detail: Detail::Parent, number: 0 }),
    }
}

/// The second clone of a container whose namespaces belong to a user namespace other than those that were joined. Its
/// number is told as a descriptor: this process may not know it by the number that the parent does.
fn clone_again(sync: i32, namespaces: i32) -> Outcome {
    match process::clone_sibling(namespaces)? {
        Sibling::Child => Ok(()),
        Sibling::Parent { pidfd } => {
            let told = socket::send_fd(sync, &Message::Cloned.encode(), pidfd);
            process::exit_now(i32::from(told.is_err()))
        }
    }
}

/// time_namespaces(7): what was unshared is for children; setns(2) brings this process in as well.
fn enter_time_namespace(proc: i32) -> Outcome {
    let namespace = file::openat(proc, c"self/ns/time_for_children", file::O_RDONLY, 0)?;
    let answer = process::setns(namespace, process::CLONE_NEWTIME);
    file::close(namespace);
    Ok(answer?)
}

/// How the kernel shall schedule this process.
fn schedule(step: &Step) -> Outcome {
    match step {
        Step::SetPersonality(persona) => scheduling::set_personality(*persona)?,
        Step::SetScheduler(wanted) => set_scheduler(*wanted)?,
        Step::SetIoPriority { class, priority } => scheduling::set_io_priority(*class, *priority)?,
        // Whoever may not has those of its caller: nothing that a container could not live with.
        Step::SetAffinity(mask) if mask.is_empty() => _ = scheduling::set_affinity(&[u64::MAX; ALL_PROCESSORS]),
        Step::SetAffinity(mask) => scheduling::set_affinity(mask)?,
        Step::SetMemoryPolicy { mode, nodes } => scheduling::set_memory_policy(*mode, nodes)?,
        _ => {}
    }
    Ok(())
}

fn set_scheduler(wanted: Scheduler) -> Outcome {
    let Scheduler { policy, flags, nice, priority, runtime, deadline, period } = wanted;
    let mut attributes = scheduling::SchedulerAttributes::default();
    (attributes.policy, attributes.flags, attributes.nice, attributes.priority) = (policy, flags, nice, priority);
    (attributes.runtime, attributes.deadline, attributes.period) = (runtime, deadline, period);
    Ok(scheduling::set_scheduler(attributes)?)
}

/// A filter that asks somebody: its descriptor has to be with them before this process does what is asked about. It is told
/// by write(2), which a profile may not ask about, and the parent takes it out of this process.
fn install_filter(prepared: &Prepared) -> Outcome {
    let listener = seccomp::install(&prepared.filter, prepared.plan.seccomp_flags)?;
    if prepared.plan.seccomp_flags & FLAG_NEW_LISTENER == 0 {
        return Ok(());
    }
    let sync = prepared.fds.get(Slot::SYNC);
    file::write(sync, &Message::Listener { fd: listener as u32 }.encode()).map_err(Failure::at(Detail::Parent))?;
    let mut answer = [0; 1];
    let taken = file::read(sync, &mut answer).map_err(Failure::at(Detail::Parent))?;
    file::close(listener);
    if taken == 1 { Ok(()) } else { Err(Failure { errno: Errno::EPROTO, detail: Detail::Parent, number: 0 }) }
}

fn session_keyring(name: &CStr) -> Outcome {
    match keyring::join_session(name) {
        // Kernels without CONFIG_KEYS, and filters around this runtime, have no keyrings to protect.
        Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
        Ok(keyring) => match keyring::let_user_search(keyring) {
            // A keyring of another owner (an exec under other credentials) is joined as it is.
            Err(Errno::EACCES | Errno::EPERM) | Ok(()) => Ok(()),
            Err(errno) => Err(errno.into()),
        },
    }
}

/// Answers whether it was written: what is lenient may be refused.
fn write_proc_or_not(proc: i32, path: &CStr, value: &CStr, lenient: bool) -> Result<bool, Errno> {
    match write_proc(proc, path, value) {
        Err(Errno::EACCES | Errno::EPERM) if lenient => Ok(false),
        other => other.map(|()| true),
    }
}

fn write_proc(proc: i32, path: &CStr, value: &CStr) -> Result<(), Errno> {
    let fd = file::openat2(proc, path, file::O_WRONLY, 0, file::RESOLVE_BENEATH | file::RESOLVE_NO_MAGICLINKS)
        .or_else(|errno| match errno {
            // `self` and `thread-self` are magic to no one but leave nothing; older kernels call them so.
            Errno::ELOOP | Errno::EXDEV => file::openat(proc, path, file::O_WRONLY, 0),
            errno => Err(errno),
        })?;
    let answer = file::write(fd, value.to_bytes()).map(|_| ());
    file::close(fd);
    answer
}

/// A program may want to open its terminal or pipe again as its own user. Shared things like /dev/null are left alone.
fn own_standard_streams(uid: u32) -> Outcome {
    for fd in 0..3 {
        let Ok(stat) = file::fstat(fd) else { continue };
        let null = stat.st_mode & file::S_IFMT == file::S_IFCHR && stat.st_rdev == file::device_number(1, 3);
        if stat.st_uid == uid || null {
            continue;
        }
        match file::fchown(fd, uid, stat.st_gid) {
            Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Where the container has none, or another thing of that name, the host's stays.
fn own_null(root: i32) -> Outcome {
    let is_null = |fd: i32| {
        let stat = file::fstat(fd);
        stat.is_ok_and(|stat| stat.st_mode & file::S_IFMT == file::S_IFCHR && stat.st_rdev == file::device_number(1, 3))
    };
    if !(0..3).any(is_null) {
        return Ok(());
    }
    let flags = file::O_RDWR | file::O_NOFOLLOW | file::O_NOCTTY;
    let resolve = file::RESOLVE_IN_ROOT | file::RESOLVE_NO_SYMLINKS;
    let Ok(own) = file::openat2(root, c"dev/null", flags, 0, resolve) else { return Ok(()) };
    if is_null(own) {
        for fd in (0..3).filter(|fd| is_null(*fd)) {
            file::dup2(own, fd)?;
        }
    }
    if own > 2 {
        file::close(own);
    }
    Ok(())
}

/// Until `start`, which may be never, others of a shared pid namespace could open what this process has open. Where the
/// container has no procfs, or one that knows this process by no number, the host's stays.
fn leave_proc(step: &Step, fds: &mut crate::Fds) {
    if *step == Step::CloseProc {
        return file::close(fds.take(Slot::PROC));
    }
    let flags = file::O_PATH | file::O_DIRECTORY | file::O_NOFOLLOW;
    let resolve = file::RESOLVE_IN_ROOT | file::RESOLVE_NO_SYMLINKS;
    let Ok(own) = file::openat2(fds.get(Slot::ROOT), c"proc", flags, 0, resolve) else { return };
    let is_proc = file::fstatfs_magic(own) == Ok(file::PROC_SUPER_MAGIC);
    if is_proc && leads_to(own, fds.get(Slot::FIFO)) {
        file::close(fds.take(Slot::PROC));
        fds.set(Slot::PROC, own);
    } else {
        file::close(own);
    }
}

/// Whether a descriptor of this process is found below a procfs.
fn leads_to(proc: i32, fd: i32) -> bool {
    let path = NumberedPath::new(c"self/fd/", fd.unsigned_abs());
    let Ok(found) = file::openat(proc, path.as_c(), file::O_PATH, 0) else { return false };
    let same = match (file::fstat(found), file::fstat(fd)) {
        (Ok(found), Ok(wanted)) => (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino),
        _ => false,
    };
    file::close(found);
    same
}

fn drop_bounding(keep: u64, highest: u32) -> Outcome {
    capability::clear_ambient()?;
    for capability in 0..=highest.min(63) {
        if keep & (1 << capability) == 0 {
            capability::drop_bounding(capability)?;
        }
    }
    Ok(())
}

fn set_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Outcome {
    if let Some(groups) = groups {
        process::set_groups(groups)?;
    }
    process::set_gid(gid)?;
    process::set_uid(uid)?;
    Ok(())
}

fn set_capabilities(sets: CapabilitySets, ambient: u64) -> Outcome {
    let CapabilitySets { effective, permitted, inheritable } = sets;
    capability::set(Sets { effective, permitted, inheritable })?;
    process::set_keep_capabilities(false)?;
    for capability in (0..64).filter(|bit| ambient & (1 << bit) != 0) {
        capability::raise_ambient(capability)?;
    }
    Ok(())
}

/// Kernels before 5.9 close at execve(2) only.
fn close_range(first: i32, last: i32) -> Result<(), Errno> {
    match file::close_range(first, last) {
        Err(Errno::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Closes everything from `first` on that no later step needs. Until `start` a created container keeps what its process
/// has open: pipes of whoever created it, that would never end, and descriptors of the host's (CVE-2024-21626).
fn close_others(fds: &crate::Fds, first: i32) -> Outcome {
    let mut kept = [Slot::PROC, Slot::SYNC, Slot::FIFO, Slot::HOOK_STATE].map(|slot| fds.get(slot));
    kept.sort_unstable();
    let mut next = first;
    for fd in kept.into_iter().filter(|fd| *fd >= first) {
        if next < fd {
            close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    close_range(next, i32::MAX)?;
    Ok(file::close_on_exec_from(first)?)
}

/// chdir(2), and afterwards a look whether the directory is inside the root at all: a leaked descriptor of the host's
/// would do for `/proc/self/fd/N` (CVE-2024-21626). Answers whether it is entered: a directory that only the one or the
/// other of runtime and user may enter is entered by whoever may.
fn change_directory(path: &CStr, required: bool, entered: bool) -> Result<bool, Failure> {
    if !entered {
        match file::chdir(path) {
            Err(Errno::EACCES) if !required => return Ok(false),
            other => other?,
        }
    }
    let mut buffer = [0; libc::PATH_MAX as usize];
    match file::getcwd(&mut buffer) {
        Ok([b'/', ..]) => Ok(true),
        Ok(_) | Err(Errno::ENOENT) => Err(Failure { errno: Errno::ENOENT, detail: Detail::OutsideRoot, number: 0 }),
        Err(errno) => Err(Failure::from(errno)),
    }
}

fn ready(sync: i32, progress: &mut Progress) -> Outcome {
    socket::send(sync, &Message::Ready.encode()).map_err(Failure::at(Detail::Parent))?;
    progress.ready = true;
    Ok(())
}

/// Opens the FIFO for writing: that blocks until `start` opens it for reading.
fn wait_for_start(fds: &mut crate::Fds) -> Outcome {
    let path = NumberedPath::new(c"self/fd/", fds.get(Slot::FIFO).unsigned_abs());
    let fifo = file::openat(fds.get(Slot::PROC), path.as_c(), file::O_WRONLY, 0)?;
    file::write(fifo, b"0")?;
    file::close(fifo);
    file::close(fds.get(Slot::FIFO));
    Ok(())
}
