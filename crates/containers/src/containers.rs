//! Containers as things: create, list, inspect, rename, remove.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use container_core::health::HealthStatus;
use container_core::{EndpointRequest, HostConfig, ListFacts, MountKind, MountPoint, NetworkMode, State, status};
use errors::ErrorKind;
use ids::check_container_name;

use crate::error::Error;
use crate::exec;
use crate::messages;
use crate::ports::PublishedPort;
use crate::record::{Container, Record};
use crate::request::{
    ContainerFiles, ContainerSize, ContainerSummary, ContainerView, CreateRequest, Created, GraphDirs, ListRequest,
    PruneRequest, Pruned, RemoveOptions, UpdateRequest,
};
use crate::rootfs::Layers;
use crate::service::{Shared, detached, now};
use crate::{create, links, membership, prune, remove, size, update};

/// How many containers are in which state, for `docker info`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub running: usize,
    pub paused: usize,
    pub stopped: usize,
}

/// The daemon's containers.
#[derive(Clone)]
pub struct Containers {
    shared: Arc<Shared>,
}

impl Containers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub async fn create(&self, request: CreateRequest) -> Result<Created, Error> {
        let shared = Arc::clone(&self.shared);
        detached(async move { create::create(&shared, request).await }).await
    }

    /// The full id behind an id, a name, or a prefix that only one id has.
    pub fn resolve(&self, reference: &str) -> Result<String, Error> {
        Ok(self.shared.find(reference)?.id.clone())
    }

    /// Newest first.
    pub async fn list(&self, request: &ListRequest) -> Result<Vec<ContainerSummary>, Error> {
        let ancestors = self.ancestors(request).await;
        let (before, since) = (self.created(request, "before")?, self.created(request, "since")?);
        let mut records: Vec<Arc<Record>> =
            self.shared.index().all().iter().map(|container| container.record()).collect();
        records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
        let everything = request.all || request.limit > 0 || request.filter.asks_for_all();
        let now = now();
        let wanted = records.iter().filter(|record| {
            (everything || record.state.counts_as_running())
                && before.is_none_or(|time| record.created < time)
                && since.is_none_or(|time| record.created > time)
                && ancestors.as_ref().is_none_or(|ids| is_descendant(record, ids))
                && accepts(request, record)
        });
        let limit = if request.limit > 0 { request.limit } else { usize::MAX };
        let mut summaries: Vec<ContainerSummary> = wanted.take(limit).map(|record| summary(record, now)).collect();
        let names = links::names(&records);
        for summary in &mut summaries {
            summary.link_names = names.get(&summary.id).cloned().unwrap_or_default();
        }
        self.refresh_images(&mut summaries).await;
        if request.size {
            for summary in &mut summaries {
                summary.size = self.size(&summary.id).await.ok();
            }
        }
        Ok(summaries)
    }

    /// A name that means another image by now, or none, gives way to the id.
    async fn refresh_images(&self, summaries: &mut [ContainerSummary]) {
        let mut known: HashMap<String, Option<String>> = HashMap::new();
        for summary in summaries.iter_mut().filter(|summary| summary.image != summary.image_id) {
            if !known.contains_key(&summary.image) {
                let id = match self.shared.neighbours.images.id_of(&summary.image).await {
                    Ok(id) => Some(id),
                    Err(error) if error.kind == ErrorKind::NotFound => Some(String::new()),
                    // A containerd that is away says nothing about names.
                    Err(_) => None,
                };
                known.insert(summary.image.clone(), id);
            }
            if known.get(&summary.image).is_some_and(|id| id.as_ref().is_some_and(|id| *id != summary.image_id)) {
                summary.image.clone_from(&summary.image_id);
            }
        }
    }

    /// What it takes on disk.
    pub async fn size(&self, reference: &str) -> Result<ContainerSize, Error> {
        size::size_of(&self.shared, &*self.shared.find(reference)?).await
    }

    /// Other limits, another restart policy; answers warnings.
    pub async fn update(&self, reference: &str, request: UpdateRequest) -> Result<Vec<String>, Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        detached(async move { update::update(&shared, &container, request).await }).await
    }

    /// Removes what does not run.
    pub async fn prune(&self, request: PruneRequest) -> Result<Pruned, Error> {
        let shared = Arc::clone(&self.shared);
        detached(async move { prune::prune(&shared, &request).await }).await
    }

    pub async fn inspect(&self, reference: &str) -> Result<ContainerView, Error> {
        let container = self.shared.find(reference)?;
        // Shown when containerd is there; a container can be looked at when it is not.
        let known = match container.rootfs.get() {
            Some(mounts) => Some(mounts.clone()),
            None => self.shared.containerd.rootfs_now(&container.id).await.ok(),
        };
        let layers = known.and_then(|mounts| Layers::of(container.rootfs.get_or_init(|| mounts)));
        Ok(self.view(&container, layers))
    }

    pub async fn rename(&self, reference: &str, new: &str) -> Result<(), Error> {
        if reference.is_empty() || new.is_empty() {
            return Err(messages::empty_names());
        }
        let container = self.shared.find(reference)?;
        let slashed = format!("/{}", new.strip_prefix('/').unwrap_or(new));
        let name = check_container_name(&slashed).map_err(|error| messages::cannot_rename(&error.into()))?.to_owned();
        let _gate = container.gate.lock().await;
        let old = container.record().name.clone();
        if name == old {
            return Err(messages::same_name());
        }
        let reserved = self.shared.index().reserve(&name, &container.id);
        reserved.map_err(|error| messages::cannot_rename(&error))?;
        let record = container.change(|record| record.name.clone_from(&name));
        if let Err(error) = container.store(&self.shared.database, record.durability()).await {
            container.change(|record| record.name.clone_from(&old));
            self.shared.index().release(&name);
            return Err(error);
        }
        self.shared.index().release(&old);
        if record.state.has_process()
            && let Err(error) = self.shared.neighbours.sandboxes.rename(&record.id, &name).await
        {
            tracing::warn!(container = record.id, %error, "a renamed container keeps its old name in its networks");
        }
        self.shared.publish(&record, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Joins this network at the next start. The container must not run.
    pub async fn connect(&self, reference: &str, wanted: EndpointRequest) -> Result<(), Error> {
        membership::connect(&self.shared, &*self.shared.find(reference)?, wanted).await
    }

    /// Does not join it at the next start. The container must not run.
    pub async fn disconnect(&self, reference: &str, network: &str) -> Result<(), Error> {
        membership::disconnect(&self.shared, &*self.shared.find(reference)?, network).await
    }

    pub async fn remove(&self, reference: &str, options: RemoveOptions) -> Result<(), Error> {
        let container = self.shared.find(reference)?;
        let shared = Arc::clone(&self.shared);
        detached(async move { remove::remove(&shared, &container, options).await }).await
    }

    /// Takes the link `parent/alias` away; both containers stay.
    pub async fn remove_link(&self, name: &str) -> Result<(), Error> {
        links::remove(&self.shared, name).await
    }

    /// Containers made from an image (by the id of its configuration), and whether they run.
    pub fn users_of_image(&self, image_id: &str) -> Vec<(String, bool)> {
        let all = self.shared.index().all();
        let records = all.iter().map(|container| container.record()).filter(|record| record.image_id == image_id);
        records.map(|record| (record.id.clone(), record.state.counts_as_running())).collect()
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.shared.index().all() {
            match container.record().state {
                State::Paused { .. } => counts.paused += 1,
                State::Running { .. } | State::Restarting { .. } => counts.running += 1,
                _ => counts.stopped += 1,
            }
        }
        counts
    }

    /// The images that `ancestor` asks for; a name that nothing has asks for none.
    async fn ancestors(&self, request: &ListRequest) -> Option<Vec<String>> {
        let asked = request.filter.values("ancestor");
        if asked.is_empty() {
            return None;
        }
        let mut wanted = Vec::new();
        for name in asked {
            if let Ok(id) = self.shared.neighbours.images.id_of(name).await {
                wanted.push(id);
            }
        }
        Some(wanted)
    }

    fn created(&self, request: &ListRequest, key: &str) -> Result<Option<container_core::Timestamp>, Error> {
        let Some(reference) = request.filter.values(key).last() else { return Ok(None) };
        Ok(Some(self.shared.find(reference)?.record().created))
    }

    fn view(&self, container: &Container, layers: Option<Layers>) -> ContainerView {
        let record = container.record();
        ContainerView {
            id: record.id.clone(),
            name: record.name.clone(),
            created: record.created,
            image_id: record.image_id.clone(),
            args: arguments(&record),
            state: record.state.clone(),
            restart_count: record.restart_count,
            health: record.health.as_deref().cloned(),
            config: (*record.config).clone(),
            host_config: HostConfig { links: links::shown(&self.shared, &record), ..(*record.host_config).clone() },
            mounts: shown_mounts(&record),
            endpoints_wanted: (*record.endpoints).clone(),
            sandbox: record.sandbox.as_deref().cloned(),
            exec_ids: exec::unfinished(&self.shared, &record.id),
            files: self.files(&record),
            graph: layers.map(|layers| GraphDirs { lower: layers.lower, upper: layers.upper, work: layers.work }),
        }
    }

    fn files(&self, record: &Record) -> ContainerFiles {
        let owner = match NetworkMode::parse(&record.host_config.network_mode) {
            NetworkMode::Container(other) => other,
            _ => &record.id,
        };
        let folder = self.shared.settings.container_folder(owner);
        let path = |name: &str| {
            let started = record.state.started().is_some();
            if started { folder.join(name).to_string_lossy().into_owned() } else { String::new() }
        };
        let has_log = record.host_config.log_config.driver == "json-file";
        let log = self.shared.settings.log_path(&record.id);
        let netns = record.sandbox.as_ref().and_then(|sandbox| sandbox.netns_path.as_ref());
        ContainerFiles {
            hostname: path("hostname"),
            hosts: path("hosts"),
            resolv_conf: path("resolv.conf"),
            log: if has_log && record.state.started().is_some() {
                log.to_string_lossy().into_owned()
            } else {
                String::new()
            },
            sandbox_key: netns.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        }
    }
}

/// As lists show it: words with blanks in quotes, but not the first.
fn command_line(record: &Record) -> String {
    let words = arguments(record);
    let quoted = |(position, word): (usize, &String)| {
        if position > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

pub(crate) fn arguments(record: &Record) -> Vec<String> {
    record.config.entrypoint.iter().flatten().chain(record.config.cmd.iter().flatten()).cloned().collect()
}

fn is_descendant(record: &Record, wanted: &[String]) -> bool {
    wanted.contains(&record.image_id)
}

fn accepts(request: &ListRequest, record: &Record) -> bool {
    let endpoints = record.sandbox.as_deref().map_or(&[][..], |sandbox| &sandbox.endpoints);
    let mut networks: Vec<&str> =
        endpoints.iter().flat_map(|e| [e.network_name.as_str(), e.network_id.as_str()]).collect();
    networks.extend(record.endpoints.iter().map(|endpoint| endpoint.network.as_str()));
    networks.push(&record.host_config.network_mode);
    let published = record.sandbox.as_deref().map_or(&[][..], |sandbox| &sandbox.published);
    let health = record.health.as_ref().map(|health| health.status);
    request.filter.accepts(&ListFacts {
        id: &record.id,
        name: &record.name,
        labels: &record.config.labels,
        state: &record.state,
        networks,
        // Of what runs, as everything that is told of its ports.
        exposed: match record.sandbox.is_some() {
            true => record.config.exposed_ports.iter().map(String::as_str).collect(),
            false => Vec::new(),
        },
        published: published.iter().filter(|port| port.host_port != 0).map(host_side).collect(),
        volumes: record
            .mounts
            .iter()
            .flat_map(|m| [m.name.as_str(), m.source.as_str(), m.destination.as_str()])
            .collect(),
        health: health.map_or("none", HealthStatus::as_str),
    })
}

/// `8080/tcp`: a published port as the outside sees it.
fn host_side(port: &PublishedPort) -> String {
    let protocol = port.container.split_once('/').map_or("tcp", |(_, protocol)| protocol);
    format!("{}/{protocol}", port.host_port)
}

/// What Docker calls a container's mounts: not the memory of `--tmpfs`, which its configuration tells, but that of `--mount`.
fn shown_mounts(record: &Record) -> Vec<MountPoint> {
    let is_of_tmpfs = |mount: &MountPoint| {
        let mut places = record.host_config.tmpfs.keys();
        mount.kind == MountKind::Tmpfs && places.any(|place| Path::new(place) == Path::new(&mount.destination))
    };
    // The options of a tmpfs are not its mode.
    let shown = |mount: &MountPoint| match mount.kind {
        MountKind::Tmpfs => MountPoint { mode: String::new(), ..mount.clone() },
        _ => mount.clone(),
    };
    record.mounts.iter().filter(|mount| !is_of_tmpfs(mount)).map(shown).collect()
}

fn summary(record: &Record, now: container_core::Timestamp) -> ContainerSummary {
    ContainerSummary {
        id: record.id.clone(),
        name: record.name.clone(),
        link_names: Vec::new(),
        image: record.config.image.clone(),
        image_id: record.image_id.clone(),
        command: command_line(record),
        created: record.created,
        state: record.state.clone(),
        status: status(&record.state, record.health.as_ref().map(|health| health.status), now),
        labels: record.config.labels.clone(),
        exposed_ports: record.config.exposed_ports.iter().cloned().collect(),
        sandbox: record.sandbox.as_deref().cloned(),
        mounts: shown_mounts(record),
        network_mode: record.host_config.network_mode.clone(),
        annotations: record.host_config.annotations.clone(),
        endpoints_wanted: (*record.endpoints).clone(),
        size: None,
    }
}
