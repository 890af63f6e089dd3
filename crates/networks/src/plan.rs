//! From a request to a sandbox record: networks are found, addresses and ports taken, files written. No I/O.

use std::net::IpAddr;

use errors::ErrorKind;
use network_core::hosts::{self, ExtraHost};
use network_core::netd::Upstream;
use network_core::resolv_conf::{self, ResolvConf};
use network_core::{Mac, names};

use crate::config::Config;
use crate::error::Error;
use crate::messages;
use crate::ports::{self, Refused};
use crate::record::SandboxRecord;
use crate::request::{Endpoint, EndpointRequest, Sandbox, SandboxMode, SandboxRequest};
use crate::state::State;

/// A container on more networks than that is a mistake.
const MAX_ENDPOINTS: usize = 64;

/// What the host contributes: read before the lock is taken.
pub(crate) struct HostFacts {
    pub resolv_conf: String,
    pub hosts: String,
    pub has_ipv6: bool,
    /// Random bytes for one endpoint id each.
    pub endpoint_ids: Vec<String>,
}

/// Takes what the request needs out of the state. On an error nothing stays taken.
pub(crate) fn plan(
    state: &mut State,
    config: &Config,
    request: &SandboxRequest,
    facts: &HostFacts,
    refused: &Refused,
) -> Result<SandboxRecord, Error> {
    let mut sandbox = Sandbox::default();
    match &request.mode {
        SandboxMode::Container(other) => {
            let Some(record) = state.sandboxes.get(other) else {
                return Err(Error::docker(ErrorKind::Conflict, messages::join_not_running(other)));
            };
            sandbox.netns_path.clone_from(&record.sandbox.netns_path);
            sandbox.resolv_conf.clone_from(&record.sandbox.resolv_conf);
            sandbox.hosts.clone_from(&record.sandbox.hosts);
            return Ok(record_of(request, sandbox, Upstream::Host));
        }
        SandboxMode::Host => {}
        SandboxMode::None => sandbox.netns_path = Some(netns_path(config, request)),
        SandboxMode::Networks(wanted) => {
            sandbox.netns_path = Some(netns_path(config, request));
            sandbox.endpoints = take_endpoints(state, request, wanted, facts)?;
            sandbox.ports = match take_ports(state, request, &sandbox.endpoints, facts, refused) {
                Ok(ports) => ports,
                Err(error) => {
                    sandbox.endpoints.iter().for_each(|endpoint| state.release_endpoint(endpoint));
                    return Err(error);
                }
            };
        }
    }
    match write_files(state, request, facts, &mut sandbox) {
        Ok(upstream) => Ok(record_of(request, sandbox, upstream)),
        Err(error) => {
            sandbox.endpoints.iter().for_each(|endpoint| state.release_endpoint(endpoint));
            ports::release(&mut state.ports, &sandbox.ports);
            Err(error)
        }
    }
}

fn record_of(request: &SandboxRequest, sandbox: Sandbox, upstream: Upstream) -> SandboxRecord {
    SandboxRecord { container_id: request.container_id.clone(), name: request.name.clone(), sandbox, upstream }
}

fn netns_path(config: &Config, request: &SandboxRequest) -> std::path::PathBuf {
    config.netns_folder().join(names::sandbox_file(&request.container_id))
}

fn take_endpoints(
    state: &mut State,
    request: &SandboxRequest,
    wanted: &[EndpointRequest],
    facts: &HostFacts,
) -> Result<Vec<Endpoint>, Error> {
    if wanted.is_empty() || wanted.len() > MAX_ENDPOINTS {
        return Err(Error::docker(
            ErrorKind::InvalidArgument,
            format!("1 to {MAX_ENDPOINTS} networks, not {}", wanted.len()),
        ));
    }
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(wanted.len());
    for (number, wanted) in wanted.iter().enumerate() {
        let id = facts.endpoint_ids.get(number).cloned().ok_or(Error::Random)?;
        match take_endpoint(state, request, wanted, number, id, &endpoints) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => {
                endpoints.iter().for_each(|endpoint| state.release_endpoint(endpoint));
                return Err(error);
            }
        }
    }
    Ok(endpoints)
}

