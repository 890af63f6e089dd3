//! What was stated for each sandbox, and how a new statement is made true.

use std::collections::HashMap;
use std::io;

use dns::{EndpointNames, Names, SandboxNames};
use network_core::Protocol;
use network_core::firewall::PublishedPort;
use network_core::netd::{Failure, Sandbox};

use crate::error::Error;
use crate::poller::Poller;
use crate::resolver::Resolver;
use crate::socket::Home;
use crate::stream_relay::StreamRelay;
use crate::udp_relay::UdpRelay;

/// More than any host runs; each may hold several descriptors.
const MAX_SANDBOXES: usize = 16 * 1024;
const MAX_PORTS: usize = 8 * 1024;

#[derive(Default)]
pub(crate) struct Sandboxes {
    held: HashMap<String, Held>,
}

struct Held {
    statement: Sandbox,
    resolver: Option<u64>,
    ports: Vec<(PublishedPort, u64)>,
}

/// What statements work on.
pub(crate) struct Parts<'a> {
    pub poller: &'a mut Poller,
    pub home: &'a Home,
    pub names: &'a mut Names,
    pub resolver: &'a mut Resolver,
    pub streams: &'a mut StreamRelay,
    pub udp: &'a mut UdpRelay,
}

impl Parts<'_> {
    fn bind(&mut self, port: &PublishedPort) -> Result<u64, Error> {
        match port.protocol {
            Protocol::Tcp | Protocol::Sctp => self.streams.bind(self.poller, port),
            Protocol::Udp => self.udp.bind(self.poller, port),
        }
    }

    /// The same port of the host leads elsewhere from now on.
    fn retarget(&mut self, port: &PublishedPort, number: u64) {
        match port.protocol {
            Protocol::Tcp | Protocol::Sctp => self.streams.retarget(number, port),
            Protocol::Udp => self.udp.retarget(number, port),
        }
    }

    fn release(&mut self, port: &PublishedPort, number: u64) {
        match port.protocol {
            Protocol::Tcp | Protocol::Sctp => self.streams.release(number),
            Protocol::Udp => self.udp.release(number),
        }
    }
}

impl Sandboxes {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn list(&self) -> Vec<Sandbox> {
        let mut list: Vec<Sandbox> = self.held.values().map(|held| held.statement.clone()).collect();
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// Makes the statement true, or leaves everything as it was.
    pub(crate) fn set(&mut self, parts: &mut Parts<'_>, statement: Sandbox) -> Result<(), Box<Failure>> {
        if self.held.get(&statement.id).is_some_and(|held| held.statement == statement) {
            return Ok(());
        }
        let failed = |error: &Error, port: Option<PublishedPort>| Box::new(failure(&statement.id, error, port));
        if self.held.len() >= MAX_SANDBOXES && !self.held.contains_key(&statement.id) {
            return Err(failed(&Error::Limit { what: "sandboxes", limit: MAX_SANDBOXES }, None));
        }
        let bound = self.held.values().map(|held| held.ports.len()).sum::<usize>();
        if bound + statement.ports.len() > MAX_PORTS {
            return Err(failed(&Error::Limit { what: "published ports", limit: MAX_PORTS }, None));
        }
        let old = self.held.remove(&statement.id);
        let (old_ports, old_resolver) = match &old {
            Some(held) => (held.ports.clone(), held.resolver.zip(held.statement.resolver.as_ref())),
            None => (Vec::new(), None),
        };
        // A port that only leads elsewhere keeps its socket.
        let wanted_as = |held: &PublishedPort| statement.ports.iter().find(|port| is_same_socket(held, port)).copied();
        let mut ports: Vec<(PublishedPort, u64)> =
            old_ports.iter().filter_map(|(port, number)| Some((wanted_as(port)?, *number))).collect();
        let kept = ports.len();
        let opened =
            bind_missing(parts, &statement, &mut ports).and_then(|()| match (&statement.resolver, old_resolver) {
                (None, _) => Ok(None),
                (Some(wanted), Some((number, known))) if wanted.namespace == known.namespace => {
                    parts.resolver.set_upstream(number, &wanted.upstream);
                    Ok(Some(number))
                }
                (Some(wanted), _) => parts
                    .resolver
                    .open(parts.poller, parts.home, &statement.id, wanted)
                    .map(Some)
                    .map_err(|error| (error, None)),
            });
        let resolver = match opened {
            Ok(resolver) => resolver,
            Err((error, port)) => {
                ports[kept..].iter().for_each(|(port, number)| parts.release(port, *number));
                let failure = failed(&error, port);
                if let Some(old) = old {
                    self.held.insert(statement.id, old);
                }
                return Err(failure);
            }
        };
        for (port, number) in &old_ports {
            match wanted_as(port) {
                None => parts.release(port, *number),
                Some(wanted) if wanted != *port => parts.retarget(&wanted, *number),
                Some(_) => {}
            }
        }
        if let Some((number, _)) = old_resolver.filter(|(number, _)| resolver != Some(*number)) {
            parts.resolver.close(number);
        }
        parts.names.set(&statement.id, names_of(&statement));
        self.held.insert(statement.id.clone(), Held { statement, resolver, ports });
        Ok(())
    }

