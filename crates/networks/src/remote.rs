//! Networks that a plugin makes: Docker's remote driver protocol (`libnetwork/docs/remote.md`).
//!
//! The plugin makes the link; we move it into the sandbox, give it the addresses and set the routes that the plugin
//! names. Nothing of ours is asked for it by the packet filter: ports are published by the plugin, which is told of them
//! (`external.rs`). Calls are bounded in time by `plugin-client`, and made without a lock. What a plugin is told is in a
//! record before, so that the next daemon can take it back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use errors::{ErrorKind, Kind};
use netlink::{Batch, PeerPlace, Route};
use network_core::{Mac, Subnet};
use plugin_client::{PluginError, Plugins};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::driver::{Driver, Uplink};
use crate::endpoint_plan::is_link_name;
use crate::error::Error;
use crate::external;
use crate::messages;
use crate::plan::{self, HostFacts};
use crate::ports::Refused;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::request::{Address, Endpoint, RemoteLink, RemoteRoute, SandboxRequest};
use crate::service::Inner;

pub(crate) const NETWORK_DRIVER: &str = "NetworkDriver";
/// A plugin that is starting again is waited for so long when something is to be taken back.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);
/// Routes that a plugin may want in one sandbox.
const MAX_ROUTES: usize = 256;

/// Plugins by name.
pub(crate) struct Remote {
    pub plugins: Plugins,
}

