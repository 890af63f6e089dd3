//! Which subnets a network has: those that were asked for, and where none of a family was, the next free one.

use std::net::IpAddr;

use errors::ErrorKind;
use netlink::Route;
use network_core::firewall::GatewayMode;
use network_core::{Subnet, ipam, pool};

use crate::config::Config;
use crate::error::Error;
use crate::messages;
use crate::record::{NetworkRecord, SubnetRecord};

/// What counts beside the request.
pub(crate) struct Surroundings<'a> {
    pub config: &'a Config,
    /// Subnets of this daemon's networks.
    pub own: Vec<Subnet>,
    /// Subnets that the host routes somewhere.
    pub host: &'a [Subnet],
    /// For a prefix of the daemon's own (RFC 4193).
    pub random: [u8; 5],
}

/// Subnets that a plugin's or another machine's network may share with ours.
fn may_overlap(record: &NetworkRecord) -> bool {
    matches!(record.driver.as_str(), "macvlan" | "ipvlan")
}

pub(crate) fn choose(
    record: &NetworkRecord,
    pools: Vec<ipam::Pool>,
    around: &Surroundings<'_>,
) -> Result<Vec<SubnetRecord>, Error> {
    let mut chosen: Vec<SubnetRecord> = Vec::new();
    for wanted in pools {
        let is_ipv4 = wanted.subnet.is_ipv4();
        if (is_ipv4 && !record.enable_ipv4) || (!is_ipv4 && !record.enable_ipv6) {
            continue;
        }
        let taken = around.own.iter().chain(chosen.iter().map(|chosen| &chosen.subnet));
        if taken.into_iter().any(|other| other.overlaps(&wanted.subnet)) {
            return Err(Error::docker(ErrorKind::PermissionDenied, messages::POOL_OVERLAP));
        }
        let gateway = wanted.gateway.or_else(|| first_free(&wanted));
        let gateway = gateway.filter(|_| has_gateway(record, is_ipv4));
        let ipam::Pool { subnet, range, auxiliary, .. } = wanted;
        chosen.push(SubnetRecord { subnet, range, gateway, bridge_address: None, auxiliary, pool: None });
    }
    for is_ipv4 in [true, false] {
        let is_wanted = !record.ipam.is_null() && if is_ipv4 { record.enable_ipv4 } else { record.enable_ipv6 };
        if !is_wanted || chosen.iter().any(|chosen| chosen.subnet.is_ipv4() == is_ipv4) {
            continue;
        }
        let subnet = next_free(around, is_ipv4)?;
        let gateway = subnet.nth(1).filter(|_| has_gateway(record, is_ipv4));
        let record = SubnetRecord {
            subnet,
            range: None,
            gateway,
            bridge_address: None,
            auxiliary: Default::default(),
            pool: None,
        };
        // Docker lists IPv4 first.
        chosen.insert(if is_ipv4 { 0 } else { chosen.len() }, record);
    }
    let count = |is_ipv4| chosen.iter().filter(|chosen| chosen.subnet.is_ipv4() == is_ipv4).count();
    if record.driver == "bridge" && (count(true) > 1 || count(false) > 1) {
        return Err(Error::docker(ErrorKind::PermissionDenied, messages::SEVERAL_SUBNETS));
    }
    Ok(chosen)
}

/// For a network that others are made from: what was asked, no more.
pub(crate) fn as_written(pools: Vec<ipam::Pool>) -> Vec<SubnetRecord> {
    let record = |pool: ipam::Pool| SubnetRecord {
        subnet: pool.subnet,
        range: pool.range,
        gateway: pool.gateway,
        bridge_address: None,
        auxiliary: pool.auxiliary,
        pool: None,
    };
    pools.into_iter().map(record).collect()
}

/// A network whose bridge has no address, and which has no way out, needs no gateway's address either.
fn has_gateway(record: &NetworkRecord, is_ipv4: bool) -> bool {
    let inhibited = is_ipv4 && record.bridge_options.inhibits_ipv4 && record.internal;
    record.mode(is_ipv4) != GatewayMode::Isolated && !inhibited
}

/// The first address that is not set aside.
fn first_free(pool: &ipam::Pool) -> Option<IpAddr> {
    let mut addresses = (1..).map_while(|offset| pool.subnet.nth(offset));
    addresses.find(|address| !pool.auxiliary.values().any(|taken| taken == address))
}