    pub(crate) fn remove(&mut self, parts: &mut Parts<'_>, id: &str) {
        let Some(held) = self.held.remove(id) else { return };
        held.ports.iter().for_each(|(port, number)| parts.release(port, *number));
        if let Some(number) = held.resolver {
            parts.resolver.close(number);
        }
        parts.names.remove(id);
    }

    /// These and no others; what cannot be made true is told, the rest holds.
    pub(crate) fn sync(&mut self, parts: &mut Parts<'_>, statements: Vec<Sandbox>) -> Vec<Failure> {
        let wanted: std::collections::HashSet<&str> =
            statements.iter().map(|statement| statement.id.as_str()).collect();
        let gone: Vec<String> = self.held.keys().filter(|id| !wanted.contains(id.as_str())).cloned().collect();
        drop(wanted);
        gone.iter().for_each(|id| self.remove(parts, id));
        statements
            .into_iter()
            .filter_map(|statement| self.set(parts, statement).err().map(|failure| *failure))
            .collect()
    }
}

fn bind_missing(
    parts: &mut Parts<'_>,
    statement: &Sandbox,
    ports: &mut Vec<(PublishedPort, u64)>,
) -> Result<(), (Error, Option<PublishedPort>)> {
    for port in &statement.ports {
        if ports.iter().any(|(held, _)| held == port) {
            continue;
        }
        let number = parts.bind(port).map_err(|error| (error, Some(*port)))?;
        ports.push((*port, number));
    }
    Ok(())
}

fn is_same_socket(a: &PublishedPort, b: &PublishedPort) -> bool {
    (a.host_address, a.host_port, a.protocol) == (b.host_address, b.host_port, b.protocol)
}

/// `port` is the one that could not be bound.
fn failure(sandbox: &str, error: &Error, port: Option<PublishedPort>) -> Failure {
    let failure =
        Failure { sandbox: sandbox.to_owned(), message: errors::chain(error), port_in_use: None, port_refused: None };
    match error {
        Error::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Failure { port_in_use: port, ..failure }
        }
        Error::Bind { source, .. } => Failure { port_refused: port, message: source.to_string(), ..failure },
        _ => failure,
    }
}

fn names_of(statement: &Sandbox) -> SandboxNames {
    let endpoints = statement.endpoints.iter().map(|endpoint| EndpointNames {
        network_id: endpoint.network_id.clone(),
        network_name: endpoint.network_name.clone(),
        addresses: endpoint.addresses.clone(),
        names: endpoint.names.clone(),
        links: endpoint.links.clone(),
    });
    SandboxNames { endpoints: endpoints.collect() }
}
