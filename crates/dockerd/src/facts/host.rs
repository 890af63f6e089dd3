//! The machine as the kernel and its distribution describe it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use engine_api::system::Info;

pub struct Host {
    kernel: String,
    machine: String,
    name: String,
    memory: i64,
    processors: i64,
    system: BTreeMap<String, String>,
    pub controllers: Controllers,
}

/// Which control groups there are, and what they can do.
pub struct Controllers {
    pub version: u8,
    names: Vec<String>,
    /// Of cgroup v1: where each controller is mounted.
    mounts: BTreeMap<String, PathBuf>,
}

impl Host {
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total =
            memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
            name: uname.nodename().to_string_lossy().into_owned(),
            memory: total.unwrap_or(0_i64) * 1024,
            processors: std::thread::available_parallelism().map_or(1, |count| count.get() as i64),
            system: os_release(),
            controllers: Controllers::read(),
        }
    }

    pub fn describe(self, info: &mut Info) {
        self.controllers.describe(info);
        info.warnings = Some(self.controllers.warnings(info)).filter(|warnings| !warnings.is_empty());
        info.kernel_version = self.kernel;
        info.architecture = self.machine;
        info.operating_system = self.system.get("PRETTY_NAME").cloned().unwrap_or_else(|| "Linux".to_owned());
        info.os_version = self.system.get("VERSION_ID").cloned().unwrap_or_default();
        info.os_type = "linux".to_owned();
        info.cpus = self.processors;
        info.memory_total = self.memory;
        info.name = self.name;
    }
}

impl Controllers {
    fn read() -> Self {
        if let Ok(names) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
            let names = names.split_whitespace().map(str::to_owned).collect();
            return Self { version: 2, names, mounts: BTreeMap::new() };
        }
        let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let enabled = table.lines().filter(|line| !line.starts_with('#') && line.ends_with('1'));
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            version: 1,
            names: enabled.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect(),
            mounts: v1_mounts(&mountinfo),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name) && (self.version == 2 || self.mounts.contains_key(name))
    }

    /// Of cgroup v1: whether the controller has this file.
    fn has_file(&self, controller: &str, file: &str) -> bool {
        self.mounts.get(controller).is_some_and(|mount| mount.join(file).exists())
    }

    fn describe(&self, info: &mut Info) {
        let v1 = self.version == 1;
        info.memory_limit = self.has("memory");
        info.swap_limit = if v1 {
            self.has_file("memory", "memory.memsw.limit_in_bytes")
        } else {
            self.has("memory") && has_swap_limit_v2()
        };
        info.kernel_memory = v1 && self.has_file("memory", "memory.kmem.limit_in_bytes");
        info.kernel_memory_tcp = v1 && self.has_file("memory", "memory.kmem.tcp.limit_in_bytes");
        info.oom_kill_disable = v1 && self.has_file("memory", "memory.oom_control");
        let cfs = if v1 { self.has_file("cpu", "cpu.cfs_quota_us") } else { self.has("cpu") };
        info.cpu_cfs_period = cfs;
        info.cpu_cfs_quota = cfs;
        info.cpu_shares = self.has("cpu");
        info.cpu_set = self.has("cpuset");
        info.pids_limit = self.has("pids");
        info.cgroup_version = self.version.to_string();
    }

    /// What this kernel lacks, in Docker's words and order.
    fn warnings(&self, info: &Info) -> Vec<String> {
        let v1 = self.version == 1;
        let io = |file: &str| if v1 { self.has_file("blkio", file) } else { self.has("io") };
        let (read_bps, write_bps) = (io("blkio.throttle.read_bps_device"), io("blkio.throttle.write_bps_device"));
        let (read_iops, write_iops) = (io("blkio.throttle.read_iops_device"), io("blkio.throttle.write_iops_device"));
        let throttle = |v1_words: &'static str, v2_words: &'static str| if v1 { v1_words } else { v2_words };
        let lacking = [
            (info.memory_limit, "No memory limit support"),
            (info.swap_limit, "No swap limit support"),
            (info.kernel_memory_tcp || !v1, "No kernel memory TCP limit support"),
            (info.oom_kill_disable || !v1, "No oom kill disable support"),
            (info.cpu_cfs_quota, "No cpu cfs quota support"),
            (info.cpu_cfs_period, "No cpu cfs period support"),
            (info.cpu_shares, "No cpu shares support"),
            (info.cpu_set, "No cpuset support"),
            (v1 || self.has("io"), "No io.weight support"),
            (v1 || self.has("io"), "No io.weight (per device) support"),
            (read_bps, throttle("No blkio throttle.read_bps_device support", "No io.max (rbps) support")),
            (write_bps, throttle("No blkio throttle.write_bps_device support", "No io.max (wbps) support")),
            (read_iops, throttle("No blkio throttle.read_iops_device support", "No io.max (riops) support")),
            (write_iops, throttle("No blkio throttle.write_iops_device support", "No io.max (wiops) support")),
        ];
        lacking.iter().filter(|(has, _)| !has).map(|(_, text)| format!("WARNING: {text}")).collect()
    }
}

/// Where the root group has none, ours tells: every group but the root has the file when the kernel does.
fn has_swap_limit_v2() -> bool {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let folder = Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    if folder == Path::new("/sys/fs/cgroup/") || own == "/" {
        let children = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        return children.map(|child| child.path().join("memory.swap.max")).any(|file| file.exists());
    }
    folder.join("memory.swap.max").exists()
}

fn v1_mounts(mountinfo: &str) -> BTreeMap<String, PathBuf> {
    let mut mounts = BTreeMap::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut right = right.split(' ');
        if right.next() != Some("cgroup") {
            continue;
        }
        let (Some(place), Some(options)) = (left.split(' ').nth(4), right.nth(1)) else { continue };
        for option in options.split(',') {
            mounts.entry(option.to_owned()).or_insert_with(|| PathBuf::from(place));
        }
    }
    mounts
}

/// In Docker's order.
pub fn security_options(seccomp_profile: &str, remapped: bool, no_new_privileges: bool) -> Vec<String> {
    let mut options = Vec::new();
    if Path::new("/sys/kernel/security/apparmor/profiles").exists() {
        options.push("name=apparmor".to_owned());
    }
    options.push(format!("name=seccomp,profile={seccomp_profile}"));
    if remapped {
        options.push("name=userns".to_owned());
    }
    if Path::new("/proc/self/ns/cgroup").exists() {
        options.push("name=cgroupns".to_owned());
    }
    if no_new_privileges {
        options.push("name=no-new-privileges".to_owned());
    }
    options
}

fn os_release() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    let text = text.unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_v1_are_found_where_they_are_mounted() {
        let table = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                     31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let mounts = v1_mounts(table);
        assert_eq!(mounts["cpu"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(mounts.contains_key("cpuacct") && !mounts.contains_key("cgroup2"));
    }

    #[test]
    fn what_is_lacking_is_told_in_docker_s_words() {
        let bare = |version| Controllers { version, names: Vec::new(), mounts: BTreeMap::new() };
        let mut info = Info::default();
        let v1 = bare(1).warnings(&info);
        assert_eq!((v1.len(), v1[2].as_str()), (12, "WARNING: No kernel memory TCP limit support"));
        assert_eq!(v1[11], "WARNING: No blkio throttle.write_iops_device support");
        info.swap_limit = true;
        let v2 = bare(2).warnings(&info);
        assert!(!v2.iter().any(|warning| warning.contains("swap") || warning.contains("TCP")));
        assert_eq!(v2.last().unwrap(), "WARNING: No io.max (wiops) support");
    }
}
