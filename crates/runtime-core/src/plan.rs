//! The init plan: everything that the process between clone and exec does, in order, as data.
//!
//! The parent compiles it before the clone; `runtime-init` walks through it. All strings are C strings, all descriptors are
//! [`Slot`]s of one small table. [`Plan::describe`] prints it one step a line.

pub mod cgroup_mount;
pub mod create;
pub mod devices;
pub mod exec;
pub mod finish;
pub mod mount_options;
pub mod mounts;
pub mod namespaces;
pub mod paths;
pub mod scheduling;
pub mod trees;

pub use paths::InRoot;

use crate::seccomp::Instruction;
use crate::spec::IdMapping;
use std::ffi::CString;

/// An entry of the table of descriptors. Fixed ones first, then those that the plan asks the parent to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

impl Slot {
    /// The host's procfs, checked to be one: writes to /proc go through it whatever the container mounts there.
    pub const PROC: Self = Self(0);
    /// The child's end of the socket pair to the parent.
    pub const SYNC: Self = Self(1);
    /// O_PATH descriptor of the FIFO that `start` opens.
    pub const FIFO: Self = Self(2);
    /// The connected console socket.
    pub const CONSOLE: Self = Self(3);
    /// A file with the state that hooks read on stdin.
    pub const HOOK_STATE: Self = Self(4);
    /// The root file system; filled by the child.
    pub const ROOT: Self = Self(5);
    /// The read-only tmpfs that masks directories; filled by the child.
    pub const MASK: Self = Self(6);
    /// The container's checked /dev/null; filled by the child.
    pub const NULL: Self = Self(7);
    /// First of [`Plan::opens`].
    pub const FIRST_OPEN: usize = 8;
    /// Size of the table: a mount of a container with a user namespace takes one.
    pub const COUNT: usize = 512;
}

/// What the parent opens before the clone for the slots from [`Slot::FIRST_OPEN`] on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// A namespace file, to be joined by the child.
    Namespace(String),
    /// `tasks` of a v1 hierarchy or `cgroup.procs`, for writing.
    CgroupTasks(String),
    /// The init of the container that an exec joins, as a pidfd.
    Init,
    /// The root of that init.
    InitRoot,
    /// A mount that the container's process may not make itself: a copy that is attached nowhere.
    Tree(Tree),
    /// The same of a place in the root file system, on which earlier mounts of the container may lie: the child asks for it
    /// when it is there.
    LateTree(Tree),
}

/// A bind mount before it is attached, made with the host's rights and in the host's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub source: CString,
    pub recursive: bool,
    pub attributes: Attributes,
    /// What it is cut off with from the mount it was copied of; zero leaves it.
    pub propagation: u64,
    pub id_map: Option<IdMap>,
}

/// Whose ids the files of a mount are shown under (mount_setattr(2), MOUNT_ATTR_IDMAP).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    pub users: IdMapSource,
    pub recursive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdMapSource {
    Maps {
        uids: Vec<IdMapping>,
        gids: Vec<IdMapping>,
    },
    /// A user namespace's file.
    Namespace(String),
}

/// Where the child stops until the parent has done its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The parent writes the user namespace's maps.
    IdMaps = 1,
    /// The parent writes the offsets of the time namespace.
    TimeOffsets = 3,
    /// The parent hands over what lies outside of every namespace and cgroup: network devices, a class of caches.
    Handover = 4,
    /// Namespaces exist, mounts are made, the root is not yet pivoted: `prestart` and `createRuntime` hooks.
    RuntimeHooks = 2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemMount {
    pub kind: CString,
    pub source: CString,
    pub options: Vec<(CString, Option<CString>)>,
    pub attributes: u64,
    pub target: Target,
    /// What lies in the folder below is copied into it (`tmpcopyup`).
    pub copy_up: bool,
    /// It has the permissions of the folder below, where there is one: a tmpfs without a `mode` of its own.
    pub keeps_mode: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    pub source: CString,
    /// The mount, where the parent has made it.
    pub tree: Option<Slot>,
    pub recursive: bool,
    pub attributes: Attributes,
    pub target: Target,
}

/// Where a mount goes and what is checked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub path: InRoot,
    /// procfs and sysfs are mounted on plain directories only (CVE-2019-19921): no symbolic link may lead there.
    pub plain: bool,
    /// Whether the place may lie on procfs (CVE-2019-16884): only for proc itself and the files lxcfs replaces.
    pub on_procfs: bool,
    pub propagation: Option<Propagation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// MS_PRIVATE, MS_SHARED, MS_SLAVE or MS_UNBINDABLE.
    pub kind: u64,
    pub recursive: bool,
}

/// Attributes of a bind mount as mount_setattr(2) takes them: for the mount itself, and for all below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub set: u64,
    pub clear: u64,
    pub set_recursive: u64,
    pub clear_recursive: u64,
}

