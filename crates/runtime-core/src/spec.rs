//! `config.json` as the OCI runtime specification 1.x describes it, and `process.json` of an exec.
//!
//! Go writes `null` where a list is empty, so every list and map reads it as empty. Properties that Longshore knows and
//! does not carry out are kept as [`Value`], so that [`crate::validate`] can refuse them by name.

use crate::SpecError;
use crate::spec_resources::Resources;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Reads `null` as the empty value.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// `config.json` (runtime-spec config.md).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub oci_version: String,
    pub process: Option<Process>,
    pub root: Option<Root>,
    pub hostname: String,
    pub domainname: String,
    #[serde(deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    #[serde(deserialize_with = "or_default")]
    pub hooks: Hooks,
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub linux: Linux,
    pub solaris: Option<Value>,
    pub windows: Option<Value>,
    pub vm: Option<Value>,
    pub zos: Option<Value>,
    pub freebsd: Option<Value>,
}

/// The container's process, or an exec's.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    pub terminal: bool,
    pub console_size: Option<ConsoleSize>,
    pub user: User,
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    #[serde(skip_serializing)]
    pub command_line: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    pub cwd: String,
    pub capabilities: Option<Capabilities>,
    #[serde(deserialize_with = "or_default")]
    pub rlimits: Vec<Rlimit>,
    pub no_new_privileges: bool,
    pub apparmor_profile: String,
    pub oom_score_adj: Option<i32>,
    pub selinux_label: String,
    pub scheduler: Option<Scheduler>,
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Scheduler {
    pub policy: String,
    pub nice: i32,
    pub priority: i32,
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct IoPriority {
    pub class: String,
    pub priority: i32,
}

/// Lists of processors, `0-3,7`: before and after the process is in its cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CpuAffinity {
    pub initial: String,
    #[serde(rename = "final")]
    pub last: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ConsoleSize {
    pub height: u16,
    pub width: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub umask: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub additional_gids: Vec<u32>,
    /// Only Windows has it.
    #[serde(skip_serializing)]
    pub username: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Capabilities {
    #[serde(deserialize_with = "or_default")]
    pub bounding: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub effective: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub inheritable: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub permitted: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub ambient: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub hard: u64,
    pub soft: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Root {
    pub path: String,
    pub readonly: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    pub destination: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    #[serde(deserialize_with = "or_default")]
    pub options: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "or_default")]
    pub gid_mappings: Vec<IdMapping>,
}

/// runtime-spec config.md, POSIX-platform hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    #[serde(deserialize_with = "or_default")]
    pub prestart: Vec<Hook>,
    #[serde(deserialize_with = "or_default")]
    pub create_runtime: Vec<Hook>,
    #[serde(deserialize_with = "or_default")]
    pub create_container: Vec<Hook>,
    #[serde(deserialize_with = "or_default")]
    pub start_container: Vec<Hook>,
    #[serde(deserialize_with = "or_default")]
    pub poststart: Vec<Hook>,
    #[serde(deserialize_with = "or_default")]
    pub poststop: Vec<Hook>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Hook {
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<u32>,
}

/// runtime-spec config-linux.md.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    #[serde(deserialize_with = "or_default")]
    pub namespaces: Vec<Namespace>,
    #[serde(deserialize_with = "or_default")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "or_default")]
    pub gid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "or_default")]
    pub sysctl: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    pub cgroups_path: String,
    #[serde(deserialize_with = "or_default")]
    pub devices: Vec<Device>,
    /// Most of the file: read only where its filter is not known yet ([`Seccomp::read`]).
    pub seccomp: Option<Box<RawValue>>,
    pub rootfs_propagation: String,
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<String>,
    pub mount_label: String,
    pub intel_rdt: Option<IntelRdt>,
    pub personality: Option<Personality>,
    #[serde(deserialize_with = "or_default")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// By their names on the host.
    #[serde(deserialize_with = "or_default")]
    pub net_devices: BTreeMap<String, NetDevice>,
    pub memory_policy: Option<MemoryPolicy>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Personality {
    pub domain: String,
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

/// A class of caches and memory bandwidth (resctrl.rst).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdt {
    #[serde(rename = "closID")]
    pub clos_id: String,
    pub l3_cache_schema: String,
    pub mem_bw_schema: String,
    #[serde(deserialize_with = "or_default")]
    pub schemata: Vec<String>,
    pub enable_monitoring: bool,
}

/// A network device that is moved into the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Its name there; empty: the same.
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    pub secs: i64,
    pub nanosecs: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MemoryPolicy {
    pub mode: String,
    pub nodes: String,
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// runtime-spec config-linux.md, seccomp.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub architectures: Vec<String>,
    pub flags: Option<Vec<String>>,
    pub listener_path: String,
    pub listener_metadata: String,
    #[serde(deserialize_with = "or_default")]
    pub syscalls: Vec<SyscallRule>,
}

impl Seccomp {
    pub fn read(text: &str) -> Result<Self, SpecError> {
        serde_json::from_str(text).map_err(|error| SpecError::Seccomp(error.to_string()))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyscallRule {
    #[serde(deserialize_with = "or_default")]
    pub names: Vec<String>,
    pub action: String,
    pub errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<SyscallArgument>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyscallArgument {
    pub index: u32,
    pub value: u64,
    pub value_two: u64,
    pub op: String,
}
