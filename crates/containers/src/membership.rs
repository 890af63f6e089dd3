//! The networks that a container is in, or joins when it starts: changed at any time.

use std::sync::Arc;

use container_core::{EndpointRequest, NetworkMode};
use metadata::Durability;

use crate::error::Error;
use crate::ports::Sandbox;
use crate::record::{Container, Record};
use crate::service::Shared;
use crate::{files, messages};

/// One more network. What was wanted of the same one by a container that does not run is replaced, as Docker does.
pub(crate) async fn connect(shared: &Shared, container: &Container, wanted: EndpointRequest) -> Result<(), Error> {
    shared.neighbours.sandboxes.check(&wanted).await?;
    let _gate = container.gate.lock().await;
    let record = container.record();
    may_connect(&record, &wanted.network)?;
    let plugged = match record.state.counts_as_running() {
        true => Some(shared.neighbours.sandboxes.connect(&record.id, wanted.clone()).await?),
        false => None,
    };
    let mut endpoints = (*record.endpoints).clone();
    endpoints.retain(|endpoint| endpoint.network != wanted.network);
    // The mode's own network stays the first.
    let first = NetworkMode::parse(&record.host_config.network_mode) == NetworkMode::Network(&wanted.network);
    endpoints.insert(if first { 0 } else { endpoints.len() }, wanted);
    keep(shared, container, endpoints, plugged).await
}

/// Out of it.
pub(crate) async fn disconnect(shared: &Shared, container: &Container, network: &str) -> Result<(), Error> {
    let _gate = container.gate.lock().await;
    let record = container.record();
    may_disconnect(&record, network)?;
    let mut endpoints = (*record.endpoints).clone();
    endpoints.retain(|endpoint| endpoint.network != network);
    let is_running = record.state.counts_as_running();
    if endpoints.len() == record.endpoints.len() && !is_running {
        return Err(messages::not_connected(&record.id, network));
    }
    let unplugged = match is_running {
        true => Some(shared.neighbours.sandboxes.disconnect(&record.id, network).await?),
        false => None,
    };
    keep(shared, container, endpoints, unplugged).await
}

/// What a start has found of the networks it was asked for: their ids stay known when the container has stopped.
pub(crate) fn remember(record: &mut Record, sandbox: &Sandbox) {
    let is_known = |wanted: &EndpointRequest| {
        sandbox
            .endpoints
            .iter()
            .all(|found| found.network_name != wanted.network || found.network_id == wanted.network_id)
    };
    if record.endpoints.iter().all(is_known) {
        return;
    }
    let endpoints = Arc::make_mut(&mut record.endpoints);
    for found in &sandbox.endpoints {
        for wanted in endpoints.iter_mut().filter(|wanted| wanted.network == found.network_name) {
            wanted.network_id.clone_from(&found.network_id);
        }
    }
}

/// The networks of a container that has such; for whoever restores them.
pub(crate) fn wanted(record: &Record) -> Option<Vec<String>> {
    let mode = NetworkMode::parse(&record.host_config.network_mode);
    let is_networked = matches!(mode, NetworkMode::Network(_)) && !record.config.network_disabled;
    is_networked.then(|| record.endpoints.iter().map(|endpoint| endpoint.network.clone()).collect())
}

/// After a start of the daemon: a change that its predecessor did not live to finish has ended one way or the other.
pub(crate) async fn look_again(shared: &Shared, containers: &[Arc<Container>]) {
    for container in containers {
        let record = container.record();
        if !record.state.has_process() || record.sandbox.is_none() {
            continue;
        }
        let current = shared.neighbours.sandboxes.current(&record.id).await;
        if let Some(current) = current.filter(|current| record.sandbox.as_deref() != Some(current)) {
            container.change(|record| {
                // A disconnect that was cut off behind its first half has happened.
                let has = |wanted: &EndpointRequest| {
                    let mut found = current.endpoints.iter();
                    found.any(|it| it.network_name == wanted.network || it.network_id.starts_with(&wanted.network))
                };
                if !record.endpoints.iter().all(has) {
                    Arc::make_mut(&mut record.endpoints).retain(has);
                }
                record.sandbox = Some(Arc::new(current));
            });
            if let Err(error) = container.store(&shared.database, Durability::Lazy).await {
                tracing::warn!(container = record.id, error = errors::chain(&error), "networks are not written down");
            }
        }
    }
}

fn may_connect(record: &Record, network: &str) -> Result<(), Error> {
    match NetworkMode::parse(&record.host_config.network_mode) {
        NetworkMode::Host | NetworkMode::Container(_) => Err(messages::shared_network()),
        _ if network == "host" => Err(messages::connect_to_host()),
        NetworkMode::None => Err(messages::no_network()),
        _ if network == "none" => Err(messages::no_network()),
        NetworkMode::Network(_) => Ok(()),
    }
}

fn may_disconnect(record: &Record, network: &str) -> Result<(), Error> {
    match NetworkMode::parse(&record.host_config.network_mode) {
        NetworkMode::Host if network == "host" => Err(messages::disconnect_from_host()),
        NetworkMode::Host | NetworkMode::Container(_) => Err(messages::shared_network()),
        NetworkMode::None => Err(messages::no_network()),
        NetworkMode::Network(_) => Ok(()),
    }
}

/// The changed list; and of a container that runs what it has now, with its files.
async fn keep(
    shared: &Shared,
    container: &Container,
    endpoints: Vec<EndpointRequest>,
    sandbox: Option<Sandbox>,
) -> Result<(), Error> {
    let before = container.record();
    let is_running = sandbox.is_some();
    if let Some(sandbox) = &sandbox {
        let folder = shared.settings.container_folder(&before.id);
        let old = before.sandbox.as_deref().cloned().unwrap_or_default();
        files::follow(&folder, &old, sandbox)?;
    }
    let record = container.change(|record| {
        record.endpoints = Arc::new(endpoints);
        if let Some(sandbox) = sandbox {
            remember(record, &sandbox);
            record.sandbox = Some(Arc::new(sandbox));
        }
    });
    let durability = if is_running { Durability::Lazy } else { record.durability() };
    let stored = container.store(&shared.database, durability).await;
    // What the kernel has by now is true whether it could be written down or not.
    if stored.is_err() && !is_running {
        container.change(|record| record.endpoints = Arc::clone(&before.endpoints));
    }
    stored.map(drop)
}
