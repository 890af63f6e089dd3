//! Cloning the child and following its set-up.

use crate::fd::Fd;
use crate::messages::{self, Failed};
use crate::{RuntimeError, trees};
use runtime_core::plan::{Attributes, Open, Plan, Point, Slot, Step};
use runtime_init::{Fds, Message, Prepared};
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use sys::file::{self, AT_FDCWD, O_PATH, O_RDONLY, O_WRONLY};
use sys::{Errno, process, socket};

/// Descriptors that only the operation knows.
#[derive(Debug, Default)]
pub struct Given {
    pub fifo: Option<Fd>,
    pub console: Option<Fd>,
    pub hook_state: Option<Fd>,
    /// The first process of the container that an exec joins.
    pub init: Option<Fd>,
    /// Its root, where that is no other in its mount namespace.
    pub init_root: Option<Fd>,
    /// This process stays as long as the child.
    pub stays: bool,
    /// A v2 cgroup to be born in.
    pub cgroup: Option<std::os::fd::OwnedFd>,
}

/// A child on its way to the program.
#[derive(Debug)]
pub struct Launched {
    pub pid: i32,
    sync: Fd,
    plan: Plan,
    /// Said by the second child before the first had told of it.
    pending: VecDeque<(Message, Option<Fd>)>,
    pub warnings: Vec<String>,
}

/// What a child waits for.
pub enum Wish {
    Point(Point),
    /// The listener of its filter shall be handed over.
    Listener(Fd),
}

/// Opens what the plan wants, clones, and gives the child its descriptors.
pub fn launch(mut plan: Plan, given: &Given) -> Result<Launched, RuntimeError> {
    let (ours, theirs) = socket::packet_pair().map_err(RuntimeError::system("socketpair"))?;
    let (ours, theirs) = (Fd::new(ours), Fd::new(theirs));
    let proc = open_proc()?;
    let mut fds = Fds::default();
    fds.set(Slot::PROC, proc.raw());
    fds.set(Slot::SYNC, theirs.raw());
    let optional = [(Slot::FIFO, &given.fifo), (Slot::CONSOLE, &given.console), (Slot::HOOK_STATE, &given.hook_state)];
    for (slot, fd) in optional {
        fds.set(slot, fd.as_ref().map_or(-1, Fd::raw));
    }
    let mut kept = Vec::with_capacity(plan.opens.len());
    for index in 0..plan.opens.len() {
        let slot = Slot(Slot::FIRST_OPEN + index);
        let fd = match &plan.opens[index] {
            Open::Namespace(path) => Some(open_path(path, O_RDONLY)?),
            Open::CgroupTasks(path) => Some(open_path(path, O_WRONLY)?),
            Open::Init | Open::InitRoot | Open::LateTree(_) => None,
            Open::Tree(tree) => {
                let (tree, is_finished) = trees::make(tree)?;
                if is_finished {
                    forget_attributes(&mut plan.steps, slot);
                }
                Some(tree)
            }
        };
        let known = match &plan.opens[index] {
            Open::InitRoot => given.init_root.as_ref(),
            Open::Init => given.init.as_ref(),
            _ => None,
        };
        let raw = fd.as_ref().or(known).map_or(-1, Fd::raw);
        fds.set(slot, raw);
        kept.extend(fd);
    }
    if let Some(path) = &plan.pid_namespace {
        let namespace = open_path(path, O_RDONLY)?;
        join_pid_namespace(&namespace, path)?;
    }
    let warnings = plan.warnings.clone();
    let mut prepared = Prepared::new(plan, fds, ours.raw());
    let cgroup = given.cgroup.as_ref().map(AsRawFd::as_raw_fd);
    // What has read and planned is not needed any more; what follows is little.
    if given.stays {
        sys::memory::give_back_text();
    }
    let started = runtime_init::start(&mut prepared, cgroup);
    let plan = prepared.into_plan();
    let pid = match started {
        Ok(pid) => pid,
        Err(errno) => {
            let names = runtime_core::plan::namespaces::names(plan.clone_flags);
            return Err(RuntimeError::Start(format!("clone into new namespaces ({names}): {errno}")));
        }
    };
    let two_clones = plan.steps.iter().any(|step| matches!(step, Step::CloneAgain { .. }));
    drop(theirs);
    let mut launched = Launched { pid, sync: ours, plan, pending: VecDeque::new(), warnings };
    if two_clones {
        launched.follow_second_clone()?;
    }
    Ok(launched)
}

/// What the parent has done, the child need not, and may not be able to.
fn forget_attributes(steps: &mut [Step], slot: Slot) {
    for step in steps {
        if let Step::MountBind(bind) = step
            && bind.tree == Some(slot)
        {
            bind.attributes = Attributes::default();
        }
    }
}

/// The namespace's members are children only: the next clone goes into it (pid_namespaces(7)).
fn join_pid_namespace(namespace: &Fd, name: &str) -> Result<(), RuntimeError> {
    process::setns(namespace.raw(), process::CLONE_NEWPID)
        .map_err(|errno| RuntimeError::Start(format!("setns to the pid namespace {name}: {errno}")))
}

pub(crate) fn open_path(path: &str, flags: i32) -> Result<Fd, RuntimeError> {
    let name =
        CString::new(path).map_err(|_| RuntimeError::InvalidArgument(format!("path {path:?} has a NUL byte")))?;
    let opened = file::openat(AT_FDCWD, &name, flags, 0);
    opened.map(Fd::new).map_err(|errno| RuntimeError::Start(format!("open {path}: {errno}")))
}

