//! A container's sandbox from start to stop.

use std::collections::BTreeSet;
use std::net::IpAddr;

use errors::ErrorKind;
use metadata::Durability;
use netlink::{Route, namespace};
use network_core::firewall::Item;
use network_core::netd;

use crate::driver::{self, Uplink};
use crate::error::Error;
use crate::events::EventAction;
use crate::messages;
use crate::plan::{self, HostFacts};
use crate::plumbing::{self, Plug};
use crate::ports::Refused;
use crate::record::{SANDBOXES, SandboxRecord};
use crate::request::{Endpoint, Sandbox, SandboxMode, SandboxRequest};
use crate::service::{Inner, new_id};

/// How often another host port is tried when a program outside has the one that was chosen.
const PORT_TRIES: usize = 32;
/// resolv.conf and hosts of the host are read up to here.
const MAX_HOST_FILE: u64 = 256 * 1024;

impl Inner {
    /// Makes the sandbox, or answers the one that is there. `early` hears of one that a container may be set up in while the
    /// rest of it is made.
    pub(crate) fn acquire(&self, request: &SandboxRequest, early: &mut dyn FnMut(&Sandbox)) -> Result<Sandbox, Error> {
        if matches!(request.mode, SandboxMode::Networks(_)) {
            self.prepare()?;
        }
        if let Some(ready) = self.ready_sandbox(&request.container_id)? {
            return Ok(ready);
        }
        let (filled, given) = self.with_addresses(request)?;
        self.make(filled.as_ref().unwrap_or(request), early).map_err(|unmade| {
            self.give_back_all(&given);
            // The first error counts; a record that stays is taken down by the next start.
            let _ = unmade.record.map(|record| self.erase(&record));
            unmade.error
        })
    }

    fn make(&self, request: &SandboxRequest, early: &mut dyn FnMut(&Sandbox)) -> Result<Sandbox, Unmade> {
        let mut facts = self.host_facts(request)?;
        let mut refused = Refused::new();
        for _ in 0..PORT_TRIES {
            let mut record = {
                let mut state = self.state();
                if state.sandboxes.contains_key(&request.container_id) {
                    let message =
                        format!("sandbox of container {} is being made", messages::short(&request.container_id));
                    return Err(Error::docker(ErrorKind::Conflict, message).into());
                }
                let record = plan::plan(&mut state, &self.config, request, &facts, &refused)?;
                state.sandboxes.insert(record.container_id.clone(), record.clone());
                state.arriving.insert(record.container_id.clone());
                record
            };
            let joined = self.join_remotes(&mut record, &facts, &refused).map_err(Failure::Other);
            let built = joined.and_then(|()| self.build(&mut record, early));
            match built {
                Ok(()) => {
                    self.announce(EventAction::Connect, &record);
                    return Ok(record.sandbox);
                }
                Err(Failure::PortInUse(port)) => {
                    // What could not be undone is undone by the next start; the busy port is what counts.
                    let _ = self.take_down(&record, &[]);
                    let was_asked_for = request.publish.iter().any(|publish| {
                        publish.protocol == port.protocol
                            && publish
                                .host_ports
                                .is_some_and(|range| range.first == port.host_port && range.last == range.first)
                    });
                    if was_asked_for || refused.len() + 1 == PORT_TRIES {
                        let error = no_port(&record, &port, messages::IN_USE);
                        return Err(Unmade { error, record: Some(Box::new(record)) });
                    }
                    let _ = self.erase(&record);
                    refused.insert((port.protocol, port.host_port));
                    // Links are named after endpoints, and those of this try vanish in the background.
                    facts = self.host_facts(request)?;
                }
                Err(Failure::Other(error)) => {
                    let _ = self.take_down(&record, &[]);
                    return Err(Unmade { error, record: Some(Box::new(record)) });
                }
            }
        }
        let clause = "all ports are allocated";
        Err(Error::docker(ErrorKind::Internal, messages::external_connectivity(&request.name, "", clause)).into())
    }

