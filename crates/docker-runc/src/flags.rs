//! One definition per command: its flags, its operands; parser and help both read it.

use crate::arguments::{Flag, Kind, Positionals};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Checkpoint,
    Create,
    Delete,
    Events,
    Exec,
    Features,
    Kill,
    List,
    Pause,
    Ps,
    Restore,
    Resume,
    Run,
    Spec,
    Start,
    State,
    Update,
}

#[derive(Debug)]
pub struct Command {
    pub name: Name,
    pub word: &'static str,
    pub usage: &'static str,
    pub operand_text: &'static str,
    /// Least and most operands.
    pub operands: (usize, usize),
    pub positionals: Positionals,
    pub flags: &'static [Flag],
}

const ANY: usize = usize::MAX;

const fn flag(name: &'static str, short: &'static str, kind: Kind, usage: &'static str) -> Flag {
    Flag { name, short, kind, usage }
}

const HELP: Flag = flag("help", "h", Kind::Switch, "show help");
const BUNDLE: Flag = flag("bundle", "b", Kind::Value, "folder of the bundle (default: the current one)");
const CONSOLE_SOCKET: Flag =
    flag("console-socket", "", Kind::Value, "Unix socket that gets the master of the container's terminal");
const PID_FILE: Flag = flag("pid-file", "", Kind::Value, "file that gets the number of the process");
const NO_PIVOT: Flag = flag("no-pivot", "", Kind::Switch, "do not use pivot_root (for a root on a ramdisk)");
const NO_NEW_KEYRING: Flag = flag("no-new-keyring", "", Kind::Switch, "keep the caller's session keyring");
const PRESERVE_FDS: Flag =
    flag("preserve-fds", "", Kind::Value, "pass this many descriptors behind the standard streams (default: 0)");
const PIDFD_SOCKET: Flag = flag("pidfd-socket", "", Kind::Value, "Unix socket that gets the process as a descriptor");
const DETACH: Flag = flag("detach", "d", Kind::Switch, "do not wait for the process");
const IMAGE_PATH: Flag = flag("image-path", "", Kind::Value, "folder of criu's images (default: ./checkpoint)");
const WORK_PATH: Flag = flag("work-path", "", Kind::Value, "folder of criu's work files and log");
const TCP_ESTABLISHED: Flag = flag("tcp-established", "", Kind::Switch, "allow open TCP connections");
const EXT_UNIX_SK: Flag = flag("ext-unix-sk", "", Kind::Switch, "allow Unix sockets whose other end is outside");
const SHELL_JOB: Flag = flag("shell-job", "", Kind::Switch, "allow jobs of a shell outside");
const FILE_LOCKS: Flag = flag("file-locks", "", Kind::Switch, "handle file locks");
const LAZY_PAGES: Flag = flag("lazy-pages", "", Kind::Switch, "let memory follow when it is needed (userfaultfd)");
const AUTO_DEDUP: Flag = flag("auto-dedup", "", Kind::Switch, "keep each page of memory once in the images");
const EMPTY_NS: Flag = flag("empty-ns", "", Kind::List, "namespace that comes back without its properties: network");
const MANAGE_CGROUPS_MODE: Flag =
    flag("manage-cgroups-mode", "", Kind::Value, "soft, full, strict or ignore (default: soft)");
const FORMAT: Flag = flag("format", "f", Kind::Value, "table or json (default: table)");

pub const GLOBAL: &[Flag] = &[
    flag("debug", "", Kind::Switch, "log more"),
    flag("log", "", Kind::Value, "file for the log (default: stderr)"),
    flag("log-format", "", Kind::Value, "text or json (default: text)"),
    flag("root", "", Kind::Value, "folder for the state of containers (default: /run/runc)"),
    flag("criu", "", Kind::Value, "ignored, as by runc: criu is looked up in $PATH"),
    flag("systemd-cgroup", "", Kind::Switch, "let systemd make the cgroups"),
    flag("rootless", "", Kind::Value, "true, false or auto: do without cgroups that may not be made"),
    HELP,
    flag("version", "v", Kind::Switch, "print the version"),
];