/// A thing that is made in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Node {
        name: CString,
        mode: u32,
        device: (u32, u32),
        uid: u32,
        gid: u32,
    },
    /// In a user namespace mknod(2) is not allowed: the host's node is bound.
    BoundNode {
        name: CString,
        source: CString,
    },
    Link {
        name: CString,
        target: CString,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookStep {
    pub path: CString,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    /// It has the environment of the container's process.
    pub inherits_env: bool,
    pub timeout_ms: Option<u32>,
}

/// Where hooks of the container begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPlace {
    /// In the root file system, before it is the root.
    Rootfs,
    /// In the process's working directory.
    WorkingDirectory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// One thing that the child does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `ending_on`: signals that end the process while it waits for its start, as the first of a pid namespace too.
    ResetSignals {
        ending_on: &'static [i32],
    },
    HideFromTracers,
    ShowToTracers,
    JoinCgroup {
        tasks: Slot,
    },
    WaitParent(Point),
    /// From here on the container's own process goes on, and this one ends.
    CloneAgain {
        namespaces: i32,
    },
    /// The host's procfs is not needed any more.
    CloseProc,
    /// Nor is it while the process waits for its start: the container's own does, where it has one.
    OwnProc,
    BecomeNamespaceRoot,
    EnterNamespaceFile {
        slot: Slot,
        kind: i32,
    },
    EnterNamespacesOf {
        init: Slot,
        kinds: i32,
    },
    NewCgroupNamespace,
    /// A new time namespace is for children; once its clocks are shifted it is entered.
    NewTimeNamespace,
    EnterTimeNamespace,
    SetPersonality(u64),
    SetScheduler(scheduling::Scheduler),
    SetIoPriority {
        class: u32,
        priority: u32,
    },
    /// Empty: all processors that the cgroup has, whatever the caller is bound to.
    SetAffinity(Vec<u64>),
    SetMemoryPolicy {
        mode: u32,
        nodes: Vec<u64>,
    },
    NewSession,
    SessionKeyring {
        name: CString,
    },
    WriteProc {
        what: &'static str,
        path: CString,
        value: CString,
        lenient: bool,
    },
    LoopbackUp,
    SetRootPropagation {
        kind: u64,
    },
    SetPathPropagation {
        path: CString,
        kind: u64,
    },
    BindRoot {
        path: CString,
    },
    /// The root file system as the parent has made it, attached over the old root.
    AttachRoot {
        tree: Slot,
    },
    MountFilesystem(FilesystemMount),
    /// Of a place in the root: the parent makes a mount, as it may do more with it.
    AskForTree {
        slot: Slot,
        path: InRoot,
    },
    MountBind(BindMount),
    Populate {
        directory: InRoot,
        entries: Vec<Entry>,
    },
    RunHooks {
        kind: &'static str,
        place: HookPlace,
        hooks: Vec<HookStep>,
    },
    PivotRoot,
    MoveRoot,
    /// A root for this process alone, where the mounts are shared with others.
    ChangeRoot {
        slot: Slot,
    },
    MakeReadonly {
        path: InRoot,
    },
    OpenConsole {
        rows: u16,
        columns: u16,
        bind_console: bool,
        /// The runtime itself passes its output on.
        foreground: bool,
    },
    /// Standard streams that are the host's /dev/null become the container's: its checkpoint knows no other (criu(8)).
    OwnNull,
    MakeDirectory {
        path: InRoot,
    },
    SetHostname(CString),
    SetDomainname(CString),
    ReadonlyPath(InRoot),
    MaskPath(InRoot),
    SetRlimit {
        name: &'static str,
        resource: u32,
        soft: u64,
        hard: u64,
    },
    OwnStandardStreams {
        uid: u32,
    },
    SetUmask(u32),
    NoNewPrivileges,
    InstallSeccomp,
    DropBounding {
        keep: u64,
        highest: u32,
    },
    KeepCapabilities,
    SetUser {
        uid: u32,
        gid: u32,
        groups: Option<Vec<u32>>,
    },
    /// `required` false: a directory that only the user may enter is tried again as that user.
    ChangeDirectory {
        path: CString,
        required: bool,
    },
    SetCapabilities {
        sets: CapabilitySets,
        ambient: u64,
    },
    CloseOnExec {
        first: u32,
    },
    FindProgram {
        candidates: Vec<CString>,
    },
    FindHome {
        uid: u32,
    },
    Ready,
    WaitForStart,
    Execute,
}

/// A compiled plan.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// CLONE_NEW* of the clone itself.
    pub clone_flags: i32,
    /// A pid namespace holds only children of who joins it: the parent joins before the clone.
    pub pid_namespace: Option<String>,
    pub opens: Vec<Open>,
    pub steps: Vec<Step>,
    /// Limits that a process in a user namespace of its own may not set: the parent does, at [`Point::IdMaps`].
    pub parent_limits: Vec<Step>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub seccomp: Vec<Instruction>,
    pub seccomp_flags: u64,
    /// What was degraded, for the log.
    pub warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn open(&mut self, what: Open) -> Result<Slot, crate::SpecError> {
        let slot = Slot::FIRST_OPEN + self.opens.len();
        if slot >= Slot::COUNT {
            return Err(crate::SpecError::Invalid("too many descriptors are needed for one container".into()));
        }
        self.opens.push(what);
        Ok(Slot(slot))
    }

    /// The steps, one a line.
    pub fn describe(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{index:>3} {step:?}");
        }
        text
    }

    pub fn waits_at(&self, point: Point) -> bool {
        self.steps.contains(&Step::WaitParent(point))
    }
}
