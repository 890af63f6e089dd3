//! From configuration to a daemon that answers, and down again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use builder::Builder;
use buildkit::BuildKit;
use buildkit_session::ContextStore;
use containerd_client::Client;
use containers::{Neighbours, Service};
use engine_api::ApiVersion;
use engine_http::{Actions, Api, Authorization};
use metadata::Database;
use networks::Networks;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::facts::Facts;
use crate::listen::Listener;
use crate::log::Level;
use crate::neighbour::Neighbour;
use crate::options::{Config, Options};
use crate::pid_file::PidFile;
use crate::places::{Places, sibling};
use crate::reload::Reloading;
use crate::wiring::{
    BuildImages, BuildRuns, BusSinks, EventsOfContainers, ImageLookup, NetworkSandboxes, StepImages, UsersOfImages,
    VolumeProvider,
};
use crate::{activation, descriptors, listen, metrics, network_settings, remap, serve, settings, tls};

const DEFAULT_PID_FILE: &str = "/var/run/docker.pid";
/// For a containerd that somebody else started.
const CONTAINERD_LIMIT: Duration = Duration::from_secs(15);
/// Docker's default of `--shutdown-timeout`, in seconds.
const SHUTDOWN_TIMEOUT: i64 = 15;

/// Serves until SIGTERM, SIGINT or SIGPWR. Containers run on, unless `live-restore` is off or the machine goes down.
pub async fn run(options: Options, level: Level, oldest: ApiVersion) -> Result<()> {
    let options = Arc::new(options);
    let config = Arc::new(options.config.clone());
    let signals = Signals::listen()?;
    let tls = tls::acceptor(&config)?;
    let mut places = Places::new(config.data_root.clone(), config.exec_root.clone());
    if let Some(remapped) = remap::resolve(config.userns_remap.as_deref())? {
        remapped.prepare(&mut places)?;
    }
    for folder in [&places.data_root, &places.exec_root] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let pid_file = PidFile::write(config.pidfile.as_deref().unwrap_or(Path::new(DEFAULT_PID_FILE)))?;
    let listeners = listen::bind_all(&config, tls).await.context("failed to load listeners")?;
    let measured = match config.metrics_addr.as_deref().filter(|address| !address.is_empty()) {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let daemon = Daemon::open(&config, &places, oldest).await.context("failed to start daemon")?;
    let measuring = measured.map(|listener| metrics::serve(listener, Arc::clone(&daemon.api)));
    let asked = daemon
        .serve(
            listeners,
            Reloading { options, facts: Arc::clone(&daemon.facts), api: Arc::clone(&daemon.api), level },
            signals,
        )
        .await;
    if let Some(measuring) = measuring {
        measuring.abort();
    }
    daemon.close(asked).await;
    drop(pid_file);
    tracing::info!("Daemon shutdown complete");
    Ok(())
}

/// The services, wired, and what else has to end with them.
struct Daemon {
    api: Arc<Api>,
    facts: Arc<Facts>,
    containers: Arc<Service>,
    networks: Networks,
    following: JoinHandle<()>,
    containerd: Option<OwnContainerd>,
}

impl Daemon {
    async fn open(config: &Arc<Config>, places: &Places, oldest: ApiVersion) -> Result<Self> {
        let authorization = Authorization::default();
        let plugins = authorization.set(&config.authorization_plugins).await;
        plugins.context("failed to validate authorization plugin")?;
        // What is wrong with the options is told before anything is started that would stay.
        let (wanted, wanted_networks) =
            (settings::containers(config, places)?, network_settings::networks(config, places)?);
        let database = Database::open(&places.database(), &metadata::Options::default())?;
        let (containerd, own) = containerd(config, places).await?;
        let client = Client::new(&containerd, &settings::namespace(config))?;
        client.wait_until_ready(CONTAINERD_LIMIT).await.context("containerd does not answer")?;

        let events = BusSinks::default();
        let users = UsersOfImages::default();
        let images = settings::open_images(config, &client, &users, &events);
        images.recover().await.context("cannot look through containerd's leases")?;
        let networks = Networks::open(wanted_networks, database.clone(), Arc::new(events.clone()))?;
        let volumes = settings::open_volumes(places, &database, &events).await?;
        let steps = StepImages::default();
        let neighbours = Neighbours {
            images: Arc::new(ImageLookup { images: images.clone(), steps: steps.clone() }),
            sandboxes: Arc::new(NetworkSandboxes::new(networks.clone(), config)),
            volumes: Arc::new(VolumeProvider(volumes.clone())),
            events: Arc::new(EventsOfContainers { bus: events.clone(), images: images.clone() }),
        };
        let built = database.clone();
        let service = Service::open(wanted, database, client, neighbours).await?;
        let containers = Arc::new(service);
        let runs = BuildRuns { containers: Arc::clone(&containers), steps };
        let builder = Builder::open(
            settings::builder(config, places)?,
            built,
            Arc::new(BuildImages(images.clone())),
            Arc::new(runs),
        )?;
        builder.recover().await.context("cannot clear what builds have left")?;
        let contexts = ContextStore::open(places.data_root.join("build").join("contexts"))?;
        users.connect(&containers);
        let recovered = containers.recover().await.context("cannot compare containers with containerd's")?;
        tracing::info!(running = recovered.running, ended = recovered.ended, strays = recovered.strays, "recovered");

        let facts = Arc::new(Facts::gather(Arc::clone(config), places, &containerd, oldest)?);
        let watch_netd = networks.clone();
        let watch_images = images.clone();
        let api = Arc::new(Api {
            containers: Arc::clone(&containers),
            images,
            buildkit: BuildKit::new(builder.clone(), contexts),
            build_worker: facts.build_worker(),
            builder,
            networks: networks.clone(),
            volumes,
            events: events.0,
            engine: Arc::clone(&facts) as Arc<dyn engine_http::Engine>,
            authorization,
            actions: Actions::default(),
            oldest_version: oldest,
        });
        Ok(Self {
            api,
            facts,
            containers,
            networks,
            following: tokio::spawn(async move {
                tokio::join!(watch_netd.follow_netd(), watch_netd.follow_firewall(), watch_images.keep_within_limit());
            }),
            containerd: own,
        })
    }

    /// Until somebody ends it.
    async fn serve(&self, listeners: Vec<Listener>, reloading: Reloading, mut signals: Signals) -> Asked {
        let limit = descriptors::raise_limit();
        let serving = serve::serve(listeners, &self.api, limit);
        for host in &self.facts.config().listen_on {
            tracing::info!("API listen on {host}");
        }
        activation::notify("READY=1");
        tracing::info!("Daemon has completed initialization");
        let asked = loop {
            match signals.wait().await {
                Asked::Reload => reloading.reload().await,
                asked => break asked,
            }
        };
        activation::notify("STOPPING=1");
        tracing::info!("Processing signal to end");
        serving.end().await;
        asked
    }

    async fn close(self, asked: Asked) {
        let config = self.facts.config();
        if asked == Asked::PowerOff || !config.live_restore() {
            let seconds = config.shutdown_timeout.unwrap_or(SHUTDOWN_TIMEOUT);
            let limit = u64::try_from(seconds).ok().map(Duration::from_secs);
            self.containers.stop_all(limit).await;
        }
        self.containers.shutdown().await;
        self.following.abort();
        if let Err(error) = self.networks.shutdown().await {
            tracing::warn!(error = errors::chain(&error), "docker-netd stays");
        }
        if let Some(own) = self.containerd {
            own.end().await;
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Containers run on where `live-restore` says so.
    End,
    /// The machine goes down: containers are stopped first, whatever `live-restore` says.
    PowerOff,
    Reload,
}

/// Caught from the very start: a daemon that is told to end while it starts ends as soon as it has.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    power: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            power: signal(SignalKind::from_raw(rustix::process::Signal::POWER.as_raw()))?,
        })
    }

    async fn wait(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
            _ = self.power.recv() => Asked::PowerOff,
        }
    }
}

/// The docker-containerd that this daemon keeps running.
struct OwnContainerd {
    neighbour: Neighbour,
    keeping: JoinHandle<()>,
}

impl OwnContainerd {
    async fn end(self) {
        self.keeping.abort();
        self.neighbour.stop().await;
    }
}

/// The socket of the containerd in use; ours is started unless the configuration names another.
async fn containerd(config: &Config, places: &Places) -> Result<(PathBuf, Option<OwnContainerd>)> {
    if let Some(address) = config.containerd.as_ref().filter(|address| !address.as_os_str().is_empty()) {
        return Ok((address.clone(), None));
    }
    let socket = places.containerd_socket();
    let path = |path: PathBuf| path.display().to_string();
    let mut arguments = vec!["--address".to_owned(), path(socket.clone())];
    arguments.extend(["--root".to_owned(), path(places.containerd_root())]);
    arguments.extend(["--state".to_owned(), path(places.containerd_state())]);
    arguments.extend(["--log-level".to_owned(), if config.debug() { "debug" } else { "info" }.to_owned()]);
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
