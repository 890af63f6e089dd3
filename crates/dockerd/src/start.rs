//! From configuration to a daemon that answers, and down again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use container_core::LogConfig;
use containerd_client::Client;
use containers::{Neighbours, Service, Settings};
use engine_http::Api;
use images::{Images, ImagesConfig, RegistryOptions};
use metadata::Database;
use networks::{BridgeConfig, Networks};
use tokio::signal::unix::{SignalKind, signal};

use crate::facts::Facts;
use crate::listen::{self, DEFAULT_HOST};
use crate::neighbour::Neighbour;
use crate::options::Config;
use crate::places::{Places, sibling};
use crate::serve::{self, Serving};
use crate::wiring::{BusSinks, ImageLookup, NetworkSandboxes, UsersOfImages};

/// containerd's namespace for everything of this daemon.
const NAMESPACE: &str = "moby";
const DEFAULT_GROUP: &str = "docker";
const DEFAULT_PID_FILE: &str = "/var/run/docker.pid";
/// For a containerd that somebody else started.
const CONTAINERD_LIMIT: Duration = Duration::from_secs(15);
/// Docker's default of `--shutdown-timeout`.
const SHUTDOWN_S: u32 = 15;

/// Serves until SIGTERM or SIGINT. Containers run on.
pub async fn run(config: Config) -> Result<()> {
    let places = Places::new(config.data_root.clone(), config.exec_root.clone());
    for folder in [&places.data_root, &places.exec_root] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let pid_file = PidFile::write(config.pidfile.as_deref().unwrap_or(Path::new(DEFAULT_PID_FILE)))?;
    let database = Database::open(&places.database(), &metadata::Options::default())?;
    let (containerd, own) = containerd(&config, &places).await?;
    let client = Client::new(&containerd, NAMESPACE)?;
    client.wait_until_ready(CONTAINERD_LIMIT).await.context("containerd does not answer")?;

    let events = BusSinks::default();
    let users = UsersOfImages::default();
    let images = open_images(&config, &client, &users, &events);
    let networks = open_networks(&config, &places, &database, &events)?;
    let neighbours = Neighbours {
        images: Arc::new(ImageLookup(images.clone())),
        sandboxes: Arc::new(NetworkSandboxes(networks.clone())),
        events: Arc::new(events.clone()),
    };
    let containers = Arc::new(Service::open(settings(&config, &places), database, client, neighbours).await?);
    users.connect(&containers);
    let recovered = containers.recover().await.context("cannot compare containers with containerd's")?;
    tracing::info!(running = recovered.running, ended = recovered.ended, strays = recovered.strays, "recovered");

    let engine = Box::new(Facts::gather(&config, &places, &containerd)?);
    let watch_netd = networks.clone();
    let following = tokio::spawn(async move { watch_netd.follow_netd().await });
    let api = Arc::new(Api {
        containers: Arc::clone(&containers),
        images,
        networks: networks.clone(),
        events: events.0,
        engine,
    });
    let serving = listen_and_serve(&config, api).await?;
    wait_for_end().await?;

    let limit = Duration::from_secs(u64::from(config.shutdown_timeout.unwrap_or(SHUTDOWN_S)));
    serving.end(limit).await;
    containers.shutdown().await;
    following.abort();
    if let Err(error) = networks.shutdown().await {
        tracing::warn!(error = errors::chain(&error), "docker-netd stays");
    }
    if let Some(neighbour) = own {
        neighbour.end().await;
    }
    drop(pid_file);
    Ok(())
}

/// The docker-containerd that this daemon keeps running.
struct OwnContainerd {
    neighbour: Neighbour,
    keeping: tokio::task::JoinHandle<()>,
}

impl OwnContainerd {
    async fn end(self) {
        self.keeping.abort();
        self.neighbour.stop().await;
    }
}