/// One endpoint, whose link is `eth<number>`.
pub(crate) fn take_endpoint(
    state: &mut State,
    request: &SandboxRequest,
    wanted: &EndpointRequest,
    number: usize,
    id: String,
    others: &[Endpoint],
) -> Result<Endpoint, Error> {
    let network = &state.find(&wanted.network)?.record;
    if !network.is_bridge() {
        return Err(Error::docker(ErrorKind::InvalidArgument, messages::HOST_ENDPOINT));
    }
    if others.iter().any(|other| other.network_id == network.id) {
        let message = messages::already_attached(&request.name, &network.name);
        return Err(Error::docker(ErrorKind::PermissionDenied, message));
    }
    if network.predefined {
        if wanted.ipv4.or(wanted.ipv6).is_some() {
            return Err(Error::docker(ErrorKind::InvalidArgument, messages::STATIC_ON_DEFAULT));
        }
        if !wanted.aliases.is_empty() {
            return Err(Error::docker(ErrorKind::InvalidArgument, messages::ALIAS_ON_DEFAULT));
        }
    }
    let (network_id, network_name, serves_names) = (network.id.clone(), network.name.clone(), network.serves_names());
    let ipv4 = state.take_address(&network_id, true, wanted.ipv4)?;
    let mut endpoint = Endpoint {
        network_id,
        network_name,
        endpoint_id: id,
        mac: Mac([0; 6]),
        link: format!("eth{number}"),
        ipv4,
        ipv6: None,
        aliases: wanted.aliases.clone(),
        dns_names: if serves_names { dns_names(request, &wanted.aliases) } else { Vec::new() },
    };
    match state.take_address(&endpoint.network_id, false, wanted.ipv6) {
        Ok(ipv6) => endpoint.ipv6 = ipv6,
        Err(error) => {
            state.release_endpoint(&endpoint);
            return Err(error.into());
        }
    }
    let address = endpoint.addresses().first().copied();
    endpoint.mac = wanted.mac.or(address.map(Mac::from_address)).unwrap_or(endpoint.mac);
    Ok(endpoint)
}

/// Name, aliases, short id, host name: Docker's order, each once.
fn dns_names(request: &SandboxRequest, aliases: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let own = [request.name.as_str()];
    let rest = [messages::short(&request.container_id), request.hostname.as_str()];
    for name in own.into_iter().chain(aliases.iter().map(String::as_str)).chain(rest) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Published ports lead to the first endpoint that has a way out.
fn take_ports(
    state: &mut State,
    request: &SandboxRequest,
    endpoints: &[Endpoint],
    facts: &HostFacts,
    refused: &Refused,
) -> Result<Vec<network_core::firewall::PublishedPort>, Error> {
    let has_way_out = |endpoint: &&Endpoint| {
        [endpoint.ipv4, endpoint.ipv6].into_iter().flatten().any(|address| address.gateway.is_some())
    };
    let Some(endpoint) = endpoints.iter().find(has_way_out) else { return Ok(Vec::new()) };
    ports::take(&mut state.ports, &request.publish, endpoint, &request.name, refused, facts.has_ipv6)
}

fn write_files(
    state: &State,
    request: &SandboxRequest,
    facts: &HostFacts,
    sandbox: &mut Sandbox,
) -> Result<Upstream, Error> {
    let host = ResolvConf::parse(&facts.resolv_conf);
    let extra = extra_hosts(state, &request.extra_hosts)?;
    if sandbox.netns_path.is_none() {
        sandbox.resolv_conf = resolv_conf::for_host_mode(&host, &request.dns).file;
        sandbox.hosts = hosts::for_host_mode(&facts.hosts, &extra);
        return Ok(Upstream::Host);
    }
    let own: Vec<IpAddr> = sandbox.endpoints.iter().flat_map(Endpoint::addresses).collect();
    sandbox.hosts = hosts::generate(&request.hostname, &request.domainname, &own, &extra);
    let has_ipv6 = sandbox.endpoints.iter().any(|endpoint| endpoint.ipv6.is_some());
    if sandbox.endpoints.iter().all(|endpoint| endpoint.dns_names.is_empty()) {
        sandbox.resolv_conf = resolv_conf::for_default_bridge(&host, &request.dns, has_ipv6).file;
        return Ok(Upstream::Host);
    }
    let resolution = resolv_conf::for_user_network(&host, &request.dns);
    sandbox.resolv_conf = resolution.file;
    let is_internal =
        |endpoint: &Endpoint| state.networks.get(&endpoint.network_id).is_some_and(|network| network.record.internal);
    Ok(if sandbox.endpoints.iter().all(is_internal) {
        Upstream::Nobody
    } else if request.dns.servers.is_empty() {
        Upstream::Host
    } else {
        Upstream::Servers(resolution.upstream)
    })
}

fn extra_hosts(state: &State, texts: &[String]) -> Result<Vec<ExtraHost>, Error> {
    let invalid = |text: &str| Error::docker(ErrorKind::InvalidArgument, messages::bad_extra_host(text));
    let parse = |text: &String| {
        let (name, address) = text.split_once([':', '=']).ok_or_else(|| invalid(text))?;
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        let address = match address {
            // Docker's default: the gateway of the default bridge is the host.
            "host-gateway" => state.find("bridge")?.record.subnets.first().map(|subnet| subnet.gateway),
            address => address.trim_matches(['[', ']']).parse().ok(),
        };
        match address {
            Some(address) if is_name => Ok(ExtraHost { name: name.to_owned(), address }),
            _ => Err(invalid(text)),
        }
    };
    texts.iter().map(parse).collect()
}
