//! The networks and sandboxes in memory. One short lock; no I/O under it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use errors::ErrorKind;
use network_core::firewall::Item;
use network_core::gateway::{self, Candidate, Gateways};
use network_core::{AddressBook, AddressError, Binding, PortTable, Subnet};

use crate::driver::segment_items;
use crate::error::Error;
use crate::messages;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::request::{Attached, Endpoint, NetworkView};

pub(crate) struct Network {
    pub record: NetworkRecord,
    /// In the order of the record's subnets.
    pub books: Vec<AddressBook>,
    /// Endpoints on each of its bridges.
    pub segments: Vec<usize>,
}

/// Endpoints on one bridge: the kernel takes 1,024 ports (`BR_MAX_PORTS`), and some are for trunks.
const MAX_SEGMENT: usize = 1000;

#[derive(Default)]
pub(crate) struct State {
    pub networks: BTreeMap<String, Network>,
    pub sandboxes: HashMap<String, SandboxRecord>,
    /// Sandboxes that are being taken down: they hold what they have, and nothing is said of them any more.
    pub leaving: HashSet<String>,
    /// Sandboxes whose namespace is not whole yet: an address bound in it before its loopback is up would not be the
    /// source of what is sent from there.
    pub arriving: HashSet<String>,
    pub ports: PortTable,
}

impl State {
    pub(crate) fn insert_network(&mut self, record: NetworkRecord) -> Result<(), AddressError> {
        let book =
            |subnet: &crate::record::SubnetRecord| AddressBook::new(subnet.subnet, subnet.range, &subnet.reserved());
        let books = record.subnets.iter().map(book).collect::<Result<_, _>>()?;
        self.networks.insert(record.id.clone(), Network { record, books, segments: Vec::new() });
        Ok(())
    }

    /// By full id, by name, by the start of an id: Docker's order.
    pub(crate) fn find(&self, term: &str) -> Result<&Network, Error> {
        let term = if term == "default" { "bridge" } else { term };
        if let Some(network) = self.networks.get(term) {
            return Ok(network);
        }
        if let Some(network) = self.networks.values().find(|network| network.record.name == term) {
            return Ok(network);
        }
        let mut matches =
            self.networks.values().filter(|network| !term.is_empty() && network.record.id.starts_with(term));
        match (matches.next(), matches.count()) {
            (Some(network), 0) => Ok(network),
            (None, _) => Err(Error::docker(ErrorKind::NotFound, messages::not_found(term))),
            (Some(_), more) => Err(Error::docker(ErrorKind::InvalidArgument, messages::ambiguous(term, more + 1))),
        }
    }

    pub(crate) fn subnets(&self) -> Vec<Subnet> {
        self.networks.values().flat_map(|network| network.record.subnets.iter().map(|subnet| subnet.subnet)).collect()
    }

    pub(crate) fn view(&self, network: &Network) -> NetworkView {
        let mut containers: Vec<Attached> = self
            .sandboxes
            .values()
            .flat_map(|record| record.sandbox.endpoints.iter().map(move |endpoint| (record, endpoint)))
            .filter(|(_, endpoint)| endpoint.network_id == network.record.id)
            .map(|(record, endpoint)| Attached {
                container_id: record.container_id.clone(),
                container_name: record.name.clone(),
                endpoint: endpoint.clone(),
            })
            .collect();
        containers.sort_by(|a, b| a.container_id.cmp(&b.container_id));
        NetworkView { network: network.record.clone(), containers }
    }

    /// Takes an address of the family in a network: that one, or the next.
    pub(crate) fn take_address(
        &mut self,
        network_id: &str,
        is_ipv4: bool,
        wanted: Option<IpAddr>,
    ) -> Result<Option<crate::request::Address>, AddressError> {
        let Some(network) = self.networks.get_mut(network_id) else { return Ok(None) };
        let mut full = None;
        for (book, subnet) in network.books.iter_mut().zip(&network.record.subnets) {
            let fits = match wanted {
                Some(address) => book.subnet().contains(address),
                None => book.subnet().is_ipv4() == is_ipv4,
            };
            if !fits {
                continue;
            }
            let address = match wanted {
                Some(address) => book.take(address).map(|()| address)?,
                None => match book.take_next() {
                    Ok(address) => address,
                    // There may be another subnet behind it.
                    Err(error) => {
                        full = Some(error);
                        continue;
                    }
                },
            };
            let gateway = subnet.gateway.filter(|_| !network.record.internal);
            return Ok(Some(crate::request::Address { address, prefix: book.subnet().length(), gateway }));
        }
        match (full, wanted) {
            (Some(error), _) => Err(error),
            (None, Some(address)) => Err(AddressError::Outside { address }),
            (None, None) => Ok(None),
        }
    }

