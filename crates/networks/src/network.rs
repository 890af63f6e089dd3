//! Networks: created, listed, removed; and the three that are always there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use errors::ErrorKind;
use metadata::Durability;
use netlink::Route;
use network_core::{AddressBook, Subnet, names, pool};

use crate::bridge;
use crate::error::Error;
use crate::events::EventAction;
use crate::messages;
use crate::record::{NETWORKS, NetworkRecord, SubnetRecord};
use crate::request::{CreateNetwork, Created, NetworkView, SubnetRequest};
use crate::service::{Inner, new_id};
use crate::state::State;

const OPTION_NAME: &str = "com.docker.network.bridge.name";
const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
const OPTION_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const OPTION_MTU: &str = "com.docker.network.driver.mtu";
const OPTIONS_DEFAULT: &str = "com.docker.network.bridge.default_bridge";
const OPTION_HOST_IP: &str = "com.docker.network.bridge.host_binding_ipv4";
/// Networks, labels and options of one daemon and request.
const MAX_NETWORKS: usize = 4096;
const MAX_ENTRIES: usize = 1024;

impl Inner {
    pub(crate) fn create_network(&self, request: CreateNetwork) -> Result<Created, Error> {
        self.prepare()?;
        let invalid = |message: String| Error::docker(ErrorKind::InvalidArgument, message);
        check_name(&request.name)?;
        if ["bridge", "host", "none", "default"].contains(&request.name.as_str()) {
            return Err(Error::docker(ErrorKind::PermissionDenied, messages::create_predefined(&request.name)));
        }
        match request.driver.as_str() {
            "" | "bridge" | "default" => {}
            "host" | "null" => {
                let message = format!("only one instance of \"{}\" network is allowed", request.driver);
                return Err(Error::docker(ErrorKind::PermissionDenied, message));
            }
            other => return Err(Error::docker(ErrorKind::NotFound, messages::unknown_driver(other))),
        }
        if request.labels.len() + request.options.len() > MAX_ENTRIES || request.subnets.len() > 16 {
            return Err(invalid(format!("more than {MAX_ENTRIES} labels and options")));
        }
        let host_routes = host_subnets(&Route::open()?)?;
        let id = new_id()?;
        let record = {
            let mut state = self.state();
            if state.networks.values().any(|network| network.record.name == request.name) {
                return Err(Error::docker(ErrorKind::Conflict, messages::name_exists(&request.name)));
            }
            if state.networks.len() >= MAX_NETWORKS {
                return Err(Error::docker(ErrorKind::ResourceExhausted, format!("more than {MAX_NETWORKS} networks")));
            }
            let subnets = self.choose_subnets(&state, &request, &host_routes)?;
            let record = network_record(id, request, subnets)?;
            state.insert_network(record.clone())?;
            record
        };
        let made = self.build_network(&record);
        if made.is_err() {
            self.state().networks.remove(&record.id);
            let id = record.id.clone();
            // The first error counts; what could not be undone is undone by the next start.
            let _ = self.database.write_blocking(Durability::Lazy, move |tx| NETWORKS.delete(tx, &id).map(drop));
            let _ = Route::open().map_err(Error::from).and_then(|route| bridge::remove(&route, &record));
        }
        made?;
        self.publish(EventAction::Create, &record, None);
        Ok(Created { id: record.id, warning: String::new() })
    }

    fn build_network(&self, record: &NetworkRecord) -> Result<(), Error> {
        let stored = record.clone();
        self.database.write_blocking(Durability::Synced, move |tx| NETWORKS.put(tx, &stored.id, &stored))?;
        let route = Route::open()?;
        if route.link_by_name(&record.bridge)?.is_some() && record.options.contains_key(OPTION_NAME) {
            let message = format!("bridge name {} is in use on this host", record.bridge);
            return Err(Error::docker(ErrorKind::PermissionDenied, message));
        }
        bridge::enable_forwarding(record.enable_ipv6)?;
        bridge::ensure(&route, record)?;
        let all = || self.state().firewall_items();
        Ok(self.firewall.change(&record.rules().items(), &[], all)?)
    }

    pub(crate) fn list_networks(&self) -> Vec<NetworkView> {
        let state = self.state();
        state.networks.values().map(|network| state.view(network)).collect()
    }

    pub(crate) fn inspect_network(&self, term: &str) -> Result<NetworkView, Error> {
        let state = self.state();
        let network = state.find(term)?;
        Ok(state.view(network))
    }