    /// A sandbox whose namespace still stands; one that lost it is taken down and made anew.
    fn ready_sandbox(&self, container_id: &str) -> Result<Option<Sandbox>, Error> {
        let Some(record) = self.state().sandboxes.get(container_id).cloned() else { return Ok(None) };
        match &record.sandbox.netns_path {
            Some(path) if !namespace::exists(path) => {
                self.release(container_id)?;
                Ok(None)
            }
            _ => Ok(Some(record.sandbox)),
        }
    }

    fn host_facts(&self, request: &SandboxRequest) -> Result<HostFacts, Error> {
        let count = match &request.mode {
            SandboxMode::Networks(wanted) => wanted.len().min(plan::MAX_ENDPOINTS),
            _ => 0,
        };
        let hosts = match request.mode {
            SandboxMode::Host => read_bounded(&self.config.host_hosts),
            _ => String::new(),
        };
        Ok(HostFacts { hosts, ..self.host_facts_for(count)? })
    }

    /// For so many new endpoints of a sandbox with a namespace of its own.
    pub(crate) fn host_facts_for(&self, count: usize) -> Result<HostFacts, Error> {
        Ok(HostFacts {
            resolv_conf: read_bounded(&self.config.host_resolv_conf),
            hosts: String::new(),
            has_ipv6: std::path::Path::new("/proc/net/if_inet6").exists(),
            endpoint_ids: (0..count).map(|_| new_id()).collect::<Result<_, _>>()?,
        })
    }

    /// The record first, then the kernel, then docker-netd (whose sockets reserve the ports), then the packet filter, and
    /// plugins that publish.
    fn build(&self, record: &mut SandboxRecord, early: &mut dyn FnMut(&Sandbox)) -> Result<(), Failure> {
        let stored = record.clone();
        // Without fsync: after a power loss no container runs, and what does not run has no sandbox.
        let written =
            self.database.write_blocking(Durability::Lazy, move |tx| SANDBOXES.put(tx, &stored.container_id, &stored));
        written.map_err(|error: metadata::Error| Failure::Other(error.into()))?;
        if let Some(path) = record.sandbox.netns_path.as_ref().filter(|_| self.owns_namespace(record)) {
            self.create_namespace(path, record, early).map_err(Failure::Other)?;
        }
        self.state().arriving.remove(&record.container_id);
        self.state_to_netd(record)?;
        let filtered = self.firewall.change(&self.items_with_segments(record), &[], || self.state().firewall_items());
        filtered.map_err(|error| Failure::Other(error.into()))?;
        self.program_remotes(record).map_err(|error| {
            // The first error counts. A reload must not bring the elements back.
            self.state().leaving.insert(record.container_id.clone());
            let _ = self.firewall.change(&[], &record.items(), || self.state().firewall_items());
            Failure::Other(error)
        })
    }

    /// What the packet filter holds of a sandbox, and of the further bridges that it is on, which may be new.
    pub(crate) fn items_with_segments(&self, record: &SandboxRecord) -> Vec<Item> {
        let mut items = record.items();
        for endpoint in record.sandbox.endpoints.iter().filter(|endpoint| endpoint.segment > 0) {
            if let Some(network) = self.state().networks.get(&endpoint.network_id) {
                items.extend(driver::segment_items(&network.record, endpoint.segment));
            }
        }
        items
    }

    /// The namespace of `--network container:x` belongs to x.
    fn owns_namespace(&self, record: &SandboxRecord) -> bool {
        let own = self.config.netns_folder().join(network_core::names::sandbox_file(&record.container_id));
        record.sandbox.netns_path.as_ref() == Some(&own)
    }

