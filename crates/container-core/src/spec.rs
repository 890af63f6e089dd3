//! The OCI runtime specification of one start: Docker's defaults, then what the user asked (runtime-spec config.md).
//!
//! Everything that needs a look at the host (device numbers, network namespace, passwd of the image) comes in as a fact.

pub mod cdi;
mod mounts;
pub mod namespaces;
mod resources;
mod security;

use crate::config::{Config, ExecConfig, HostConfig, MountPoint};
use crate::environment::{environment, replace_or_append};
use crate::error::ConfigError;
use crate::user::ResolvedUser;
use crate::{capabilities_of, merge, oci, resolve_profile};

pub use namespaces::{Join, Namespaces, UserNamespace};
pub use resources::updated as updated_resources;
pub(crate) use resources::{check_ulimit, device_rules};
pub use security::{SecurityOptions, default_paths};

/// Where `--init` puts its process inside the container.
const INIT_INSIDE: &str = "/sbin/docker-init";

/// Facts of the host and of the daemon that do not change between two containers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    pub supports: Supports,
    /// CPUs and memory nodes that there are, as `0-3` (cpuset(7)).
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub apparmor: AppArmor,
    /// SELinux is enforced or watches.
    pub selinux: bool,
    pub policy: Policy,
    /// `--userns-remap`: what users of containers are on the host; `None` without.
    pub remap: Option<Remap>,
    /// Go's name: `amd64`, `arm64`.
    pub architecture: &'static str,
    pub kernel: (u32, u32),
    pub cpus: u32,
    /// The daemon's capability bounding set.
    pub bounding: u64,
    pub cgroup_v2: bool,
    /// `/docker`.
    pub cgroup_parent: String,
    /// Program for `--init`, on the host.
    pub init_path: Option<String>,
    /// Since Linux 5.12 a bind can be read-only with all that is mounted below it (mount_setattr(2)).
    pub recursive_read_only: bool,
}

/// Which limits the kernel's control groups can keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supports {
    pub memory: bool,
    pub swap: bool,
    pub reservation: bool,
    pub swappiness: bool,
    pub oom_kill_disable: bool,
    pub pids: bool,
    pub cpu_shares: bool,
    pub cpu_quota: bool,
    pub cpu_realtime: bool,
    pub cpuset: bool,
    pub block_io_weight: bool,
    pub block_io_throttle: bool,
}

impl Default for Supports {
    /// A kernel that lacks nothing.
    fn default() -> Self {
        Self {
            memory: true,
            swap: true,
            reservation: true,
            swappiness: true,
            oom_kill_disable: true,
            pids: true,
            cpu_shares: true,
            cpu_quota: true,
            cpu_realtime: true,
            cpuset: true,
            block_io_weight: true,
            block_io_throttle: true,
        }
    }
}

/// The kernel's AppArmor (Linux Security Module).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AppArmor {
    #[default]
    Off,
    /// On; the profile of containers that name none, where it is loaded.
    On { default_profile: Option<String> },
}

/// What the daemon's configuration says of containers that say nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    pub init: bool,
    pub no_new_privileges: bool,
    /// `unconfined`, `builtin` or JSON; `None` is the built-in profile.
    pub seccomp_profile: Option<String>,
    pub ulimits: Vec<crate::config::Ulimit>,
}

/// Users and groups of a container as users and groups of the host (user_namespaces(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remap {
    pub uids: Vec<oci::IdMapping>,
    pub gids: Vec<oci::IdMapping>,
}

impl Remap {
    /// Who root in a container is on the host.
    pub fn root(&self) -> (u32, u32) {
        let of = |maps: &[oci::IdMapping]| maps.iter().find(|map| map.container_id == 0).map_or(0, |map| map.host_id);
        (of(&self.uids), of(&self.gids))
    }
}

