//! The three networks that are always there, and the default bridge as the daemon's flags have it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use errors::ErrorKind;
use metadata::Durability;
use netlink::Route;
use network_core::Subnet;

use crate::config::BridgeConfig;
use crate::create::now_ns;
use crate::error::Error;
use crate::messages;
use crate::record::{NETWORKS, NetworkRecord, SubnetRecord};
use crate::service::{Inner, new_id};
use crate::subnets::{self, Surroundings, host_subnets};

impl Inner {
    /// The predefined networks, as far as the store does not have them yet; and the default bridge as it is configured now.
    pub(crate) fn add_predefined_locked(&self) -> Result<(), Error> {
        let mut changed = Vec::new();
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            let known = self
                .state()
                .networks
                .values()
                .find(|known| known.record.name == name)
                .map(|known| known.record.clone());
            match known {
                Some(known) if driver == "bridge" => changed.extend(self.reconfigured(known)?),
                Some(_) => {}
                // `--bridge none`: there is no default network.
                None if driver == "bridge" && self.config.bridge.name.as_deref() == Some("none") => {}
                None => changed.push(self.predefined(name, driver, None)?),
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        for record in &changed {
            state.insert_network(record.clone())?;
        }
        drop(state);
        self.database.write_blocking(Durability::Lazy, move |tx| {
            changed.iter().try_for_each(|record| NETWORKS.put(tx, &record.id, record))
        })?;
        Ok(())
    }

    /// `docker0` outlives its daemon, as Docker's does. A bridge with a name of the daemon's own is nobody's without it, and
    /// would keep its addresses from other daemons on the host.
    pub(crate) fn remove_idle_bridge(&self) -> Result<(), Error> {
        if self.config.roots_hash.is_none() {
            return Ok(());
        }
        let bridges: Vec<NetworkRecord> = {
            let state = self.state();
            let records = state.networks.values().map(|network| &network.record);
            records.filter(|record| record.predefined && record.is_bridge()).cloned().collect()
        };
        for record in bridges.iter().filter(|record| !self.has_members(&record.id)) {
            self.driver(&record.driver)?.remove(&Route::open()?, record)?;
        }
        Ok(())
    }

    fn has_members(&self, network_id: &str) -> bool {
        let state = self.state();
        state.sandboxes.values().flat_map(|record| &record.sandbox.endpoints).any(|end| end.network_id == network_id)
    }

    /// The default bridge with settings that were changed since it was written down; not while containers are on it.
    fn reconfigured(&self, known: NetworkRecord) -> Result<Option<NetworkRecord>, Error> {
        if self.config.bridge.name.as_deref() == Some("none") || self.has_members(&known.id) {
            return Ok(None);
        }
        let fresh = self.predefined(&known.name, &known.driver, Some(&known))?;
        let fresh = NetworkRecord { id: known.id.clone(), created_ns: known.created_ns, ..fresh };
        Ok((fresh != known).then_some(fresh))
    }

    /// `known` keeps the subnets that the configuration does not name.
    fn predefined(&self, name: &str, driver: &str, known: Option<&NetworkRecord>) -> Result<NetworkRecord, Error> {
        let settings = &self.config.bridge;
        let mut record = NetworkRecord {
            id: new_id()?,
            name: name.to_owned(),
            driver: driver.to_owned(),
            created_ns: now_ns(),
            enable_ipv4: driver == "bridge",
            mtu: settings.mtu,
            talks_inside: settings.talks_inside,
            masquerades: settings.masquerades,
            predefined: true,
            ..NetworkRecord::default()
        };
        if driver != "bridge" {
            return Ok(record);
        }
        record.bridge = self.config.default_bridge();
        record.enable_ipv6 = settings.enable_ipv6;
        // One that was named is somebody's own, and stays.
        record.bridge_options.is_foreign = settings.name.is_some();
        record.bridge_options.host_binding = settings.host_binding.filter(|address| !address.is_unspecified());
        let kept = known.filter(|known| known.bridge == record.bridge);
        record.subnets.push(self.default_subnet(&record, kept, true)?);
        if settings.enable_ipv6 {
            record.subnets.push(self.default_subnet(&record, kept, false)?);
        }
        record.options = shown_options(settings, &record.bridge);
        Ok(record)
    }

    /// As configured; else what it had; else what the bridge has if it is there (a host set up by hand, as Docker takes it);
    /// else the next free one.
    fn default_subnet(
        &self,
        record: &NetworkRecord,
        kept: Option<&NetworkRecord>,
        is_ipv4: bool,
    ) -> Result<SubnetRecord, Error> {
        let settings = &self.config.bridge;
        let (configured, range, gateway) = match is_ipv4 {
            true => (settings.address, settings.range, settings.gateway),
            false => (settings.address6, settings.range6, settings.gateway6),
        };
        let kept = kept.and_then(|kept| kept.subnets.iter().find(|subnet| subnet.subnet.is_ipv4() == is_ipv4));
        let kept = kept.and_then(|kept| Some((kept.bridge_address.or(kept.gateway)?, kept.subnet)));
        let kept = match kept {
            Some((_, subnet)) if self.is_taken(&record.bridge, &subnet)? => None,
            kept => kept,
        };
        let (address, subnet) = match configured.or(kept.filter(|(_, subnet)| fits(subnet, range))) {
            Some(found) => found,
            None => self.found_subnet(&record.bridge, range, is_ipv4)?,
        };
        let invalid = |message: String| Error::docker(ErrorKind::InvalidArgument, message);
        if let Some(range) = range.filter(|range| !fits(&subnet, Some(*range))) {
            return Err(invalid(format!("fixed CIDR {range} is not in the bridge network {subnet}")));
        }
        if let Some(gateway) = gateway.filter(|gateway| !subnet.contains(*gateway)) {
            return Err(invalid(format!(
                "default gateway ip must be part of the network: {gateway} is not in {subnet}"
            )));
        }
        let own = (gateway.is_some() && gateway != Some(address)).then_some(address);
        let auxiliary = match (own, is_ipv4) {
            (None, _) => BTreeMap::new(),
            (Some(_), true) => BTreeMap::from([("DefaultGatewayIPv4".to_owned(), gateway.unwrap_or(address))]),
            (Some(_), false) => BTreeMap::from([("DefaultGatewayIPv6".to_owned(), gateway.unwrap_or(address))]),
        };
        // A range that is the whole subnet is none.
        let range = range.filter(|range| *range != subnet);
        Ok(SubnetRecord {
            subnet,
            range,
            gateway: gateway.or(Some(address)),
            bridge_address: own,
            auxiliary,
            pool: None,
        })
    }

    /// Whether somebody on the host has come to have the addresses while the bridge was not there.
    fn is_taken(&self, bridge: &str, subnet: &Subnet) -> Result<bool, Error> {
        let route = Route::open()?;
        if route.link_by_name(bridge)?.is_some() {
            return Ok(false);
        }
        Ok(host_subnets(&route)?.iter().any(|taken| taken.overlaps(subnet)))
    }

    fn found_subnet(&self, bridge: &str, range: Option<Subnet>, is_ipv4: bool) -> Result<(IpAddr, Subnet), Error> {
        let route = Route::open()?;
        if let Some(link) = route.link_by_name(bridge)? {
            let mut addresses = route.addresses()?.into_iter();
            let present = addresses.find(|(index, prefix)| {
                let is_link_local = matches!(prefix.address, IpAddr::V6(address) if address.is_unicast_link_local());
                *index == link.index && prefix.address.is_ipv4() == is_ipv4 && !is_link_local
            });
            if let Some((_, prefix)) = present
                && let Some(subnet) = Subnet::of(prefix.address, prefix.length)
            {
                return Ok((prefix.address, subnet));
            }
        }
        if let Some(range) = range {
            let first = range.nth(1).ok_or_else(no_pool)?;
            return Ok((first, range));
        }
        let mut random = [0; 5];
        getrandom::fill(&mut random).map_err(|_| Error::Random)?;
        let host = host_subnets(&route)?;
        let own = self.state().subnets();
        let around = Surroundings { config: &self.config, own, host: &host, random };
        let subnet = subnets::next_free(&around, is_ipv4)?;
        Ok((subnet.nth(1).ok_or_else(no_pool)?, subnet))
    }
}

fn no_pool() -> Error {
    Error::docker(ErrorKind::InvalidArgument, messages::NO_POOL)
}

fn fits(subnet: &Subnet, range: Option<Subnet>) -> bool {
    range.is_none_or(|range| range.length() >= subnet.length() && subnet.contains(range.base()))
}

/// What `docker network inspect bridge` shows.
fn shown_options(settings: &BridgeConfig, bridge: &str) -> BTreeMap<String, String> {
    let host_binding = settings.host_binding.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    [
        ("com.docker.network.bridge.default_bridge", "true".to_owned()),
        ("com.docker.network.bridge.enable_icc", settings.talks_inside.to_string()),
        ("com.docker.network.bridge.enable_ip_masquerade", settings.masquerades.to_string()),
        ("com.docker.network.bridge.host_binding_ipv4", host_binding.to_string()),
        ("com.docker.network.bridge.name", bridge.to_owned()),
        ("com.docker.network.driver.mtu", settings.mtu.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