    pub(crate) fn remove_network(&self, term: &str) -> Result<String, Error> {
        self.prepare()?;
        let record = {
            let mut state = self.state();
            let network = state.find(term)?;
            let record = network.record.clone();
            if record.predefined {
                return Err(Error::docker(ErrorKind::PermissionDenied, messages::remove_predefined(&record.name)));
            }
            let active: Vec<(String, String)> = state
                .view(network)
                .containers
                .into_iter()
                .map(|attached| (attached.container_name, attached.endpoint.endpoint_id))
                .collect();
            if !active.is_empty() {
                let message = messages::active_endpoints(&record.name, &active);
                return Err(Error::docker(ErrorKind::PermissionDenied, message));
            }
            state.networks.remove(&record.id);
            record
        };
        let id = record.id.clone();
        self.database.write_blocking(Durability::Synced, move |tx| NETWORKS.delete(tx, &id).map(drop))?;
        let removed = self.firewall.change(&[], &record.rules().items(), || self.state().firewall_items());
        bridge::remove(&Route::open()?, &record)?;
        removed?;
        self.publish(EventAction::Destroy, &record, None);
        Ok(record.id)
    }

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
                None => changed.push(self.predefined(name, driver)?),
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

    /// The default bridge with settings that were changed since it was written down; not while containers are on it.
    fn reconfigured(&self, known: NetworkRecord) -> Result<Option<NetworkRecord>, Error> {
        let settings = &self.config.bridge;
        let first = known.subnets.first().map(|subnet| (subnet.gateway, subnet.subnet));
        let is_same = known.bridge == self.config.default_bridge()
            && known.mtu == settings.mtu
            && known.talks_inside == settings.talks_inside
            && known.masquerades == settings.masquerades
            && (settings.address.is_none() || settings.address == first);
        let is_used = || {
            let state = self.state();
            state.sandboxes.values().flat_map(|record| &record.sandbox.endpoints).any(|end| end.network_id == known.id)
        };
        if is_same || settings.name.as_deref() == Some("none") || is_used() {
            return Ok(None);
        }
        let fresh = self.predefined(&known.name, &known.driver)?;
        Ok(Some(NetworkRecord { id: known.id, created_ns: known.created_ns, ..fresh }))
    }

    fn predefined(&self, name: &str, driver: &str) -> Result<NetworkRecord, Error> {
        let settings = &self.config.bridge;
        let mut record = NetworkRecord {
            id: new_id()?,
            name: name.to_owned(),
            driver: driver.to_owned(),
            created_ns: now_ns(),
            internal: false,
            attachable: false,
            enable_ipv6: false,
            subnets: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            bridge: String::new(),
            mtu: settings.mtu,
            talks_inside: settings.talks_inside,
            masquerades: settings.masquerades,
            predefined: true,
        };
        if driver != "bridge" {
            return Ok(record);
        }
        record.bridge = self.config.default_bridge();
        let (gateway, subnet) = match settings.address {
            Some((gateway, subnet)) => (gateway, subnet),
            None => self.default_subnet(&record.bridge)?,
        };
        record.subnets = vec![SubnetRecord { subnet, range: None, gateway }];
        let options = [
            (OPTIONS_DEFAULT, "true".to_owned()),
            (OPTION_ICC, settings.talks_inside.to_string()),
            (OPTION_MASQUERADE, settings.masquerades.to_string()),
            (OPTION_HOST_IP, "0.0.0.0".to_owned()),
            (OPTION_NAME, record.bridge.clone()),
            (OPTION_MTU, settings.mtu.to_string()),
        ];
        record.options = options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Ok(record)
    }

    /// What the bridge has already if it is there (a host set up by hand, as Docker takes it), else the next free one.
    fn default_subnet(&self, bridge: &str) -> Result<(IpAddr, Subnet), Error> {
        let route = Route::open()?;
        if let Some(link) = route.link_by_name(bridge)? {
            let mut addresses = route.addresses()?.into_iter();
            let present = addresses.find(|(index, prefix)| *index == link.index && prefix.address.is_ipv4());
            if let Some((_, prefix)) = present
                && let Some(subnet) = Subnet::of(prefix.address, prefix.length)
            {
                return Ok((prefix.address, subnet));
            }
        }
        let mut taken = host_subnets(&route)?;
        taken.extend(self.state().subnets());
        let chosen = pool::choose(&self.config.pools(), &taken);
        let subnet = chosen.ok_or_else(|| Error::docker(ErrorKind::InvalidArgument, messages::NO_POOL))?;
        Ok((AddressBook::new(subnet, None, None)?.gateway(), subnet))
    }

