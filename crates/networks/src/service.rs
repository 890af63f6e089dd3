//! The service: its fields, its opening, and the asynchronous face of its blocking work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errors::ErrorKind;
use metadata::{Database, Durability};
use netlink::Route;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::docker_chains;
use crate::driver::{self, Driver};
use crate::endpoint_plan;
use crate::error::Error;
use crate::events::{Event, EventAction, EventSink};
use crate::firewall::Firewall;
use crate::netd_client::NetdClient;
use crate::record::{NETWORKS, NetworkRecord, SANDBOXES};
use crate::remote::Remote;
use crate::request::{CreateNetwork, Created, EndpointRequest, Live, NetworkView, Sandbox, SandboxRequest};
use crate::spare::Spare;
use crate::state::State;

/// Between two tries to bring a docker-netd back, doubling.
const NETD_RETRY_MIN: Duration = Duration::from_millis(20);
const NETD_RETRY_MAX: Duration = Duration::from_secs(5);

/// The networks of one daemon; cheap to clone.
#[derive(Clone)]
pub struct Networks {
    pub(crate) inner: Arc<Inner>,
}

/// A sandbox that may still be in the making.
pub struct Begun {
    networks: Networks,
    sandbox: Sandbox,
    work: Option<JoinHandle<Result<Sandbox, Error>>>,
}

impl Begun {
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Waits until all of it is there; what failed has left nothing.
    pub async fn complete(self) -> Result<Sandbox, Error> {
        let sandbox = match self.work {
            Some(work) => work.await.map_err(|_| Error::Shutdown)??,
            None => self.sandbox,
        };
        self.networks.inner.netd_used.notify_one();
        Ok(sandbox)
    }
}

pub(crate) struct Inner {
    pub config: Config,
    pub database: Database,
    pub firewall: Firewall,
    pub netd: NetdClient,
    pub remote: Remote,
    pub spare: Arc<Spare>,
    events: Arc<dyn EventSink>,
    state: Mutex<State>,
    /// Whether bridges and table stand. Held while they are made, so that everybody waits for the first.
    is_prepared: Mutex<bool>,
    /// Rung when docker-netd was talked to: from then on its death matters.
    netd_used: Notify,
}