impl Host {
    /// The name in seccomp profiles.
    pub fn seccomp_architecture(&self) -> &'static str {
        match self.architecture {
            "amd64" => "SCMP_ARCH_X86_64",
            "arm64" => "SCMP_ARCH_AARCH64",
            "riscv64" => "SCMP_ARCH_RISCV64",
            _ => "",
        }
    }
}

/// Files that the daemon writes and mounts over the image's; `None` leaves the image's in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFiles {
    pub hostname: Option<String>,
    pub hosts: Option<String>,
    pub resolv_conf: Option<String>,
}

/// A device node with its numbers, as found on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceNode {
    pub path_in_container: String,
    /// `c` or `b`.
    pub kind: &'static str,
    pub major: i64,
    pub minor: i64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Some of `rwm`.
    pub permissions: String,
}

pub struct Input<'a> {
    pub id: &'a str,
    pub config: &'a Config,
    pub host_config: &'a HostConfig,
    /// Sources filled in.
    pub mounts: &'a [MountPoint],
    pub user: &'a ResolvedUser,
    pub namespaces: &'a Namespaces,
    pub files: &'a NetworkFiles,
    /// Of `--device`, and for a privileged container all of the host's.
    pub devices: &'a [DeviceNode],
    /// The weight apart, which is in the configuration: devices by their numbers.
    pub block_io: &'a oci::BlockIo,
    /// What is mounted at /dev/shm instead of a tmpfs of the container's own.
    pub shm: Option<&'a str>,
    /// Of `--link`.
    pub link_env: &'a [String],
    /// Of devices that a CDI specification describes.
    pub cdi: &'a [cdi::Edits],
    pub host: &'a Host,
}

/// The specification of a container that is about to start. The root file system is the bundle's `rootfs`.
pub fn generate(input: &Input<'_>) -> Result<oci::Spec, ConfigError> {
    let (config, host_config, host) = (input.config, input.host_config, input.host);
    let security = SecurityOptions::parse(&host_config.security_opt)?;
    let capabilities =
        capabilities_of(host_config.privileged, &host_config.cap_add, &host_config.cap_drop, host.bounding)?;
    let profile = security.seccomp_profile(host_config.privileged, host);
    let seccomp = resolve_profile(profile, &capabilities, host)?;
    let mut mounts = mounts::all(input)?;
    let mut args = merge::arguments(config);
    if host_config.init.unwrap_or(host.policy.init) && has_own_pids(host_config) {
        mounts.push(init_mount(host)?);
        args.splice(0..0, [INIT_INSIDE.to_owned(), "--".to_owned()]);
    }
    let own_uts = input.namespaces.uts == Join::Own;
    let (masked_paths, readonly_paths) = security::paths(host_config);
    let (uid_mappings, gid_mappings) = input.namespaces.mappings();
    let mut spec = oci::Spec {
        oci_version: oci::VERSION,
        process: oci::Process {
            terminal: config.tty,
            console_size: console_size(config.tty, host_config.console_size),
            user: oci_user(input.user),
            args,
            env: environment(&config.hostname, config.tty, input.link_env, &config.env),
            cwd: if config.working_dir.is_empty() { "/".to_owned() } else { crate::mounts::clean(&config.working_dir) },
            capabilities: Some(process_capabilities(&capabilities, input.user.uid == 0)),
            rlimits: resources::rlimits(&host_config.resources.ulimits, &host.policy.ulimits)?,
            no_new_privileges: security.no_new_privileges(host),
            apparmor_profile: security.apparmor_profile(host_config.privileged, host),
            oom_score_adj: Some(host_config.oom_score_adj),
        },
        root: oci::Root { path: "rootfs".to_owned(), readonly: host_config.readonly_rootfs },
        hostname: if own_uts { config.hostname.clone() } else { String::new() },
        domainname: String::new(),
        hooks: oci::Hooks::default(),
        annotations: host_config.annotations.clone(),
        linux: oci::Linux {
            uid_mappings,
            gid_mappings,
            sysctl: namespaces::sysctls(input.namespaces, config, host_config),
            resources: resources::all(input)?,
            cgroups_path: cgroups_path(input),
            namespaces: input.namespaces.listed(),
            devices: resources::nodes(input.devices),
            seccomp,
            rootfs_propagation: mounts::rootfs_propagation(input.mounts),
            masked_paths,
            readonly_paths,
        },
        mounts,
    };
    for edits in input.cdi {
        edits.apply(&mut spec);
    }
    Ok(spec)
}

