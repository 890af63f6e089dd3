//! Endpoints of a running container: plugged in, taken out, renamed.

use errors::ErrorKind;
use netlink::Route;
use network_core::netd::Upstream;
use network_core::resolv_conf::{self, Overrides, ResolvConf};

use crate::bridge;
use crate::error::Error;
use crate::events::EventAction;
use crate::messages;
use crate::plan;
use crate::plumbing::{self, Port};
use crate::record::SandboxRecord;
use crate::request::{EndpointRequest, Sandbox, SandboxRequest};
use crate::service::{Inner, new_id, not_running};

impl Inner {
    pub(crate) fn connect(&self, container_id: &str, wanted: &EndpointRequest) -> Result<Sandbox, Error> {
        self.prepare()?;
        let endpoint_id = new_id()?;
        let host_servers = std::fs::read_to_string(&self.config.host_resolv_conf).unwrap_or_default();
        let (record, network, takes_default) = {
            let mut state = self.state();
            let Some(mut record) = state.sandboxes.get(container_id).cloned() else {
                return Err(not_running(container_id));
            };
            if record.sandbox.netns_path.is_none() || record.sandbox.endpoints.is_empty() {
                return Err(Error::docker(ErrorKind::InvalidArgument, messages::HOST_ENDPOINT));
            }
            let request = SandboxRequest {
                container_id: container_id.to_owned(),
                name: record.name.clone(),
                ..SandboxRequest::default()
            };
            let number = (0..).find(|number| {
                !record.sandbox.endpoints.iter().any(|endpoint| endpoint.link == format!("eth{number}"))
            });
            let others = record.sandbox.endpoints.clone();
            let endpoint =
                plan::take_endpoint(&mut state, &request, wanted, number.unwrap_or_default(), endpoint_id, &others)?;
            let network = state.find(&endpoint.network_id)?.record.clone();
            let takes_default = !others.iter().any(|other| other.ipv4.is_some_and(|address| address.gateway.is_some()));
            if !endpoint.dns_names.is_empty() && others.iter().all(|other| other.dns_names.is_empty()) {
                let host = ResolvConf::parse(&host_servers);
                record.sandbox.resolv_conf = resolv_conf::for_user_network(&host, &Overrides::default()).file;
            }
            if record.upstream == Upstream::Nobody && !network.internal {
                record.upstream = Upstream::Host;
            }
            record.sandbox.endpoints.push(endpoint);
            state.sandboxes.insert(container_id.to_owned(), record.clone());
            (record, network, takes_default)
        };
        let made = self.plug(&record, &network, takes_default);
        if let Err(error) = made {
            let network_id = network.id.clone();
            // The first error counts.
            let _ = self.drop_endpoint(record, &network_id);
            return Err(error);
        }
        self.publish(EventAction::Connect, &network, Some(container_id));
        Ok(record.sandbox)
    }

    fn plug(
        &self,
        record: &SandboxRecord,
        network: &crate::record::NetworkRecord,
        takes_default: bool,
    ) -> Result<(), Error> {
        self.store_sandbox(record)?;
        let index = bridge::ensure(&Route::open()?, network)?;
        let (Some(path), Some(endpoint)) = (&record.sandbox.netns_path, record.sandbox.endpoints.last()) else {
            return Err(not_running(&record.container_id));
        };
        plumbing::plug(path, endpoint, Port::of(network, index), takes_default)?;
        self.state_to_netd(record).map_err(|failure| failure.into_error(record))
    }

    pub(crate) fn disconnect(&self, container_id: &str, term: &str) -> Result<Sandbox, Error> {
        let (record, network) = {
            let state = self.state();
            let network = state.find(term)?.record.clone();
            let record = state.sandboxes.get(container_id).cloned().ok_or_else(|| not_running(container_id))?;
            if !record.sandbox.endpoints.iter().any(|endpoint| endpoint.network_id == network.id) {
                let message = messages::not_connected(container_id, &network.name);
                return Err(Error::docker(ErrorKind::PermissionDenied, message));
            }
            (record, network)
        };
        let sandbox = self.drop_endpoint(record, &network.id)?;
        self.publish(EventAction::Disconnect, &network, Some(container_id));
        Ok(sandbox)
    }

    /// Takes the endpoint out of the namespace, of docker-netd's names and, last, of the network's addresses.
    fn drop_endpoint(&self, mut record: SandboxRecord, network_id: &str) -> Result<Sandbox, Error> {
        let Some(at) = record.sandbox.endpoints.iter().position(|endpoint| endpoint.network_id == network_id) else {
            return Ok(record.sandbox);
        };
        let endpoint = record.sandbox.endpoints.remove(at);
        let unplugged = plumbing::unplug(&endpoint);
        self.state().sandboxes.insert(record.container_id.clone(), record.clone());
        let stored = self.store_sandbox(&record);
        let told = match record.statement() {
            Some(_) => self.state_to_netd(&record).map_err(|failure| failure.into_error(&record)),
            None => {
                let request = network_core::netd::Request::Remove { id: record.container_id.clone() };
                self.netd.say(&request, || self.statements()).map(drop)
            }
        };
        self.state().release_endpoint(&endpoint);
        unplugged.and(stored).and(told)?;
        Ok(record.sandbox)
    }

    pub(crate) fn rename(&self, container_id: &str, name: &str) -> Result<(), Error> {
        let record = {
            let mut state = self.state();
            let Some(record) = state.sandboxes.get_mut(container_id) else { return Ok(()) };
            let old = std::mem::replace(&mut record.name, name.to_owned());
            for endpoint in &mut record.sandbox.endpoints {
                endpoint.dns_names.iter_mut().filter(|known| **known == old).for_each(|known| name.clone_into(known));
            }
            record.clone()
        };
        self.store_sandbox(&record)?;
        self.state_to_netd(&record).map_err(|failure| failure.into_error(&record))
    }
}