/// Every answer may tell of a failure instead.
#[derive(Deserialize)]
struct Answer<T> {
    #[serde(rename = "Err", default)]
    error: String,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Capabilities {
    scope: String,
}

/// What a plugin may say of an endpoint that it was asked to make.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Made {
    interface: Option<Interface>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    address: String,
    #[serde(rename = "AddressIPv6")]
    address_ipv6: String,
    mac_address: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Joined {
    interface_name: Option<InterfaceName>,
    gateway: String,
    #[serde(rename = "GatewayIPv6")]
    gateway_ipv6: String,
    static_routes: Option<Vec<StaticRoute>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InterfaceName {
    src_name: String,
    dst_prefix: String,
    dst_name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct StaticRoute {
    destination: String,
    next_hop: String,
}

/// An answer without content.
#[derive(Deserialize, Default)]
pub(crate) struct Nothing {}

impl Remote {
    /// One call to a plugin of that kind. One that was there before is waited for.
    pub(crate) fn call<B: DeserializeOwned>(
        &self,
        name: &str,
        kind: &'static str,
        method: &str,
        argument: &impl Serialize,
    ) -> Result<B, Error> {
        let answer = call(&self.plugins, name, kind, method, argument).map_err(|error| refused(name, &error))?;
        read(answer, kind, method)
    }

    /// A call that a plugin need not know; none: it does not.
    pub(crate) fn call_if_known<B: DeserializeOwned>(
        &self,
        name: &str,
        method: &str,
        argument: &impl Serialize,
    ) -> Result<Option<B>, Error> {
        match call(&self.plugins, name, NETWORK_DRIVER, method, argument) {
            Err(PluginError::Unknown { .. }) => Ok(None),
            Err(error) => Err(refused(name, &error)),
            Ok(answer) => read(answer, NETWORK_DRIVER, method).map(Some),
        }
    }

    /// Something is taken back. What the plugin cannot do any more is told in the log: for us it is gone all the same.
    pub(crate) fn bid_goodbye(&self, name: &str, kind: &'static str, methods: &[&str], argument: &impl Serialize) {
        let plugins = Plugins { patience: GOODBYE_PATIENCE.min(self.plugins.patience), ..self.plugins.clone() };
        for method in methods {
            let done = match call::<Nothing>(&plugins, name, kind, method, argument) {
                Err(PluginError::Unknown { .. }) => continue,
                Err(error) => Err(refused(name, &error)),
                Ok(answer) => read(answer, kind, method),
            };
            if let Err(error) = done {
                tracing::warn!(plugin = name, error = errors::chain(&error), "a plugin keeps what it was to give back");
                if errors::Kind::kind(&error) == ErrorKind::Unavailable {
                    return;
                }
            }
        }
    }

    /// Before a network is made: whether there is such a plugin, and its networks are of one host.
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        self.plugins.find(name).map_err(|error| refused(name, &error))?;
        let found: Capabilities = self.call(name, NETWORK_DRIVER, "GetCapabilities", &json!({}))?;
        match found.scope.as_str() {
            "" | "local" => Ok(()),
            _ => Err(Error::docker(ErrorKind::PermissionDenied, messages::NO_SWARM)),
        }
    }
}

fn call<B: DeserializeOwned>(
    plugins: &Plugins,
    name: &str,
    kind: &'static str,
    method: &str,
    argument: &impl Serialize,
) -> Result<Answer<B>, PluginError> {
    let call = async {
        let plugin = plugins.wait_for(name).await?;
        plugin.activate(kind).await?;
        plugin.call::<_, Answer<B>>(&format!("{kind}.{method}"), argument).await
    };
    // Blocking work has threads of its own (`service.rs`): waiting here holds up nobody else.
    tokio::runtime::Handle::current().block_on(call)
}

fn read<B>(answer: Answer<B>, kind: &str, method: &str) -> Result<B, Error> {
    if answer.error.is_empty() {
        return Ok(answer.body);
    }
    let told: String = answer.error.chars().take(1024).collect();
    Err(Error::docker(ErrorKind::Internal, format!("{kind}.{method}: {told}")))
}

fn refused(name: &str, error: &PluginError) -> Error {
    match error {
        PluginError::NotFound(_) => Error::docker(ErrorKind::NotFound, messages::unknown_driver(name)),
        other => Error::docker(other.kind(), errors::chain(other)),
    }
}

impl Driver for Remote {
    /// The options are the plugin's business.
    fn configure(&self, _record: &mut NetworkRecord, _others: &[&NetworkRecord]) -> Result<(), Error> {
        Ok(())
    }

    fn adopt(&self, _route: &Route, record: &mut NetworkRecord) -> Result<(), Error> {
        let data = |is_ipv4: bool| -> Vec<Value> {
            let own = record.subnets.iter().filter(|subnet| subnet.subnet.is_ipv4() == is_ipv4);
            let of = |subnet: &crate::record::SubnetRecord| {
                let with_prefix = |address: &IpAddr| format!("{address}/{}", subnet.subnet.length());
                let auxiliary: BTreeMap<&String, String> =
                    subnet.auxiliary.iter().map(|(name, address)| (name, with_prefix(address))).collect();
                json!({
                    "AddressSpace": "LocalDefault",
                    "Pool": subnet.subnet.to_string(),
                    "Gateway": subnet.gateway.as_ref().map(with_prefix).unwrap_or_default(),
                    "AuxAddresses": auxiliary,
                })
            };
            if record.ipam.is_null() {
                return null_pools(record, is_ipv4);
            }
            own.map(of).collect()
        };
        let options = json!({
            "com.docker.network.generic": record.options,
            "com.docker.network.enable_ipv4": record.enable_ipv4,
            "com.docker.network.enable_ipv6": record.enable_ipv6,
            "com.docker.network.internal": record.internal,
        });
        let argument = json!({
            "NetworkID": record.id, "Options": options, "IPv4Data": data(true), "IPv6Data": data(false),
        });
        self.call::<Nothing>(&record.driver, NETWORK_DRIVER, "CreateNetwork", &argument).map(drop)
    }

    /// The link of an endpoint is the plugin's, and looked up by the name that it told.
    fn find(&self, _route: &Route, _record: &NetworkRecord, _segment: u16) -> Result<Option<Uplink>, Error> {
        Ok(Some(Uplink { index: 0 }))
    }

    fn ensure(&self, _route: &Route, _record: &NetworkRecord, _segment: u16) -> Result<Uplink, Error> {
        Ok(Uplink { index: 0 })
    }

    fn remove(&self, _route: &Route, record: &NetworkRecord) -> Result<(), Error> {
        let argument = json!({ "NetworkID": record.id });
        self.call::<Nothing>(&record.driver, NETWORK_DRIVER, "DeleteNetwork", &argument).map(drop)
    }

    fn link(
        &self,
        batch: &mut Batch,
        _record: &NetworkRecord,
        uplink: Uplink,
        endpoint: &Endpoint,
        namespace: BorrowedFd<'_>,
    ) {
        batch.move_link(uplink.index, &PeerPlace { namespace, name: &endpoint.link, mac: endpoint.mac.0 });
    }
}

/// Addresses that nobody manages, as Docker's null driver words them.
fn null_pools(record: &NetworkRecord, is_ipv4: bool) -> Vec<Value> {
    let is_enabled = if is_ipv4 { record.enable_ipv4 } else { record.enable_ipv6 };
    let pool = if is_ipv4 { "0.0.0.0/0" } else { "::/0" };
    let pool = json!({ "AddressSpace": "null", "Pool": pool, "Gateway": "", "AuxAddresses": {} });
    if is_enabled { vec![pool] } else { Vec::new() }
}

impl Inner {
    /// Tells plugins of the endpoints in their networks that they do not know yet, and takes over what they answer: which
    /// endpoint has the way out may be another one then, and ports go where it is. On an error those that were told are
    /// taken back.
    pub(crate) fn join_remotes(
        &self,
        record: &mut SandboxRecord,
        facts: &HostFacts,
        taken: &Refused,
    ) -> Result<(), Error> {
        let new = self.unknown_to_plugins(record);
        if new.is_empty() {
            return Ok(());
        }
        for (at, _) in &new {
            record.sandbox.endpoints[*at].remote = Some(RemoteLink::default());
        }
        let joined = self.join_all(record, &new, facts, taken);
        if joined.is_err() {
            for (at, _) in &new {
                self.leave_remote(&record.sandbox.endpoints[*at]);
                record.sandbox.endpoints[*at].remote = None;
            }
        }
        joined
    }

    /// Endpoints by place, with their networks.
    fn unknown_to_plugins(&self, record: &SandboxRecord) -> Vec<(usize, NetworkRecord)> {
        let state = self.state();
        let endpoints = record.sandbox.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.remote.is_none());
        let network = |(at, endpoint): (usize, &Endpoint)| {
            let network = state.networks.get(&endpoint.network_id)?.record.clone();
            network.is_remote().then_some((at, network))
        };
        endpoints.filter_map(network).collect()
    }

    fn join_all(
        &self,
        record: &mut SandboxRecord,
        new: &[(usize, NetworkRecord)],
        facts: &HostFacts,
        taken: &Refused,
    ) -> Result<(), Error> {
        self.store_sandbox(&SandboxRecord { is_changing: true, ..record.clone() })?;
        for (at, network) in new {
            self.join_remote(network, record, *at)?;
        }
        self.check_way_out(record)?;
        let mut state = self.state();
        plan::settle(&mut state, record, facts, taken)?;
        state.sandboxes.insert(record.container_id.clone(), record.clone());
        Ok(())
    }

    fn join_remote(&self, network: &NetworkRecord, record: &mut SandboxRecord, at: usize) -> Result<(), Error> {
        let others = record.sandbox.endpoints.iter().enumerate().filter(|(number, _)| *number != at);
        let others: Vec<String> = others.map(|(_, other)| other.link.clone()).collect();
        let ports = external::port_options(&record.request);
        let path = record.sandbox.netns_path.clone();
        let asked_for_mac = asks_for_mac(&record.request, network);
        let endpoint = &mut record.sandbox.endpoints[at];
        let with_prefix = |address: Option<Address>| {
            address.map(|address| format!("{}/{}", address.address, address.prefix)).unwrap_or_default()
        };
        let mut options = ports.clone();
        options.extend(endpoint.driver_options.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        let argument = json!({
            "NetworkID": network.id,
            "EndpointID": endpoint.endpoint_id,
            "Interface": {
                "Address": with_prefix(endpoint.ipv4),
                "AddressIPv6": with_prefix(endpoint.ipv6),
                "MacAddress": if asked_for_mac { endpoint.mac.to_string() } else { String::new() },
            },
            "Options": options,
        });
        let made: Made = self.remote.call(&network.driver, NETWORK_DRIVER, "CreateEndpoint", &argument)?;
        let answered_mac = take_over_interface(endpoint, made.interface.unwrap_or_default(), asked_for_mac)?;
        let argument = json!({
            "NetworkID": network.id,
            "EndpointID": endpoint.endpoint_id,
            "SandboxKey": path,
            "Options": ports,
        });
        let joined: Joined = self.remote.call(&network.driver, NETWORK_DRIVER, "Join", &argument)?;
        take_over(endpoint, joined, &others)?;
        if !asked_for_mac && !answered_mac {
            keep_mac_of_link(endpoint)?;
        }
        Ok(())
    }

    /// The plugin forgets the endpoint.
    pub(crate) fn leave_remote(&self, endpoint: &Endpoint) {
        let Some(remote) = &endpoint.remote else { return };
        let driver = self.state().networks.get(&endpoint.network_id).map(|network| network.record.driver.clone());
        let Some(driver) = driver else { return };
        let argument = json!({ "NetworkID": endpoint.network_id, "EndpointID": endpoint.endpoint_id });
        let methods = ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"];
        let methods = if remote.is_way_out { &methods[..] } else { &methods[1..] };
        self.remote.bid_goodbye(&driver, NETWORK_DRIVER, methods, &argument);
    }
}

fn asks_for_mac(request: &SandboxRequest, network: &NetworkRecord) -> bool {
    let crate::request::SandboxMode::Networks(wanted) = &request.mode else { return false };
    let is_its = |term: &str| term == network.name || (!term.is_empty() && network.id.starts_with(term));
    wanted.iter().any(|wanted| is_its(&wanted.network) && wanted.mac.is_some())
}

fn invalid(what: &str, text: &str) -> Error {
    let text: String = text.chars().take(64).collect();
    Error::docker(ErrorKind::Internal, format!("the plugin answered an invalid {what}: {text:?}"))
}

/// Addresses that the endpoint does not have yet are the plugin's to give, others it cannot change. Answers whether it gave
/// a hardware address.
fn take_over_interface(endpoint: &mut Endpoint, interface: Interface, asked_for_mac: bool) -> Result<bool, Error> {
    for (text, is_ipv4) in [(&interface.address, true), (&interface.address_ipv6, false)] {
        if text.is_empty() {
            continue;
        }
        let found = text.split_once('/').and_then(|(address, length)| {
            let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
            Subnet::of(address, prefix).filter(|_| address.is_ipv4() == is_ipv4)?;
            Some(Address { address, prefix, gateway: None })
        });
        let found = found.ok_or_else(|| invalid("address", text))?;
        let own = if is_ipv4 { &mut endpoint.ipv4 } else { &mut endpoint.ipv6 };
        match own {
            None => *own = Some(found),
            Some(own) if own.address == found.address => {}
            Some(_) => {
                let message = format!("driver modified interface address: {}", found.address);
                return Err(Error::docker(ErrorKind::Internal, message));
            }
        }
    }
    if interface.mac_address.is_empty() {
        return Ok(false);
    }
    let mac: Mac = interface.mac_address.parse().map_err(|_| invalid("MAC address", &interface.mac_address))?;
    if asked_for_mac && mac != endpoint.mac {
        return Err(Error::docker(ErrorKind::Internal, format!("driver modified interface MAC address: {mac}")));
    }
    endpoint.mac = mac;
    Ok(true)
}

/// Nobody asked for another hardware address than the plugin's link has.
fn keep_mac_of_link(endpoint: &mut Endpoint) -> Result<(), Error> {
    let name = endpoint.remote.as_ref().map(|remote| remote.link.as_str()).unwrap_or_default();
    if let Some(mac) = Route::open()?.link_by_name(name)?.and_then(|link| link.mac) {
        endpoint.mac = Mac(mac);
    }
    Ok(())
}

/// The answer is somebody else's: names and addresses are read, or the endpoint is refused.
fn take_over(endpoint: &mut Endpoint, joined: Joined, others: &[String]) -> Result<(), Error> {
    let gateway = |text: &str, is_ipv4: bool| match text {
        "" => Ok(None),
        text => match text.parse::<IpAddr>() {
            Ok(address) if address.is_ipv4() == is_ipv4 => Ok(Some(address)),
            _ => Err(invalid("gateway", text)),
        },
    };
    if let Some(address) = &mut endpoint.ipv4 {
        address.gateway = gateway(&joined.gateway, true)?;
    }
    if let Some(address) = &mut endpoint.ipv6 {
        address.gateway = gateway(&joined.gateway_ipv6, false)?;
    }
    let names = joined.interface_name.unwrap_or_default();
    if !is_link_name(&names.src_name) {
        return Err(invalid("link", &names.src_name));
    }
    if !names.dst_name.is_empty() || !names.dst_prefix.is_empty() {
        let mut candidates = (0..=others.len()).map(|number| format!("{}{number}", names.dst_prefix));
        let own = match names.dst_name.as_str() {
            "" => candidates.find(|name| !others.contains(name)).unwrap_or_default(),
            name => name.to_owned(),
        };
        if !is_link_name(&own) || own == "lo" || others.contains(&own) {
            return Err(invalid("link", &own));
        }
        endpoint.link = own;
    }
    let routes = joined.static_routes.unwrap_or_default();
    if routes.len() > MAX_ROUTES {
        return Err(invalid("number of routes", &routes.len().to_string()));
    }
    let route = |route: StaticRoute| {
        let to = route.destination.parse().map_err(|_| invalid("route", &route.destination))?;
        let next_hop = match route.next_hop.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| invalid("route", text))?),
        };
        Ok(RemoteRoute { to, next_hop })
    };
    let routes = routes.into_iter().map(route).collect::<Result<_, Error>>()?;
    endpoint.remote = Some(RemoteLink { link: names.src_name, routes, is_way_out: false });
    Ok(())
}