    fn create_namespace(
        &self,
        path: &std::path::Path,
        record: &SandboxRecord,
        early: &mut dyn FnMut(&Sandbox),
    ) -> Result<(), Error> {
        let plugs = self.plugs(&record.sandbox.endpoints)?;
        let users = record.request.users.as_deref();
        let gateways = self.state().gateways(&record.sandbox.endpoints);
        let is_final = is_final(record);
        let mut stands = || {
            if is_final {
                early(&record.sandbox);
            }
        };
        match plumbing::create(path, users, &self.spare, &plugs, gateways, &mut stands) {
            // Left behind by a daemon that died in between; its container does not run, or the record would have told.
            Err(Error::Kernel(error)) if errors::Kind::kind(&error) == ErrorKind::AlreadyExists => {
                namespace::remove(path)?;
                plumbing::create(path, users, &self.spare, &plugs, gateways, &mut stands)
            }
            other => other,
        }
    }

    /// Links of the host are looked up by name each time: an index kept in memory could be another link's by now.
    pub(crate) fn plugs<'a>(&'a self, endpoints: &'a [Endpoint]) -> Result<Vec<Plug<'a>>, Error> {
        if endpoints.is_empty() {
            return Ok(Vec::new());
        }
        let route = Route::open()?;
        let plug = |endpoint: &'a Endpoint| {
            let network = self.state().find(&endpoint.network_id)?.record.clone();
            let driver = self.driver(&network.driver)?;
            if let Some(remote) = &endpoint.remote {
                let uplink = remote_uplink(&route, &remote.link)?;
                return Ok(Plug { endpoint, network, driver, uplink });
            }
            let uplink = match driver.find(&route, &network, endpoint.segment)? {
                Some(uplink) => uplink,
                None => driver.ensure(&route, &network, endpoint.segment)?,
            };
            Ok(Plug { endpoint, network, driver, uplink })
        };
        endpoints.iter().map(plug).collect()
    }

    pub(crate) fn state_to_netd(&self, record: &SandboxRecord) -> Result<(), Failure> {
        let Some(sandbox) = record.statement() else { return Ok(()) };
        let reply = self.netd.say(&netd::Request::Set { sandbox }, || self.statements()).map_err(Failure::Other)?;
        match reply {
            netd::Reply::Failed(netd::Failure { port_in_use: Some(port), .. }) => Err(Failure::PortInUse(port)),
            netd::Reply::Failed(netd::Failure { port_refused: Some(port), message, .. }) => {
                Err(Failure::Other(no_port(record, &port, &message)))
            }
            netd::Reply::Failed(failure) => Err(Failure::Other(Error::NetdRefused { message: failure.message })),
            _ => Ok(()),
        }
    }

    pub(crate) fn statements(&self) -> Vec<netd::Sandbox> {
        self.state().stated().filter_map(SandboxRecord::statement).collect()
    }

    /// Takes the sandbox down; that there is none is no error. Nothing here waits for a link to go.
    pub(crate) fn release(&self, container_id: &str) -> Result<(), Error> {
        let Some(record) = self.state().sandboxes.get(container_id).cloned() else { return Ok(()) };
        let taken_down = self.take_down(&record, &record.items());
        record.sandbox.endpoints.iter().for_each(|endpoint| self.give_back_addresses(endpoint));
        let erased = self.erase(&record);
        self.announce(EventAction::Disconnect, &record);
        taken_down.and(erased)
    }

    /// Last of all: until then the next daemon takes down what this one did not live to.
    fn erase(&self, record: &SandboxRecord) -> Result<(), Error> {
        let id = record.container_id.clone();
        let erased = self.database.write_blocking(Durability::Lazy, move |tx| SANDBOXES.delete(tx, &id).map(drop));
        erased.map_err(|error: metadata::Error| error.into())
    }

    /// All steps, whatever fails; the first failure is told. `items` are those that the packet filter has of it. Addresses
    /// and ports are free last, when nothing of the sandbox answers to them any more.
    fn take_down(&self, record: &SandboxRecord, items: &[Item]) -> Result<(), Error> {
        let mut first: Result<(), Error> = Ok(());
        let mut keep = |result: Result<(), Error>| {
            if first.is_ok() {
                first = result;
            }
        };
        // A reload, or a docker-netd that is told everything meanwhile, must not bring it back.
        self.state().leaving.insert(record.container_id.clone());
        keep(self.firewall.change(&[], items, || self.state().firewall_items()).map_err(Error::from));
        if record.statement().is_some() {
            let request = netd::Request::Remove { id: record.container_id.clone() };
            keep(self.netd.say(&request, || self.statements()).map(drop));
        }
        for address in datagram_targets(record) {
            keep(netlink::forget_udp_flows(address).map(drop).map_err(Error::from));
        }
        if let Some(path) = record.sandbox.netns_path.as_ref().filter(|_| self.owns_namespace(record)) {
            keep(namespace::remove(path).map_err(Error::from));
        }
        record.sandbox.endpoints.iter().for_each(|endpoint| self.leave_remote(endpoint));
        self.state().forget(&record.container_id);
        first
    }

    fn announce(&self, action: EventAction, record: &SandboxRecord) {
        for endpoint in &record.sandbox.endpoints {
            let network = self.state().networks.get(&endpoint.network_id).map(|network| network.record.clone());
            if let Some(network) = network {
                self.publish(action, &network, Some(&record.container_id));
            }
        }
    }
}

