//! The networks that a container joins when it starts, changed while it does not run.

use std::sync::Arc;

use container_core::{EndpointRequest, NetworkMode};

use crate::error::Error;
use crate::messages;
use crate::record::{Container, Record};
use crate::service::Shared;

/// Wants one more network; what was wanted of the same one is replaced, as Docker does.
pub(crate) async fn connect(shared: &Shared, container: &Container, wanted: EndpointRequest) -> Result<(), Error> {
    shared.neighbours.sandboxes.check(&wanted.network).await?;
    let _gate = container.gate.lock().await;
    let record = container.record();
    check(&record, &wanted.network)?;
    let mut endpoints = (*record.endpoints).clone();
    endpoints.retain(|endpoint| endpoint.network != wanted.network);
    // The mode's own network stays the first: it has the default route.
    let first = NetworkMode::parse(&record.host_config.network_mode) == NetworkMode::Network(&wanted.network);
    endpoints.insert(if first { 0 } else { endpoints.len() }, wanted);
    keep(shared, container, endpoints).await
}

/// Wants it no longer.
pub(crate) async fn disconnect(shared: &Shared, container: &Container, network: &str) -> Result<(), Error> {
    let _gate = container.gate.lock().await;
    let record = container.record();
    check(&record, network)?;
    let mut endpoints = (*record.endpoints).clone();
    endpoints.retain(|endpoint| endpoint.network != network);
    if endpoints.len() == record.endpoints.len() {
        return Err(messages::not_connected(&record.id, network));
    }
    keep(shared, container, endpoints).await
}

fn check(record: &Record, network: &str) -> Result<(), Error> {
    match NetworkMode::parse(&record.host_config.network_mode) {
        _ if network == "host" => Err(messages::host_network()),
        NetworkMode::Host | NetworkMode::Container(_) => Err(messages::shared_network()),
        NetworkMode::None => Err(messages::no_network()),
        NetworkMode::Network(_) if record.state.counts_as_running() => Err(messages::networks_of_running()),
        NetworkMode::Network(_) => Ok(()),
    }
}

async fn keep(shared: &Shared, container: &Container, endpoints: Vec<EndpointRequest>) -> Result<(), Error> {
    let before = Arc::clone(&container.record().endpoints);
    let record = container.change(|record| record.endpoints = Arc::new(endpoints));
    let stored = container.store(&shared.database, record.durability()).await;
    if stored.is_err() {
        container.change(|record| record.endpoints = before);
    }
    stored.map(drop)
}
