//! Facts of this host, looked up once when the service opens.

use std::fs;
use std::path::Path;

use container_core::spec::Host;

use crate::settings::Settings;

/// statfs(2): the type of a cgroup v2 mount.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

pub(crate) fn facts(settings: &Settings) -> Host {
    let kernel = kernel_version();
    Host {
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        kernel,
        cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        bounding: sys::capability::bounding(),
        cgroup_v2: is_cgroup_v2(Path::new("/sys/fs/cgroup")),
        cgroup_parent: settings.cgroup_parent.clone(),
        init_path: settings.init_path.as_ref().map(|path| path.to_string_lossy().into_owned()),
        recursive_read_only: kernel >= (5, 12),
    }
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
    fn the_running_kernel_has_a_version() {
        assert!(kernel_version() >= (5, 10));
    }
}
