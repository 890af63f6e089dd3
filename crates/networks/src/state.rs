//! The networks and sandboxes in memory. One short lock; no I/O under it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use errors::ErrorKind;
use network_core::firewall::{Item, published_item};
use network_core::{AddressBook, AddressError, Binding, PortTable, Subnet};

use crate::error::Error;
use crate::messages;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::request::{Attached, Endpoint, NetworkView};

pub(crate) struct Network {
    pub record: NetworkRecord,
    /// In the order of the record's subnets.
    pub books: Vec<AddressBook>,
}

#[derive(Default)]
pub(crate) struct State {
    pub networks: BTreeMap<String, Network>,
    pub sandboxes: HashMap<String, SandboxRecord>,
    pub ports: PortTable,
}

impl State {
    pub(crate) fn insert_network(&mut self, record: NetworkRecord) -> Result<(), AddressError> {
        let book =
            |subnet: &crate::record::SubnetRecord| AddressBook::new(subnet.subnet, subnet.range, Some(subnet.gateway));
        let books = record.subnets.iter().map(book).collect::<Result<_, _>>()?;
        self.networks.insert(record.id.clone(), Network { record, books });
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
        let internal = network.record.internal;
        let Some(book) = network.books.iter_mut().find(|book| match wanted {
            Some(address) => book.subnet().contains(address),
            None => book.subnet().is_ipv4() == is_ipv4,
        }) else {
            return wanted.map_or(Ok(None), |address| Err(AddressError::Outside { address }));
        };
        let address = match wanted {
            Some(address) => book.take(address).map(|()| address)?,
            None => book.take_next()?,
        };
        let gateway = (!internal).then(|| book.gateway());
        Ok(Some(crate::request::Address { address, prefix: book.subnet().length(), gateway }))
    }

    pub(crate) fn release_endpoint(&mut self, endpoint: &Endpoint) {
        let Some(network) = self.networks.get_mut(&endpoint.network_id) else { return };
        for address in endpoint.addresses() {
            network.books.iter_mut().for_each(|book| book.release(address));
        }
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
        }
        for port in &record.sandbox.ports {
            self.ports.restore(Binding { address: port.host_address, protocol: port.protocol, port: port.host_port });
        }
        self.sandboxes.insert(record.container_id.clone(), record);
    }

    /// Gives back all that a sandbox holds in memory.
    pub(crate) fn forget(&mut self, container_id: &str) -> Option<SandboxRecord> {
        let record = self.sandboxes.remove(container_id)?;
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
        let mut items: Vec<Item> = bridges.flat_map(|network| network.record.rules().items()).collect();
        let ports = self.sandboxes.values().flat_map(|record| &record.sandbox.ports);
        items.extend(ports.filter_map(published_item));
        items
    }
}