/// The socket of the containerd in use; ours is started unless the configuration names another.
async fn containerd(config: &Config, places: &Places) -> Result<(PathBuf, Option<OwnContainerd>)> {
    if let Some(address) = &config.containerd {
        return Ok((address.clone(), None));
    }
    let socket = places.containerd_socket();
    let path = |path: PathBuf| path.display().to_string();
    let mut arguments = vec!["--address".to_owned(), path(socket.clone())];
    arguments.extend(["--root".to_owned(), path(places.containerd_root())]);
    arguments.extend(["--state".to_owned(), path(places.containerd_state())]);
    arguments.extend(["--log-level".to_owned(), if config.debug { "debug" } else { "info" }.to_owned()]);
    let neighbour = Neighbour {
        name: "docker-containerd",
        program: sibling("docker-containerd"),
        arguments,
        pid_file: places.containerd_pid_file(),
        socket: socket.clone(),
    };
    let running = neighbour.ensure().await?;
    let keeping = tokio::spawn(neighbour.clone().keep(running));
    Ok((socket, Some(OwnContainerd { neighbour, keeping })))
}

fn open_images(config: &Config, client: &Client, users: &UsersOfImages, events: &BusSinks) -> Images {
    let mut images = ImagesConfig::new(client.clone());
    images.registries = RegistryOptions { insecure: config.insecure_registries.clone(), ..RegistryOptions::default() };
    Images::new(images, Arc::new(users.clone()), Arc::new(events.clone()))
}

fn open_networks(config: &Config, places: &Places, database: &Database, events: &BusSinks) -> Result<Networks> {
    let mut wanted = networks::Config::new(places.exec_root.clone(), places.hash.clone());
    wanted.netd_program = Some(sibling("docker-netd"));
    let mut bridge = BridgeConfig { name: config.bridge.clone(), ..BridgeConfig::default() };
    if let Some(mtu) = config.mtu {
        bridge.mtu = mtu;
    }
    if let Some(bip) = &config.bip {
        let address = bip.split('/').next().unwrap_or_default().parse();
        let address = address.with_context(|| format!("invalid --bip {bip}: expected address/prefix"))?;
        bridge.address = Some((address, bip.parse().with_context(|| format!("invalid --bip {bip}"))?));
    }
    wanted.bridge = bridge;
    Ok(Networks::open(wanted, database.clone(), Arc::new(events.clone()))?)
}

fn settings(config: &Config, places: &Places) -> Settings {
    let init = sibling("docker-init");
    Settings {
        data_root: places.data_root.clone(),
        exec_root: places.exec_root.clone(),
        socket_root: places.exec_root.clone(),
        namespace: NAMESPACE.to_owned(),
        cgroup_parent: config.cgroup_parent.clone().unwrap_or_else(|| places.cgroup_parent()),
        runc_path: sibling("docker-runc"),
        init_path: init.is_absolute().then_some(init),
        shim: None,
        log_defaults: LogConfig {
            driver: config.log_driver.clone().unwrap_or_default(),
            options: config.log_opts.clone(),
        },
    }
}

async fn listen_and_serve(config: &Config, api: Arc<Api>) -> Result<Serving> {
    let group = config.group.as_deref().unwrap_or(DEFAULT_GROUP);
    let default = [DEFAULT_HOST.to_owned()];
    let hosts = if config.hosts.is_empty() { default.as_slice() } else { &config.hosts };
    let mut listeners = Vec::with_capacity(hosts.len());
    for host in hosts {
        listeners.push(listen::bind(host, group).await?);
        tracing::info!(host, "API listens");
    }
    Ok(serve::serve(listeners, api))
}

async fn wait_for_end() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; containers run on");
    Ok(())
}

/// Says which process the daemon is; two daemons with one file cannot run.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self> {
        if let Ok(text) = fs::read_to_string(path) {
            let command = fs::read_to_string(format!("/proc/{}/comm", text.trim())).unwrap_or_default();
            if command.trim() == "dockerd" && text.trim() != std::process::id().to_string() {
                bail!("process with PID {} is still running: {}", text.trim(), path.display());
            }
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(path, std::process::id().to_string()).with_context(|| path.display().to_string())?;
        Ok(Self(path.to_path_buf()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Nobody needs it any more; a failure leaves a stale file, which the next start recognises.
        let _ = fs::remove_file(&self.0);
    }
}
