//! From a request to a sandbox record: networks are found, addresses and ports taken, files written. No I/O.

use std::net::IpAddr;

use errors::ErrorKind;
use network_core::hosts::{self, ExtraHost};
use network_core::names;
use network_core::netd::Upstream;
use network_core::resolv_conf::{self, ResolvConf};

use crate::config::Config;
use crate::endpoint_plan::take_endpoint;
use crate::error::Error;
use crate::messages;
use crate::ports::{self, Lead, Leads, Refused};
use crate::record::SandboxRecord;
use crate::request::{Endpoint, EndpointRequest, Sandbox, SandboxMode, SandboxRequest};
use crate::state::State;

/// A container on more networks than that is a mistake.
pub(crate) const MAX_ENDPOINTS: usize = 64;

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
            return Ok(record_of(request, sandbox));
        }
        SandboxMode::Host => {}
        SandboxMode::None => sandbox.netns_path = Some(netns_path(config, request)),
        SandboxMode::Networks(wanted) => {
            sandbox.netns_path = Some(netns_path(config, request));
            sandbox.endpoints = take_endpoints(state, request, wanted, facts)?;
        }
    }
    let mut record = record_of(request, sandbox);
    match settle(state, &mut record, facts, refused) {
        Ok(()) => Ok(record),
        Err(error) => {
            record.sandbox.endpoints.iter().for_each(|endpoint| state.release_endpoint(endpoint));
            Err(error)
        }
    }
}

fn record_of(request: &SandboxRequest, sandbox: Sandbox) -> SandboxRecord {
    SandboxRecord {
        container_id: request.container_id.clone(),
        name: request.name.clone(),
        sandbox,
        upstream: Upstream::Host,
        request: request.clone(),
        assigned: Vec::new(),
        is_changing: false,
        leaving: None,
    }
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
    if wanted.len() > MAX_ENDPOINTS {
        let message = format!("at most {MAX_ENDPOINTS} networks, not {}", wanted.len());
        return Err(Error::docker(ErrorKind::InvalidArgument, message));
    }
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(wanted.len());
    for (number, wanted) in wanted.iter().enumerate() {
        let id = facts.endpoint_ids.get(number).cloned().ok_or(Error::Random)?;
        match take_endpoint(state, request, wanted, id, &endpoints) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => {
                endpoints.iter().for_each(|endpoint| state.release_endpoint(endpoint));
                return Err(error);
            }
        }
    }
    Ok(endpoints)
}

/// Ports and files of a sandbox whose endpoints are chosen. Ports that it had are given back for those that it gets; on
/// an error it keeps them.
pub(crate) fn settle(
    state: &mut State,
    record: &mut SandboxRecord,
    facts: &HostFacts,
    refused: &Refused,
) -> Result<(), Error> {
    let mut settled = record.clone();
    write_files(state, facts, &mut settled)?;
    let leads = leads(state, &settled.sandbox.endpoints);
    let request = &settled.request;
    ports::release(&mut state.ports, &record.sandbox.ports);
    let taken = ports::take(
        &mut state.ports,
        &request.publish,
        &settled.assigned,
        &leads,
        &settled.name,
        refused,
        facts.has_ipv6,
    );
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) => {
            ports::restore(&mut state.ports, &record.sandbox.ports);
            return Err(error);
        }
    };
    settled.sandbox.ports = taken.ports;
    settled.sandbox.open_ports = taken.open;
    // Without a way out the numbers are kept for when there is one again.
    if !taken.assigned.is_empty() {
        settled.assigned = taken.assigned;
    }
    *record = settled;
    Ok(())
}

/// Published ports lead to the endpoints that have the default routes, where their driver can publish: a bridge's.
fn leads(state: &State, endpoints: &[Endpoint]) -> Leads {
    let gateways = state.gateways(endpoints);
    let network_of = |at: Option<usize>| {
        let endpoint = endpoints.get(at?)?;
        let record = &state.networks.get(&endpoint.network_id)?.record;
        record.is_bridge().then_some((endpoint, record))
    };
    let lead = |at: Option<usize>, is_ipv4: bool| {
        let (endpoint, record) = network_of(at)?;
        let is_routed = !record.mode(is_ipv4).translates();
        Some(Lead { address: endpoint.address(is_ipv4)?.address, is_routed })
    };
    let first = network_of(gateways.ipv4).or_else(|| network_of(gateways.ipv6));
    Leads {
        ipv4: lead(gateways.ipv4, true),
        ipv6: lead(gateways.ipv6, false),
        host_binding: first.and_then(|(_, record)| record.bridge_options.host_binding),
        endpoint_id: first.map(|(endpoint, _)| endpoint.endpoint_id.clone()).unwrap_or_default(),
    }
}

fn write_files(state: &State, facts: &HostFacts, record: &mut SandboxRecord) -> Result<(), Error> {
    let (request, sandbox) = (&record.request, &mut record.sandbox);
    let host = ResolvConf::parse(&facts.resolv_conf);
    let extra = extra_hosts(state, &request.extra_hosts)?;
    record.upstream = Upstream::Host;
    if sandbox.netns_path.is_none() {
        sandbox.resolv_conf = resolv_conf::for_host_mode(&host, &request.dns).file;
        sandbox.hosts = hosts::for_host_mode(&facts.hosts, &extra);
        return Ok(());
    }
    let own: Vec<IpAddr> = sandbox.endpoints.iter().flat_map(Endpoint::addresses).collect();
    sandbox.hosts = hosts::generate(&request.hostname, &request.domainname, &own, &extra);
    let has_ipv6 = sandbox.endpoints.iter().any(|endpoint| endpoint.ipv6.is_some());
    if sandbox.endpoints.iter().all(|endpoint| endpoint.dns_names.is_empty()) {
        sandbox.resolv_conf = resolv_conf::for_default_bridge(&host, &request.dns, has_ipv6).file;
        return Ok(());
    }
    let resolution = resolv_conf::for_user_network(&host, &request.dns);
    sandbox.resolv_conf = resolution.file;
    let is_internal =
        |endpoint: &Endpoint| state.networks.get(&endpoint.network_id).is_some_and(|network| network.record.internal);
    // CVE-2024-29018: what has no way out has none by way of the names either.
    record.upstream = if sandbox.endpoints.iter().all(is_internal) {
        Upstream::Nobody
    } else if request.dns.servers.is_empty() {
        Upstream::Host
    } else {
        Upstream::Servers(resolution.upstream)
    };
    Ok(())
}

fn extra_hosts(state: &State, texts: &[String]) -> Result<Vec<ExtraHost>, Error> {
    let invalid = |text: &str| Error::docker(ErrorKind::InvalidArgument, messages::bad_extra_host(text));
    let mut hosts = Vec::with_capacity(texts.len());
    for text in texts {
        let (name, address) = text.split_once([':', '=']).ok_or_else(|| invalid(text))?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(invalid(text));
        }
        let addresses: Vec<IpAddr> = match address {
            // Docker's default: the addresses of the default bridge are the host's.
            "host-gateway" => {
                let subnets = &state.find("bridge")?.record.subnets;
                subnets.iter().filter_map(|subnet| subnet.bridge_address.or(subnet.gateway)).collect()
            }
            address => address.trim_matches(['[', ']']).parse().into_iter().collect(),
        };
        if addresses.is_empty() {
            return Err(invalid(text));
        }
        hosts.extend(addresses.into_iter().map(|address| ExtraHost { name: name.to_owned(), address }));
    }
    Ok(hosts)
}
