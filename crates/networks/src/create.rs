//! `docker network create`: a request becomes a record, and the record a network.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use errors::ErrorKind;
use metadata::Durability;
use netlink::Route;
use network_core::{Subnet, ipam};

use crate::driver;
use crate::error::Error;
use crate::events::EventAction;
use crate::messages;
use crate::record::{IpamRecord, NETWORKS, NetworkRecord};
use crate::request::{CreateNetwork, Created};
use crate::service::{Inner, new_id};
use crate::state::State;
use crate::subnets::{self, Surroundings, host_subnets};

/// Networks, labels and options of one daemon and request.
const MAX_NETWORKS: usize = 4096;
const MAX_ENTRIES: usize = 1024;
const MAX_POOLS: usize = 16;
const OPTION_IPV4: &str = "com.docker.network.enable_ipv4";
const OPTION_IPV6: &str = "com.docker.network.enable_ipv6";

impl Inner {
    pub(crate) fn create_network(&self, request: CreateNetwork) -> Result<Created, Error> {
        self.prepare()?;
        check(&request)?;
        let route = Route::open()?;
        let host_routes = host_subnets(&route)?;
        let mut random = [0; 5];
        getrandom::fill(&mut random).map_err(|_| Error::Random)?;
        let id = new_id()?;
        if !matches!(request.driver.as_str(), "" | "default" | "null") && driver::find(&request.driver).is_none() {
            self.remote.check(&request.driver)?;
        }
        let managed = self.pools_of_plugin(&request)?;
        let planned = self.plan_network(id, request, managed.clone(), &host_routes, random);
        let record = match planned {
            Ok(record) => record,
            Err(error) => {
                self.give_up_pools(managed);
                return Err(error);
            }
        };
        let made = self.build_network(&route, record.clone());
        match made {
            Ok(record) => {
                self.publish(EventAction::Create, &record, None);
                Ok(Created { id: record.id, warning: String::new() })
            }
            Err(error) => {
                self.state().networks.remove(&record.id);
                let id = record.id.clone();
                // The first error counts; what could not be undone is undone by the next start.
                let _ = self.database.write_blocking(Durability::Lazy, move |tx| NETWORKS.delete(tx, &id).map(drop));
                self.release_pools(&record, &record.subnets);
                Err(error)
            }
        }
    }

    /// Pools of a plugin that manages addresses, with the record that tells which; none where we do it ourselves.
    fn pools_of_plugin(&self, request: &CreateNetwork) -> Result<Option<NetworkRecord>, Error> {
        let ipam = IpamRecord { driver: request.ipam_driver.clone(), options: request.ipam_options.clone() };
        if !ipam.is_remote() || request.config_only {
            return Ok(None);
        }
        let mut record = NetworkRecord {
            enable_ipv4: request.enable_ipv4.unwrap_or(true),
            enable_ipv6: request.enable_ipv6.unwrap_or(false),
            ipam,
            ..NetworkRecord::default()
        };
        let asked = ipam::parse(&request.pools, record.enable_ipv6).map_err(invalid_pools)?;
        record.subnets = self.request_pools(&record, &asked)?;
        Ok(Some(record))
    }

    fn give_up_pools(&self, managed: Option<NetworkRecord>) {
        if let Some(record) = managed {
            self.release_pools(&record, &record.subnets);
        }
    }

    /// The record, in the state from here on.
    fn plan_network(
        &self,
        id: String,
        request: CreateNetwork,
        managed: Option<NetworkRecord>,
        host_routes: &[Subnet],
        random: [u8; 5],
    ) -> Result<NetworkRecord, Error> {
        let record = {
            let mut state = self.state();
            if state.networks.values().any(|network| network.record.name == request.name) {
                return Err(Error::docker(ErrorKind::Conflict, messages::name_exists(&request.name)));
            }
            if state.networks.len() >= MAX_NETWORKS {
                return Err(Error::docker(ErrorKind::ResourceExhausted, format!("more than {MAX_NETWORKS} networks")));
            }
            let (mut record, pools) = self.record_of(&state, id, request)?;
            let others: Vec<&NetworkRecord> = state.networks.values().map(|network| &network.record).collect();
            if record.config_only {
                // Looked at when a network is made from it.
                record.subnets = subnets::as_written(pools);
            } else {
                self.driver(&record.driver)?.configure(&mut record, &others)?;
                check_pools(&record)?;
                let own = subnets::taken(&record, &others);
                let around = Surroundings { config: &self.config, own, host: host_routes, random };
                record.subnets = match managed {
                    Some(managed) => managed.subnets,
                    None => subnets::choose(&record, pools, &around)?,
                };
            }
            state.insert_network(record.clone())?;
            record
        };
        Ok(record)
    }

