//! Endpoints of a running container: plugged in, taken out, renamed.

use errors::ErrorKind;
use network_core::netd;

use crate::endpoint_plan::take_endpoint;
use crate::error::Error;
use crate::events::EventAction;
use crate::messages;
use crate::plan::{self, MAX_ENDPOINTS};
use crate::plumbing;
use crate::ports::Refused;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::request::{Endpoint, EndpointRequest, Sandbox};
use crate::sandbox::datagram_targets;
use crate::service::{Inner, not_running};

impl Inner {
    pub(crate) fn connect(&self, container_id: &str, wanted: &EndpointRequest) -> Result<Sandbox, Error> {
        self.prepare()?;
        let facts = self.host_facts_for(1)?;
        let mut wanted = wanted.clone();
        let mut given = Vec::new();
        self.fill_addresses(&mut wanted, &mut given)?;
        let planned = self.with_endpoint(container_id, &wanted, &facts);
        let (before, mut after, network) = planned.inspect_err(|_| self.give_back_all(&given))?;
        let joined = self.join_remotes(&mut after, &facts, &Refused::new());
        let plugged = joined.and_then(|()| self.plug(&before, &mut after));
        if let Err(error) = plugged {
            {
                // Ports moved from endpoint to endpoint keep their numbers: nobody else has them meanwhile.
                let mut state = self.state();
                state.release_ports(&after);
                crate::ports::restore(&mut state.ports, &before.sandbox.ports);
                state.sandboxes.insert(container_id.to_owned(), before.clone());
            }
            // The first error counts; what could not be undone goes with the sandbox.
            let _ = self.unplug(&after, &before);
            let _ = self.program_again(before, &after);
            return Err(error);
        }
        self.publish(EventAction::Connect, &network, Some(container_id));
        Ok(after.sandbox)
    }

    /// The records without and with one more endpoint, which is in the state from here on, and its network.
    fn with_endpoint(
        &self,
        container_id: &str,
        wanted: &EndpointRequest,
        facts: &plan::HostFacts,
    ) -> Result<(SandboxRecord, SandboxRecord, NetworkRecord), Error> {
        let mut state = self.state();
        let Some(before) = state.sandboxes.get(container_id).cloned() else {
            return Err(not_running(container_id));
        };
        if before.sandbox.netns_path.is_none() {
            return Err(Error::docker(ErrorKind::InvalidArgument, messages::HOST_ENDPOINT));
        }
        if before.sandbox.endpoints.len() >= MAX_ENDPOINTS {
            let message = format!("at most {MAX_ENDPOINTS} networks");
            return Err(Error::docker(ErrorKind::InvalidArgument, message));
        }
        let id = facts.endpoint_ids.first().cloned().ok_or(Error::Random)?;
        let endpoint = take_endpoint(&mut state, &before.request, wanted, id, &before.sandbox.endpoints)?;
        let mut after = before.clone();
        after.sandbox.endpoints.push(endpoint.clone());
        if let Err(error) = plan::settle(&mut state, &mut after, facts, &Refused::new()) {
            state.release_endpoint(&endpoint);
            return Err(error);
        }
        state.sandboxes.insert(container_id.to_owned(), after.clone());
        let network = state.find(&endpoint.network_id)?.record.clone();
        Ok((before, after, network))
    }

    /// A plugin's endpoint that was the way out until a connect that failed is that again.
    fn program_again(&self, mut before: SandboxRecord, after: &SandboxRecord) -> Result<(), Error> {
        for endpoint in &mut before.sandbox.endpoints {
            let mut known = after.sandbox.endpoints.iter();
            if let Some(known) = known.find(|known| known.endpoint_id == endpoint.endpoint_id) {
                endpoint.remote.clone_from(&known.remote);
            }
        }
        self.program_remotes(&mut before)
    }

    fn plug(&self, before: &SandboxRecord, after: &mut SandboxRecord) -> Result<(), Error> {
        // Whoever finds the record after a crash looks for the link; a link without a record would stay.
        self.store_sandbox(&SandboxRecord { is_changing: true, ..after.clone() })?;
        let (Some(path), Some(endpoint)) = (&after.sandbox.netns_path, after.sandbox.endpoints.last()) else {
            return Err(not_running(&after.container_id));
        };
        let plugs = self.plugs(std::slice::from_ref(endpoint))?;
        plugs.iter().try_for_each(|plug| plumbing::plug(path, plug))?;
        self.change_over(before, after)?;
        self.program_remotes(after)?;
        self.store_sandbox(after)
    }