pub(crate) fn next_free(around: &Surroundings<'_>, is_ipv4: bool) -> Result<Subnet, Error> {
    let mut pools = around.config.pools(is_ipv4);
    if pools.is_empty() {
        pools.push(pool::unique_local(around.random));
    }
    let taken: Vec<Subnet> = around.own.iter().chain(around.host).copied().collect();
    let free = pool::choose(&pools, &taken);
    free.ok_or_else(|| Error::docker(ErrorKind::InvalidArgument, messages::NO_POOL))
}

/// What is taken for a network of this kind.
pub(crate) fn taken(record: &NetworkRecord, others: &[&NetworkRecord]) -> Vec<Subnet> {
    let subnets_of = |other: &&NetworkRecord| other.subnets.iter().map(|subnet| subnet.subnet).collect::<Vec<_>>();
    let counts = |other: &&&NetworkRecord| {
        // Two networks over different links may well be the same subnet of different places.
        let are_apart = may_overlap(record) && may_overlap(other) && record.parent != other.parent;
        !other.config_only && !are_apart
    };
    others.iter().filter(counts).flat_map(subnets_of).collect()
}

/// Subnets that the host routes somewhere; the default route overlaps everything and says nothing.
pub(crate) fn host_subnets(route: &Route) -> Result<Vec<Subnet>, Error> {
    let routes = route.routes()?.into_iter().filter_map(|route| route.destination);
    Ok(routes
        .filter(|prefix| prefix.length > 0)
        .filter_map(|prefix| Subnet::of(prefix.address, prefix.length))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(config: &Config) -> Surroundings<'_> {
        Surroundings { config, own: Vec::new(), host: &[], random: [1, 2, 3, 4, 5] }
    }

    fn record() -> NetworkRecord {
        NetworkRecord { driver: "bridge".into(), enable_ipv4: true, enable_ipv6: true, ..NetworkRecord::default() }
    }

    fn pool(subnet: &str) -> ipam::Pool {
        let subnet = subnet.parse().expect("a subnet");
        ipam::Pool { subnet, range: None, gateway: None, auxiliary: Default::default() }
    }

    #[test]
    fn each_family_gets_a_subnet_and_a_gateway() {
        let config = Config::new("/x".into(), None);
        let chosen = choose(&record(), Vec::new(), &around(&config)).expect("subnets");
        let shown: Vec<String> = chosen.iter().map(|chosen| chosen.subnet.to_string()).collect();
        assert_eq!(shown, ["172.17.0.0/16", "fd01:203:405::/64"]);
        assert_eq!(chosen[1].gateway.map(|gateway| gateway.to_string()), Some("fd01:203:405::1".to_owned()));
        let six = NetworkRecord { enable_ipv4: false, ..record() };
        assert_eq!(choose(&six, Vec::new(), &around(&config)).expect("subnets").len(), 1);
    }

    #[test]
    fn the_gateway_steps_aside_for_auxiliary_addresses() {
        let config = Config::new("/x".into(), None);
        let mut wanted = pool("10.0.0.0/24");
        wanted.auxiliary.insert("router".into(), [10, 0, 0, 1].into());
        let chosen = choose(&record(), vec![wanted], &around(&config)).expect("subnets");
        assert_eq!(chosen[0].gateway, Some(IpAddr::from([10, 0, 0, 2])));
    }

    #[test]
    fn a_bridge_has_one_subnet_a_family_and_none_that_overlaps() {
        let config = Config::new("/x".into(), None);
        let two = choose(&record(), vec![pool("10.0.0.0/24"), pool("10.1.0.0/24")], &around(&config));
        assert_eq!(two.expect_err("two").to_string(), "bridge driver doesn't support multiple subnets");
        let overlapping = choose(&record(), vec![pool("10.0.0.0/8"), pool("10.1.0.0/24")], &around(&config));
        assert!(overlapping.expect_err("they overlap").to_string().contains("Pool overlaps"));
        let macvlan = NetworkRecord { driver: "macvlan".into(), ..record() };
        assert!(choose(&macvlan, vec![pool("10.0.0.0/24"), pool("10.1.0.0/24")], &around(&config)).is_ok());
    }

    #[test]
    fn an_isolated_network_has_no_gateway() {
        let config = Config::new("/x".into(), None);
        let mut record = NetworkRecord { internal: true, ..record() };
        record.bridge_options.mode4 = GatewayMode::Isolated;
        let chosen = choose(&record, Vec::new(), &around(&config)).expect("subnets");
        assert_eq!((chosen[0].gateway, chosen[1].gateway.is_some()), (None, true));
    }
}