/// A process of somebody else's is the first where the PID namespace is not the container's own.
fn has_own_pids(host_config: &HostConfig) -> bool {
    matches!(host_config.pid_mode.as_str(), "" | "private")
}

fn init_mount(host: &Host) -> Result<oci::Mount, ConfigError> {
    let source = host.init_path.clone().ok_or(ConfigError::NoInit)?;
    let options = ["bind", "ro"].map(str::to_owned).to_vec();
    Ok(oci::Mount { destination: INIT_INSIDE.to_owned(), kind: "bind".into(), source, options })
}

/// The process of `docker exec` in a container that runs. It inherits the container's environment and directory.
pub fn exec_process(
    exec: &ExecConfig,
    config: &Config,
    host_config: &HostConfig,
    user: &ResolvedUser,
    size: Option<(u32, u32)>,
    host: &Host,
) -> Result<oci::Process, ConfigError> {
    let privileged = exec.privileged || host_config.privileged;
    let security = SecurityOptions::parse(&host_config.security_opt)?;
    let capabilities = capabilities_of(privileged, &host_config.cap_add, &host_config.cap_drop, host.bounding)?;
    let mut asked = config.env.clone();
    asked = replace_or_append(asked, &exec.env);
    let cwd = match (exec.working_dir.as_str(), config.working_dir.as_str()) {
        ("", "") => "/".to_owned(),
        ("", dir) | (dir, _) => crate::mounts::clean(dir),
    };
    Ok(oci::Process {
        terminal: exec.tty,
        console_size: console_size(exec.tty, size),
        user: oci_user(user),
        args: exec.cmd.clone(),
        env: environment(&config.hostname, exec.tty, &[], &asked),
        cwd,
        capabilities: Some(process_capabilities(&capabilities, user.uid == 0)),
        rlimits: resources::rlimits(&host_config.resources.ulimits, &host.policy.ulimits)?,
        no_new_privileges: security.no_new_privileges(host),
        apparmor_profile: security.apparmor_profile(privileged, host),
        oom_score_adj: Some(host_config.oom_score_adj),
    })
}

fn oci_user(user: &ResolvedUser) -> oci::User {
    oci::User { uid: user.uid, gid: user.gid, additional_gids: user.additional_gids.clone() }
}

/// Inheritable stays empty (CVE-2022-24769). Who is not root has the set only to bound what a set-user-ID program gains.
fn process_capabilities(capabilities: &[&'static str], root: bool) -> oci::Capabilities {
    let held = if root { capabilities.to_vec() } else { Vec::new() };
    oci::Capabilities { bounding: capabilities.to_vec(), effective: held.clone(), permitted: held }
}

fn console_size(tty: bool, size: Option<(u32, u32)>) -> Option<oci::ConsoleSize> {
    let (height, width) = size.filter(|(height, width)| tty && *height > 0 && *width > 0)?;
    Some(oci::ConsoleSize { height, width })
}

/// `<parent>/<id>`; a parent of the user's is taken from the root of the hierarchies, never above it.
fn cgroups_path(input: &Input<'_>) -> String {
    cgroup_of(input.id, input.host_config, input.host)
}

/// Where a container's cgroup is, from the root of the hierarchies.
pub fn cgroup_of(id: &str, host_config: &HostConfig, host: &Host) -> String {
    let asked = &host_config.cgroup_parent;
    let parent = if asked.is_empty() { &host.cgroup_parent } else { asked };
    format!("{}/{id}", crate::mounts::clean(parent).trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
