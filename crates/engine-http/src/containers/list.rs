//! `GET /containers/json`.

use std::collections::BTreeSet;

use container_core::ListFilter;
use containers::{ContainerSummary, ListRequest};
use engine_api::container as wire;

use super::inspect;
use crate::query::Query;
use crate::status::Failure;

pub fn from_query(query: &Query) -> Result<ListRequest, Failure> {
    let filters = query.filters()?;
    let wanted = filters.keys().map(|key| (key.to_owned(), filters.values(key).map(str::to_owned).collect())).collect();
    // Clients say -1 for no limit.
    let limit = query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
    Ok(ListRequest { all: query.flag("all"), limit, size: query.flag("size"), filter: ListFilter::new(wanted)? })
}

pub fn to_wire(summary: ContainerSummary) -> wire::Summary {
    let sandbox = summary.sandbox.clone().unwrap_or_default();
    let mut networks = inspect::summary_networks(&sandbox.endpoints);
    for wanted in &summary.endpoints_wanted {
        networks.entry(wanted.network.clone()).or_default();
    }
    wire::Summary {
        id: summary.id.clone(),
        names: std::iter::once(&summary.name).chain(&summary.link_names).map(|name| format!("/{name}")).collect(),
        image: summary.image.clone(),
        image_id: summary.image_id.clone(),
        command: summary.command.clone(),
        created: summary.created.seconds(),
        ports: ports(&summary),
        labels: summary.labels.clone(),
        state: summary.state.word().to_owned(),
        status: summary.status.clone(),
        host_config: wire::SummaryHostConfig {
            network_mode: summary.network_mode.clone(),
            annotations: Some(summary.annotations.clone()).filter(|annotations| !annotations.is_empty()),
        },
        size_rw: summary.size.map_or(0, |size| bytes(size.own)),
        size_root_fs: summary.size.map_or(0, |size| bytes(size.total)),
        network_settings: wire::SummaryNetworks { networks },
        mounts: summary.mounts.iter().map(inspect::mount).collect(),
        ..wire::Summary::default()
    }
}

fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// While it runs: published ports with the host's side, exposed ones without.
fn ports(summary: &ContainerSummary) -> Vec<wire::Port> {
    let Some(sandbox) = &summary.sandbox else { return Vec::new() };
    let split = |port: &str| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        (number.parse().unwrap_or(0), protocol.to_owned())
    };
    let mut published = BTreeSet::new();
    let mut ports = Vec::new();
    // What has no port of the host is listed as exposed.
    for port in sandbox.published.iter().filter(|port| port.host_port != 0) {
        let (private_port, protocol) = split(&port.container);
        published.insert(port.container.clone());
        ports.push(wire::Port { ip: port.host_ip.clone(), private_port, public_port: port.host_port, protocol });
    }
    for port in summary.exposed_ports.iter().filter(|port| !published.contains(*port)) {
        let (private_port, protocol) = split(port);
        ports.push(wire::Port { private_port, protocol, ..wire::Port::default() });
    }
    ports
}
