//! Bridges: made when the daemon prepares or a network is created, found again by name, checked before they are used.

use netlink::{Batch, Prefix, Route, namespace};
use network_core::Mac;

use crate::error::Error;
use crate::record::NetworkRecord;

/// Sees to it that the network's bridge is there, up, and has its addresses. Answers its index.
pub(crate) fn ensure(route: &Route, network: &NetworkRecord) -> Result<u32, Error> {
    if let Some(link) = route.link_by_name(&network.bridge)? {
        let present = route.addresses()?;
        let missing = |prefix: &Prefix| !present.contains(&(link.index, *prefix));
        let missing: Vec<Prefix> = addresses(network).into_iter().filter(missing).collect();
        if !link.up || !missing.is_empty() {
            configure(route, link.index, &missing)?;
        }
        return Ok(link.index);
    }
    let mut batch = Batch::new();
    batch.create_bridge(&network.bridge, bridge_mac(network).0, network.mtu);
    route.perform(&batch)?;
    let Some(link) = route.link_by_name(&network.bridge)? else {
        return Err(Error::docker(errors::ErrorKind::Internal, format!("bridge {} vanished", network.bridge)));
    };
    // Router advertisements of a container must not configure the host. Without IPv6 in the kernel there is no such file.
    let _ = namespace::write_sysctl(&format!("net/ipv6/conf/{}/accept_ra", network.bridge), "0");
    configure(route, link.index, &addresses(network))?;
    Ok(link.index)
}

pub(crate) fn remove(route: &Route, network: &NetworkRecord) -> Result<(), Error> {
    if let Some(link) = route.link_by_name(&network.bridge)? {
        let mut batch = Batch::new();
        batch.delete_link(link.index);
        route.perform(&batch)?;
    }
    Ok(())
}

/// Lets packets pass from link to link, as Docker does when it makes its first bridge.
pub(crate) fn enable_forwarding(with_ipv6: bool) -> Result<(), Error> {
    namespace::write_sysctl("net/ipv4/ip_forward", "1")?;
    if with_ipv6 {
        namespace::write_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

fn configure(route: &Route, index: u32, missing: &[Prefix]) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.set_up(index);
    missing.iter().for_each(|prefix| batch.add_address(index, *prefix));
    Ok(route.perform(&batch)?)
}

/// An internal network's bridge has an address too: the host may reach the containers, they have no route out.
fn addresses(network: &NetworkRecord) -> Vec<Prefix> {
    network.subnets.iter().map(|subnet| Prefix::new(subnet.gateway, subnet.subnet.length())).collect()
}

/// Derived from the network's id: the same after every restart, and none that an address gives to a container's end.
fn bridge_mac(network: &NetworkRecord) -> Mac {
    let byte =
        |at: usize| network.id.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
    Mac([0x02, byte(0), byte(2), byte(4), byte(6), byte(8)])
}
