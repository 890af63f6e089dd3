//! What is told of volumes: one, all, and their sizes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metadata::Durability;
use tokio::task::JoinSet;
use volume::{Driver, Found, Scope, VolumeError};

use crate::error::Error;
use crate::record::{Record, Step};
use crate::request::{Listed, Usage, VolumeView};
use crate::service::Shared;
use crate::{create, messages};

/// A volume that is known to be there.
pub(crate) async fn of(shared: &Shared, name: &str, driver: &dyn Driver) -> Result<VolumeView, Error> {
    let record = shared.record(name).unwrap_or_default();
    let found = driver.get(name).await.map_err(Error::operation("get", name))?.unwrap_or_default();
    Ok(view(shared, name, &record, found, driver.scope().await))
}

pub(crate) async fn inspect(shared: &Arc<Shared>, name: &str) -> Result<VolumeView, Error> {
    let gate = shared.index().gate(name);
    let _gate = gate.lock().await;
    let Some(record) = shared.record(name) else {
        let elsewhere = create::find_elsewhere(shared, name).await;
        let driver = elsewhere.ok_or_else(|| messages::no_such_volume("get", name))?;
        let found = driver.get(name).await.map_err(Error::operation("get", name))?.unwrap_or_default();
        let record = Record { driver: driver.name().to_owned(), ..Record::default() };
        return Ok(view(shared, name, &record, found, driver.scope().await));
    };
    let driver = shared.drivers.find(record.driver()).await.map_err(Error::operation("get", name))?;
    let found = driver.get(name).await.map_err(Error::operation("get", name))?;
    match found {
        Some(found) => Ok(view(shared, name, &record, found, driver.scope().await)),
        None if record.is_local() => {
            // Its folder was deleted by hand; it is made again when somebody wants to use it.
            let mountpoint = shared.drivers.local.data_folder(name).to_string_lossy().into_owned();
            Ok(view(shared, name, &record, Found { mountpoint, ..Found::default() }, Scope::Local))
        }
        None => {
            // The plugin has it no longer; who uses it keeps the record, so that the name is not taken meanwhile.
            if shared.index().users_of(name).is_empty() {
                shared.forget(name, Durability::Lazy).await?;
            }
            Err(messages::no_such_volume("get", name))
        }
    }
}

fn view(shared: &Shared, name: &str, record: &Record, found: Found, scope: Scope) -> VolumeView {
    VolumeView {
        name: name.to_owned(),
        driver: record.driver().to_owned(),
        mountpoint: found.mountpoint,
        created_ns: record.created,
        labels: record.labels.clone(),
        options: record.options.clone(),
        scope: scope.as_str(),
        status: found.status,
        users: shared.index().users.get(name).map_or(0, |users| users.len()),
    }
}

/// Local volumes from their records; those of plugins as the plugins tell of them, or from records where one is silent.
pub(crate) async fn list(shared: &Arc<Shared>) -> Result<Listed, Error> {
    let mut listed = Listed { volumes: local(shared), warnings: Vec::new() };
    let mut told = JoinSet::new();
    for driver in shared.drivers.plugins().await {
        told.spawn(async move {
            let volumes = driver.list().await;
            let scope = if volumes.is_ok() { driver.scope().await } else { Scope::Local };
            (driver.name().to_owned(), volumes, scope)
        });
    }
    let mut answered = HashSet::new();
    while let Some(joined) = told.join_next().await {
        // A task that panicked has been printed.
        let Ok((driver, volumes, scope)) = joined else { continue };
        match volumes {
            Ok(volumes) => {
                listed.volumes.extend(of_plugin(shared, &driver, volumes, scope));
                answered.insert(driver);
            }
            Err(error) => listed.warnings.push(silent(&driver, &error)),
        }
    }
    let unanswered = recorded(shared, |record| !record.is_local() && !answered.contains(record.driver()));
    listed.volumes.extend(
        unanswered.into_iter().map(|(name, record)| view(shared, &name, &record, Found::default(), Scope::Local)),
    );
    listed.volumes.sort_by(|one, other| one.name.cmp(&other.name));
    listed.warnings.sort();
    Ok(listed)
}

fn silent(driver: &str, error: &VolumeError) -> String {
    format!("list {driver}: {}", errors::chain(error))
}

fn recorded(shared: &Shared, wanted: impl Fn(&Record) -> bool) -> Vec<(String, Arc<Record>)> {
    let index = shared.index();
    let records = index.records.iter().filter(|(_, record)| wanted(record) && record.step != Step::Removing);
    records.map(|(name, record)| (name.clone(), Arc::clone(record))).collect()
}

fn local(shared: &Shared) -> Vec<VolumeView> {
    let records = recorded(shared, Record::is_local).into_iter();
    let mountpoint = |name: &str| shared.drivers.local.data_folder(name).to_string_lossy().into_owned();
    records
        .map(|(name, record)| {
            let found = Found { mountpoint: mountpoint(&name), ..Found::default() };
            view(shared, &name, &record, found, Scope::Local)
        })
        .collect()
}

/// A name that another driver has here is not shown a second time.
fn of_plugin(shared: &Shared, driver: &str, volumes: Vec<Found>, scope: Scope) -> Vec<VolumeView> {
    let mut views = Vec::new();
    for found in volumes {
        let name = found.name.clone();
        let record = match shared.record(&name) {
            Some(record) if record.driver() != driver => continue,
            Some(record) => record,
            None => Arc::new(Record { driver: driver.to_owned(), ..Record::default() }),
        };
        views.push(view(shared, &name, &record, found, scope));
    }
    views
}

/// As in Docker: volumes that are mounts of something else take nothing of this disk.
pub(crate) async fn usage(shared: &Arc<Shared>) -> Result<Vec<Usage>, Error> {
    let volumes: Vec<VolumeView> =
        local(shared).into_iter().filter(|volume| volume.options.as_ref().is_none_or(BTreeMap::is_empty)).collect();
    let mut usage = Vec::with_capacity(volumes.len());
    for volume in volumes {
        let bytes = size_of(volume.mountpoint.clone()).await;
        usage.push(Usage { volume, bytes });
    }
    Ok(usage)
}

/// `None`, and a line in the log, when it cannot be told.
pub(crate) async fn size_of(mountpoint: String) -> Option<u64> {
    let measured = tokio::task::spawn_blocking(move || {
        volume::size_of(std::path::Path::new(&mountpoint))
            .inspect_err(|error| tracing::warn!(mountpoint, %error, "cannot measure a volume"))
    });
    measured.await.ok()?.ok()
}
