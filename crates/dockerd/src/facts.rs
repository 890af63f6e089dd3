//! What `docker version` and `docker info` tell of this build and this host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use engine_api::ApiVersion;
use engine_api::system::{
    Commit, ComponentVersion, ContainerdInfo, ContainerdNamespaces, FirewallInfo, IndexInfo, Info, Platform, Plugins,
    RegistryConfig, Runtime, SwarmInfo, Version,
};
use engine_http::Engine;
use jiff::Timestamp;

use crate::options::Config;
use crate::places::Places;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Of the working tree that was built, where the build says so.
const COMMIT: &str = match option_env!("LONGSHORE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
const HUB: &str = "https://index.docker.io/v1/";
const LOOPBACK_REGISTRIES: [&str; 2] = ["::1/128", "127.0.0.0/8"];

/// Answers from what was read at start; only the time is new in each answer.
pub struct Facts {
    info: Info,
}

impl Facts {
    pub fn gather(config: &Config, places: &Places, containerd: &Path) -> Result<Self> {
        let host = Host::read();
        let mut info = Info {
            id: engine_id(&places.data_root)?,
            driver: "overlay2".to_owned(),
            driver_status: driver_status(&places.data_root),
            plugins: Plugins {
                volume: vec!["local".to_owned()],
                network: ["bridge", "host", "null"].map(str::to_owned).to_vec(),
                authorization: None,
                log: ["json-file", "none"].map(str::to_owned).to_vec(),
            },
            debug: config.debug,
            logging_driver: config.log_driver.clone().unwrap_or_else(|| "json-file".to_owned()),
            cgroup_driver: "cgroupfs".to_owned(),
            index_server_address: HUB.to_owned(),
            registry_config: Some(registries(config)),
            docker_root_dir: places.data_root.display().to_string(),
            labels: config.labels.clone(),
            server_version: VERSION.to_owned(),
            runtimes: runtimes(),
            default_runtime: "runc".to_owned(),
            swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
            live_restore_enabled: true,
            init_binary: "docker-init".to_owned(),
            containerd_commit: commit(),
            runc_commit: commit(),
            init_commit: commit(),
            firewall_backend: Some(FirewallInfo { driver: "nftables".to_owned(), info: Vec::new() }),
            containerd: Some(ContainerdInfo {
                address: containerd.display().to_string(),
                namespaces: ContainerdNamespaces { containers: "moby".to_owned(), plugins: "plugins.moby".to_owned() },
            }),
            ..Info::default()
        };
        host.describe(&mut info);
        Ok(Self { info })
    }
}

impl Engine for Facts {
    fn version(&self) -> Version {
        let component = |name: &str, details: &[(&str, String)]| ComponentVersion {
            name: name.to_owned(),
            version: VERSION.to_owned(),
            details: details.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        };
        let architecture = go_architecture();
        let engine = [
            ("ApiVersion", ApiVersion::MAX.to_string()),
            ("Arch", architecture.to_owned()),
            ("Experimental", "false".to_owned()),
            ("GitCommit", COMMIT.to_owned()),
            ("KernelVersion", self.info.kernel_version.clone()),
            ("MinAPIVersion", ApiVersion::MIN.to_string()),
            ("Os", "linux".to_owned()),
        ];
        let commit = [("GitCommit", COMMIT.to_owned())];
        Version {
            platform: Platform { name: "Longshore".to_owned() },
            components: vec![
                component("Engine", &engine),
                component("docker-containerd", &commit),
                component("docker-runc", &commit),
            ],
            version: VERSION.to_owned(),
            api_version: ApiVersion::MAX.to_string(),
            min_api_version: ApiVersion::MIN.to_string(),
            git_commit: COMMIT.to_owned(),
            os: "linux".to_owned(),
            arch: architecture.to_owned(),
            kernel_version: self.info.kernel_version.clone(),
            ..Version::default()
        }
    }

    fn info(&self) -> Info {
        let mut info = self.info.clone();
        info.system_time = Timestamp::now().to_string();
        info.open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64);
        info.ipv4_forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1");
        info
    }
}

/// The machine as the kernel and its distribution describe it.
struct Host {
    kernel: String,
    machine: String,
    name: String,
    memory: i64,
    processors: i64,
    system: BTreeMap<String, String>,
    controllers: Controllers,
}

/// Which control groups there are.
struct Controllers {
    version: u8,
    names: Vec<String>,
}