/// The host's procfs, checked to be one and no bind mount of something else.
fn open_proc() -> Result<Fd, RuntimeError> {
    let proc = open_path("/proc", O_PATH | file::O_DIRECTORY)?;
    match file::fstatfs_magic(proc.raw()) {
        Ok(file::PROC_SUPER_MAGIC) => Ok(proc),
        _ => Err(RuntimeError::Start("/proc is not a procfs".into())),
    }
}

/// The number by which this process knows the process behind a pidfd (proc(5), fdinfo).
fn pid_of(pidfd: &Fd) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.raw())).ok()?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

impl Launched {
    /// What the parent has to set for the child.
    pub fn parent_limits(&self) -> Vec<Step> {
        self.plan.parent_limits.clone()
    }

    /// Follows the child until it is ready; `at` does the parent's part where the child waits.
    pub fn wait_ready(&mut self, mut at: impl FnMut(Wish) -> Result<(), RuntimeError>) -> Result<(), RuntimeError> {
        loop {
            let (message, source) = self.next()?;
            match message {
                Some(Message::Ready) => return Ok(()),
                Some(Message::Tree { slot }) => self.send_tree(slot, source)?,
                Some(Message::Waiting { point }) => {
                    let known = [Point::IdMaps, Point::TimeOffsets, Point::Handover, Point::RuntimeHooks];
                    let point = known.into_iter().find(|known| *known as u32 == point).ok_or_else(|| self.died())?;
                    at(Wish::Point(point))?;
                    socket::send(self.sync.raw(), b"0").map_err(|_| self.died())?;
                }
                Some(Message::Listener { fd }) => {
                    let failed = || RuntimeError::system("take the seccomp listener");
                    let process = process::pidfd_open(self.pid).map(Fd::new).map_err(failed())?;
                    let fd = i32::try_from(fd).unwrap_or(-1);
                    let listener = process::pidfd_getfd(process.raw(), fd).map(Fd::new).map_err(failed())?;
                    at(Wish::Listener(listener))?;
                    socket::send(self.sync.raw(), b"0").map_err(|_| self.died())?;
                }
                Some(message) => self.note(message)?,
                None => return Err(self.died()),
            }
        }
    }

    /// A mount that the child has asked for.
    fn send_tree(&self, slot: u32, source: Option<Fd>) -> Result<(), RuntimeError> {
        let open = (slot as usize).checked_sub(Slot::FIRST_OPEN).and_then(|index| self.plan.opens.get(index));
        let (Some(Open::LateTree(tree)), Some(source)) = (open, source) else { return Err(self.died()) };
        let made = trees::make_inside(tree, &source, self.pid)?;
        socket::send_fd(self.sync.raw(), b"0", made.raw()).map_err(|_| self.died())
    }

    /// The child that was cloned has cloned the one that matters, told of it, and ends.
    fn follow_second_clone(&mut self) -> Result<(), RuntimeError> {
        let first = self.pid;
        loop {
            match self.receive()? {
                (Some(Message::Cloned), Some(pidfd)) => {
                    self.pid = pid_of(&pidfd).ok_or_else(|| self.died())?;
                    let _ = process::wait(first, false);
                    return Ok(());
                }
                (Some(message @ Message::Failed { .. }), _) => {
                    let failed = self.note(message);
                    self.abort();
                    failed?;
                }
                (Some(message), fd) => self.pending.push_back((message, fd)),
                (None, _) => return Err(self.died()),
            }
        }
    }

    /// Follows the child until its program runs: execve(2) closes its end.
    pub fn wait_executed(&mut self) -> Result<(), RuntimeError> {
        while let (Some(message), _) = self.next()? {
            self.note(message)?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(Option<Message>, Option<Fd>), RuntimeError> {
        match self.pending.pop_front() {
            Some((message, fd)) => Ok((Some(message), fd)),
            None => self.receive(),
        }
    }

    fn receive(&self) -> Result<(Option<Message>, Option<Fd>), RuntimeError> {
        let mut buffer = [0; Message::LENGTH];
        let (length, fd) = match socket::receive(self.sync.raw(), &mut buffer) {
            Ok((length, fd)) => (length, fd.map(Fd::new)),
            Err(Errno(libc::ECONNRESET)) => (0, None),
            Err(errno) => return Err(RuntimeError::Start(format!("read from the init process: {errno}"))),
        };
        Ok((buffer.get(..length).and_then(Message::decode), fd))
    }

    fn note(&mut self, message: Message) -> Result<(), RuntimeError> {
        match message {
            Message::Failed { step, errno, detail, number } => {
                let failed = Failed { step, errno: Errno(errno), detail, number };
                Err(RuntimeError::Start(messages::describe(&self.plan, &failed)))
            }
            Message::Degraded { step, errno } => {
                let step = self.plan.steps.get(step as usize);
                self.warnings.push(format!("left out: {step:?}: {}", Errno(errno)));
                Ok(())
            }
            Message::Ready
            | Message::Waiting { .. }
            | Message::Cloned
            | Message::Listener { .. }
            | Message::Tree { .. } => Ok(()),
        }
    }

    fn died(&self) -> RuntimeError {
        match process::wait(self.pid, true) {
            Ok(Some(exited)) => {
                RuntimeError::Start(format!("the init process ended with status {} before it was ready", exited.code))
            }
            _ => RuntimeError::Start("the init process closed its socket before it was ready".into()),
        }
    }

    /// Ends a child that must not run.
    pub fn abort(&self) {
        let _ = process::kill(self.pid, libc::SIGKILL);
        let _ = process::wait(self.pid, false);
    }
}
