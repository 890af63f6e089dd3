//! The `bridge` driver: a Linux bridge, a veth for each endpoint, and more bridges behind it where one is full.
//!
//! A bridge takes 1,024 ports. A network's further endpoints are on bridges of their own (segments), each joined to the
//! first by a veth trunk; the first alone has the network's addresses.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use errors::ErrorKind;
use netlink::{Batch, PeerPlace, Prefix, Route, Veth, namespace};
use network_core::firewall::{GatewayMode, Item};
use network_core::{Mac, names};

use super::{Driver, OPTION_MTU, Uplink, invalid_option, parse_mtu};
use crate::endpoint_plan::is_link_name;
use crate::error::Error;
use crate::record::NetworkRecord;
use crate::request::Endpoint;

pub(crate) const OPTION_NAME: &str = "com.docker.network.bridge.name";
const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
const OPTION_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const OPTION_HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const OPTION_MODE4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const OPTION_MODE6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
const OPTION_INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
const OPTION_DEFAULT: &str = "com.docker.network.bridge.default_bridge";
const OPTION_TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
const OPTION_PREFIX: &str = "com.docker.network.container_iface_prefix";
const OPTION_SOURCE4: &str = "com.docker.network.host_ipv4";
const OPTION_SOURCE6: &str = "com.docker.network.host_ipv6";

/// Links that one network trusts.
const MAX_TRUSTED: usize = 64;

pub(crate) struct Bridge;

impl Driver for Bridge {
    fn configure(&self, record: &mut NetworkRecord, others: &[&NetworkRecord]) -> Result<(), Error> {
        let options = record.options.clone();
        record.bridge = names::network_bridge(&record.id);
        record.talks_inside = true;
        record.masquerades = true;
        for (key, value) in &options {
            read_option(record, key, value)?;
        }
        for is_ipv4 in [true, false] {
            if record.mode(is_ipv4) == GatewayMode::Isolated && !record.internal {
                let message = "gateway mode 'isolated' can only be used for an internal network";
                return Err(Error::docker(ErrorKind::InvalidArgument, message));
            }
        }
        if others.iter().any(|other| other.is_bridge() && other.bridge == record.bridge) {
            let message = format!(
                "network {} cannot have the bridge {}: networks have same bridge name",
                record.name, record.bridge
            );
            return Err(Error::docker(ErrorKind::PermissionDenied, message));
        }
        Ok(())
    }

    /// A bridge of that name that somebody made is used as it is, and left behind.
    fn adopt(&self, route: &Route, record: &mut NetworkRecord) -> Result<(), Error> {
        let Some(link) = route.link_by_name(&record.bridge)? else { return Ok(()) };
        if link.kind != "bridge" {
            let message = format!("existing interface {} is not a bridge", record.bridge);
            return Err(Error::docker(ErrorKind::PermissionDenied, message));
        }
        record.bridge_options.is_foreign = true;
        Ok(())
    }

    fn find(&self, route: &Route, record: &NetworkRecord, segment: u16) -> Result<Option<Uplink>, Error> {
        if segment > 0 {
            return Ok(None);
        }
        let link = route.link_by_name(&record.bridge)?;
        Ok(link.filter(|link| link.up).map(|link| Uplink { index: link.index }))
    }

    fn ensure(&self, route: &Route, record: &NetworkRecord, segment: u16) -> Result<Uplink, Error> {
        let index = ensure_first(route, record)?;
        if segment == 0 { Ok(Uplink { index }) } else { ensure_segment(route, record, index, segment) }
    }

    fn remove(&self, route: &Route, record: &NetworkRecord) -> Result<(), Error> {
        // A trunk goes with the bridge at its other end.
        for segment in 1.. {
            let Some(link) = route.link_by_name(&segment_name(record, segment))? else { break };
            delete(route, &trunk_name(record, segment))?;
            let mut batch = Batch::new();
            batch.delete_link(link.index);
            route.perform(&batch)?;
        }
        if record.bridge_options.is_foreign { Ok(()) } else { delete(route, &record.bridge) }
    }

    fn link(
        &self,
        batch: &mut Batch,
        record: &NetworkRecord,
        uplink: Uplink,
        endpoint: &Endpoint,
        namespace: BorrowedFd<'_>,
    ) {
        let name = names::host_link(&endpoint.endpoint_id);
        let peer = PeerPlace { namespace, name: &endpoint.link, mac: endpoint.mac.0 };
        batch.create_veth(&Veth { name: &name, master: uplink.index, mtu: mtu(record), peer });
        if !record.talks_inside {
            batch.isolate_port(&name);
        }
    }
}