/// Whether nothing of it is decided later: by other programs, which may have a port, or by a plugin. Sysctls of a link are
/// for who comes after.
fn is_final(record: &SandboxRecord) -> bool {
    let is_plain = |endpoint: &Endpoint| endpoint.remote.is_none() && endpoint.sysctls.is_empty();
    record.sandbox.ports.is_empty() && record.sandbox.endpoints.iter().all(is_plain)
}

/// A sandbox that could not be made: why, and its record where one is stored.
struct Unmade {
    error: Error,
    record: Option<Box<SandboxRecord>>,
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Self { error, record: None }
    }
}

/// Why a step of making one failed.
pub(crate) enum Failure {
    PortInUse(network_core::firewall::PublishedPort),
    Other(Error),
}

impl Failure {
    pub(crate) fn into_error(self, record: &SandboxRecord) -> Error {
        match self {
            Self::PortInUse(port) => no_port(record, &port, messages::IN_USE),
            Self::Other(error) => error,
        }
    }
}

fn no_port(record: &SandboxRecord, port: &network_core::firewall::PublishedPort, why: &str) -> Error {
    let holds = |endpoint: &&crate::request::Endpoint| endpoint.addresses().contains(&port.container_address);
    let endpoint = record.sandbox.endpoints.iter().find(holds);
    let endpoint_id = endpoint.map(|endpoint| endpoint.endpoint_id.as_str()).unwrap_or_default();
    let message = messages::external_connectivity(&record.name, endpoint_id, &messages::bind_failed(port, why));
    Error::docker(ErrorKind::Internal, message)
}

/// Container addresses that UDP ports lead to: a client that goes on sending would keep its translation for ever.
pub(crate) fn datagram_targets(record: &SandboxRecord) -> BTreeSet<IpAddr> {
    let is_udp = |port: &&network_core::firewall::PublishedPort| port.protocol == network_core::Protocol::Udp;
    record.sandbox.ports.iter().filter(is_udp).map(|port| port.container_address).collect()
}

fn remote_uplink(route: &Route, name: &str) -> Result<Uplink, Error> {
    match route.link_by_name(name)? {
        Some(link) => Ok(Uplink { index: link.index }),
        None => Err(Error::docker(ErrorKind::Internal, format!("the plugin's link {name} is not there"))),
    }
}

/// Missing is empty, as for resolvers themselves.
fn read_bounded(path: &std::path::Path) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(MAX_HOST_FILE).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
