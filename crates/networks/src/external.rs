//! The way in from the world on a plugin's network: the plugin is told which ports to publish, as libnetwork tells it.
//!
//! The endpoints that have the default routes are a sandbox's way out, and its ports lead to them. Where such an endpoint is
//! a plugin's, the plugin publishes them: what it makes of that is its own, and `docker port` shows nothing of it, as with
//! Docker. A plugin need not know these calls.

use std::collections::BTreeSet;

use errors::ErrorKind;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::messages;
use crate::record::SandboxRecord;
use crate::remote::{NETWORK_DRIVER, Nothing};
use crate::request::{Endpoint, SandboxRequest};
use crate::service::Inner;

const EXPOSED_PORTS: &str = "com.docker.network.endpoint.exposedports";
const PORT_MAP: &str = "com.docker.network.portmap";

/// What plugins read of a sandbox's ports (`libnetwork/types`, `TransportPort` and `PortBinding`).
pub(crate) fn port_options(request: &SandboxRequest) -> Map<String, Value> {
    let published = request.publish.iter().map(|publish| (publish.protocol.number(), publish.container_port));
    let exposed = request.exposed.iter().map(|(port, protocol)| (protocol.number(), *port));
    let exposed: BTreeSet<(u8, u16)> = published.chain(exposed).collect();
    let exposed: Vec<Value> =
        exposed.into_iter().map(|(protocol, port)| json!({ "Proto": protocol, "Port": port })).collect();
    let binding = |publish: &network_core::Publish| {
        json!({
            "Proto": publish.protocol.number(),
            "IP": "",
            "Port": publish.container_port,
            "HostIP": publish.host_address.map(|address| address.to_string()).unwrap_or_default(),
            "HostPort": publish.host_ports.map_or(0, |range| range.first),
            "HostPortEnd": publish.host_ports.map_or(0, |range| range.last),
        })
    };
    let bindings: Vec<Value> = request.publish.iter().map(binding).collect();
    Map::from_iter([(EXPOSED_PORTS.to_owned(), exposed.into()), (PORT_MAP.to_owned(), bindings.into())])
}

impl Inner {
    /// Tells the plugins whose endpoints have become the way out, and those whose are no longer. The record is stored
    /// before a plugin is told anything.
    pub(crate) fn program_remotes(&self, record: &mut SandboxRecord) -> Result<(), Error> {
        let gateways = self.state().gateways(&record.sandbox.endpoints);
        let is_way_out = |at: usize| [gateways.ipv4, gateways.ipv6].contains(&Some(at));
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for (at, endpoint) in record.sandbox.endpoints.iter_mut().enumerate() {
            let Some(remote) = &mut endpoint.remote else { continue };
            match (remote.is_way_out, is_way_out(at)) {
                (true, false) => gone.push(endpoint.endpoint_id.clone()),
                (false, true) => {
                    remote.is_way_out = true;
                    come.push(endpoint.clone());
                }
                _ => {}
            }
        }
        if come.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.store_sandbox(&SandboxRecord { is_changing: true, ..record.clone() })?;
        for endpoint in record.sandbox.endpoints.iter_mut().filter(|own| gone.contains(&own.endpoint_id)) {
            self.revoke(endpoint);
        }
        for endpoint in &come {
            let argument = json!({
                "NetworkID": endpoint.network_id,
                "EndpointID": endpoint.endpoint_id,
                "Options": port_options(&record.request),
            });
            let driver = self.state().find(&endpoint.network_id)?.record.driver.clone();
            let told = self.remote.call_if_known::<Nothing>(&driver, "ProgramExternalConnectivity", &argument);
            told.map_err(|error| {
                let clause = errors::chain(&error);
                let message = messages::external_connectivity(&record.name, &endpoint.endpoint_id, &clause);
                Error::docker(ErrorKind::Internal, message)
            })?;
        }
        self.state().sandboxes.insert(record.container_id.clone(), record.clone());
        self.store_sandbox(record)
    }

    /// After a crash: whether the plugins of a way out were told of it is not known.
    pub(crate) fn program_remotes_anew(&self, record: &mut SandboxRecord) -> Result<(), Error> {
        record.sandbox.endpoints.iter_mut().for_each(|endpoint| self.revoke(endpoint));
        self.program_remotes(record)
    }

    /// The plugin of an endpoint that is the way out publishes its ports no longer.
    fn revoke(&self, endpoint: &mut Endpoint) {
        let Some(remote) = endpoint.remote.as_mut().filter(|remote| remote.is_way_out) else { return };
        remote.is_way_out = false;
        let found = self.state().find(&endpoint.network_id).map(|found| found.record.driver.clone());
        let Ok(driver) = found else { return };
        let argument = json!({ "NetworkID": endpoint.network_id, "EndpointID": endpoint.endpoint_id });
        self.remote.bid_goodbye(&driver, NETWORK_DRIVER, &["RevokeExternalConnectivity"], &argument);
    }

    /// Ports on a plugin's network that has no way out would be published by nobody: that is told, not passed over.
    pub(crate) fn check_way_out(&self, record: &SandboxRecord) -> Result<(), Error> {
        let state = self.state();
        let gateways = state.gateways(&record.sandbox.endpoints);
        if record.request.publish.is_empty() || gateways.ipv4.or(gateways.ipv6).is_some() {
            return Ok(());
        }
        let is_closed = |id: &str| state.networks.get(id).is_none_or(|network| network.record.internal);
        let mut remote = record.sandbox.endpoints.iter().filter(|endpoint| endpoint.remote.is_some());
        let Some(endpoint) = remote.find(|endpoint| !is_closed(&endpoint.network_id)) else { return Ok(()) };
        let clause =
            format!("network {} has no gateway, so that nothing can be published on it", endpoint.network_name);
        let message = messages::external_connectivity(&record.name, &endpoint.endpoint_id, &clause);
        Err(Error::docker(ErrorKind::InvalidArgument, message))
    }
}

#[cfg(test)]
mod tests {
    use network_core::{PortRange, Protocol, Publish};

    use super::*;

    #[test]
    fn ports_are_told_in_libnetworks_words() {
        let publish = Publish {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_address: Some([127, 0, 0, 1].into()),
            host_ports: Some(PortRange { first: 8080, last: 8090 }),
        };
        let request = SandboxRequest {
            publish: vec![publish],
            exposed: vec![(80, Protocol::Tcp), (53, Protocol::Udp)],
            ..SandboxRequest::default()
        };
        let expected = json!({
            EXPOSED_PORTS: [{ "Proto": 6, "Port": 80 }, { "Proto": 17, "Port": 53 }],
            PORT_MAP: [{ "Proto": 6, "IP": "", "Port": 80, "HostIP": "127.0.0.1", "HostPort": 8080, "HostPortEnd": 8090 }],
        });
        assert_eq!(Value::Object(port_options(&request)), expected);
    }
}
