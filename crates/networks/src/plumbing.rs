//! A sandbox in the kernel: a namespace at a path, and a veth for each endpoint.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use netlink::{Batch, PeerPlace, Prefix, Route, Veth, namespace};
use network_core::names;

use crate::error::Error;
use crate::record::NetworkRecord;
use crate::request::{Address, Endpoint};

/// Loopback is the first link of every namespace.
const LOOPBACK: u32 = 1;

/// What an endpoint needs to know of its network's bridge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub bridge: u32,
    pub mtu: u32,
    pub reach: Reach,
}

/// Whom a container reaches on its own bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Everybody,
    /// Inter-container communication is off: the gateway only.
    Gateway,
}

impl Port {
    pub(crate) fn of(network: &NetworkRecord, bridge: u32) -> Self {
        let reach = if network.talks_inside { Reach::Everybody } else { Reach::Gateway };
        Self { bridge, mtu: network.mtu, reach }
    }
}

/// Makes the namespace, for the user namespace at `users` where there is one, and plugs the endpoints in. `bridges` by
/// network id.
pub(crate) fn create(
    path: &Path,
    users: Option<&Path>,
    endpoints: &[Endpoint],
    bridges: &HashMap<String, Port>,
) -> Result<(), Error> {
    let has_ipv6 = endpoints.iter().any(|endpoint| endpoint.ipv6.is_some());
    let prepare = || {
        if !has_ipv6 {
            // As in Docker, a container without an IPv6 address has no IPv6 on its links; ::1 on loopback stays. A kernel
            // without IPv6 has no such file.
            let _ = namespace::write_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        }
        Route::open()
    };
    let inside = match users {
        None => namespace::create(path, prepare)?,
        Some(users) => namespace::create_for(path, users, prepare)?,
    };
    let plugged = plug_all(path, &inside, endpoints, bridges);
    if plugged.is_err() {
        // The first error counts. Closing the namespace takes its links along.
        let _ = namespace::remove(path);
    }
    plugged
}

fn plug_all(path: &Path, inside: &Route, endpoints: &[Endpoint], bridges: &HashMap<String, Port>) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.set_up(LOOPBACK);
    if endpoints.is_empty() {
        return Ok(inside.perform(&batch)?);
    }
    create_links(path, endpoints, bridges)?;
    configure(inside, batch, endpoints)
}

/// Plugs one more endpoint into a namespace that runs. `takes_default` where it brings the first way out.
pub(crate) fn plug(path: &Path, endpoint: &Endpoint, port: Port, takes_default: bool) -> Result<(), Error> {
    let has_ipv6 = endpoint.ipv6.is_some();
    let inside = namespace::enter(path, || {
        let value = if has_ipv6 { "0" } else { "1" };
        let _ = namespace::write_sysctl("net/ipv6/conf/default/disable_ipv6", value);
        Route::open()
    })?;
    let one = std::slice::from_ref(endpoint);
    create_links(path, one, &HashMap::from([(endpoint.network_id.clone(), port)]))?;
    let mut endpoint = endpoint.clone();
    if !takes_default {
        endpoint.ipv4 = endpoint.ipv4.map(|address| Address { gateway: None, ..address });
        endpoint.ipv6 = endpoint.ipv6.map(|address| Address { gateway: None, ..address });
    }
    configure(&inside, Batch::new(), &[endpoint])
}

/// Takes an endpoint's link out. It waits in the kernel (16 ms here); nothing starts or stops meanwhile.
pub(crate) fn unplug(endpoint: &Endpoint) -> Result<(), Error> {
    let route = Route::open()?;
    if let Some(link) = route.link_by_name(&names::host_link(&endpoint.endpoint_id))? {
        let mut batch = Batch::new();
        batch.delete_link(link.index);
        route.perform(&batch)?;
    }
    Ok(())
}

fn create_links(path: &Path, endpoints: &[Endpoint], bridges: &HashMap<String, Port>) -> Result<(), Error> {
    let file = File::open(path).map_err(|source| Error::Folder { path: path.to_path_buf(), source })?;
    let mut batch = Batch::new();
    for endpoint in endpoints {
        let Some(port) = bridges.get(&endpoint.network_id) else { continue };
        let peer = PeerPlace { namespace: file.as_fd(), name: &endpoint.link, mac: endpoint.mac.0 };
        let name = names::host_link(&endpoint.endpoint_id);
        batch.create_veth(&Veth { name: &name, master: port.bridge, mtu: port.mtu, peer });
        if port.reach == Reach::Gateway {
            batch.isolate_port(&name);
        }
    }
    Ok(Route::open()?.perform(&batch)?)
}

/// One batch: addresses, up, and the default route of the first endpoint of each family that has a gateway.
fn configure(inside: &Route, mut batch: Batch, endpoints: &[Endpoint]) -> Result<(), Error> {
    let mut default_routes = Vec::new();
    for endpoint in endpoints {
        let Some(link) = inside.link_by_name(&endpoint.link)? else {
            return Err(Error::docker(errors::ErrorKind::Internal, format!("link {} vanished", endpoint.link)));
        };
        for address in [endpoint.ipv4, endpoint.ipv6].into_iter().flatten() {
            batch.add_address(link.index, Prefix::new(address.address, address.prefix));
            let Some(gateway) = address.gateway else { continue };
            if !default_routes.iter().any(|(other, _): &(std::net::IpAddr, u32)| other.is_ipv4() == gateway.is_ipv4()) {
                default_routes.push((gateway, link.index));
            }
        }
        batch.set_up(link.index);
    }
    // A gateway is only accepted once its link is up.
    default_routes.iter().for_each(|(gateway, link)| batch.add_default_route(*gateway, *link));
    Ok(inside.perform(&batch)?)
}
