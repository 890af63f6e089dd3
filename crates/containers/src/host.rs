//! Facts of this host, looked up once when the service opens.

use std::fs;
use std::path::Path;

use container_core::spec::{AppArmor, Host, Supports};

use crate::settings::Settings;

/// statfs(2): the type of a cgroup v2 mount.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

pub(crate) fn facts(settings: &Settings) -> Host {
    let kernel = kernel_version();
    let cgroup_v2 = is_cgroup_v2(Path::new("/sys/fs/cgroup"));
    let text = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    Host {
        supports: if cgroup_v2 { supports_v2(&text("/sys/fs/cgroup/cgroup.controllers")) } else { supports_v1() },
        cpuset_cpus: text("/sys/devices/system/cpu/online"),
        cpuset_mems: match text("/sys/devices/system/node/online") {
            // A kernel without NUMA has the one node.
            none if none.is_empty() => "0".to_owned(),
            nodes => nodes,
        },
        apparmor: apparmor(),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        policy: settings.defaults.policy.clone(),
        remap: settings.defaults.remap.clone(),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        kernel,
        cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        bounding: sys::capability::bounding(),
        cgroup_v2,
        cgroup_parent: settings.cgroup_parent.clone(),
        init_path: settings.init_path.as_ref().map(|path| path.to_string_lossy().into_owned()),
        recursive_read_only: kernel >= (5, 12),
    }
}

/// By the files that the hierarchies of v1 have in their roots (kernel documentation, admin-guide/cgroup-v1).
fn supports_v1() -> Supports {
    let has = |controller: &str, file: &str| Path::new("/sys/fs/cgroup").join(controller).join(file).exists();
    let weights = ["blkio.weight", "blkio.bfq.weight", "blkio.weight_device", "blkio.bfq.weight_device"];
    Supports {
        memory: has("memory", "memory.limit_in_bytes"),
        swap: has("memory", "memory.memsw.limit_in_bytes"),
        reservation: has("memory", "memory.soft_limit_in_bytes"),
        swappiness: has("memory", "memory.swappiness"),
        oom_kill_disable: has("memory", "memory.oom_control"),
        pids: has("pids", "cgroup.procs"),
        cpu_shares: has("cpu", "cpu.shares"),
        cpu_quota: has("cpu", "cpu.cfs_quota_us"),
        cpu_realtime: has("cpu", "cpu.rt_runtime_us"),
        cpuset: has("cpuset", "cpuset.cpus"),
        block_io_weight: weights.iter().any(|file| has("blkio", file)),
        block_io_throttle: has("blkio", "blkio.throttle.read_bps_device"),
    }
}

/// By the controllers of the root (kernel documentation, admin-guide/cgroup-v2).
fn supports_v2(controllers: &str) -> Supports {
    let has = |name: &str| controllers.split_whitespace().any(|controller| controller == name);
    Supports {
        memory: has("memory"),
        swap: has("memory"),
        reservation: has("memory"),
        swappiness: false,
        oom_kill_disable: false,
        pids: has("pids"),
        cpu_shares: has("cpu"),
        cpu_quota: has("cpu"),
        cpu_realtime: false,
        cpuset: has("cpuset"),
        block_io_weight: has("io"),
        block_io_throttle: has("io"),
    }
}

/// Whether the kernel confines, and whether Docker's profile is among those that are loaded.
fn apparmor() -> AppArmor {
    const DEFAULT_PROFILE: &str = "docker-default";
    if !fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y')) {
        return AppArmor::Off;
    }
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    let there = loaded.lines().any(|line| line.split_whitespace().next() == Some(DEFAULT_PROFILE));
    AppArmor::On { default_profile: there.then(|| DEFAULT_PROFILE.to_owned()) }
}

/// The unified hierarchy at the usual place; a hybrid host has a tmpfs there and counts as v1.
fn is_cgroup_v2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == CGROUP2_SUPER_MAGIC))
}

fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The host's own name, for containers that share its UTS namespace.
pub(crate) fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unified_hierarchy_keeps_what_its_controllers_keep() {
        let has = supports_v2("cpu memory");
        assert!(has.memory && has.cpu_quota && !has.pids && !has.cpuset && !has.oom_kill_disable);
    }

    #[test]
    fn the_running_kernel_has_a_version() {
        assert!(kernel_version() >= (5, 10));
    }
}