    /// The record without its subnets, and what was asked of them.
    fn record_of(
        &self,
        state: &State,
        id: String,
        request: CreateNetwork,
    ) -> Result<(NetworkRecord, Vec<ipam::Pool>), Error> {
        let invalid = |message: String| Error::docker(ErrorKind::InvalidArgument, message);
        let driver = match request.driver.as_str() {
            _ if request.config_only => "null",
            "" | "default" => "bridge",
            driver => driver,
        };
        let mut record = NetworkRecord {
            id,
            name: request.name,
            driver: driver.to_owned(),
            created_ns: now_ns(),
            internal: request.internal,
            attachable: request.attachable,
            enable_ipv4: true,
            labels: request.labels,
            config_only: request.config_only,
            config_from: request.config_from,
            options: request.options,
            ipam: IpamRecord { driver: request.ipam_driver, options: request.ipam_options },
            ..NetworkRecord::default()
        };
        if !record.config_from.is_empty() {
            return from_configuration(state, record);
        }
        for (key, value) in self.config.default_options.get(driver).into_iter().flatten() {
            record.options.entry(key.clone()).or_insert_with(|| value.clone());
        }
        record.enable_ipv4 = family(request.enable_ipv4, &mut record, OPTION_IPV4, true)?;
        record.enable_ipv6 = family(request.enable_ipv6, &mut record, OPTION_IPV6, false)?;
        if !record.enable_ipv4 && !record.enable_ipv6 && record.driver == "bridge" {
            return Err(invalid("IPv4 or IPv6 must be enabled".to_owned()));
        }
        let pools = ipam::parse(&request.pools, record.enable_ipv6).map_err(invalid_pools)?;
        Ok((record, pools))
    }

    fn build_network(&self, route: &Route, mut record: NetworkRecord) -> Result<NetworkRecord, Error> {
        let is_of_plugin = record.is_remote() || record.ipam.is_remote();
        self.store_network(&NetworkRecord { is_changing: is_of_plugin, ..record.clone() })?;
        if !record.has_endpoints() {
            return Ok(record);
        }
        let driver = self.driver(&record.driver)?;
        let before = record.clone();
        driver.adopt(route, &mut record)?;
        if record != before {
            // What stands in the kernel already is known before anything is made there.
            self.store_network(&record)?;
            if let Some(network) = self.state().networks.get_mut(&record.id) {
                network.record = record.clone();
            }
        }
        let built = self.build_links(route, &record);
        if built.is_err() {
            // The first error counts.
            let _ = driver.remove(route, &record);
        }
        built?;
        if is_of_plugin {
            self.store_network(&record)?;
        }
        Ok(record)
    }

    pub(crate) fn store_network(&self, record: &NetworkRecord) -> Result<(), Error> {
        let stored = record.clone();
        Ok(self.database.write_blocking(Durability::Synced, move |tx| NETWORKS.put(tx, &stored.id, &stored))?)
    }

    fn build_links(&self, route: &Route, record: &NetworkRecord) -> Result<(), Error> {
        if record.is_bridge() && self.config.firewall.forwards {
            driver::enable_forwarding(record.enable_ipv6)?;
        }
        self.driver(&record.driver)?.ensure(route, record, 0)?;
        if record.is_bridge() {
            let all = || self.state().firewall_items();
            self.firewall.change(&record.rules().items(), &[], all)?;
            self.apply_docker_chains()?;
        }
        Ok(())
    }
}

/// Drivers of ours cannot do without an address of a family that the network has.
fn check_pools(record: &NetworkRecord) -> Result<(), Error> {
    let missing = match (record.ipam.is_null() && !record.is_remote(), record.enable_ipv4, record.enable_ipv6) {
        (true, true, _) => "ipv4 pool is empty",
        (true, false, true) => "ipv6 pool is empty",
        _ => return Ok(()),
    };
    Err(Error::docker(ErrorKind::InvalidArgument, missing.to_owned()))
}

fn invalid_pools(wrong: Vec<String>) -> Error {
    Error::docker(ErrorKind::InvalidArgument, format!("invalid network config:\n{}", ipam::join(&wrong)))
}