const ID: &str = "<container-id>";

pub const COMMANDS: &[Command] = &[
    Command {
        name: Name::Checkpoint,
        word: "checkpoint",
        usage: "checkpoint a running container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[
            IMAGE_PATH,
            WORK_PATH,
            flag("parent-path", "", Kind::Value, "images of an earlier pre-dump, relative to these"),
            flag("leave-running", "", Kind::Switch, "let the container go on"),
            TCP_ESTABLISHED,
            flag("tcp-skip-in-flight", "", Kind::Switch, "skip TCP connections that are being made"),
            flag("link-remap", "", Kind::Switch, "link unlinked files back where that can be"),
            EXT_UNIX_SK,
            SHELL_JOB,
            LAZY_PAGES,
            flag("status-fd", "", Kind::Value, "descriptor that gets a zero byte when lazy pages can be fetched"),
            flag("page-server", "", Kind::Value, "ADDRESS:PORT of a page server"),
            FILE_LOCKS,
            flag("pre-dump", "", Kind::Switch, "dump memory alone and let the container go on"),
            MANAGE_CGROUPS_MODE,
            EMPTY_NS,
            AUTO_DEDUP,
            HELP,
        ],
    },
    Command {
        name: Name::Create,
        word: "create",
        usage: "create a container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[BUNDLE, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS, HELP],
    },
    Command {
        name: Name::Delete,
        word: "delete",
        usage: "delete what a container has left behind",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[flag("force", "f", Kind::Switch, "kill it first if it is running (SIGKILL)"), HELP],
    },
    Command {
        name: Name::Events,
        word: "events",
        usage: "print what a container uses",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[
            flag("interval", "", Kind::Value, "time between two events (default: 5s)"),
            flag("stats", "", Kind::Switch, "print once and exit"),
            HELP,
        ],
    },
    Command {
        name: Name::Exec,
        word: "exec",
        usage: "execute one more process in a container",
        operand_text: "<container-id> <command> [arguments] || --process process.json <container-id>",
        operands: (1, ANY),
        positionals: Positionals::EndFlags,
        flags: &[
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            flag("cwd", "", Kind::Value, "working directory in the container"),
            flag("env", "e", Kind::List, "set an environment variable"),
            flag("tty", "t", Kind::Switch, "allocate a terminal"),
            flag("user", "u", Kind::Value, "<uid>[:<gid>]"),
            flag("additional-gids", "g", Kind::List, "one more group"),
            flag("process", "p", Kind::Value, "file with the process's description"),
            DETACH,
            PID_FILE,
            flag("process-label", "", Kind::Value, "SELinux label of the process"),
            flag("apparmor", "", Kind::Value, "AppArmor profile of the process"),
            flag("no-new-privs", "", Kind::Switch, "the process cannot gain privileges"),
            flag("cap", "c", Kind::List, "add a capability"),
            PRESERVE_FDS,
            flag("cgroup", "", Kind::List, "run in a cgroup below the container's: [<controller>:]<cgroup>"),
            flag("ignore-paused", "", Kind::Switch, "allow it in a paused container"),
            HELP,
        ],
    },
    Command {
        name: Name::Features,
        word: "features",
        usage: "show what this runtime can do",
        operand_text: "",
        operands: (0, 0),
        positionals: Positionals::BetweenFlags,
        flags: &[HELP],
    },
    Command {
        name: Name::Kill,
        word: "kill",
        usage: "send a signal to a container (default: SIGTERM)",
        operand_text: "<container-id> [signal]",
        operands: (1, 2),
        positionals: Positionals::BetweenFlags,
        flags: &[flag("all", "a", Kind::Switch, "to all its processes"), HELP],
    },
    Command {
        name: Name::List,
        word: "list",
        usage: "list the containers of this root",
        operand_text: "",
        operands: (0, 0),
        positionals: Positionals::BetweenFlags,
        flags: &[FORMAT, flag("quiet", "q", Kind::Switch, "ids only"), HELP],
    },
    Command {
        name: Name::Pause,
        word: "pause",
        usage: "freeze all processes of a container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[HELP],
    },
    Command {
        name: Name::Ps,
        word: "ps",
        usage: "show the processes of a container",
        operand_text: "<container-id> [ps options]",
        operands: (1, ANY),
        positionals: Positionals::EndFlags,
        flags: &[FORMAT, HELP],
    },
    Command {
        name: Name::Restore,
        word: "restore",
        usage: "restore a container from a checkpoint",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[
            CONSOLE_SOCKET,
            IMAGE_PATH,
            WORK_PATH,
            TCP_ESTABLISHED,
            EXT_UNIX_SK,
            SHELL_JOB,
            FILE_LOCKS,
            MANAGE_CGROUPS_MODE,
            BUNDLE,
            DETACH,
            PID_FILE,
            flag("no-subreaper", "", Kind::Switch, "do not adopt the container's orphans"),
            NO_PIVOT,
            EMPTY_NS,
            AUTO_DEDUP,
            LAZY_PAGES,
            flag("lsm-profile", "", Kind::Value, "another security profile for the restored processes: TYPE:NAME"),
            flag("lsm-mount-context", "", Kind::Value, "another security context for mounts"),
            HELP,
        ],
    },
    Command {
        name: Name::Resume,
        word: "resume",
        usage: "thaw a paused container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[HELP],
    },
    Command {
        name: Name::Run,
        word: "run",
        usage: "create and run a container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[
            BUNDLE,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            DETACH,
            flag("keep", "", Kind::Switch, "do not delete the container when it ends"),
            PID_FILE,
            flag("no-subreaper", "", Kind::Switch, "do not adopt the container's orphans"),
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
            HELP,
        ],
    },
    Command {
        name: Name::Spec,
        word: "spec",
        usage: "write a new config.json",
        operand_text: "",
        operands: (0, 0),
        positionals: Positionals::BetweenFlags,
        flags: &[BUNDLE, flag("rootless", "", Kind::Switch, "for a user without root"), HELP],
    },
    Command {
        name: Name::Start,
        word: "start",
        usage: "run the program of a created container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[HELP],
    },
    Command {
        name: Name::State,
        word: "state",
        usage: "print the state of a container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[HELP],
    },
    Command {
        name: Name::Update,
        word: "update",
        usage: "change the limits of a container",
        operand_text: ID,
        operands: (1, 1),
        positionals: Positionals::BetweenFlags,
        flags: &[
            flag("resources", "r", Kind::Value, "file with the resources, - for stdin; other flags are then ignored"),
            flag("blkio-weight", "", Kind::Value, "weight of its I/O, 10 to 1000"),
            flag("cpu-period", "", Kind::Value, "CFS period in microseconds"),
            flag("cpu-quota", "", Kind::Value, "CFS quota in microseconds"),
            flag("cpu-burst", "", Kind::Value, "CFS burst in microseconds"),
            flag("cpu-share", "", Kind::Value, "CPU shares"),
            flag("cpu-rt-period", "", Kind::Value, "real-time period in microseconds"),
            flag("cpu-rt-runtime", "", Kind::Value, "real-time runtime in microseconds"),
            flag("cpuset-cpus", "", Kind::Value, "processors to use"),
            flag("cpuset-mems", "", Kind::Value, "memory nodes to use"),
            flag("cpu-idle", "", Kind::Value, "0 or 1: run as SCHED_IDLE"),
            flag("memory", "", Kind::Value, "memory limit in bytes"),
            flag("memory-reservation", "", Kind::Value, "soft memory limit in bytes"),
            flag("memory-swap", "", Kind::Value, "limit of memory and swap in bytes, -1 for none"),
            flag("pids-limit", "", Kind::Value, "number of processes"),
            HELP,
        ],
    },
];

pub fn find(word: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.word == word)
}
