//! The configuration as each service wants it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use builder::BuilderConfig;
use container_core::spec::{Policy, Remap};
use container_core::{LogConfig, Ulimit};
use containerd_client::Client;
use containers::{CpuRealtime, Defaults, Runtime, Settings};
use images::{Images, ImagesConfig, RegistryOptions};
use metadata::Database;
use volumes::Volumes;

use crate::options::{BUILTIN_PROFILE, Config};
use crate::places::{Places, sibling};
use crate::remap;
use crate::wiring::{BusSinks, UsersOfImages};

/// containerd's namespace for everything of this daemon, unless the configuration names another.
const NAMESPACE: &str = "moby";
/// Docker's numbers.
const DOWNLOADS: i64 = 3;
const UPLOADS: i64 = 5;
const ATTEMPTS: i64 = 5;
const UNCONFINED: &str = "unconfined";
const LARGEST_PROFILE: u64 = 1024 * 1024;

pub fn namespace(config: &Config) -> String {
    config.containerd_namespace.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| NAMESPACE.to_owned())
}

pub fn open_images(config: &Config, client: &Client, users: &UsersOfImages, events: &BusSinks) -> Images {
    let mut images = ImagesConfig::new(client.clone());
    images.registries = registry_options(config);
    images.max_concurrent_downloads = concurrent(config.max_concurrent_downloads, DOWNLOADS);
    images.max_concurrent_uploads = concurrent(config.max_concurrent_uploads, UPLOADS);
    images.limit_bytes = image_store_limit(config);
    Images::new(images, Arc::new(users.clone()), Arc::new(events.clone()))
}

/// `builder.gc` of daemon.json: whether steps are kept, and how many bytes of them.
pub fn builder(config: &Config, places: &Places) -> Result<BuilderConfig> {
    let gc = config.builder.as_ref().and_then(|builder| builder.get("gc"));
    let text = |key: &str| gc.and_then(|gc| gc.get(key)).and_then(serde_json::Value::as_str);
    let kept = text("defaultKeepStorage").or_else(|| text("defaultReservedSpace"));
    let keep_bytes = match kept {
        Some(kept) => go_text::size::parse_bytes(kept)
            .and_then(|bytes| u64::try_from(bytes).ok())
            .ok_or_else(|| anyhow!("invalid size in builder.gc: {kept}"))?,
        None => 0,
    };
    let entitlements = config.builder.as_ref().and_then(|builder| builder.get("entitlements"));
    let insecure = entitlements.and_then(|all| all.get("security-insecure")).and_then(serde_json::Value::as_bool);
    Ok(BuilderConfig {
        folder: places.data_root.join("build"),
        secrets: places.exec_root.join("build-secrets"),
        init: sibling("docker-init"),
        keep_bytes,
        allows_insecure: insecure.unwrap_or(false),
        users: places.remap.as_ref().map(remap::maps),
        is_experimental: config.experimental(),
    })
}

pub fn registry_options(config: &Config) -> RegistryOptions {
    let mut options = RegistryOptions {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        download_attempts: u32::try_from(concurrent(config.max_download_attempts, ATTEMPTS)).unwrap_or(u32::MAX),
        ..RegistryOptions::default()
    };
    // The environment's are overridden one by one, as in Docker.
    let set = |place: &mut String, value: &Option<String>| {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            place.clone_from(value);
        }
    };
    set(&mut options.proxies.http, &config.http_proxy);
    set(&mut options.proxies.https, &config.https_proxy);
    set(&mut options.proxies.none, &config.no_proxy);
    options
}

/// Bytes; 0 for no limit.
pub fn image_store_limit(config: &Config) -> u64 {
    config.image_store_limit.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default()
}

pub fn downloads(config: &Config) -> usize {
    concurrent(config.max_concurrent_downloads, DOWNLOADS)
}

pub fn uploads(config: &Config) -> usize {
    concurrent(config.max_concurrent_uploads, UPLOADS)
}

/// Zero is Docker's word for its default.
fn concurrent(wanted: Option<i64>, default: i64) -> usize {
    usize::try_from(wanted.filter(|number| *number > 0).unwrap_or(default)).unwrap_or(1)
}

