//! `docker volume prune`: what nobody uses goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metadata::Durability;

use crate::error::Error;
use crate::remove::{self, Insistence};
use crate::request::{PruneRequest, Pruned};
use crate::service::Shared;
use crate::{ANONYMOUS, messages, view};

pub(crate) async fn prune(shared: &Arc<Shared>, request: &PruneRequest) -> Result<Pruned, Error> {
    if shared.pruning.swap(true, Ordering::AcqRel) {
        return Err(messages::prune_running());
    }
    let pruned = prune_all(shared, request).await;
    shared.pruning.store(false, Ordering::Release);
    let pruned = pruned?;
    shared.publish("prune", "", &[("reclaimed", &pruned.reclaimed.to_string())]);
    Ok(pruned)
}

/// As in Docker: volumes of plugins, and local ones with options, would give no space back, and stay.
async fn prune_all(shared: &Arc<Shared>, request: &PruneRequest) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    let listed: Vec<String> = {
        let index = shared.index();
        let unused = index.records.iter().filter(|(name, record)| {
            record.is_local()
                && record.options().is_empty()
                && index.users_of(name).is_empty()
                && is_wanted(record.labels.as_ref().unwrap_or(&BTreeMap::new()), request)
        });
        unused.map(|(name, _)| name.clone()).collect()
    };
    for name in listed {
        let mountpoint = shared.drivers.local.data_folder(&name).to_string_lossy().into_owned();
        let bytes = view::size_of(mountpoint).await.unwrap_or(0);
        match remove::remove(shared, &name, Insistence::Ask, Durability::Synced).await {
            Ok(()) => {
                pruned.names.push(name);
                pruned.reclaimed = pruned.reclaimed.saturating_add(bytes);
            }
            // Docker goes on with the others.
            Err(error) => tracing::warn!(volume = name, error = errors::chain(&error), "cannot prune a volume"),
        }
    }
    Ok(pruned)
}

fn is_wanted(labels: &BTreeMap<String, String>, request: &PruneRequest) -> bool {
    let has = |term: &String| match term.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
        None => labels.contains_key(term),
    };
    let stays = !request.labels_absent.is_empty() && request.labels_absent.iter().all(has);
    (request.named || labels.contains_key(ANONYMOUS)) && request.labels.iter().all(has) && !stays
}
