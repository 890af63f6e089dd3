//! `create` and `run`: a bundle becomes a container.

use crate::bundle::{self, Bundle};
use crate::fd::{self, Fd};
use crate::filter::{self, Compiled};
use crate::foreground::{self, Terminal};
use crate::launch::{self, Given, Launched};
use crate::points::Parent;
use crate::record::{FIFO, Record, process_stat};
use crate::resctrl::{self, Class};
use crate::unit::{self, Placeholder};
use crate::{Notes, Root, RuntimeError, Status, delete, hooks, time};
use cgroup::{CgroupError, Group, Layout};
use runtime_core::cgroup_values::Occasion;
use runtime_core::device_rules;
use runtime_core::plan::create::{self as planner, CreateOptions};
use runtime_core::plan::{Plan, scheduling};
use runtime_core::unit::Unit;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::file::{self, AT_FDCWD, O_PATH};
use sys::{process, socket};

/// In runc's words.
const UNKILLABLE: &str = "Creating a rootless container with no cgroup and no private pid namespace. \
    Such configuration is strongly discouraged (as it is impossible to properly kill all container's processes) \
    and will result in an error in a future runc version.";

#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    pub id: String,
    pub bundle: PathBuf,
    pub console_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub preserve_fds: u32,
    /// Sockets of socket activation (sd_listen_fds(3)): they come first behind the standard streams.
    pub listen_fds: u32,
    /// Gets the pidfd of the container's process.
    pub pidfd_socket: Option<PathBuf>,
    pub cgroups: CgroupDriver,
}

/// Who makes control groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    #[default]
    Folders,
    Systemd,
}

/// What happens once the container is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It waits for `start`.
    Create,
    /// It runs and this process ends.
    Detached,
    /// It runs and this process waits for its end.
    Foreground { keep: bool, subreaper: bool },
}

/// The exit code for the caller: 0, or the container's own.
pub fn create(root: &Root, request: &CreateRequest, mode: Mode, notes: &mut Notes) -> Result<i32, RuntimeError> {
    fd::check_preserved(request.preserve_fds.saturating_add(request.listen_fds))?;
    let mut bundle = bundle::load(&request.bundle)?;
    if let (Some(process), 1..) = (&mut bundle.spec.process, request.listen_fds) {
        process.env.push(format!("LISTEN_FDS={}", request.listen_fds));
        process.env.push("LISTEN_PID=1".to_string());
    }
    let terminal = bundle.spec.process.as_ref().is_some_and(|process| process.terminal);
    foreground::check_terminal(terminal, request.console_socket.is_some(), matches!(mode, Mode::Foreground { .. }))?;
    let mut container = Container::claim(root, request, mode, bundle)?;
    let set_up = container.set_up(notes);
    let (launched, mut record, ours) = match set_up {
        Ok(parts) => parts,
        Err(error) => return Err(error.with_clean_up(container.undo(None))),
    };
    match container.finish(launched, &mut record, ours, notes) {
        Ok(code) => {
            std::mem::forget((container, record));
            Ok(code)
        }
        Err(error) => Err(error.with_clean_up(container.undo(Some(&record)))),
    }
}

/// A container that is being made, by a create or a restore.
pub(crate) struct Container<'a> {
    pub root: &'a Root,
    pub request: &'a CreateRequest,
    mode: Mode,
    pub bundle: Bundle,
    pub folder: PathBuf,
    made: Made,
    claimed: bool,
    /// What is told to a process in the foreground.
    signals: Option<Fd>,
}

/// What a failed create has to take back.
#[derive(Debug, Default)]
struct Made {
    group: Group,
    unit: Option<Unit>,
    resctrl: Option<Class>,
}

impl<'a> Container<'a> {
    /// Takes the id.
    pub fn claim(root: &'a Root, request: &'a CreateRequest, mode: Mode, bundle: Bundle) -> Result<Self, RuntimeError> {
        let folder = root.claim(&request.id)?;
        Ok(Self { root, request, mode, bundle, folder, made: Made::default(), claimed: true, signals: None })
    }