fn read_option(record: &mut NetworkRecord, key: &str, value: &str) -> Result<(), Error> {
    let flag = || match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(invalid_option(key, value, &format!("strconv.ParseBool: parsing {value:?}: invalid syntax"))),
    };
    let address = || value.parse::<IpAddr>().map_err(|_| invalid_option(key, value, "nil ip"));
    let mode = || {
        GatewayMode::parse(value).ok_or_else(|| invalid_option(key, value, &format!("unknown gateway mode {value}")))
    };
    let options = &mut record.bridge_options;
    match key {
        OPTION_NAME if is_link_name(value) => value.clone_into(&mut record.bridge),
        OPTION_NAME if value.is_empty() => {}
        OPTION_NAME => return Err(invalid_option(key, value, "no name of a link")),
        OPTION_ICC => record.talks_inside = flag()?,
        OPTION_MASQUERADE => record.masquerades = flag()?,
        OPTION_MTU => record.mtu = parse_mtu(value)?,
        OPTION_HOST_BINDING => options.host_binding = Some(address()?).filter(|address| !address.is_unspecified()),
        OPTION_MODE4 => options.mode4 = mode()?,
        OPTION_MODE6 => options.mode6 = mode()?,
        OPTION_INHIBIT => options.inhibits_ipv4 = flag()?,
        OPTION_SOURCE4 => options.source4 = Some(address()?).filter(IpAddr::is_ipv4),
        OPTION_SOURCE6 => options.source6 = Some(address()?).filter(IpAddr::is_ipv6),
        // Two digits behind it have to fit.
        OPTION_PREFIX if is_link_name(value) && value.len() + 2 <= names::MAX_INTERFACE_NAME => {
            options.link_prefix = Some(value.to_owned());
        }
        OPTION_PREFIX => return Err(invalid_option(key, value, "no start of a link's name")),
        OPTION_DEFAULT if flag()? => {
            return Err(invalid_option(key, value, "the default bridge network is made by the daemon"));
        }
        OPTION_TRUSTED => {
            let links: Vec<String> = value.split(':').filter(|link| !link.is_empty()).map(str::to_owned).collect();
            if links.len() > MAX_TRUSTED || !links.iter().all(|link| is_link_name(link)) {
                return Err(invalid_option(key, value, "no names of links"));
            }
            options.trusted = links;
        }
        // Labels of others travel along, as in Docker.
        _ => {}
    }
    Ok(())
}

fn mtu(record: &NetworkRecord) -> u32 {
    if record.mtu == 0 { 1500 } else { record.mtu }
}

fn ensure_first(route: &Route, network: &NetworkRecord) -> Result<u32, Error> {
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
    batch.create_bridge(&network.bridge, bridge_mac(network, 0).0, mtu(network));
    route.perform(&batch)?;
    let index = index_of(route, &network.bridge)?;
    // Router advertisements of a container must not configure the host. Without IPv6 in the kernel there is no such file.
    let _ = namespace::write_sysctl(&format!("net/ipv6/conf/{}/accept_ra", network.bridge), "0");
    configure(route, index, &addresses(network))?;
    Ok(index)
}

/// The further bridge and its trunk. It has no address, and the trunk's end on the first bridge is as apart from others
/// as a container's is.
fn ensure_segment(route: &Route, network: &NetworkRecord, first: u32, segment: u16) -> Result<Uplink, Error> {
    let (bridge, trunk) = (segment_name(network, segment), trunk_name(network, segment));
    if let Some(link) = route.link_by_name(&bridge)?
        && route.link_by_name(&trunk)?.is_some()
    {
        return Ok(Uplink { index: link.index });
    }
    let mut batch = Batch::new();
    if route.link_by_name(&bridge)?.is_none() {
        batch.create_bridge(&bridge, bridge_mac(network, segment).0, mtu(network));
        route.perform(&batch)?;
        let _ = namespace::write_sysctl(&format!("net/ipv6/conf/{bridge}/disable_ipv6"), "1");
    }
    let index = index_of(route, &bridge)?;
    let mut batch = Batch::new();
    batch.set_up(index);
    batch.create_trunk([(&trunk, first), (&format!("{trunk}e"), index)], mtu(network));
    if !network.talks_inside {
        batch.isolate_port(&trunk);
    }
    match route.perform(&batch) {
        // Another container of the same network came first.
        Err(error) if errors::Kind::kind(&error) == ErrorKind::AlreadyExists => {}
        other => other?,
    }
    Ok(Uplink { index })
}

