//! What a user asks of a container: Docker's Config and HostConfig as values of our own.
//!
//! Fields are those that the engine honours. A field that nothing reads is not here: the edge answers for it, instead of
//! this crate storing and forgetting it. Units stand in the names, empty means "not asked for".

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What goes with a container wherever it runs (Engine API, ContainerConfig). After [`crate::merge_image`] it holds the
/// image's defaults too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    /// `uid|name[:gid|group]`, resolved at every start against the files of the image.
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    /// `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Vec<String>,
    pub cmd: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub healthcheck: Option<Healthcheck>,
    /// As the user typed it.
    pub image: String,
    /// Anonymous volumes, by path inside the container.
    pub volumes: BTreeSet<String>,
    pub working_dir: String,
    pub network_disabled: bool,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: Option<String>,
    pub stop_timeout_s: Option<i64>,
    /// Of the image's build, kept for `inspect` and for a commit; nothing on Linux acts on it.
    pub args_escaped: bool,
    pub on_build: Vec<String>,
    /// What runs a `CMD-SHELL` probe; `None` is `/bin/sh -c`.
    pub shell: Option<Vec<String>>,
}

/// A probe; times in nanoseconds as in the Engine API, 0 for the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    pub test: Vec<String>,
    pub interval_ns: i64,
    pub timeout_ns: i64,
    pub start_period_ns: i64,
    pub start_interval_ns: i64,
    pub retries: i64,
}

/// What ties a container to this host (Engine API, HostConfig).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// `source:target[:options]`, as given.
    pub binds: Vec<String>,
    pub mounts: Vec<MountRequest>,
    /// Target to options (`size=64m,mode=1777`).
    pub tmpfs: BTreeMap<String, String>,
    pub volumes_from: Vec<String>,
    /// Of the volumes that `-v` and the image ask for; empty is `local`.
    pub volume_driver: String,
    /// `name[:alias]` of a container on the default bridge.
    pub links: Vec<String>,
    /// `default`, `bridge`, `host`, `none`, `container:ID` or a network's name or id.
    pub network_mode: String,
    pub port_bindings: Vec<PortBinding>,
    pub publish_all_ports: bool,
    pub restart_policy: crate::RestartPolicy,
    pub auto_remove: bool,
    pub log_config: LogConfig,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    /// `private` or `host`; empty takes the host's default (private on cgroup v2).
    pub cgroupns_mode: String,
    pub dns: Vec<String>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    /// `name:address`.
    pub extra_hosts: Vec<String>,
    pub group_add: Vec<String>,
    /// `private`, `shareable`, `host`, `none`, `container:ID`; empty takes `private`.
    pub ipc_mode: String,
    /// empty, `host` or `container:ID`.
    pub pid_mode: String,
    /// empty or `host`.
    pub uts_mode: String,
    /// empty or `host`.
    pub userns_mode: String,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Vec<String>,
    pub shm_size: i64,
    pub sysctls: BTreeMap<String, String>,
    pub init: Option<bool>,
    pub oom_score_adj: i64,
    pub cgroup_parent: String,
    /// Name of a configured runtime; empty takes the default.
    pub runtime: String,
    /// `None`: Docker's defaults; an empty list masks nothing (`systempaths=unconfined`).
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
    pub annotations: BTreeMap<String, String>,
    pub console_size: Option<(u32, u32)>,
    /// Where the client wrote the id; for `inspect`.
    pub container_id_file: String,
    /// `default`; the others are of Windows.
    pub isolation: String,
    /// Options of the storage driver: what ours has none of is refused.
    pub storage_opt: BTreeMap<String, String>,
    /// Docker's oldest way to share a cgroup, which nothing honours any more.
    pub cgroup: String,
    pub resources: Resources,
}

/// Limits, 0 or empty where none is asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub memory: i64,
    pub memory_reservation: i64,
    /// -1: no limit on swap.
    pub memory_swap: i64,
    pub memory_swappiness: Option<i64>,
    pub kernel_memory: i64,
    pub kernel_memory_tcp: i64,
    pub oom_kill_disable: Option<bool>,
    pub nano_cpus: i64,
    pub cpu_shares: i64,
    pub cpu_period_us: i64,
    pub cpu_quota_us: i64,
    pub cpu_realtime_period_us: i64,
    pub cpu_realtime_runtime_us: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// Of Windows, with the three below.
    pub cpu_count: i64,
    pub cpu_percent: i64,
    pub io_maximum_iops: u64,
    pub io_maximum_bandwidth: u64,
    pub pids_limit: Option<i64>,
    pub blkio_weight: u16,
    pub blkio_weight_device: Vec<WeightDevice>,
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    pub device_requests: Vec<DeviceRequest>,
    pub devices: Vec<DeviceMapping>,
    pub device_cgroup_rules: Vec<String>,
    pub ulimits: Vec<Ulimit>,
}

/// The share of a device's time, by its path on the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WeightDevice {
    pub path: String,
    pub weight: u16,
}

/// The most bytes or operations a second of a device, by its path on the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    pub path: String,
    pub rate: u64,
}

