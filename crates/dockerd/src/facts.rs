//! What `docker version` and `docker info` tell of this build, this host and this configuration.

mod build;
mod host;
mod proxies;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use engine_api::ApiVersion;
use engine_api::system::{
    AddressPool, Commit, ComponentVersion, ContainerdInfo, ContainerdNamespaces, FirewallInfo, IndexInfo, Info,
    Platform, Plugins, RegistryConfig, Runtime, SwarmInfo, Version,
};
use engine_http::Engine;
use jiff::Timestamp;

pub use build::{ENGINE_VERSION, VERSION};

use self::build::COMMIT;

use self::host::Host;
use crate::options::{self, Config};
use crate::places::Places;

const HUB: &str = "https://index.docker.io/v1/";
const LOOPBACK_REGISTRIES: [&str; 2] = ["::1/128", "127.0.0.0/8"];
const ATTACK_SURFACE: &str = "
         Access to the remote API is equivalent to root access on the host. Refer
         to the 'Docker daemon attack surface' section in the documentation for
         more information: https://docs.docker.com/go/attack-surface/
In future versions this will be a hard failure preventing the daemon from starting! Learn more at: https://docs.docker.com/go/api-security/";

/// Answers from what was read at start, and from the configuration as it is now.
pub struct Facts {
    info: Info,
    config: RwLock<Arc<Config>>,
    oldest: ApiVersion,
    has_cgroup_v2: bool,
}

impl Facts {
    pub fn gather(config: Arc<Config>, places: &Places, containerd: &Path, oldest: ApiVersion) -> Result<Self> {
        let host = Host::read();
        let has_cgroup_v2 = host.controllers.version == 2;
        let mut info = Info {
            id: engine_id(&places.data_root)?,
            driver: "overlay2".to_owned(),
            driver_status: driver_status(&places.data_root),
            plugins: Plugins {
                // Asked of the services each time.
                volume: Vec::new(),
                network: ["bridge", "host", "ipvlan", "macvlan", "null"].map(str::to_owned).to_vec(),
                authorization: None,
                log: containers::LOG_DRIVERS.map(str::to_owned).to_vec(),
            },
            cgroup_driver: "cgroupfs".to_owned(),
            index_server_address: HUB.to_owned(),
            docker_root_dir: places.data_root.display().to_string(),
            server_version: ENGINE_VERSION.to_owned(),
            swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
            init_binary: "docker-init".to_owned(),
            containerd_commit: commit(),
            runc_commit: commit(),
            init_commit: commit(),
            firewall_backend: Some(firewall(&config)),
            containerd: Some(containerd_info(&config, containerd)),
            ..Info::default()
        };
        host.describe(&mut info);
        let profile = config.seccomp_profile();
        let no_new_privileges = config.no_new_privileges.unwrap_or_default();
        info.security_options = host::security_options(profile, places.remap.is_some(), no_new_privileges);
        if profile != options::BUILTIN_PROFILE {
            let warning = "WARNING: daemon is not using the default seccomp profile";
            info.warnings.get_or_insert_default().push(warning.to_owned());
        }
        Ok(Self { info, config: RwLock::new(config), oldest, has_cgroup_v2 })
    }

    /// From now on the configuration is this.
    pub fn replace(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who builds, for BuildKit's clients, which ask what version of BuildKit it is.
    pub fn build_worker(&self) -> buildkit_grpc::Identity {
        let (id, version, revision) = (self.id().to_owned(), build::BUILDKIT_VERSION.to_owned(), COMMIT.to_owned());
        buildkit_grpc::Identity { id, version, revision }
    }

    pub fn id(&self) -> &str {
        &self.info.id
    }

    pub fn host_name(&self) -> &str {
        &self.info.name
    }
}

impl Engine for Facts {
    fn version(&self) -> Version {
        let component = |name: &str, version: &str, details: &[(&str, &str)]| ComponentVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            details: details.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let experimental = self.is_experimental();
        let (newest, oldest) = (ApiVersion::MAX.to_string(), self.oldest.to_string());
        let mut engine = vec![
            ("ApiVersion", newest.as_str()),
            ("Arch", build::architecture()),
            ("Experimental", if experimental { "true" } else { "false" }),
            ("GitCommit", COMMIT),
            ("GoVersion", build::COMPILER),
            ("KernelVersion", &self.info.kernel_version),
            ("MinAPIVersion", &oldest),
            ("Os", "linux"),
        ];
        if !build::BUILD_TIME.is_empty() {
            engine.push(("BuildTime", build::BUILD_TIME));
        }
        let own = [("GitCommit", COMMIT)];
        let parts = ["longshore", "docker-containerd", "docker-runc", "docker-init"];
        let mut components = vec![component("Engine", ENGINE_VERSION, &engine)];
        components.extend(parts.map(|name| component(name, VERSION, &own)));
        Version {
            platform: Platform { name: "Longshore".to_owned() },
            components,
            version: ENGINE_VERSION.to_owned(),
            api_version: newest.clone(),
            min_api_version: oldest.clone(),
            git_commit: COMMIT.to_owned(),
            go_version: build::COMPILER.to_owned(),
            os: "linux".to_owned(),
            arch: build::architecture().to_owned(),
            kernel_version: self.info.kernel_version.clone(),
            experimental,
            build_time: build::BUILD_TIME.to_owned(),
        }
    }

