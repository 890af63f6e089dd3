//! Host ports of a sandbox: which it gets, and what it is told when it cannot have them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use errors::ErrorKind;
use network_core::firewall::{OpenPort, PublishedPort};
use network_core::{Binding, PortRange, PortTable, Protocol, Publish};

use crate::error::Error;
use crate::messages;

/// More ports than that in one request are a mistake or an attack: each costs a socket.
const MAX_PORTS: usize = 4096;
/// The kernel's default range for local ports; used where it cannot be read.
const EPHEMERAL: PortRange = PortRange { first: 32768, last: 60999 };

/// Host ports that a program outside turned out to have.
pub(crate) type Refused = HashSet<(Protocol, u16)>;

/// Where published ports lead in one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    pub address: IpAddr,
    /// Reached at its own address: no port of the host.
    pub is_routed: bool,
}

/// Where a sandbox's published ports lead.
#[derive(Debug, Default)]
pub(crate) struct Leads {
    pub ipv4: Option<Lead>,
    pub ipv6: Option<Lead>,
    /// Host address for ports that name none.
    pub host_binding: Option<IpAddr>,
    /// For errors.
    pub endpoint_id: String,
}

#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub ports: Vec<PublishedPort>,
    pub open: Vec<OpenPort>,
    /// The host's port of each publication; 0: none.
    pub assigned: Vec<u16>,
}

/// Takes all ports of a request, or none. Those that were assigned before are taken again.
pub(crate) fn take(
    table: &mut PortTable,
    publish: &[Publish],
    assigned: &[u16],
    leads: &Leads,
    container: &str,
    refused: &Refused,
    host_has_ipv6: bool,
) -> Result<Taken, Error> {
    let failed = |clause: String| {
        let message = messages::external_connectivity(container, &leads.endpoint_id, &clause);
        Error::docker(ErrorKind::Internal, message)
    };
    if publish.len() > MAX_PORTS {
        return Err(Error::docker(ErrorKind::InvalidArgument, format!("more than {MAX_PORTS} published ports")));
    }
    let mut taken = Taken::default();
    if leads.ipv4.or(leads.ipv6).is_none() {
        return Ok(taken);
    }
    let ephemeral = ephemeral_range();
    for (number, publish) in publish.iter().enumerate() {
        taken.open.extend(open_ports(publish, leads));
        let mut hosts = host_addresses(publish.host_address.or(leads.host_binding), host_has_ipv6);
        hosts.retain(|host| lead(*host, leads).is_some());
        if hosts.is_empty() {
            taken.assigned.push(0);
            continue;
        }
        let before =
            assigned.get(number).filter(|port| **port != 0).map(|port| PortRange { first: *port, last: *port });
        let is_refused = |port| refused.contains(&(publish.protocol, port));
        match table.take(&hosts, publish.protocol, before.or(publish.host_ports), ephemeral, is_refused) {
            Ok(host_port) => {
                taken.assigned.push(host_port);
                taken.ports.extend(hosts.iter().filter_map(|host| {
                    Some(PublishedPort {
                        host_address: *host,
                        host_port,
                        protocol: publish.protocol,
                        container_address: lead(*host, leads)?,
                        container_port: publish.container_port,
                    })
                }));
            }
            Err(conflict) => {
                release(table, &taken.ports);
                return Err(failed(conflict.to_string()));
            }
        }
    }
    Ok(taken)
}

pub(crate) fn release(table: &mut PortTable, ports: &[PublishedPort]) {
    for port in ports {
        table.release(Binding { address: port.host_address, protocol: port.protocol, port: port.host_port });
    }
}

/// Puts back what was released.
pub(crate) fn restore(table: &mut PortTable, ports: &[PublishedPort]) {
    for port in ports {
        table.restore(Binding { address: port.host_address, protocol: port.protocol, port: port.host_port });
    }
}

/// Without a host address a port is published on all, in both families where the host has both.
fn host_addresses(wanted: Option<IpAddr>, host_has_ipv6: bool) -> Vec<IpAddr> {
    match wanted {
        Some(address) => vec![address],
        None if host_has_ipv6 => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    }
}

/// The same family if the container has it; else the relay translates. A routed family is never translated into.
fn lead(host: IpAddr, leads: &Leads) -> Option<IpAddr> {
    let (same, other) = if host.is_ipv4() { (leads.ipv4, leads.ipv6) } else { (leads.ipv6, leads.ipv4) };
    match same {
        Some(lead) => (!lead.is_routed).then_some(lead.address),
        None => other.filter(|lead| !lead.is_routed).map(|lead| lead.address),
    }
}

/// Of routed families the port is open at the container's address: of both, or of that of the host's address.
fn open_ports(publish: &Publish, leads: &Leads) -> impl Iterator<Item = OpenPort> {
    let (protocol, port, host) = (publish.protocol, publish.container_port, publish.host_address);
    let is_meant = move |lead: &Lead| host.is_none_or(|host| host.is_ipv4() == lead.address.is_ipv4());
    let routed = [leads.ipv4, leads.ipv6].into_iter().flatten().filter(|lead| lead.is_routed);
    routed.filter(is_meant).map(move |lead| OpenPort { address: lead.address, protocol, port })
}

fn ephemeral_range() -> PortRange {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first > 0 && first <= last => PortRange { first, last },
        _ => EPHEMERAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(four_is_routed: bool) -> Leads {
        let four = Lead { address: IpAddr::from([10, 0, 0, 2]), is_routed: four_is_routed };
        Leads { ipv4: Some(four), ..Leads::default() }
    }

    fn publish() -> Publish {
        Publish { container_port: 80, protocol: Protocol::Tcp, host_address: None, host_ports: None }
    }

    fn taken(table: &mut PortTable, assigned: &[u16], leads: &Leads) -> Taken {
        take(table, &[publish()], assigned, leads, "c", &Refused::new(), true).expect("there are ports")
    }

    #[test]
    fn a_port_that_moves_keeps_its_number() {
        let mut table = PortTable::new();
        let first = taken(&mut table, &[], &leads(false));
        assert_eq!(first.ports.len(), 2, "both families of the host");
        release(&mut table, &first.ports);
        let second = taken(&mut table, &first.assigned, &leads(false));
        assert_eq!(second.assigned, first.assigned);
    }

    #[test]
    fn a_routed_network_takes_no_port_of_the_host() {
        let mut table = PortTable::new();
        let taken = taken(&mut table, &[], &leads(true));
        assert!(taken.ports.is_empty());
        assert_eq!(taken.open[0].port, 80);
    }

    #[test]
    fn a_host_address_opens_its_own_family_of_a_routed_network() {
        let six = Lead { address: "2001:db8::2".parse().expect("an address"), is_routed: true };
        let leads = Leads { ipv6: Some(six), ..leads(true) };
        let opened = |host: Option<&str>| {
            let host_address = host.map(|text| text.parse().expect("an address"));
            open_ports(&Publish { host_address, ..publish() }, &leads)
                .map(|open| open.address.is_ipv4())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (opened(None), opened(Some("::")), opened(Some("10.0.0.9"))),
            (vec![true, false], vec![false], vec![true])
        );
    }

    #[test]
    fn without_a_way_out_nothing_is_published() {
        let mut table = PortTable::new();
        let taken = taken(&mut table, &[], &Leads::default());
        assert!(taken.ports.is_empty() && taken.open.is_empty());
    }
}
