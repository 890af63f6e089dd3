//! Volumes in use: mounted for containers, and gone with the last of them where nobody gave a name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use errors::{ErrorKind, Kind};
use volume::VolumeError;

use crate::error::Error;
use crate::messages;
use crate::remove::{self, Insistence};
use crate::request::{Lifetime, LiveMount};
use crate::service::Shared;

pub(crate) async fn mount(shared: &Arc<Shared>, name: &str, id: &str) -> Result<PathBuf, Error> {
    let gate = shared.index().gate(name);
    let _gate = gate.lock().await;
    let Some(record) = shared.record(name) else { return Err(messages::no_such_volume("get", name)) };
    let driver = shared.drivers.find(record.driver()).await?;
    if record.is_local() {
        // Deleted by hand: a plain folder is made again.
        driver.create(name, record.options()).await?;
    }
    Ok(driver.mount(name, record.options(), id).await?)
}

pub(crate) async fn unmount(shared: &Arc<Shared>, name: &str, id: &str) -> Result<(), Error> {
    let gate = shared.index().gate(name);
    let _gate = gate.lock().await;
    let Some(record) = shared.record(name) else { return Ok(()) };
    Ok(shared.drivers.find(record.driver()).await?.unmount(name, id).await?)
}

/// What others use by now, and what is gone already, is no error.
pub(crate) async fn dispose(shared: &Arc<Shared>, name: &str, lifetime: Lifetime) -> Result<(), Error> {
    match remove::remove(shared, name, Insistence::Ask, lifetime.durability()).await {
        Err(Error::Refused { kind: ErrorKind::Conflict | ErrorKind::NotFound, .. }) => Ok(()),
        result => result,
    }
}

/// What cannot be restored is told in the log: the containers run, whatever this daemon makes of it.
pub(crate) async fn restore(shared: &Arc<Shared>, live: &[LiveMount]) {
    let mut ids: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for mount in live {
        ids.entry(&mount.volume).or_default().push(mount.id.clone());
    }
    let records: Vec<_> = {
        let index = shared.index();
        index.records.iter().map(|(name, record)| (name.clone(), Arc::clone(record))).collect()
    };
    for (name, record) in records {
        let ids = ids.remove(name.as_str()).unwrap_or_default();
        // A plugin that nobody has mounted anything of is left alone: it may come up later than this daemon.
        if ids.is_empty() && (!record.is_local() || record.options().is_empty()) {
            continue;
        }
        let restored = async {
            let driver = shared.drivers.find(record.driver()).await?;
            driver.restore(&name, record.options(), &ids).await
        };
        if let Err(error) = restored.await {
            warn(&name, &error);
        }
    }
}

fn warn(name: &str, error: &VolumeError) {
    tracing::warn!(volume = name, kind = %error.kind(), error = errors::chain(error), "cannot restore a volume's mounts");
}