    fn choose_subnets(
        &self,
        state: &State,
        request: &CreateNetwork,
        host_routes: &[Subnet],
    ) -> Result<Vec<SubnetRecord>, Error> {
        let own = state.subnets();
        let mut chosen: Vec<SubnetRecord> = Vec::new();
        let mut wanted: Vec<SubnetRequest> = request.subnets.clone();
        let has = |wanted: &[SubnetRequest], is_ipv4: bool| {
            wanted.iter().any(|wanted| wanted.subnet.is_none_or(|subnet| subnet.is_ipv4()) == is_ipv4)
        };
        if !has(&wanted, true) {
            wanted.push(SubnetRequest::default());
        }
        for wanted in wanted {
            let overlaps = |subnet: &Subnet| {
                own.iter().chain(chosen.iter().map(|chosen| &chosen.subnet)).any(|other| other.overlaps(subnet))
            };
            let subnet = match wanted.subnet {
                Some(subnet) if overlaps(&subnet) => {
                    return Err(Error::docker(ErrorKind::PermissionDenied, messages::POOL_OVERLAP));
                }
                Some(subnet) => subnet,
                None => {
                    let taken: Vec<Subnet> = own
                        .iter()
                        .chain(host_routes)
                        .copied()
                        .chain(chosen.iter().map(|chosen| chosen.subnet))
                        .collect();
                    pool::choose(&self.config.pools(), &taken)
                        .ok_or_else(|| Error::docker(ErrorKind::InvalidArgument, messages::NO_POOL))?
                }
            };
            let gateway = AddressBook::new(subnet, wanted.range, wanted.gateway)?.gateway();
            chosen.push(SubnetRecord { subnet, range: wanted.range, gateway });
        }
        if request.enable_ipv6 && chosen.iter().all(|chosen| chosen.subnet.is_ipv4()) {
            let mut random = [0; 5];
            getrandom::fill(&mut random).map_err(|_| Error::Random)?;
            let taken: Vec<Subnet> = own.iter().chain(host_routes).copied().collect();
            let subnet = pool::choose(&[pool::unique_local(random)], &taken)
                .ok_or_else(|| Error::docker(ErrorKind::InvalidArgument, messages::NO_POOL))?;
            let gateway = AddressBook::new(subnet, None, None)?.gateway();
            chosen.push(SubnetRecord { subnet, range: None, gateway });
        }
        Ok(chosen)
    }
}

fn network_record(id: String, request: CreateNetwork, subnets: Vec<SubnetRecord>) -> Result<NetworkRecord, Error> {
    let invalid = |key: &str, value: &str| {
        Error::docker(ErrorKind::InvalidArgument, format!("failed to parse {key} value: {value:?}"))
    };
    let flag = |key: &str| match request.options.get(key).map(String::as_str) {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(invalid(key, other)),
    };
    let mtu = match request.options.get(OPTION_MTU) {
        None => 1500,
        Some(text) => {
            text.parse().ok().filter(|mtu| (68..=65535).contains(mtu)).ok_or_else(|| invalid(OPTION_MTU, text))?
        }
    };
    let bridge = match request.options.get(OPTION_NAME) {
        None => names::network_bridge(&id),
        Some(name) if is_link_name(name) => name.clone(),
        Some(name) => return Err(invalid(OPTION_NAME, name)),
    };
    Ok(NetworkRecord {
        driver: "bridge".to_owned(),
        created_ns: now_ns(),
        internal: request.internal,
        attachable: request.attachable,
        enable_ipv6: request.enable_ipv6 || subnets.iter().any(|subnet| !subnet.subnet.is_ipv4()),
        subnets,
        talks_inside: flag(OPTION_ICC)?,
        masquerades: flag(OPTION_MASQUERADE)?,
        bridge,
        mtu,
        predefined: false,
        id,
        name: request.name,
        options: request.options,
        labels: request.labels,
    })
}

/// What the kernel takes, `dev_valid_name`.
fn is_link_name(name: &str) -> bool {
    (1..=names::MAX_INTERFACE_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > 255 || name.contains(|c: char| c.is_control() || c == '/') || name.trim() != name
    {
        let message = format!("invalid network name: {:?}", name.chars().take(64).collect::<String>());
        return Err(Error::docker(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

/// Subnets that the host routes somewhere; the default route overlaps everything and says nothing.
pub(crate) fn host_subnets(route: &Route) -> Result<Vec<Subnet>, Error> {
    let routes = route.routes()?.into_iter().filter_map(|route| route.destination);
    Ok(routes
        .filter(|prefix| prefix.length > 0)
        .filter_map(|prefix| Subnet::of(prefix.address, prefix.length))
        .collect())
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