impl Networks {
    /// Loads the records. Nothing in the kernel is touched before [`Networks::restore`] or the first use.
    pub fn open(config: Config, database: Database, events: Arc<dyn EventSink>) -> Result<Self, Error> {
        let folder = config.netns_folder();
        std::fs::create_dir_all(&folder).map_err(|source| Error::Folder { path: folder, source })?;
        let mut state = State::default();
        database.view(|tx| -> Result<(), Error> {
            for (_, record) in NETWORKS.list(tx, "")? {
                state.insert_network(record)?;
            }
            for (_, record) in SANDBOXES.list(tx, "")? {
                state.adopt(record);
            }
            Ok(())
        })?;
        let inner = Inner {
            firewall: Firewall::new(config.table(), config.firewall),
            netd: NetdClient::new(config.netd_socket.clone(), config.netd_program.clone()),
            remote: Remote { plugins: config.plugins.clone() },
            spare: Arc::default(),
            config,
            database,
            events,
            state: Mutex::new(state),
            is_prepared: Mutex::new(false),
            netd_used: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub async fn create(&self, request: CreateNetwork) -> Result<Created, Error> {
        self.run(move |inner| inner.create_network(request)).await
    }

    pub async fn list(&self) -> Result<Vec<NetworkView>, Error> {
        self.run(|inner| inner.add_predefined().map(|()| inner.list_networks())).await
    }

    /// By name, id, or the start of an id.
    pub async fn inspect(&self, network: &str) -> Result<NetworkView, Error> {
        let network = network.to_owned();
        self.run(move |inner| inner.add_predefined().and_then(|()| inner.inspect_network(&network))).await
    }

    /// Answers the id of what was removed.
    pub async fn remove(&self, network: &str) -> Result<String, Error> {
        let network = network.to_owned();
        self.run(move |inner| inner.remove_network(&network)).await
    }

    /// Removes the networks that fit and that nobody uses; answers their names.
    pub async fn prune(&self, fits: impl Fn(&NetworkRecord) -> bool + Send + 'static) -> Result<Vec<String>, Error> {
        self.run(move |inner| inner.prune_networks(fits)).await
    }

    /// A sandbox with a namespace of its own may be wanted soon.
    pub fn expect_sandbox(&self) {
        self.inner.spare.prepare();
    }

    /// Idempotent: a second call for a container answers its sandbox.
    pub async fn acquire(&self, request: SandboxRequest) -> Result<Sandbox, Error> {
        self.begin(request).await?.complete().await
    }

    /// The same, but answers as soon as a container may be set up in it. [`Begun::complete`] has to be waited for before its
    /// program runs, and before it is released.
    pub async fn begin(&self, request: SandboxRequest) -> Result<Begun, Error> {
        let (inner, (tell, told)) = (Arc::clone(&self.inner), oneshot::channel());
        let work = tokio::task::spawn_blocking(move || {
            let mut tell = Some(tell);
            inner.acquire(&request, &mut |sandbox: &Sandbox| {
                // Whoever asked has gone: the work is done all the same.
                let _ = tell.take().map(|tell| tell.send(sandbox.clone()));
            })
        });
        let networks = self.clone();
        Ok(match told.await {
            Ok(sandbox) => Begun { networks, sandbox, work: Some(work) },
            // Nothing was told early: all of it is over.
            Err(_) => Begun { sandbox: work.await.map_err(|_| Error::Shutdown)??, networks, work: None },
        })
    }

    /// Idempotent: a container without a sandbox is no error.
    pub async fn release(&self, container_id: &str) -> Result<(), Error> {
        if self.sandbox(container_id).is_none() {
            return Ok(());
        }
        let id = container_id.to_owned();
        self.run(move |inner| inner.release(&id)).await
    }

    /// The sandbox of a container that has one.
    pub fn sandbox(&self, container_id: &str) -> Option<Sandbox> {
        self.inner.state().sandboxes.get(container_id).map(|record| record.sandbox.clone())
    }

    /// At the daemon's start: these containers run and keep what they have, everything else is given back; kernel and
    /// docker-netd are brought to what the records say.
    pub async fn restore(&self, live: &[Live]) -> Result<(), Error> {
        let live = live.iter().map(|live| (live.container_id.clone(), live.networks.clone())).collect();
        self.run(move |inner| inner.restore(&live)).await?;
        self.inner.netd_used.notify_one();
        Ok(())
    }

    /// Whether a container may have this endpoint, as far as that is known before it starts.
    pub async fn check(&self, endpoint: EndpointRequest) -> Result<(), Error> {
        self.run(move |inner| {
            inner.add_predefined()?;
            endpoint_plan::check_endpoint(&inner.state(), &endpoint)
        })
        .await
    }

    /// Plugs a running container into one more network.
    pub async fn connect(&self, container_id: &str, endpoint: EndpointRequest) -> Result<Sandbox, Error> {
        let id = container_id.to_owned();
        let sandbox = self.run(move |inner| inner.connect(&id, &endpoint)).await?;
        self.inner.netd_used.notify_one();
        Ok(sandbox)
    }

    pub async fn disconnect(&self, container_id: &str, network: &str) -> Result<Sandbox, Error> {
        let (id, network) = (container_id.to_owned(), network.to_owned());
        self.run(move |inner| inner.disconnect(&id, &network)).await
    }

    /// Gives back what a network keeps for a container that is not there any more, by name or id.
    pub async fn forget(&self, network: &str, container: &str) -> Result<(), Error> {
        let (network, container) = (network.to_owned(), container.to_owned());
        self.run(move |inner| inner.forget_endpoint(&network, &container)).await
    }

    /// A renamed container is found under its new name.
    pub async fn rename(&self, container_id: &str, name: &str) -> Result<(), Error> {
        let (id, name) = (container_id.to_owned(), name.to_owned());
        self.run(move |inner| inner.rename(&id, &name)).await
    }

    /// Runs until the daemon ends: a docker-netd that dies is told everything again at once, not with the next request.
    pub async fn follow_netd(&self) {
        loop {
            self.inner.netd_used.notified().await;
            let mut delay = NETD_RETRY_MIN;
            while self.inner.has_statements() {
                let opened = self.run(|inner| {
                    // Greeting first: it starts and fills a docker-netd that is not there.
                    inner.greet_netd()?;
                    inner.netd.watch().map_err(|source| Error::Netd { action: "watch", source })
                });
                match opened.await.and_then(watchable) {
                    Ok(mut stream) => {
                        // Nothing is ever said on it; the end of the stream is the end of the process.
                        let _ = stream.read(&mut [0; 1]).await;
                        tracing::warn!("docker-netd ended");
                        delay = NETD_RETRY_MIN;
                    }
                    Err(error) => {
                        tracing::error!(error = errors::chain(&error), "docker-netd is not reachable");
                        tokio::time::sleep(delay).await;
                        delay = (delay * 2).min(NETD_RETRY_MAX);
                    }
                }
            }
        }
    }

    /// At the daemon's end: where no container is left, docker-netd has nothing to live for, nor has a bridge of the
    /// daemon's own.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let end = |inner: &Inner| if inner.has_statements() { Ok(()) } else { inner.netd.end() };
        self.run(move |inner| inner.remove_idle_bridge().and(end(inner))).await
    }

    /// All blocking work of the service passes here.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|_| Error::Shutdown)?
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bridges, forwarding and the table, once a process.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let mut is_prepared = self.is_prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_prepared {
            return Ok(());
        }
        self.add_predefined_locked()?;
        let records: Vec<NetworkRecord> = {
            let state = self.state();
            state.networks.values().map(|network| network.record.clone()).filter(NetworkRecord::has_endpoints).collect()
        };
        let route = Route::open()?;
        if self.config.firewall.forwards {
            driver::enable_forwarding(records.iter().any(|record| record.is_bridge() && record.enable_ipv6))?;
        }
        for record in &records {
            let ensured = self.driver(&record.driver).and_then(|driver| driver.ensure(&route, record, 0));
            match ensured {
                Ok(_) => {}
                // A link of the host that is not there today: those who want the network are told.
                Err(error) if !record.is_bridge() => {
                    tracing::warn!(network = record.name, error = errors::chain(&error), "a network is not usable");
                }
                Err(error) => return Err(error),
            }
        }
        self.firewall.load(|| self.state().firewall_items())?;
        self.apply_docker_chains()?;
        *is_prepared = true;
        Ok(())
    }