impl Host {
    fn read() -> Self {
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

    fn describe(self, info: &mut Info) {
        let controllers = &self.controllers;
        info.memory_limit = controllers.has("memory");
        info.swap_limit = controllers.has("memory")
            && (controllers.version == 2 || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists());
        info.oom_kill_disable = controllers.version == 1 && controllers.has("memory");
        info.cpu_cfs_period = controllers.has("cpu");
        info.cpu_cfs_quota = controllers.has("cpu");
        info.cpu_shares = controllers.has("cpu");
        info.cpu_set = controllers.has("cpuset");
        info.pids_limit = controllers.has("pids");
        info.cgroup_version = controllers.version.to_string();
        info.security_options = security_options();
        info.warnings = warnings(info);
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
            return Self { version: 2, names: names.split_whitespace().map(str::to_owned).collect() };
        }
        let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let enabled = table.lines().filter(|line| !line.starts_with('#') && line.ends_with('1'));
        Self {
            version: 1,
            names: enabled.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name)
    }
}

fn security_options() -> Vec<String> {
    let mut options = Vec::new();
    if Path::new("/sys/kernel/security/apparmor/profiles").exists() {
        options.push("name=apparmor".to_owned());
    }
    options.push("name=seccomp,profile=builtin".to_owned());
    if Path::new("/proc/self/ns/cgroup").exists() {
        options.push("name=cgroupns".to_owned());
    }
    options
}

/// What this kernel lacks, in Docker's words.
fn warnings(info: &Info) -> Option<Vec<String>> {
    let lacking = [
        (info.memory_limit, "WARNING: No memory limit support"),
        (info.swap_limit, "WARNING: No swap limit support"),
        (info.cpu_cfs_quota, "WARNING: No cpu cfs quota support"),
        (info.cpu_shares, "WARNING: No cpu shares support"),
        (info.cpu_set, "WARNING: No cpuset support"),
        (info.pids_limit, "WARNING: No pids limit support"),
    ];
    let warnings: Vec<String> = lacking.iter().filter(|(has, _)| !has).map(|(_, text)| (*text).to_owned()).collect();
    Some(warnings).filter(|warnings| !warnings.is_empty())
}

fn os_release() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
}

fn registries(config: &Config) -> RegistryConfig {
    let hub = IndexInfo { name: "docker.io".to_owned(), mirrors: Vec::new(), secure: true, official: true };
    let mut indexes = BTreeMap::from([("docker.io".to_owned(), hub)]);
    for registry in config.insecure_registries.iter().filter(|registry| !registry.contains('/')) {
        let index = IndexInfo { name: registry.clone(), ..IndexInfo::default() };
        indexes.insert(registry.clone(), index);
    }
    let mut cidrs: Vec<String> = LOOPBACK_REGISTRIES.map(str::to_owned).to_vec();
    cidrs.extend(config.insecure_registries.iter().filter(|registry| registry.contains('/')).cloned());
    RegistryConfig { insecure_registry_cidrs: cidrs, index_configs: indexes, mirrors: None }
}

fn runtimes() -> BTreeMap<String, Runtime> {
    let runtime = Runtime { path: "docker-runc".to_owned(), ..Runtime::default() };
    BTreeMap::from([("io.containerd.runc.v2".to_owned(), runtime.clone()), ("runc".to_owned(), runtime)])
}

fn commit() -> Commit {
    Commit { id: COMMIT.to_owned(), expected: String::new() }
}

fn driver_status(data_root: &Path) -> Vec<[String; 2]> {
    let backing = backing_file_system(data_root);
    [
        ("Backing Filesystem", backing.as_str()),
        ("Supports d_type", "true"),
        ("Using metacopy", "false"),
        ("userxattr", "false"),
    ]
    .map(|(key, value)| [key.to_owned(), value.to_owned()])
    .to_vec()
}

/// The type of the mount that holds the folder.
fn backing_file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((left.split(' ').nth(4)?, right.split(' ').next()?))
    });
    let holding = mounts.filter(|(place, _)| folder.starts_with(place)).max_by_key(|(place, _)| place.len());
    let kind = holding.map_or("unknown", |(_, kind)| kind);
    // Docker names the family of ext2, ext3 and ext4 by its magic number.
    if kind.starts_with("ext") { "extfs".to_owned() } else { kind.to_owned() }
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Made once, then kept: a UUID.
fn engine_id(data_root: &Path) -> Result<String> {
    let path = data_root.join("engine-id");
    if let Ok(id) = fs::read_to_string(&path) {
        return Ok(id.trim().to_owned());
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random id from the kernel")?;
    fs::write(&path, id.trim()).with_context(|| path.display().to_string())?;
    Ok(id.trim().to_owned())
}