    fn info(&self) -> Info {
        let config = self.config();
        let mut info = self.info.clone();
        info.system_time = Timestamp::now().to_string();
        info.open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64);
        // What runs side by side here are tasks.
        let runtime = tokio::runtime::Handle::try_current().ok();
        info.goroutines = runtime.map_or(0, |runtime| runtime.metrics().num_alive_tasks() as i64);
        info.ipv4_forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1");
        configured(&mut info, &config);
        if !info.ipv4_forwarding {
            info.warnings.get_or_insert_default().push("WARNING: IPv4 forwarding is disabled".to_owned());
        }
        info
    }

    /// Old clients look for Docker's name in it.
    fn server(&self) -> String {
        format!("Docker/{ENGINE_VERSION} (linux)")
    }

    fn is_experimental(&self) -> bool {
        self.config().experimental()
    }

    fn has_cgroup_v2(&self) -> bool {
        self.has_cgroup_v2
    }

    /// Clients shall build by BuildKit's protocol, unless the configuration says otherwise.
    fn builder_version(&self) -> &'static str {
        match self.config().features.get("buildkit") {
            Some(false) => "1",
            _ => "2",
        }
    }
}

/// What the configuration says.
fn configured(info: &mut Info, config: &Config) {
    info.debug = config.debug();
    info.logging_driver = config.log_driver.clone().unwrap_or_else(|| "json-file".to_owned());
    info.labels = config.labels.clone();
    info.live_restore_enabled = config.live_restore();
    info.experimental_build = config.experimental();
    info.registry_config = Some(registries(config));
    proxies::describe(info, config, |name| std::env::var(name).ok());
    info.runtimes = runtimes(config);
    info.default_runtime =
        config.default_runtime.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "runc".to_owned());
    let plugins = config.authorization_plugins.clone();
    info.plugins.authorization = Some(plugins).filter(|plugins| !plugins.is_empty());
    info.cdi_spec_dirs = config.cdi_folders().iter().map(|folder| folder.display().to_string()).collect();
    let pools = config.default_address_pools.iter();
    info.default_address_pools =
        pools.map(|pool| AddressPool { base: pool.base.clone(), size: i64::from(pool.size) }).collect();
    let warnings = open_doors(config);
    if !warnings.is_empty() {
        // Docker tells of them first.
        let rest = info.warnings.take().unwrap_or_default();
        info.warnings = Some(warnings.into_iter().chain(rest).collect());
    }
}

/// TCP without TLS, or without client certificates.
fn open_doors(config: &Config) -> Vec<String> {
    let hosts = config.listen_on.iter().filter(|host| matches!(host, options::Host::Tcp { .. }));
    let warnings = hosts.filter_map(|host| {
        let address = host.to_string();
        let address = address.trim_start_matches("tcp://");
        let what = match (config.tls(), config.tls_verify()) {
            (false, _) => format!("http://{address} without encryption."),
            (true, false) => format!("https://{address} without TLS client verification."),
            (true, true) => return None,
        };
        Some(format!("[DEPRECATION NOTICE]: API is accessible on {what}{ATTACK_SURFACE}"))
    });
    warnings.collect()
}

/// The filter is nftables' in any case; which of Docker's two was asked for.
fn firewall(config: &Config) -> FirewallInfo {
    let driver = config.firewall_backend.as_deref().filter(|backend| !backend.is_empty()).unwrap_or("nftables");
    FirewallInfo { driver: driver.to_owned(), info: Vec::new() }
}

fn containerd_info(config: &Config, address: &Path) -> ContainerdInfo {
    let named = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
    ContainerdInfo {
        address: address.display().to_string(),
        namespaces: ContainerdNamespaces {
            containers: named(&config.containerd_namespace, "moby"),
            plugins: named(&config.containerd_plugins_namespace, "plugins.moby"),
        },
    }
}

fn registries(config: &Config) -> RegistryConfig {
    let mirrors = config.registry_mirrors.clone();
    let hub = IndexInfo { name: "docker.io".to_owned(), mirrors: mirrors.clone(), secure: true, official: true };
    let mut indexes = BTreeMap::from([("docker.io".to_owned(), hub)]);
    for registry in config.insecure_registries.iter().filter(|registry| !registry.contains('/')) {
        let index = IndexInfo { name: registry.clone(), ..IndexInfo::default() };
        indexes.insert(registry.clone(), index);
    }
    let mut cidrs: Vec<String> = LOOPBACK_REGISTRIES.map(str::to_owned).to_vec();
    cidrs.extend(config.insecure_registries.iter().filter(|registry| registry.contains('/')).cloned());
    RegistryConfig {
        insecure_registry_cidrs: cidrs,
        index_configs: indexes,
        mirrors: Some(mirrors).filter(|mirrors| !mirrors.is_empty()),
    }
}

fn runtimes(config: &Config) -> BTreeMap<String, Runtime> {
    let own = Runtime { path: "docker-runc".to_owned(), ..Runtime::default() };
    let mut runtimes = BTreeMap::from([("io.containerd.runc.v2".to_owned(), own.clone()), ("runc".to_owned(), own)]);
    for (name, runtime) in &config.runtimes {
        let shown = Runtime { path: runtime.path.clone(), args: runtime.args.clone(), ..Runtime::default() };
        runtimes.insert(name.clone(), shown);
    }
    runtimes
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
        ("Native Overlay Diff", "true"),
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