    /// A place on the first of the network's bridges that has one.
    pub(crate) fn take_segment(&mut self, network_id: &str) -> u16 {
        let Some(network) = self.networks.get_mut(network_id) else { return 0 };
        let free = network.segments.iter().position(|count| *count < MAX_SEGMENT);
        let segment = free.unwrap_or(network.segments.len());
        network.occupy(segment);
        segment as u16
    }

    pub(crate) fn release_endpoint(&mut self, endpoint: &Endpoint) {
        let Some(network) = self.networks.get_mut(&endpoint.network_id) else { return };
        for address in endpoint.addresses() {
            network.books.iter_mut().for_each(|book| book.release(address));
        }
        if let Some(count) = network.segments.get_mut(usize::from(endpoint.segment)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Which endpoints have the default routes.
    pub(crate) fn gateways(&self, endpoints: &[Endpoint]) -> Gateways {
        let candidates: Vec<Candidate<'_>> = endpoints
            .iter()
            .map(|endpoint| Candidate {
                network: &endpoint.network_name,
                is_internal: self.networks.get(&endpoint.network_id).is_some_and(|network| network.record.internal),
                priority: endpoint.gateway_priority,
                has_ipv4: endpoint.leads_out(true),
                has_ipv6: endpoint.leads_out(false),
            })
            .collect();
        gateway::choose(&candidates)
    }

    /// Puts back what a record says it holds.
    pub(crate) fn adopt(&mut self, record: SandboxRecord) {
        for endpoint in &record.sandbox.endpoints {
            let Some(network) = self.networks.get_mut(&endpoint.network_id) else { continue };
            for address in endpoint.addresses() {
                for book in network.books.iter_mut().filter(|book| book.subnet().contains(address)) {
                    // Twice the same address cannot be: records are written under the same lock that gave it out.
                    let _ = book.take(address);
                }
            }
            network.occupy(usize::from(endpoint.segment));
        }
        for port in &record.sandbox.ports {
            self.ports.restore(Binding { address: port.host_address, protocol: port.protocol, port: port.host_port });
        }
        self.sandboxes.insert(record.container_id.clone(), record);
    }

    /// Gives back all that a sandbox holds in memory.
    pub(crate) fn forget(&mut self, container_id: &str) -> Option<SandboxRecord> {
        let record = self.sandboxes.remove(container_id)?;
        self.leaving.remove(container_id);
        self.arriving.remove(container_id);
        record.sandbox.endpoints.iter().for_each(|endpoint| self.release_endpoint(endpoint));
        self.release_ports(&record);
        Some(record)
    }

    pub(crate) fn release_ports(&mut self, record: &SandboxRecord) {
        for port in &record.sandbox.ports {
            self.ports.release(Binding { address: port.host_address, protocol: port.protocol, port: port.host_port });
        }
    }

    /// Everything that the packet filter shall hold.
    pub(crate) fn firewall_items(&self) -> Vec<Item> {
        let bridges = self.networks.values().filter(|network| network.record.is_bridge());
        let mut items: Vec<Item> = bridges.flat_map(Network::items).collect();
        items.extend(self.stated().flat_map(SandboxRecord::items));
        items
    }

    /// Sandboxes that shall be as their records say.
    pub(crate) fn stated(&self) -> impl Iterator<Item = &SandboxRecord> {
        let stands = |id: &String| !self.leaving.contains(id) && !self.arriving.contains(id);
        self.sandboxes.values().filter(move |record| stands(&record.container_id))
    }
}

impl Network {
    /// What the packet filter holds of a bridge network.
    pub(crate) fn items(&self) -> Vec<Item> {
        let mut items = self.record.rules().items();
        items.extend((1..self.segments.len()).flat_map(|segment| segment_items(&self.record, segment as u16)));
        items
    }

    fn occupy(&mut self, segment: usize) {
        if self.segments.len() <= segment {
            self.segments.resize(segment + 1, 0);
        }
        self.segments[segment] += 1;
    }
}
