//! `/networks`: list, inspect, create, remove.

use std::collections::BTreeMap;

use engine_api::filters::Filters;
use engine_api::network as wire;
use engine_api::{StringMap, adapt};
use http::StatusCode;
use networks::{Address, Attached, CreateNetwork, NetworkView, SubnetRequest};

use crate::Api;
use crate::containers::create::endpoint as wanted_endpoint;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

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
    let created = api.networks.create(from_wire(body)?).await?;
    Ok(reply::json(StatusCode::CREATED, &wire::CreateResponse { id: created.id, warning: created.warning }))
}

pub async fn remove(api: &Api, request: &Request) -> Answer {
    api.networks.remove(&request.name).await?;
    Ok(reply::no_content())
}

/// For containers that do not run: at their next start they join it.
pub async fn connect(api: &Api, request: Request) -> Answer {
    let network = api.networks.inspect(&request.name).await?.network.name.clone();
    let body: wire::ConnectRequest = request.json().await?;
    let wanted = wanted_endpoint(network, body.endpoint_config.unwrap_or_default());
    api.containers.containers.connect(&body.container, wanted).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub async fn disconnect(api: &Api, request: Request) -> Answer {
    let network = api.networks.inspect(&request.name).await?.network.name.clone();
    let body: wire::DisconnectRequest = request.json().await?;
    api.containers.containers.disconnect(&body.container, &network).await?;
    Ok(reply::empty(StatusCode::OK))
}

fn from_wire(body: wire::CreateRequest) -> Result<CreateNetwork, Failure> {
    let refused = [
        ("Ingress", body.ingress),
        ("ConfigOnly", body.config_only),
        ("ConfigFrom", body.config_from.is_some_and(|from| !from.network.is_empty())),
        ("EnableIPv4=false", body.enable_ipv4 == Some(false)),
    ];
    if let Some((member, _)) = refused.iter().find(|(_, is_set)| *is_set) {
        let message = format!("a network with {member} cannot be made by this engine");
        return Err(Failure::new(errors::ErrorKind::NotImplemented, message));
    }
    let ipam = body.ipam.unwrap_or_default();
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(Failure::new(
            errors::ErrorKind::NotFound,
            format!("could not find plugin {} in v1 plugin registry", ipam.driver),
        ));
    }
    let subnets = ipam.config.unwrap_or_default().into_iter().map(subnet).collect::<Result<_, _>>()?;
    Ok(CreateNetwork {
        name: body.name,
        driver: body.driver,
        internal: body.internal,
        attachable: body.attachable,
        enable_ipv6: body.enable_ipv6.unwrap_or(false),
        subnets,
        options: body.options.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    })
}

fn subnet(config: wire::IpamConfig) -> Result<SubnetRequest, Failure> {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let parsed = |text: Option<String>| text.map(|text| text.parse()).transpose();
    let gateway = given(&config.gateway)
        .map(|text| text.parse().map_err(|_| Failure::bad_request(format!("invalid gateway address: {text}"))));
    if !config.auxiliary_addresses.is_empty() {
        let message = "auxiliary addresses cannot be kept free by this engine";
        return Err(Failure::new(errors::ErrorKind::NotImplemented, message));
    }
    Ok(SubnetRequest {
        subnet: parsed(given(&config.subnet))?,
        range: parsed(given(&config.ip_range))?,
        gateway: gateway.transpose()?,
    })
}

fn to_wire(view: &NetworkView) -> wire::Network {
    let network = &view.network;
    let configs = network.subnets.iter().map(|subnet| wire::IpamConfig {
        subnet: subnet.subnet.to_string(),
        ip_range: subnet.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: subnet.gateway.to_string(),
        auxiliary_addresses: StringMap::new(),
    });
    wire::Network {
        name: network.name.clone(),
        id: network.id.clone(),
        created: container_core::rfc3339(Some(container_core::Timestamp(network.created_ns))),
        scope: "local".to_owned(),
        driver: network.driver.clone(),
        enable_ipv4: network.is_bridge(),
        enable_ipv6: network.enable_ipv6,
        ipam: wire::Ipam { driver: "default".to_owned(), options: None, config: Some(configs.collect()) },
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