/// What the packet filter has to know of a further bridge: frames that pass it are the network's own business, whoever may
/// talk to whom on it. With `bridge-nf-call-iptables` it sees them.
pub(crate) fn segment_items(network: &NetworkRecord, segment: u16) -> Vec<Item> {
    let name = segment_name(network, segment);
    vec![Item::Bridge(name.clone()), Item::TalksInside(name)]
}

fn segment_name(network: &NetworkRecord, segment: u16) -> String {
    format!("bx{segment}-{}", network.id.get(..9).unwrap_or(&network.id))
}

fn trunk_name(network: &NetworkRecord, segment: u16) -> String {
    format!("bt{segment}-{}", network.id.get(..8).unwrap_or(&network.id))
}

fn index_of(route: &Route, bridge: &str) -> Result<u32, Error> {
    match route.link_by_name(bridge)? {
        Some(link) => Ok(link.index),
        None => Err(Error::docker(ErrorKind::Internal, format!("bridge {bridge} vanished"))),
    }
}

fn delete(route: &Route, name: &str) -> Result<(), Error> {
    if let Some(link) = route.link_by_name(name)? {
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

/// An internal network's bridge has an address too: the host may reach the containers, they have no route out. Not so
/// where that is asked for.
fn addresses(network: &NetworkRecord) -> Vec<Prefix> {
    let of = |subnet: &crate::record::SubnetRecord| {
        let is_ipv4 = subnet.subnet.is_ipv4();
        let inhibited = is_ipv4 && network.bridge_options.inhibits_ipv4;
        if inhibited || network.mode(is_ipv4) == GatewayMode::Isolated {
            return None;
        }
        Some(Prefix::new(subnet.bridge_address.or(subnet.gateway)?, subnet.subnet.length()))
    };
    network.subnets.iter().filter_map(of).collect()
}

/// Derived from the network's id: the same after every restart, and none that an address gives to a container's end.
fn bridge_mac(network: &NetworkRecord, segment: u16) -> Mac {
    let byte =
        |at: usize| network.id.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
    Mac([0x02, byte(0), byte(2), byte(4), byte(6), byte(8) ^ segment as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(key: &str, value: &str, internal: bool) -> Result<NetworkRecord, Error> {
        let options = [(key.to_owned(), value.to_owned())].into();
        let mut record =
            NetworkRecord { id: "0123456789abcdef".repeat(4), internal, options, ..NetworkRecord::default() };
        Bridge.configure(&mut record, &[]).map(|()| record)
    }

    #[test]
    fn options_are_read_or_refused_in_dockers_words() {
        assert_eq!(configured(OPTION_NAME, "br-own", false).expect("a name").bridge, "br-own");
        assert!(!configured(OPTION_ICC, "0", false).expect("a flag").talks_inside);
        let words = |key: &str, value: &str| configured(key, value, false).expect_err("it is wrong").to_string();
        assert_eq!(
            words(OPTION_MODE4, "x"),
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: x (unknown gateway mode x)"
        );
        assert_eq!(
            words(OPTION_HOST_BINDING, "x"),
            "failed to parse com.docker.network.bridge.host_binding_ipv4 value: x (nil ip)"
        );
        assert!(words(OPTION_ICC, "maybe").contains("strconv.ParseBool: parsing \"maybe\": invalid syntax"));
        assert!(configured(OPTION_MODE4, "isolated", false).is_err());
        assert!(configured(OPTION_MODE4, "isolated", true).is_ok());
    }

    #[test]
    fn names_of_segments_fit_the_kernel() {
        let record = NetworkRecord { id: "0123456789abcdef".repeat(4), ..NetworkRecord::default() };
        for segment in [1, 23, 99] {
            assert!(segment_name(&record, segment).len() <= names::MAX_INTERFACE_NAME);
            assert!(trunk_name(&record, segment).len() < names::MAX_INTERFACE_NAME);
        }
    }
}
