//! Networks that a plugin makes: Docker's remote driver protocol (`libnetwork/docs/remote.md`).
//!
//! The plugin makes the link; we move it into the sandbox, give it the addresses and set the routes that the plugin
//! names. Nothing of ours is asked for it by the packet filter. Calls are bounded in time by `plugin-client`, and made
//! without a lock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use errors::{ErrorKind, Kind};
use netlink::{Batch, PeerPlace, Route};
use plugin_client::{PluginError, Plugins};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::driver::{Driver, Uplink};
use crate::endpoint_plan::is_link_name;
use crate::error::Error;
use crate::messages;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::request::{Endpoint, RemoteLink, RemoteRoute};
use crate::service::Inner;

const NETWORK_DRIVER: &str = "NetworkDriver";
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
struct Nothing {}

impl Remote {
    /// One call to a plugin of that kind.
    pub(crate) fn call<B: DeserializeOwned>(
        &self,
        name: &str,
        kind: &'static str,
        method: &str,
        argument: &impl Serialize,
    ) -> Result<B, Error> {
        let call = async {
            let plugin = self.plugins.find(name)?;
            plugin.activate(kind).await?;
            plugin.call::<_, Answer<B>>(&format!("{kind}.{method}"), argument).await
        };
        // Blocking work has threads of its own (`service.rs`): waiting here holds up nobody else.
        let answer = tokio::runtime::Handle::current().block_on(call).map_err(|error| refused(name, &error))?;
        if answer.error.is_empty() {
            return Ok(answer.body);
        }
        let told: String = answer.error.chars().take(1024).collect();
        Err(Error::docker(ErrorKind::Internal, format!("{kind}.{method}: {told}")))
    }

    /// Before a network is made: whether there is such a plugin, and its networks are of one host.
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        let found: Capabilities = self.call(name, NETWORK_DRIVER, "GetCapabilities", &json!({}))?;
        match found.scope.as_str() {
            "" | "local" => Ok(()),
            _ => Err(Error::docker(ErrorKind::PermissionDenied, messages::NO_SWARM)),
        }
    }
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

impl Inner {
    /// Tells plugins of the endpoints in their networks that they do not know yet, and takes over what they answer. On an
    /// error those that were told are taken back.
    pub(crate) fn join_remotes(&self, record: &mut SandboxRecord) -> Result<(), Error> {
        let mut joined: Vec<Endpoint> = Vec::new();
        for at in 0..record.sandbox.endpoints.len() {
            let network = {
                let state = self.state();
                let known = state.networks.get(&record.sandbox.endpoints[at].network_id);
                known.map(|network| network.record.clone()).filter(NetworkRecord::is_remote)
            };
            let Some(network) = network.filter(|_| record.sandbox.endpoints[at].remote.is_none()) else { continue };
            let mut endpoint = record.sandbox.endpoints[at].clone();
            let others: Vec<String> = record
                .sandbox
                .endpoints
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != at)
                .map(|(_, o)| o.link.clone())
                .collect();
            let told = self.join_remote(&network, &mut endpoint, &others, record.sandbox.netns_path.as_deref());
            joined.push(endpoint.clone());
            if let Err(error) = told {
                joined.iter().for_each(|endpoint| self.leave_remote(endpoint));
                return Err(error);
            }
            record.sandbox.endpoints[at] = endpoint;
        }
        if !joined.is_empty() {
            self.state().sandboxes.insert(record.container_id.clone(), record.clone());
        }
        Ok(())
    }

    fn join_remote(
        &self,
        network: &NetworkRecord,
        endpoint: &mut Endpoint,
        others: &[String],
        path: Option<&std::path::Path>,
    ) -> Result<(), Error> {
        let with_prefix = |address: Option<crate::request::Address>| {
            address.map(|address| format!("{}/{}", address.address, address.prefix)).unwrap_or_default()
        };
        // From here on it is to be taken back.
        endpoint.remote = Some(RemoteLink::default());
        let argument = json!({
            "NetworkID": network.id,
            "EndpointID": endpoint.endpoint_id,
            "Interface": {
                "Address": with_prefix(endpoint.ipv4),
                "AddressIPv6": with_prefix(endpoint.ipv6),
                "MacAddress": endpoint.mac.to_string(),
            },
            "Options": endpoint.driver_options,
        });
        self.remote.call::<Nothing>(&network.driver, NETWORK_DRIVER, "CreateEndpoint", &argument)?;
        let argument = json!({
            "NetworkID": network.id,
            "EndpointID": endpoint.endpoint_id,
            "SandboxKey": path,
            "Options": {},
        });
        let joined: Joined = self.remote.call(&network.driver, NETWORK_DRIVER, "Join", &argument)?;
        take_over(endpoint, joined, others)
    }

    /// The plugin forgets the endpoint. What it cannot do any more is told in the log: the endpoint goes all the same.
    pub(crate) fn leave_remote(&self, endpoint: &Endpoint) {
        if endpoint.remote.is_none() {
            return;
        }
        let driver = self.state().networks.get(&endpoint.network_id).map(|network| network.record.driver.clone());
        let Some(driver) = driver else { return };
        let argument = json!({ "NetworkID": endpoint.network_id, "EndpointID": endpoint.endpoint_id });
        for method in ["Leave", "DeleteEndpoint"] {
            if let Err(error) = self.remote.call::<Nothing>(&driver, NETWORK_DRIVER, method, &argument) {
                tracing::warn!(plugin = driver, error = errors::chain(&error), "a plugin keeps an endpoint");
            }
        }
    }
}

/// The answer is somebody else's: names and addresses are read, or the endpoint is refused.
fn take_over(endpoint: &mut Endpoint, joined: Joined, others: &[String]) -> Result<(), Error> {
    let invalid = |what: &str, text: &str| {
        let text: String = text.chars().take(64).collect();
        Error::docker(ErrorKind::Internal, format!("the plugin answered an invalid {what}: {text:?}"))
    };
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
    endpoint.remote = Some(RemoteLink { link: names.src_name, routes });
    Ok(())
}
