//! Host ports of a sandbox: which it gets, and what it is told when it cannot have them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use errors::ErrorKind;
use network_core::firewall::PublishedPort;
use network_core::{Binding, PortRange, PortTable, Protocol, Publish};

use crate::error::Error;
use crate::messages;
use crate::request::Endpoint;

/// More ports than that in one request are a mistake or an attack: each costs a socket.
const MAX_PORTS: usize = 4096;
/// The kernel's default range for local ports; used where it cannot be read.
const EPHEMERAL: PortRange = PortRange { first: 32768, last: 60999 };

/// Host ports that a program outside turned out to have.
pub(crate) type Refused = HashSet<(Protocol, u16)>;

/// Takes all ports of a request, or none. They lead to the endpoint's addresses.
pub(crate) fn take(
    table: &mut PortTable,
    publish: &[Publish],
    endpoint: &Endpoint,
    container: &str,
    refused: &Refused,
    host_has_ipv6: bool,
) -> Result<Vec<PublishedPort>, Error> {
    let failed = |clause: String| {
        let message = messages::external_connectivity(container, &endpoint.endpoint_id, &clause);
        Error::docker(ErrorKind::Internal, message)
    };
    if publish.len() > MAX_PORTS {
        return Err(Error::docker(ErrorKind::InvalidArgument, format!("more than {MAX_PORTS} published ports")));
    }
    let ephemeral = ephemeral_range();
    let mut taken: Vec<PublishedPort> = Vec::new();
    for publish in publish {
        let hosts = host_addresses(publish.host_address, host_has_ipv6);
        let is_refused = |port| refused.contains(&(publish.protocol, port));
        match table.take(&hosts, publish.protocol, publish.host_ports, ephemeral, is_refused) {
            Ok(host_port) => taken.extend(hosts.iter().filter_map(|host| lead(*host, host_port, publish, endpoint))),
            Err(conflict) => {
                release(table, &taken);
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

/// Without a host address a port is published on all, in both families where the host has both.
fn host_addresses(wanted: Option<IpAddr>, host_has_ipv6: bool) -> Vec<IpAddr> {
    match wanted {
        Some(address) => vec![address],
        None if host_has_ipv6 => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    }
}

/// The same family if the container has it; else the relay translates.
fn lead(host: IpAddr, host_port: u16, publish: &Publish, endpoint: &Endpoint) -> Option<PublishedPort> {
    let (same, other) = if host.is_ipv4() { (endpoint.ipv4, endpoint.ipv6) } else { (endpoint.ipv6, endpoint.ipv4) };
    Some(PublishedPort {
        host_address: host,
        host_port,
        protocol: publish.protocol,
        container_address: same.or(other)?.address,
        container_port: publish.container_port,
    })
}

fn ephemeral_range() -> PortRange {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first > 0 && first <= last => PortRange { first, last },
        _ => EPHEMERAL,
    }
}
