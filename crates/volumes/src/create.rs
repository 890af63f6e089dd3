//! `docker volume create`, and containers that want a volume.

use std::sync::Arc;

use ids::ContainerId;
use metadata::Durability;
use volume::Driver;

use crate::error::Error;
use crate::record::{Record, Step};
use crate::request::{CreateVolume, Lifetime, VolumeView};
use crate::service::{Shared, now};
use crate::{ANONYMOUS, messages, view};

pub(crate) async fn create(
    shared: &Arc<Shared>,
    mut request: CreateVolume,
    user: Option<&str>,
    lifetime: Lifetime,
) -> Result<VolumeView, Error> {
    if request.name.is_empty() {
        request.name = new_name()?;
        request.labels.get_or_insert_default().insert(ANONYMOUS.to_owned(), String::new());
    }
    let gate = shared.index().gate(&request.name);
    let _gate = gate.lock().await;
    let made = match existing(shared, &request).await? {
        Some(driver) => driver,
        None => make(shared, &request, lifetime.durability()).await?,
    };
    if let Some(user) = user {
        shared.index().use_by(&request.name, user);
    }
    view::of(shared, &request.name, &*made).await
}

/// The driver that has the volume already; a conflict unless it is the wanted one.
async fn existing(shared: &Arc<Shared>, request: &CreateVolume) -> Result<Option<Arc<dyn Driver>>, Error> {
    let name = &request.name;
    let Some(record) = shared.record(name) else { return adopted(shared, request).await };
    if !request.driver.is_empty() {
        // A driver that is none is told before a conflict with it.
        shared.drivers.find(&request.driver).await.map_err(Error::operation("create", name))?;
    }
    let unchecked = |error| messages::unchecked(name, record.driver(), &errors::chain(&error));
    let driver = shared.drivers.find(record.driver()).await.map_err(unchecked)?;
    if driver.get(name).await.map_err(unchecked)?.is_some() {
        if !request.driver.is_empty() && request.driver != record.driver() {
            return Err(messages::other_driver(name, record.driver()));
        }
        if record.step != Step::Ready {
            shared.store(name, Record { step: Step::Ready, ..(*record).clone() }, Durability::Lazy).await?;
        }
        return Ok(Some(driver));
    }
    if record.is_local() {
        // Somebody deleted the folder: the volume is made again, as it was.
        driver.create(name, record.options()).await.map_err(Error::operation("create", name))?;
        return Ok(Some(driver));
    }
    if !shared.index().users_of(name).is_empty() {
        return Err(messages::lost(name, record.driver()));
    }
    shared.forget(name, Durability::Lazy).await?;
    Ok(None)
}

/// A volume of this name that some plugin has and nobody here knows of, for who does not say which driver is meant.
async fn adopted(shared: &Arc<Shared>, request: &CreateVolume) -> Result<Option<Arc<dyn Driver>>, Error> {
    if !request.driver.is_empty() {
        return Ok(None);
    }
    let Some(driver) = find_elsewhere(shared, &request.name).await else { return Ok(None) };
    let record = Record { created: now(), driver: driver.name().to_owned(), ..Record::default() };
    shared.store(&request.name, record, Durability::Synced).await?;
    Ok(Some(driver))
}

/// The first plugin that has a volume of this name.
pub(crate) async fn find_elsewhere(shared: &Shared, name: &str) -> Option<Arc<dyn Driver>> {
    for driver in shared.drivers.plugins().await {
        if matches!(driver.get(name).await, Ok(Some(_))) {
            return Some(driver);
        }
    }
    None
}

/// The intent first. What fails leaves nothing.
async fn make(shared: &Arc<Shared>, request: &CreateVolume, durability: Durability) -> Result<Arc<dyn Driver>, Error> {
    let name = &request.name;
    let driver = shared.drivers.find(&request.driver).await.map_err(Error::operation("create", name))?;
    let options = request.options.clone().unwrap_or_default();
    driver.check(name, &options).map_err(Error::operation("create", name))?;
    // A local volume is made from its record at any time; a plugin has to be asked what came of it.
    let step = if driver.name() == crate::LOCAL { Step::Ready } else { Step::Making };
    let record = Record {
        created: now(),
        driver: driver.name().to_owned(),
        labels: request.labels.clone(),
        options: request.options.clone(),
        step,
        anonymous: false,
    };
    shared.store(name, record.clone(), durability).await?;
    if let Err(error) = driver.create(name, &options).await {
        if let Err(second) = shared.forget(name, durability).await {
            tracing::warn!(volume = name, error = errors::chain(&second), "cannot forget a volume that was not made");
        }
        return Err(Error::operation("create", name)(error));
    }
    if step != Step::Ready {
        shared.store(name, Record { step: Step::Ready, ..record }, Durability::Lazy).await?;
    }
    shared.publish("create", name, &[("driver", driver.name())]);
    Ok(driver)
}

/// 32 random bytes in hexadecimal digits.
fn new_name() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(ContainerId::from_random(bytes).as_str().to_owned())
}