    /// After a crash in the middle of a change: endpoints that were going or are not wanted go, links that are not there are
    /// made, and plugins are told again of what they publish.
    pub(crate) fn repair(&self, container_id: &str, wanted: Option<&[String]>) -> Result<(), Error> {
        let Some(record) = self.state().sandboxes.get(container_id).cloned() else { return Ok(()) };
        let is_wanted = |endpoint: &Endpoint| {
            wanted.is_none_or(|wanted| {
                wanted
                    .iter()
                    .any(|term| *term == endpoint.network_name || endpoint.network_id.starts_with(term.as_str()))
            })
        };
        // A plugin that was being told of an endpoint: who asked for it never got an answer.
        let is_half = |endpoint: &Endpoint| endpoint.remote.as_ref().is_some_and(|remote| remote.link.is_empty());
        let was_going = |endpoint: &Endpoint| record.leaving.as_ref() == Some(&endpoint.endpoint_id);
        let stays = |endpoint: &&Endpoint| is_wanted(endpoint) && !is_half(endpoint) && !was_going(endpoint);
        for endpoint in record.sandbox.endpoints.iter().filter(|endpoint| !stays(endpoint)) {
            self.disconnect(container_id, &endpoint.network_id)?;
        }
        let Some(record) = self.state().sandboxes.get(container_id).cloned() else { return Ok(()) };
        let Some(path) = record.sandbox.netns_path.as_ref().filter(|_| record.is_changing) else { return Ok(()) };
        for plug in self.plugs(&record.sandbox.endpoints)? {
            if !plumbing::is_plugged(path, plug.endpoint)? {
                plumbing::plug(path, &plug)?;
            }
        }
        let gateways = self.state().gateways(&record.sandbox.endpoints);
        plumbing::set_default_routes(path, &record.sandbox.endpoints, gateways)?;
        let mut repaired = SandboxRecord { is_changing: false, ..record };
        self.program_remotes_anew(&mut repaired)?;
        self.store_sandbox(&repaired)?;
        self.state().sandboxes.insert(container_id.to_owned(), repaired);
        Ok(())
    }

    /// Routes, names, sockets and rules of a sandbox whose endpoints have changed.
    fn change_over(&self, before: &SandboxRecord, after: &SandboxRecord) -> Result<(), Error> {
        let (old, new) = {
            let state = self.state();
            (state.gateways(&before.sandbox.endpoints), state.gateways(&after.sandbox.endpoints))
        };
        let way_out = |record: &SandboxRecord, at: Option<usize>| {
            at.and_then(|at| record.sandbox.endpoints.get(at)).map(|endpoint| endpoint.endpoint_id.clone())
        };
        let is_same = way_out(before, old.ipv4) == way_out(after, new.ipv4)
            && way_out(before, old.ipv6) == way_out(after, new.ipv6);
        if let Some(path) = after.sandbox.netns_path.as_ref().filter(|_| !is_same) {
            plumbing::set_default_routes(path, &after.sandbox.endpoints, new)?;
        }
        if after.statement().is_some() {
            self.state_to_netd(after).map_err(|failure| failure.into_error(after))?;
        } else if before.statement().is_some() {
            let request = netd::Request::Remove { id: after.container_id.clone() };
            self.netd.say(&request, || self.statements())?;
        }
        let (had, has) = (before.items(), self.items_with_segments(after));
        let added: Vec<_> = has.iter().filter(|item| !had.contains(item)).cloned().collect();
        let removed: Vec<_> = had.iter().filter(|item| !has.contains(item)).cloned().collect();
        self.firewall.change(&added, &removed, || self.state().firewall_items())?;
        let still = datagram_targets(after);
        for address in datagram_targets(before).into_iter().filter(|address| !still.contains(address)) {
            netlink::forget_udp_flows(address)?;
        }
        Ok(())
    }

