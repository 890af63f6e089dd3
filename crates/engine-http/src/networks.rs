//! `/networks`: list, inspect, create, remove.

use std::collections::BTreeMap;

use engine_api::adapt;
use engine_api::filters::Filters;
use engine_api::network as wire;
use errors::{ErrorKind, Kind};
use http::StatusCode;
use networks::{Address, Asked, Attached, CreateNetwork, NetworkView};

use crate::Api;
use crate::containers::create::endpoint as wanted_endpoint;
use crate::containers::update::until;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];
const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

pub async fn list(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&FILTERS)?;
    check_values(&filters)?;
    let views = api.networks.list().await?;
    let mut listed = Vec::with_capacity(views.len());
    for view in views.iter().filter(|view| matches(view, &filters)) {
        // A list does not say who is connected: Docker since API 1.28.
        listed.push(wire::Network { containers: BTreeMap::new(), ..to_wire(view) });
    }
    Ok(reply::ok(&listed))
}

fn check_values(filters: &Filters) -> Result<(), Failure> {
    if let Some(kind) = filters.values("type").find(|kind| !matches!(*kind, "builtin" | "custom")) {
        return Err(Failure::bad_request(format!("invalid filter: 'type'='{kind}'")));
    }
    if filters.values("dangling").any(|value| !matches!(value, "0" | "1" | "false" | "true")) {
        let message = "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")";
        return Err(Failure::bad_request(message));
    }
    Ok(())
}

fn matches(view: &NetworkView, filters: &Filters) -> bool {
    let network = &view.network;
    let any = |key: &str, holds: &dyn Fn(&str) -> bool| !filters.has(key) || filters.values(key).any(holds);
    let in_use = !view.containers.is_empty();
    any("driver", &|driver| network.driver == driver)
        && any("id", &|id| network.id.contains(id))
        && any("name", &|name| network.name.contains(name))
        && any("scope", &|scope| scope == "local")
        && any("type", &|kind| (kind == "builtin") == network.predefined)
        && any("dangling", &|wanted| matches!(wanted, "1" | "true") != (in_use || network.predefined))
        && filters.match_labels(&network.labels)
}

pub async fn inspect(api: &Api, request: &Request) -> Answer {
    if let Some(verbose) = request.query.text("verbose").filter(|text| !is_go_bool(text)) {
        return Err(Failure::bad_request(format!(
            "invalid value for verbose: {verbose}: strconv.ParseBool: parsing {verbose:?}: invalid syntax"
        )));
    }
    let view = api.networks.inspect(&request.name).await?;
    // Every network of a single engine is local.
    if request.query.text("scope").is_some_and(|scope| scope != "local") {
        return Err(Failure::new(errors::ErrorKind::NotFound, format!("network {} not found", request.name)));
    }
    Ok(reply::ok(&to_wire(&view)))
}

/// What Go's `strconv.ParseBool` takes.
fn is_go_bool(text: &str) -> bool {
    ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"].contains(&text)
}

pub async fn create(api: &Api, request: Request) -> Answer {
    let version = request.version;
    let mut body: wire::CreateRequest = request.json().await?;
    adapt::network_create(&mut body, version);
    let created = api.networks.create(from_wire(body)).await?;
    Ok(reply::json(StatusCode::CREATED, &wire::CreateResponse { id: created.id, warning: created.warning }))
}

pub async fn remove(api: &Api, request: &Request) -> Answer {
    api.networks.remove(&request.name).await?;
    Ok(reply::no_content())
}