/// Devices asked of a driver (`--gpus`, `--device vendor.com/class=name`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// `cdi`, `nvidia`; empty: whichever driver has the capabilities.
    pub driver: String,
    pub count: i64,
    pub device_ids: Vec<String>,
    /// One of these sets must be had in full.
    pub capabilities: Vec<Vec<String>>,
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceMapping {
    pub path_on_host: String,
    pub path_in_container: String,
    /// Some of `rwm`; empty means all three.
    pub permissions: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, without `RLIMIT_`.
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `json-file`, `none`; empty takes the daemon's default.
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

/// One wanted publication: `-p host_ip:host_port:container_port/proto`. `host_port` may be empty or a range.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PortBinding {
    /// `80/tcp`.
    pub container: String,
    pub host_ip: String,
    pub host_port: String,
}

/// One entry of HostConfig.Mounts (`--mount`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountRequest {
    pub kind: MountKind,
    pub source: String,
    pub target: String,
    pub read_only: bool,
    /// Bind only: `rprivate` and its kin; empty: nobody has said.
    pub propagation: String,
    /// Bind only: do not take the mounts below the source along.
    pub non_recursive: bool,
    /// Bind only: make a missing source a folder.
    pub create_mountpoint: bool,
    /// Volume only: leave the volume empty instead of copying what the image has at the target.
    pub no_copy: bool,
    /// Volume only: of a volume that this mount makes.
    pub volume_labels: BTreeMap<String, String>,
    /// Volume only; empty is `local`.
    pub volume_driver: String,
    pub volume_driver_options: BTreeMap<String, String>,
    /// Volume and image: mount this folder of it.
    pub subpath: String,
    /// Bind only: read-only without what is mounted below it.
    pub read_only_non_recursive: bool,
    /// Bind only: an error where the kernel cannot make all below it read-only.
    pub read_only_force_recursive: bool,
    /// Bind only: whose the files are inside; empty or `match-user`.
    pub id_map: String,
    /// Told to virtual machines that share files; nothing here acts on it.
    pub consistency: String,
    /// tmpfs only, 0 means no limit.
    pub tmpfs_size: i64,
    /// tmpfs only, 0 means 1777.
    pub tmpfs_mode: u32,
    /// tmpfs only: `exec`, `noexec`, each as a list of one word.
    pub tmpfs_options: Vec<Vec<String>>,
    /// Options of another type than the mount's own, which Docker refuses by this name.
    pub stray_options: Option<StrayOptions>,
}

/// Options that belong to another type of mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StrayOptions {
    BindOptions,
    VolumeOptions,
    ImageOptions,
    TmpfsOptions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    #[default]
    Bind,
    Volume,
    Tmpfs,
    Image,
}

impl MountKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

/// A mount as decided at create: what `inspect` shows and a start carries out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    pub kind: MountKind,
    /// Volume's name, empty for the others.
    pub name: String,
    /// On the host; empty for tmpfs.
    pub source: String,
    pub destination: String,
    /// Of a volume; empty until it is known, where nobody asked for one.
    pub driver: String,
    /// What the volume's driver knows this mount by.
    pub mount_id: String,
    /// As the user gave them: `ro`, `z`; for tmpfs the mount's options.
    pub mode: String,
    pub read_write: bool,
    pub propagation: String,
    pub non_recursive: bool,
    pub read_only: ReadOnly,
    pub owners: Owners,
    /// Volume and image: the folder of it that is mounted.
    pub subpath: String,
    /// Of a volume that this mount makes.
    pub labels: BTreeMap<String, String>,
    /// The same, for its driver.
    pub driver_options: BTreeMap<String, String>,
    /// A `-v` bind makes a missing source a folder; a `--mount` bind fails.
    pub create_source: bool,
    /// A fresh volume takes over what the image has at its destination.
    pub copy_up: bool,
    /// Made for this container and removed with it by `rm -v` and `--rm`.
    pub anonymous: bool,
}

/// Whose the files of a bind are inside of the container (mount_setattr(2), MOUNT_ATTR_IDMAP).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// As on the host.
    #[default]
    Host,
    /// Those of the source's owner are the container's user's, and the other way round.
    MatchUser,
}

/// How far below a read-only bind the read-only reaches (mount_setattr(2), AT_RECURSIVE).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadOnly {
    /// As far as the kernel can.
    #[default]
    Default,
    /// This mount only.
    Shallow,
    /// All below it, or not at all.
    Forced,
}

/// What of an image's configuration a container takes over (OCI image-spec, config.md).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageDefaults {
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub volumes: BTreeSet<String>,
    pub exposed_ports: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    pub args_escaped: bool,
}

/// How a container is attached to one network (Engine API, EndpointSettings, the wanted part).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// Name or id.
    pub network: String,
    pub aliases: Vec<String>,
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
    pub mac: Option<String>,
    pub links: Vec<String>,
    /// More addresses, of the link-local ranges.
    pub link_local: Vec<String>,
    /// The highest has the default route.
    pub gateway_priority: i64,
    pub driver_options: BTreeMap<String, String>,
    /// Id that the network had when it was joined last; empty: never.
    pub network_id: String,
}

/// What an exec runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecConfig {
    pub cmd: Vec<String>,
    pub tty: bool,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub privileged: bool,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    /// For `inspect`; the edge handles the keys.
    pub detach_keys: String,
    /// Height and width of the terminal, unless its start says otherwise.
    pub console_size: Option<(u32, u32)>,
}