    pub(crate) fn disconnect(&self, container_id: &str, term: &str) -> Result<Sandbox, Error> {
        self.prepare()?;
        let facts = self.host_facts_for(0)?;
        let (before, mut after, network) = {
            let mut state = self.state();
            let network = state.find(term)?.record.clone();
            let before = state.sandboxes.get(container_id).cloned().ok_or_else(|| not_running(container_id))?;
            let after = without(&mut state, &before, &network, &facts)?;
            state.sandboxes.insert(container_id.to_owned(), after.clone());
            (before, after, network)
        };
        let mut gone = before.sandbox.endpoints.iter().filter(|endpoint| endpoint.network_id == network.id);
        let leaving = gone.next().map(|endpoint| endpoint.endpoint_id.clone());
        self.store_sandbox(&SandboxRecord { is_changing: true, leaving, ..before.clone() })?;
        self.unplug(&before, &after)?;
        self.program_remotes(&mut after)?;
        self.publish(EventAction::Disconnect, &network, Some(container_id));
        Ok(after.sandbox)
    }

    /// Makes `after` true, which lacks an endpoint of `before`: all steps, whatever fails; the first failure is told.
    /// The address is given back when nothing answers to it any more, and the record stored last: until then the next daemon
    /// takes the endpoint out.
    fn unplug(&self, before: &SandboxRecord, after: &SandboxRecord) -> Result<(), Error> {
        let stays = |id: &str| after.sandbox.endpoints.iter().any(|endpoint| endpoint.endpoint_id == id);
        let gone: Vec<_> = before.sandbox.endpoints.iter().filter(|endpoint| !stays(&endpoint.endpoint_id)).collect();
        let unplugged = match &before.sandbox.netns_path {
            Some(path) => gone.iter().try_for_each(|endpoint| plumbing::unplug(path, endpoint)),
            None => Ok(()),
        };
        gone.iter().for_each(|endpoint| self.leave_remote(endpoint));
        let changed = self.change_over(before, after);
        gone.iter().for_each(|endpoint| self.state().release_endpoint(endpoint));
        gone.iter().for_each(|endpoint| self.give_back_addresses(endpoint));
        unplugged.and(changed).and(self.store_sandbox(after))
    }

    /// A container that nobody knows any more but its network: `docker network disconnect -f`.
    pub(crate) fn forget_endpoint(&self, term: &str, container: &str) -> Result<(), Error> {
        let known = {
            let state = self.state();
            let view = state.view(state.find(term)?);
            view.containers.into_iter().find(|attached| {
                attached.container_name == container
                    || attached.container_id == container
                    || (container.len() >= 12 && attached.container_id.starts_with(container))
            })
        };
        match known {
            Some(attached) => self.disconnect(&attached.container_id, term).map(drop),
            None => Err(Error::docker(ErrorKind::NotFound, format!("endpoint {container} not found"))),
        }
    }

    pub(crate) fn rename(&self, container_id: &str, name: &str) -> Result<(), Error> {
        let record = {
            let mut state = self.state();
            let Some(record) = state.sandboxes.get_mut(container_id) else { return Ok(()) };
            let old = std::mem::replace(&mut record.name, name.to_owned());
            name.clone_into(&mut record.request.name);
            for endpoint in &mut record.sandbox.endpoints {
                endpoint.dns_names.iter_mut().filter(|known| **known == old).for_each(|known| name.clone_into(known));
            }
            record.clone()
        };
        self.store_sandbox(&record)?;
        self.state_to_netd(&record).map_err(|failure| failure.into_error(&record))
    }
}

/// The record without its endpoint in the network, settled.
fn without(
    state: &mut crate::state::State,
    before: &SandboxRecord,
    network: &NetworkRecord,
    facts: &plan::HostFacts,
) -> Result<SandboxRecord, Error> {
    let mut after = SandboxRecord { is_changing: false, leaving: None, ..before.clone() };
    after.sandbox.endpoints.retain(|endpoint| endpoint.network_id != network.id);
    if after.sandbox.endpoints.len() == before.sandbox.endpoints.len() {
        let message = messages::not_connected(&before.container_id, &network.name);
        return Err(Error::docker(ErrorKind::Internal, message));
    }
    plan::settle(state, &mut after, facts, &Refused::new())?;
    Ok(after)
}