/// Folders that containers write into belong to whom they take for root.
pub async fn open_volumes(places: &Places, database: &Database, events: &BusSinks) -> Result<Volumes> {
    let wanted = volumes::Config {
        root: places.data_root.join("volumes"),
        owner: places.remap.as_ref().map_or((0, 0), Remap::root),
        plugins: plugin_client::Plugins::default(),
    };
    Ok(Volumes::open(wanted, database.clone(), Arc::new(events.clone())).await?)
}

pub fn containers(config: &Config, places: &Places) -> Result<Settings> {
    let mut defaults = Defaults { remap: places.remap.clone(), ..defaults(config) };
    defaults.policy.seccomp_profile = seccomp_profile(config.seccomp_profile())?;
    defaults.cpu_realtime = cpu_realtime(config)?;
    Ok(Settings {
        data_root: places.data_root.clone(),
        exec_root: places.exec_root.clone(),
        socket_root: places.exec_root.clone(),
        namespace: namespace(config),
        cgroup_parent: config
            .cgroup_parent
            .clone()
            .filter(|parent| !parent.is_empty())
            .unwrap_or_else(|| places.cgroup_parent()),
        runc_path: sibling("docker-runc"),
        init_path: init_path(config),
        shim: None,
        log_defaults: LogConfig {
            driver: config.log_driver.clone().unwrap_or_default(),
            options: config.log_opts.clone(),
        },
        defaults,
    })
}

/// The share of the groups above containers, where the kernel has one for groups.
fn cpu_realtime(config: &Config) -> Result<CpuRealtime> {
    let share = CpuRealtime {
        period_us: config.cpu_rt_period.unwrap_or_default(),
        runtime_us: config.cpu_rt_runtime.unwrap_or_default(),
    };
    if share != CpuRealtime::default() {
        let options = "daemon-scoped cpu-rt-period and cpu-rt-runtime are";
        let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        ensure!(!is_v2, "{options} not implemented for cgroup v2");
        let known = Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
        ensure!(known, "{options} not supported by the kernel");
    }
    Ok(share)
}

/// The words of a profile stay, a file is read once: as in Docker it is understood by the first container that has it.
fn seccomp_profile(profile: &str) -> Result<Option<String>> {
    if [BUILTIN_PROFILE, UNCONFINED].contains(&profile) {
        return Ok(Some(profile.to_owned()));
    }
    let mut text = String::new();
    let read = File::open(profile).and_then(|file| file.take(LARGEST_PROFILE + 1).read_to_string(&mut text));
    read.map_err(|error| anyhow!("opening seccomp profile ({profile}) failed: {error}"))?;
    ensure!(text.len() as u64 <= LARGEST_PROFILE, "opening seccomp profile ({profile}) failed: larger than 1 MiB");
    Ok(Some(text))
}

fn init_path(config: &Config) -> Option<PathBuf> {
    let path = config.init_path.clone().filter(|path| !path.as_os_str().is_empty());
    path.or_else(|| Some(sibling("docker-init")).filter(|path| path.is_absolute()))
}

/// What containers get that ask for nothing of their own.
pub fn defaults(config: &Config) -> Defaults {
    let ulimits = config.default_ulimits.iter();
    let ulimits = ulimits.map(|(name, limit)| Ulimit { name: name.clone(), soft: limit.soft, hard: limit.hard });
    let runtimes = config.runtimes.iter().map(|(name, runtime)| {
        let known = if runtime.kind.is_empty() {
            Runtime::Program { path: runtime.path.clone().into(), arguments: runtime.args.clone() }
        } else {
            let options = runtime.options.as_ref().and_then(|options| options.as_object());
            let options = options.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
            Runtime::Shim { name: runtime.kind.clone(), options: options.collect() }
        };
        (name.clone(), known)
    });
    Defaults {
        policy: Policy {
            init: config.init.unwrap_or_default(),
            no_new_privileges: config.no_new_privileges.unwrap_or_default(),
            ulimits: ulimits.collect(),
            ..Policy::default()
        },
        shm_size: config.default_shm_size.unwrap_or_default(),
        ipc_mode: config.default_ipc_mode.clone().unwrap_or_default(),
        cgroupns_mode: config.default_cgroupns_mode.clone().unwrap_or_default(),
        runtimes: runtimes.collect(),
        runtime: config.default_runtime.clone().filter(|name| name != "runc").unwrap_or_default(),
        cdi_folders: config.cdi_folders(),
        ..Defaults::default()
    }
}