    /// Everything up to a child that is ready.
    fn set_up(&mut self, notes: &mut Notes) -> Result<(Launched, Record, Option<Terminal>), RuntimeError> {
        let spec = &self.bundle.spec;
        let layout = Layout::detect()?;
        let rootfs = self.bundle.rootfs()?;
        let (group, unit) = self.plan_group(&layout)?;
        let mut facts = bundle::facts(&group, spec.process.as_ref(), &spec.linux.mount_label)?;
        facts.setgroups_denied = process::uid() != 0 && planner::has_own_users(spec)?;
        facts.bundle.clone_from(&self.bundle.path);
        // Without one of its own a container sees its caller's.
        let shown = if group == Group::default() { Group::of_process(process::pid())? } else { group.clone() };
        facts.cgroup = bundle::cgroup_facts(&layout, &shown);
        if spec.linux.rootfs_propagation.ends_with("shared") {
            facts.rootfs_parent_mount = bundle::mount_point_of(&rootfs);
        }
        facts.rootfs.clone_from(&rootfs);
        let compiled = self.compile()?;
        let options = CreateOptions {
            id: self.request.id.clone(),
            no_pivot: self.request.no_pivot,
            no_new_keyring: self.request.no_new_keyring,
            preserve_fds: self.request.preserve_fds + self.request.listen_fds,
            wait_for_start: self.mode == Mode::Create,
            foreground: matches!(self.mode, Mode::Foreground { .. }),
        };
        let plan = planner::plan(spec, &facts, compiled.as_ref().map(|compiled| &compiled.filter), &options)?;
        let resctrl = self.plan_resctrl()?;
        if group == Group::default() && !planner::makes_pid_namespace(spec)? {
            notes.warnings.push(UNKILLABLE.to_owned());
        }
        // It has to be there until the child is in the group.
        let _placeholder = self.make_group(group, unit, notes)?;
        self.made.resctrl = resctrl;
        let mut record = self.record(rootfs, compiled)?;
        notes.detail(|| format!("nsexec container setup: the steps of the init process\n{}", plan.describe()));
        let (given, ours) = self.given(&plan)?;
        if matches!(self.mode, Mode::Foreground { .. }) {
            self.signals = Some(foreground::take_signals()?);
        }
        let mut launched = launch::launch(plan, &given)?;
        record.pid = launched.pid;
        notes.detail(|| format!("child process in init(): pid {}", launched.pid));
        let followed = self.follow(&mut launched, &mut record, &given);
        notes.warnings.append(&mut launched.warnings);
        drop(given);
        if let Err(error) = followed {
            launched.abort();
            return Err(error);
        }
        Ok((launched, record, ours))
    }

    pub fn plan_group(&self, layout: &Layout) -> Result<(Group, Option<Unit>), RuntimeError> {
        let spec = &self.bundle.spec;
        let wanted = &spec.linux.cgroups_path;
        if self.request.cgroups == CgroupDriver::Systemd {
            let (unit, path) = unit::plan(spec, &self.request.id)?;
            return Ok((Group::plan(layout, &path, &self.request.id)?, Some(unit)));
        }
        // A user who may not make cgroups gets a container without, as long as it asks for none.
        if process::uid() != 0 && wanted.is_empty() {
            return Ok((Group::default(), None));
        }
        Ok((Group::plan(layout, wanted, &self.request.id)?, None))
    }

    fn plan_resctrl(&self) -> Result<Option<Class>, RuntimeError> {
        let Some(wanted) = &self.bundle.spec.linux.intel_rdt else { return Ok(None) };
        let mounts = fs::read_to_string("/proc/self/mountinfo");
        let mounts = mounts.map_err(RuntimeError::file("read /proc/self/mountinfo"))?;
        resctrl::plan(wanted, resctrl::mount_point(&mounts).as_deref(), &self.request.id).map(Some)
    }

    /// Makes the group with its limits.
    pub fn make_group(
        &mut self,
        group: Group,
        unit: Option<Unit>,
        notes: &mut Notes,
    ) -> Result<Option<Placeholder>, RuntimeError> {
        let spec = &self.bundle.spec;
        let rules = device_rules::normalise(&spec.linux.resources.devices)?;
        self.made.group = group;
        let group = &self.made.group;
        let mut placeholder = None;
        if let Some(unit) = unit {
            placeholder = Some(unit::start(&unit, spec, &self.request.id, &rules, group.version())?);
            self.made.unit = Some(unit);
            group.create().map_err(not_made)?;
        } else {
            let existed = group.exists();
            group.create().map_err(not_made)?;
            if existed && let Err(error) = check_empty(group) {
                // It is not the container's to remove.
                self.made.group = Group::default();
                return Err(error);
            }
        }
        notes.warnings.extend(group.apply(&spec.linux.resources, Occasion::Create).map_err(|error| match error {
            CgroupError::MissingController(name) if *group == Group::default() => {
                RuntimeError::Start(format!("cannot set {name} limit: container could not join or create cgroup"))
            }
            error => error.into(),
        })?);
        if !group.v1.is_empty() || group.v2.is_some() {
            group.restrict_devices(&rules)?;
        }
        if let Some(owner) = planner::cgroup_owner(spec)? {
            group.delegate(owner)?;
        }
        Ok(placeholder)
    }

