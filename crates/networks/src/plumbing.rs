//! A sandbox in the kernel: a namespace at a path, and a link for each endpoint.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use errors::ErrorKind;
use netlink::{Batch, Prefix, Route, namespace};
use network_core::gateway::Gateways;
use rustix::io::Errno;

use crate::driver::{Driver, Uplink};
use crate::error::Error;
use crate::messages;
use crate::record::NetworkRecord;
use crate::request::Endpoint;
use crate::spare::Spare;

/// Loopback is the first link of every namespace.
const LOOPBACK: u32 = 1;

/// An endpoint with all that is needed to make its link.
pub(crate) struct Plug<'a> {
    pub endpoint: &'a Endpoint,
    pub network: NetworkRecord,
    pub driver: &'a dyn Driver,
    pub uplink: Uplink,
}

/// Makes the namespace, for the user namespace at `users` where there is one, and plugs the endpoints in. `stands` hears of
/// the namespace before that.
pub(crate) fn create(
    path: &Path,
    users: Option<&Path>,
    spare: &Spare,
    plugs: &[Plug<'_>],
    gateways: Gateways,
    stands: &mut dyn FnMut(),
) -> Result<(), Error> {
    let has_ipv6 = plugs.iter().any(|plug| has_ipv6(plug.endpoint));
    let prepare = || {
        if !has_ipv6 {
            // As in Docker, a container without an IPv6 address has no IPv6 on its links; ::1 on loopback stays. A kernel
            // without IPv6 has no such file.
            let _ = namespace::write_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        } else {
            // Addresses are given out once: nothing is to be found out before they are used.
            let _ = namespace::write_sysctl("net/ipv6/conf/default/accept_dad", "0");
        }
        Route::open()
    };
    let inside = match users {
        None => namespace::create_from(path, spare.take(), prepare)?,
        Some(users) => namespace::create_for(path, users, prepare)?,
    };
    stands();
    let plugged = plug_all(path, &inside, plugs, gateways);
    if plugged.is_err() {
        // The first error counts. Closing the namespace takes its links along.
        let _ = namespace::remove(path);
    }
    plugged
}

fn plug_all(path: &Path, inside: &Route, plugs: &[Plug<'_>], gateways: Gateways) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.set_up(LOOPBACK);
    if plugs.is_empty() {
        return Ok(inside.perform(&batch)?);
    }
    create_links(path, plugs)?;
    write_sysctls(path, plugs)?;
    let endpoints: Vec<&Endpoint> = plugs.iter().map(|plug| plug.endpoint).collect();
    configure(inside, batch, &endpoints, gateways)
}

/// Plugs one more endpoint into a namespace that runs; the default routes are set behind it.
pub(crate) fn plug(path: &Path, plug: &Plug<'_>) -> Result<(), Error> {
    let has_ipv6 = has_ipv6(plug.endpoint);
    let inside = namespace::enter(path, || {
        let value = if has_ipv6 { "0" } else { "1" };
        let _ = namespace::write_sysctl("net/ipv6/conf/default/disable_ipv6", value);
        let _ = namespace::write_sysctl("net/ipv6/conf/default/accept_dad", "0");
        Route::open()
    })?;
    let one = std::slice::from_ref(plug);
    create_links(path, one)?;
    write_sysctls(path, one)?;
    configure(&inside, Batch::new(), &[plug.endpoint], Gateways::default())
}

/// Takes an endpoint's link out, a veth's other end with it. It waits in the kernel (16 ms here); nothing starts or stops
/// meanwhile.
pub(crate) fn unplug(path: &Path, endpoint: &Endpoint) -> Result<(), Error> {
    let inside = namespace::enter(path, Route::open)?;
    if let Some(link) = inside.link_by_name(&endpoint.link)? {
        let mut batch = Batch::new();
        batch.delete_link(link.index);
        inside.perform(&batch)?;
    }
    Ok(())
}

/// Whether an endpoint's link is there.
pub(crate) fn is_plugged(path: &Path, endpoint: &Endpoint) -> Result<bool, Error> {
    Ok(namespace::enter(path, Route::open)?.link_by_name(&endpoint.link)?.is_some())
}

/// The default routes of a namespace that runs, in place of those it has.
pub(crate) fn set_default_routes(path: &Path, endpoints: &[Endpoint], gateways: Gateways) -> Result<(), Error> {
    let inside = namespace::enter(path, Route::open)?;
    let mut batch = Batch::new();
    for (at, is_ipv4) in [(gateways.ipv4, true), (gateways.ipv6, false)] {
        let has_one = |route: &netlink::RouteFacts| {
            route.destination.is_none() && route.gateway.is_some_and(|gateway| gateway.is_ipv4() == is_ipv4)
        };
        if at.is_none() && inside.routes()?.iter().any(has_one) {
            batch.delete_default_route(is_ipv4);
        }
    }
    for (at, is_ipv4) in [(gateways.ipv4, true), (gateways.ipv6, false)] {
        if let Some(endpoint) = at.and_then(|at| endpoints.get(at)) {
            add_default_route(&mut batch, endpoint, index_of(&inside, endpoint)?, is_ipv4);
        }
    }
    Ok(inside.perform(&batch)?)
}

fn has_ipv6(endpoint: &Endpoint) -> bool {
    endpoint.ipv6.is_some() || endpoint.link_local.iter().any(|address| address.is_ipv6())
}

fn create_links(path: &Path, plugs: &[Plug<'_>]) -> Result<(), Error> {
    let file = File::open(path).map_err(|source| Error::Folder { path: path.to_path_buf(), source })?;
    let mut batch = Batch::new();
    for plug in plugs {
        plug.driver.link(&mut batch, &plug.network, plug.uplink, plug.endpoint, file.as_fd());
    }
    Route::open()?.perform(&batch).map_err(|error| match (error.errno(), plugs) {
        // A kernel without the driver's kind of link.
        (Some(Errno::OPNOTSUPP), [.., plug]) if plug.network.parent.is_some() => {
            Error::docker(ErrorKind::Internal, messages::no_such_links(&plug.network.driver))
        }
        _ => error.into(),
    })
}

fn write_sysctls(path: &Path, plugs: &[Plug<'_>]) -> Result<(), Error> {
    let sysctls: Vec<&(String, String)> = plugs.iter().flat_map(|plug| &plug.endpoint.sysctls).collect();
    if sysctls.is_empty() {
        return Ok(());
    }
    Ok(namespace::enter(path, || sysctls.iter().try_for_each(|(name, value)| namespace::write_sysctl(name, value)))?)
}

/// One batch: addresses, up, and the default routes, whose gateways are only accepted once their links are up.
fn configure(inside: &Route, mut batch: Batch, endpoints: &[&Endpoint], gateways: Gateways) -> Result<(), Error> {
    let mut indexes = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let index = index_of(inside, endpoint)?;
        for address in [endpoint.ipv4, endpoint.ipv6].into_iter().flatten() {
            batch.add_address(index, Prefix::new(address.address, address.prefix));
        }
        for address in &endpoint.link_local {
            batch.add_address(index, Prefix::new(*address, if address.is_ipv4() { 16 } else { 64 }));
        }
        batch.set_up(index);
        for route in endpoint.remote.iter().flat_map(|remote| &remote.routes) {
            batch.add_route(Prefix::new(route.to.base(), route.to.length()), route.next_hop, index);
        }
        indexes.push(index);
    }
    for (at, is_ipv4) in [(gateways.ipv4, true), (gateways.ipv6, false)] {
        if let Some((endpoint, index)) = at.and_then(|at| Some((endpoints.get(at)?, indexes.get(at)?))) {
            add_default_route(&mut batch, endpoint, *index, is_ipv4);
        }
    }
    Ok(inside.perform(&batch)?)
}

fn add_default_route(batch: &mut Batch, endpoint: &Endpoint, index: u32, is_ipv4: bool) {
    match endpoint.address(is_ipv4).and_then(|address| address.gateway) {
        Some(gateway) => batch.add_default_route(gateway, index),
        None => batch.add_default_link_route(is_ipv4, index),
    }
}

fn index_of(inside: &Route, endpoint: &Endpoint) -> Result<u32, Error> {
    match inside.link_by_name(&endpoint.link)? {
        Some(link) => Ok(link.index),
        None => Err(Error::docker(ErrorKind::Internal, format!("link {} vanished", endpoint.link))),
    }
}
