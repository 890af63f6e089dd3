//! Networks: listed, looked at, removed, pruned.

use errors::{ErrorKind, Kind};
use metadata::Durability;
use netlink::Route;

use crate::error::Error;
use crate::events::EventAction;
use crate::messages;
use crate::record::{NETWORKS, NetworkRecord};
use crate::request::NetworkView;
use crate::service::Inner;
use crate::state::{Network, State};

impl Inner {
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
        let removed = {
            let mut state = self.state();
            let record = removable(&state, state.find(term)?)?;
            state.networks.remove(&record.id)
        };
        removed
            .map_or_else(|| Err(Error::docker(ErrorKind::NotFound, messages::not_found(term))), |it| self.take_away(it))
    }

    /// Removes, of those that fit and that nobody uses, all. Answers their names.
    pub(crate) fn prune_networks(&self, fits: impl Fn(&NetworkRecord) -> bool) -> Result<Vec<String>, Error> {
        self.prepare()?;
        let unused: Vec<Network> = {
            let mut state = self.state();
            let candidates =
                state.networks.values().filter(|network| !network.record.config_only && fits(&network.record));
            let unused: Vec<NetworkRecord> = candidates.filter_map(|network| removable(&state, network).ok()).collect();
            unused.iter().filter_map(|record| state.networks.remove(&record.id)).collect()
        };
        let mut names = Vec::new();
        for network in unused {
            let name = network.record.name.clone();
            self.take_away(network)?;
            names.push(name);
        }
        self.publish_prune();
        Ok(names)
    }

    /// Networks that were being made by a plugin or removed when the daemon died: nobody was told that there is one.
    pub(crate) fn remove_unfinished(&self) {
        let unfinished: Vec<Network> = {
            let mut state = self.state();
            let ids: Vec<String> =
                state.networks.values().filter(|it| it.record.is_changing).map(|it| it.record.id.clone()).collect();
            ids.iter().filter_map(|id| state.networks.remove(id)).collect()
        };
        for network in unfinished {
            let name = network.record.name.clone();
            if let Err(error) = self.take_away(network) {
                tracing::warn!(network = name, error = errors::chain(&error), "a network cannot be removed whole");
            }
        }
    }

    /// From the packet filter, the kernel and the store, in this order: what a daemon did not live to remove, the next one
    /// does. It is out of the state already, so that nobody joins it. All steps, whatever fails; the first failure is told.
    fn take_away(&self, network: Network) -> Result<String, Error> {
        let items = network.items();
        let record = network.record;
        self.store_network(&NetworkRecord { is_changing: true, ..record.clone() })?;
        let mut removed = Ok(());
        if record.is_bridge() {
            removed = self.firewall.change(&[], &items, || self.state().firewall_items()).map_err(Error::from);
        }
        if record.has_endpoints() {
            let driver = self.driver(&record.driver)?;
            removed = removed.and(Route::open().map_err(Error::from).and_then(|route| driver.remove(&route, &record)));
        }
        if record.is_bridge() {
            removed = removed.and(self.apply_docker_chains());
        }
        self.release_pools(&record, &record.subnets);
        // A plugin that could not be asked is asked by the next daemon.
        if !removed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
            let id = record.id.clone();
            self.database.write_blocking(Durability::Synced, move |tx| NETWORKS.delete(tx, &id).map(drop))?;
        }
        removed?;
        self.publish(EventAction::Destroy, &record, None);
        Ok(record.id)
    }
}

/// The record of a network that may go.
fn removable(state: &State, network: &Network) -> Result<NetworkRecord, Error> {
    let record = &network.record;
    let forbidden = |message: String| Err(Error::docker(ErrorKind::PermissionDenied, message));
    if record.predefined {
        return forbidden(messages::remove_predefined(&record.name));
    }
    let is_made_from_it = |other: &Network| other.record.config_from == record.name;
    if record.config_only && state.networks.values().any(is_made_from_it) {
        return forbidden(format!("configuration network \"{}\" is in use", record.name));
    }
    let attached = state.view(network).containers;
    let active: Vec<(String, String)> =
        attached.into_iter().map(|attached| (attached.container_name, attached.endpoint.endpoint_id)).collect();
    if !active.is_empty() {
        return forbidden(messages::active_endpoints(&record.name, &active));
    }
    Ok(record.clone())
}