    /// The filter that the profile means, if there is one.
    pub fn compile(&self) -> Result<Option<Compiled>, RuntimeError> {
        let profile = self.bundle.spec.linux.seccomp.as_ref();
        profile.map(|profile| filter::compile(self.root, profile.get())).transpose()
    }

    /// The record, and the filter beside it.
    pub fn record(&self, rootfs: String, filter: Option<Compiled>) -> Result<Record, RuntimeError> {
        if let Some(filter) = &filter {
            filter.save(&self.folder)?;
        }
        let spec = &self.bundle.spec;
        Ok(Record {
            oci_version: spec.oci_version.clone(),
            id: self.request.id.clone(),
            bundle: self.bundle.path.clone(),
            rootfs,
            created: time::now(),
            owner: process::uid(),
            annotations: spec.annotations.clone(),
            namespaces: planner::joined_by_exec(spec)?,
            group: self.made.group.clone(),
            unit: self.made.unit.clone(),
            resctrl: self.made.resctrl.clone(),
            hooks: spec.hooks.clone(),
            no_new_keyring: self.request.no_new_keyring,
            outlives_init: !planner::makes_pid_namespace(spec)?,
            listener: filter.and_then(|filter| filter.listener),
            personality: spec.linux.personality.as_ref().map(scheduling::personality).transpose()?,
            memory_policy: spec.linux.memory_policy.as_ref().map(scheduling::memory_policy).transpose()?,
            ..Record::default()
        })
    }

    fn given(&self, plan: &Plan) -> Result<(Given, Option<Terminal>), RuntimeError> {
        let stays = matches!(self.mode, Mode::Foreground { .. });
        let mut given = Given { stays, cgroup: self.made.group.open_v2()?, ..Given::default() };
        if self.mode == Mode::Create {
            given.fifo = Some(make_fifo(&self.folder.join(FIFO))?);
        }
        let terminal = self.bundle.spec.process.as_ref().is_some_and(|process| process.terminal);
        let mut ours = None;
        if terminal {
            (given.console, ours) = console_ends(self.request.console_socket.as_deref())?;
        }
        let hooked = |step: &runtime_core::plan::Step| matches!(step, runtime_core::plan::Step::RunHooks { .. });
        if plan.steps.iter().any(hooked) {
            let memory = file::memfd(c"state", 0).map_err(RuntimeError::system("memfd_create"))?;
            given.hook_state = Some(Fd::new(memory));
        }
        Ok((given, ours))
    }

    /// The parent's part while the child sets itself up. The record is written meanwhile.
    fn follow(&self, launched: &mut Launched, record: &mut Record, given: &Given) -> Result<(), RuntimeError> {
        let spec = &self.bundle.spec;
        record.start_time = process_stat(record.pid).map_or(0, |(_, start)| start);
        if let Some(memory) = &given.hook_state {
            let pid = if planner::has_own_pid_namespace(spec)? { 1 } else { record.pid };
            let state = record.oci_state(Status::Creating, pid).to_string();
            file::pwrite(memory.raw(), state.as_bytes(), 0).map_err(RuntimeError::system("write the hooks' state"))?;
        }
        self.root.save(record)?;
        let limits = launched.parent_limits();
        let mut parent = Parent { record, spec, limits: &limits, degraded: Vec::new() };
        let followed = launched.wait_ready(|wish| parent.fulfil(wish));
        launched.warnings.append(&mut parent.degraded);
        followed
    }

    fn finish(
        &mut self,
        mut launched: Launched,
        record: &mut Record,
        ours: Option<Terminal>,
        notes: &mut Notes,
    ) -> Result<i32, RuntimeError> {
        let pid = launched.pid;
        notes.detail(|| "init: closing the pipe to signal completion".to_string());
        let written = self.request.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, pid));
        let written = written.and_then(|()| send_pidfd(self.request.pidfd_socket.as_deref(), pid, "standard"));
        if let Err(error) = written {
            launched.abort();
            return Err(error);
        }
        if self.mode == Mode::Create {
            return Ok(0);
        }
        if let Err(error) = launched.wait_executed() {
            launched.abort();
            // What a hook in the container has said is on its terminal.
            foreground::show(ours);
            return Err(error);
        }
        notes.warnings.append(&mut launched.warnings);
        hooks::run("poststart", &record.hooks.poststart, record, Status::Running).inspect_err(|_| launched.abort())?;
        let Mode::Foreground { keep, subreaper } = self.mode else { return Ok(0) };
        let signals = self.signals.take().map_or_else(foreground::take_signals, Ok)?;
        let code = foreground::wait(pid, ours, signals, subreaper)?;
        if !keep {
            delete::remove(self.root, record, notes)?;
        }
        // The program ends with its container: it takes nothing apart that ends with it.
        std::mem::forget(launched);
        Ok(code)
    }

    /// In the host's mount namespace nothing ends with the process.
    fn unmount_root(&self) {
        let root = self.bundle.rootfs().ok().and_then(|path| CString::new(path).ok());
        if let Some(root) = root.filter(|root| {
            bundle::mount_point_of(&root.to_string_lossy()).is_some_and(|at| at.as_bytes() == root.as_bytes())
        }) {
            let _ = sys::mount::umount(&root, sys::mount::MNT_DETACH);
        }
    }

    /// Takes back what a failed create has made.
    pub fn undo(&mut self, record: Option<&Record>) -> Result<(), RuntimeError> {
        if record.is_some_and(Record::is_alive) {
            let _ = process::kill(record.map_or(0, |record| record.pid), libc::SIGKILL);
        }
        if planner::has_own_mounts(&self.bundle.spec).is_ok_and(|own| !own) {
            self.unmount_root();
        }
        let owner = process::uid();
        let unit = self.made.unit.as_ref().map_or(Ok(()), |unit| unit::stop(unit, owner));
        let group = self.made.group.remove().map_err(RuntimeError::from);
        let resctrl = self.made.resctrl.as_ref().map_or(Ok(()), Class::remove);
        let folder = if self.claimed { self.root.remove(&self.request.id) } else { Ok(()) };
        self.claimed = false;
        unit.and(group).and(resctrl).and(folder)
    }
}