    /// Where they are asked for: for the bridges that there are now.
    pub(crate) fn apply_docker_chains(&self) -> Result<(), Error> {
        if !self.config.firewall.docker_chains {
            return Ok(());
        }
        let bridges: Vec<String> = {
            let state = self.state();
            let bridges = state.networks.values().filter(|network| network.record.is_bridge());
            bridges.map(|network| network.record.bridge.clone()).collect()
        };
        docker_chains::apply(&self.config.firewall, &bridges)
    }

    /// Built in, or else a plugin.
    pub(crate) fn driver(&self, name: &str) -> Result<&dyn Driver, Error> {
        Ok(driver::find(name).unwrap_or(&self.remote))
    }

    pub(crate) fn is_prepared(&self) -> bool {
        *self.is_prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Inner::add_predefined_locked`] under the lock that keeps two from doing it.
    pub(crate) fn add_predefined(&self) -> Result<(), Error> {
        let _alone = self.is_prepared.lock().unwrap_or_else(PoisonError::into_inner);
        self.add_predefined_locked()
    }

    pub(crate) fn has_statements(&self) -> bool {
        self.state().stated().any(|record| record.statement().is_some())
    }

    pub(crate) fn publish(&self, action: EventAction, network: &NetworkRecord, container: Option<&str>) {
        let mut attributes =
            BTreeMap::from([("name".to_owned(), network.name.clone()), ("type".to_owned(), network.driver.clone())]);
        if let Some(container) = container {
            attributes.insert("container".to_owned(), container.to_owned());
        }
        self.events.publish(Event { action, network_id: network.id.clone(), attributes });
    }

    pub(crate) fn publish_prune(&self) {
        let attributes = BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]);
        self.events.publish(Event { action: EventAction::Prune, network_id: String::new(), attributes });
    }

    pub(crate) fn store_sandbox(&self, record: &crate::record::SandboxRecord) -> Result<(), Error> {
        let stored = record.clone();
        self.database.write_blocking(Durability::Lazy, move |tx| SANDBOXES.put(tx, &stored.container_id, &stored))?;
        Ok(())
    }
}

fn watchable(stream: std::os::unix::net::UnixStream) -> Result<tokio::net::UnixStream, Error> {
    let failed = |source| Error::Netd { action: "watch", source };
    stream.set_nonblocking(true).map_err(failed)?;
    tokio::net::UnixStream::from_std(stream).map_err(failed)
}

/// 64 hexadecimal digits, as Docker's ids of networks and endpoints.
pub(crate) fn new_id() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A container that has no sandbox cannot be plugged.
pub(crate) fn not_running(container_id: &str) -> Error {
    Error::docker(ErrorKind::Conflict, format!("container {container_id} is not running"))
}