/// What can be seen without knowing other networks.
fn check(request: &CreateNetwork) -> Result<(), Error> {
    let forbidden = |message: &str| Err(Error::docker(ErrorKind::PermissionDenied, message));
    let invalid = |message: String| Err(Error::docker(ErrorKind::InvalidArgument, message));
    check_name(&request.name)?;
    if ["bridge", "host", "none", "default"].contains(&request.name.as_str()) {
        return forbidden(&messages::create_predefined(&request.name));
    }
    let ipam_options = request.ipam_options.as_ref().map_or(0, BTreeMap::len);
    if request.labels.len() + request.options.len() + ipam_options > MAX_ENTRIES {
        return invalid(format!("more than {MAX_ENTRIES} labels and options"));
    }
    if request.pools.len() > MAX_POOLS || request.pools.iter().any(|pool| pool.auxiliary.len() > MAX_ENTRIES) {
        return invalid(format!("more than {MAX_POOLS} subnets or {MAX_ENTRIES} auxiliary addresses"));
    }
    if request.config_only {
        if request.ingress || request.internal || request.attachable || !request.scope.is_empty() {
            return forbidden(messages::CONFIG_ONLY_FIELDS);
        }
        if !request.config_from.is_empty() {
            return forbidden("a configuration network cannot depend on another configuration network");
        }
        return Ok(());
    }
    match request.driver.as_str() {
        "host" | "null" => {
            return forbidden(&format!("only one instance of \"{}\" network is allowed", request.driver));
        }
        "overlay" => return forbidden(messages::NO_SWARM),
        _ => {}
    }
    match request.scope.as_str() {
        "" | "local" => {}
        "swarm" | "global" => return forbidden(messages::NO_SWARM),
        other => return invalid(format!("invalid scope {:?}", other.chars().take(64).collect::<String>())),
    }
    if request.ingress {
        return forbidden("Ingress network can only be global scope network");
    }
    if request.ipam_driver == "null" && !request.pools.is_empty() {
        return invalid("null ipam driver does not handle specific address pool requests".into());
    }
    let own = !request.pools.is_empty() || !request.options.is_empty();
    if !request.config_from.is_empty() && (own || request.enable_ipv6 == Some(true)) {
        return forbidden(
            "user specified configurations are not supported if the network depends on a configuration network",
        );
    }
    Ok(())
}

/// Options, families and subnets of another network, which is configuration only.
fn from_configuration(state: &State, mut record: NetworkRecord) -> Result<(NetworkRecord, Vec<ipam::Pool>), Error> {
    let known = state.networks.values().find(|network| network.record.name == record.config_from);
    let Some(known) = known.filter(|known| known.record.config_only) else {
        let message = format!("configuration network \"{}\" does not exist", record.config_from);
        return Err(Error::docker(ErrorKind::NotFound, message));
    };
    let source = &known.record;
    record.options.clone_from(&source.options);
    record.enable_ipv4 = source.enable_ipv4;
    record.enable_ipv6 = source.enable_ipv6;
    record.ipam.clone_from(&source.ipam);
    let mut labels = source.labels.clone();
    labels.extend(std::mem::take(&mut record.labels));
    record.labels = labels;
    let pools = source.subnets.iter().map(|subnet| ipam::Pool {
        subnet: subnet.subnet,
        range: subnet.range,
        gateway: subnet.gateway,
        auxiliary: subnet.auxiliary.clone(),
    });
    Ok((record, pools.collect()))
}

/// A family by the request, or by the option, which does not show where the request says it.
fn family(asked: Option<bool>, record: &mut NetworkRecord, option: &str, default: bool) -> Result<bool, Error> {
    match (asked, record.options.get(option).map(String::as_str)) {
        (Some(asked), _) => {
            record.options.remove(option);
            Ok(asked)
        }
        (None, None) => Ok(default),
        (None, Some("1" | "t" | "T" | "TRUE" | "true" | "True")) => Ok(true),
        (None, Some("0" | "f" | "F" | "FALSE" | "false" | "False")) => Ok(false),
        (None, Some(_)) => {
            Err(Error::docker(ErrorKind::InvalidArgument, format!("driver-opt \"{option}\" is not a valid bool")))
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > 255 || name.contains(|c: char| c.is_control() || c == '/') || name.trim() != name
    {
        let message = format!("invalid network name: {:?}", name.chars().take(64).collect::<String>());
        return Err(Error::docker(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
