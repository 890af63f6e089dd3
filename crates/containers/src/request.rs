//! What callers ask and what they get: plain values, no wire types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use container_core::health::Health;
use container_core::{
    Config, EndpointRequest, ExecConfig, HostConfig, ListFilter, MountPoint, ReadOnly, Resources, RestartPolicy, State,
    Timestamp,
};

use crate::ports::Sandbox;

#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// `None`: a name is made.
    pub name: Option<String>,
    pub config: Config,
    pub host_config: HostConfig,
    /// EndpointsConfig; may be empty.
    pub endpoints: Vec<EndpointRequest>,
    /// How deep binds are read-only that say nothing of it: not at all deep for clients before API 1.44.
    pub read_only: ReadOnly,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub id: String,
    pub warnings: Vec<String>,
}

/// All there is to know about one container at one moment.
#[derive(Debug, Clone)]
pub struct ContainerView {
    pub id: String,
    /// Without the slash.
    pub name: String,
    pub created: Timestamp,
    pub image_id: String,
    /// What the process is: entrypoint and command in one.
    pub args: Vec<String>,
    pub state: State,
    pub restart_count: u32,
    pub health: Option<Health>,
    pub config: Config,
    pub host_config: HostConfig,
    pub mounts: Vec<MountPoint>,
    pub endpoints_wanted: Vec<EndpointRequest>,
    /// While it runs.
    pub sandbox: Option<Sandbox>,
    /// Of execs that have not ended.
    pub exec_ids: Vec<String>,
    pub files: ContainerFiles,
    /// The snapshot's overlay directories, when containerd told them.
    pub graph: Option<GraphDirs>,
}

/// Paths on the host, as `inspect` shows them; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFiles {
    pub hostname: String,
    pub hosts: String,
    pub resolv_conf: String,
    pub log: String,
    pub sandbox_key: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphDirs {
    pub lower: String,
    pub upper: String,
    pub work: String,
}

/// A row of `docker ps`; texts that depend on the time are made by `container_core::status`.
#[derive(Debug, Clone)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    /// `parent/alias`: the names that links give.
    pub link_names: Vec<String>,
    /// As the user typed it, or its id once that name means another image.
    pub image: String,
    pub image_id: String,
    /// Words joined by spaces; what has spaces in it stands in quotes.
    pub command: String,
    pub created: Timestamp,
    pub state: State,
    /// "Up 2 seconds".
    pub status: String,
    pub labels: BTreeMap<String, String>,
    pub exposed_ports: Vec<String>,
    pub sandbox: Option<Sandbox>,
    pub mounts: Vec<MountPoint>,
    pub network_mode: String,
    pub annotations: BTreeMap<String, String>,
    pub endpoints_wanted: Vec<EndpointRequest>,
    /// Where it was asked for.
    pub size: Option<ContainerSize>,
}

#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, running or not; 0: no limit.
    pub limit: usize,
    /// With the bytes that each takes, which is slow.
    pub size: bool,
    pub filter: ListFilter,
}

/// What is at a path in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    /// As stat(2) has it, with the type.
    pub mode: u32,
    pub mtime: Timestamp,
    /// Where a link leads inside the container; empty for all else.
    pub link_target: String,
}

/// Where an archive goes, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutArchive {
    /// A folder in the container.
    pub path: String,
    /// A folder stays one, and nothing else becomes one.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything belongs to the container's user instead of whom the archive says.
    pub copy_owner: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute.
    pub path: PathBuf,
    pub kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Modified,
    Added,
    Deleted,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommitRequest {
    /// `None`: the container's.
    pub config: Option<Config>,
    /// Lines of a Dockerfile.
    pub changes: Vec<String>,
    pub author: String,
    pub comment: String,
    /// `repository:tag`; without it the image has no name.
    pub name: Option<String>,
    /// Halt the container meanwhile.
    pub pause: bool,
}

/// Bytes of a container's own files, and of these with its image's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// As long as the files are: Docker's figure.
    pub own: u64,
    /// What they and their folders take on the disk: du's.
    pub on_disk: u64,
    pub total: u64,
}

/// What a container is to have from now on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpdateRequest {
    /// Zero and empty leave a limit as it is.
    pub resources: Resources,
    /// `None` leaves it as it is.
    pub restart_policy: Option<RestartPolicy>,
}

/// Which of the containers that do not run are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Only those made until then.
    pub until: Option<Timestamp>,
    /// `key` or `key=value`, all of which a container must have.
    pub labels: Vec<String>,
    /// Containers that have all of these stay.
    pub labels_absent: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub ids: Vec<String>,
    pub reclaimed: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    pub force: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// Answers at once unless it runs.
    NotRunning,
    NextExit,
    Removed,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitResult {
    pub code: i32,
    /// Of a start or removal that failed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Name or number; `None`: the container's own.
    pub signal: Option<String>,
    /// `None`: the container's own or 10; negative: without end.
    pub timeout_s: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TtySize {
    pub width: u32,
    pub height: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachRequest {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogsRequest {
    pub stdout: bool,
    pub stderr: bool,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// `None`: from the beginning.
    pub tail: Option<u64>,
    pub follow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// One line (or the piece of an overlong one), its newline included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub stream: LogStream,
    pub time: Timestamp,
    pub bytes: Vec<u8>,
    /// For `--details`.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecStart {
    pub detach: bool,
    pub console_size: Option<TtySize>,
}

#[derive(Debug, Clone)]
pub struct ExecView {
    pub id: String,
    pub container_id: String,
    pub config: ExecConfig,
    pub running: bool,
    /// `None` until it ended.
    pub exit_code: Option<i32>,
    pub pid: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}