/// In runc's words, by which a user without rights knows that limits are not to be had.
fn not_made(error: CgroupError) -> RuntimeError {
    match &error {
        CgroupError::Create { path, source } => match source.raw_os_error() {
            Some(number) => {
                let reason = format!("mkdir {}: {}", path.display(), sys::Errno(number));
                RuntimeError::Start(format!("unable to apply cgroup configuration: {reason}"))
            }
            None => error.into(),
        },
        _ => error.into(),
    }
}

/// A cgroup that was there before may be shared by nobody who runs: processes of others would be counted, limited and killed
/// with the container, and in a frozen one it would never start.
fn check_empty(group: &Group) -> Result<(), RuntimeError> {
    match group.pids()?.len() {
        0 if group.frozen() == cgroup::freeze::Frozen::Yes => {
            Err(RuntimeError::InvalidArgument("container's cgroup unexpectedly frozen".into()))
        }
        0 => Ok(()),
        count => {
            Err(RuntimeError::InvalidArgument(format!("container's cgroup is not empty: {count} process(es) found")))
        }
    }
}

fn make_fifo(path: &Path) -> Result<Fd, RuntimeError> {
    let failed = |errno| RuntimeError::System { what: format!("cannot make {}", path.display()), errno };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| failed(sys::Errno::EINVAL))?;
    // The container's user, whoever it is, opens it for writing; the folder keeps all others out.
    let mask = process::umask(0);
    let made = file::mknodat(AT_FDCWD, &name, file::S_IFIFO | 0o622, 0);
    process::umask(mask);
    made.map_err(failed)?;
    file::openat(AT_FDCWD, &name, O_PATH, 0).map(Fd::new).map_err(failed)
}

/// The end for the child, and for a foreground run our own end, through which the master comes.
pub(crate) fn console_ends(socket_path: Option<&Path>) -> Result<(Option<Fd>, Option<Terminal>), RuntimeError> {
    if let Some(path) = socket_path {
        let what = format!("connect to the console socket {}", path.display());
        let socket = socket::connect(path.as_os_str().as_bytes()).map_err(RuntimeError::system(what))?;
        return Ok((Some(Fd::new(socket)), None));
    }
    let (ours, theirs) = socket::packet_pair().map_err(RuntimeError::system("socketpair"))?;
    Ok((Some(Fd::new(theirs)), Some(Terminal::new(Fd::new(ours)))))
}

/// A reader never sees half a number.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<(), RuntimeError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = path.with_file_name(format!(".{name}"));
    let what = format!("cannot write the pid file {}", path.display());
    fs::write(&new, pid.to_string()).and_then(|()| fs::rename(&new, path)).map_err(RuntimeError::file(what))
}

/// Hands a process over as a descriptor, with the word that runc says besides.
pub(crate) fn send_pidfd(socket_path: Option<&Path>, pid: i32, word: &str) -> Result<(), RuntimeError> {
    let Some(path) = socket_path else { return Ok(()) };
    let what = || format!("cannot hand the process to the pidfd socket {}", path.display());
    let pidfd = process::pidfd_open(pid).map(Fd::new).map_err(RuntimeError::system(what()))?;
    let socket = socket::connect(path.as_os_str().as_bytes()).map(Fd::new).map_err(RuntimeError::system(what()))?;
    socket::send_fd(socket.raw(), word.as_bytes(), pidfd.raw()).map_err(RuntimeError::system(what()))
}