pub async fn connect(api: &Api, request: Request) -> Answer {
    let network = api.networks.inspect(&request.name).await?.network.name.clone();
    let body: wire::ConnectRequest = request.json().await?;
    let wanted = wanted_endpoint(network, body.endpoint_config.unwrap_or_default());
    api.containers.containers.connect(&body.container, wanted).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub async fn disconnect(api: &Api, request: Request) -> Answer {
    let name = request.name.clone();
    let body: wire::DisconnectRequest = request.json().await?;
    let network = api.networks.inspect(&name).await.map(|view| view.network.name);
    let container = api.containers.containers.inspect(&body.container).await;
    match (container, network) {
        // Nobody is left to be asked: what the network keeps of it is given back.
        (Err(error), network) if body.force && error.kind() == ErrorKind::NotFound => {
            api.networks.forget(&network?, &body.container).await?;
        }
        (Err(error), _) => return Err(error.into()),
        // A network that is gone stays in the list of a container that does not run.
        (Ok(_), Err(_)) if body.force => api.containers.containers.disconnect(&body.container, &name).await?,
        (Ok(_), network) => api.containers.containers.disconnect(&body.container, &network?).await?,
    }
    Ok(reply::empty(StatusCode::OK))
}

pub async fn prune(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&PRUNE_FILTERS)?;
    let until = until(&filters.values("until").map(str::to_owned).collect::<Vec<_>>())?;
    let absent: Vec<String> = filters.values("label!").map(str::to_owned).collect();
    let fits = move |network: &networks::NetworkRecord| {
        let has = |term: &String| match term.split_once('=') {
            Some((key, value)) => network.labels.get(key).is_some_and(|found| found == value),
            None => network.labels.contains_key(term),
        };
        filters.match_labels(&network.labels)
            && !absent.iter().any(has)
            && until.is_none_or(|until| network.created_ns < until.0)
    };
    let deleted = api.networks.prune(fits).await?;
    let report = wire::PruneReport { networks_deleted: Some(deleted).filter(|names| !names.is_empty()) };
    Ok(reply::ok(&report))
}

fn from_wire(body: wire::CreateRequest) -> CreateNetwork {
    let ipam = body.ipam.unwrap_or_default();
    let asked = |config: wire::IpamConfig| Asked {
        subnet: config.subnet,
        range: config.ip_range,
        gateway: config.gateway,
        auxiliary: config.auxiliary_addresses,
    };
    CreateNetwork {
        name: body.name,
        driver: body.driver,
        scope: body.scope,
        internal: body.internal,
        attachable: body.attachable,
        ingress: body.ingress,
        enable_ipv4: body.enable_ipv4,
        enable_ipv6: body.enable_ipv6,
        config_only: body.config_only,
        config_from: body.config_from.map(|from| from.network).unwrap_or_default(),
        ipam_driver: ipam.driver,
        ipam_options: ipam.options,
        pools: ipam.config.unwrap_or_default().into_iter().map(asked).collect(),
        options: body.options.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    }
}

fn to_wire(view: &NetworkView) -> wire::Network {
    let network = &view.network;
    let configs = network.subnets.iter().map(|subnet| wire::IpamConfig {
        subnet: subnet.subnet.to_string(),
        ip_range: subnet.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: subnet.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        auxiliary_addresses: subnet
            .auxiliary
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    });
    wire::Network {
        name: network.name.clone(),
        id: network.id.clone(),
        created: container_core::rfc3339(Some(container_core::Timestamp(network.created_ns))),
        scope: "local".to_owned(),
        driver: network.driver.clone(),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: wire::Ipam {
            driver: if network.ipam.driver.is_empty() { "default".to_owned() } else { network.ipam.driver.clone() },
            options: network.ipam.options.clone(),
            config: Some(configs.collect()),
        },
        config_only: network.config_only,
        config_from: wire::ConfigReference { network: network.config_from.clone() },
        internal: network.internal,
        attachable: network.attachable,
        containers: view.containers.iter().map(endpoint).collect(),
        options: network.options.clone(),
        labels: network.labels.clone(),
        ..wire::Network::default()
    }
}

fn endpoint(attached: &Attached) -> (String, wire::EndpointResource) {
    let with_prefix = |address: Option<Address>| {
        address.map(|address| format!("{}/{}", address.address, address.prefix)).unwrap_or_default()
    };
    let resource = wire::EndpointResource {
        name: attached.container_name.clone(),
        endpoint_id: attached.endpoint.endpoint_id.clone(),
        mac_address: attached.endpoint.mac.to_string(),
        ipv4_address: with_prefix(attached.endpoint.ipv4),
        ipv6_address: with_prefix(attached.endpoint.ipv6),
    };
    (attached.container_id.clone(), resource)
}
