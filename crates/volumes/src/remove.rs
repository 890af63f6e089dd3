//! `docker volume rm`.

use std::sync::Arc;

use metadata::Durability;

use crate::error::Error;
use crate::record::{Record, Step};
use crate::service::Shared;
use crate::{create, messages};

/// What happens when a driver cannot remove a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insistence {
    /// It stays, and the driver's words are the answer.
    Ask,
    /// This daemon knows of it no longer.
    Forget,
}

pub(crate) async fn remove(
    shared: &Arc<Shared>,
    name: &str,
    insistence: Insistence,
    durability: Durability,
) -> Result<(), Error> {
    let gate = shared.index().gate(name);
    let _gate = gate.lock().await;
    let users = shared.index().users_of(name);
    let Some(record) = known(shared, name).await? else {
        return match insistence {
            Insistence::Forget => Ok(()),
            Insistence::Ask => Err(messages::no_such_volume("get", name)),
        };
    };
    if !users.is_empty() {
        return Err(messages::in_use(name, users));
    }
    carry_out(shared, name, &record, insistence, durability).await
}

/// The record; of a volume that only a plugin knows of, one is made.
async fn known(shared: &Arc<Shared>, name: &str) -> Result<Option<Arc<Record>>, Error> {
    if let Some(record) = shared.record(name) {
        return Ok(Some(record));
    }
    let Some(driver) = create::find_elsewhere(shared, name).await else { return Ok(None) };
    Ok(Some(Arc::new(Record { driver: driver.name().to_owned(), ..Record::default() })))
}

/// The intent first, so that a daemon that dies now goes on with it. The gate is the caller's.
pub(crate) async fn carry_out(
    shared: &Arc<Shared>,
    name: &str,
    record: &Record,
    insistence: Insistence,
    durability: Durability,
) -> Result<(), Error> {
    shared.store(name, Record { step: Step::Removing, ..record.clone() }, Durability::Lazy).await?;
    let removed = match shared.drivers.find(record.driver()).await {
        Ok(driver) => driver.remove(name).await,
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        if insistence == Insistence::Forget {
            tracing::warn!(volume = name, error = errors::chain(&error), "a volume is forgotten and not removed");
        } else {
            shared.store(name, Record { step: Step::Ready, ..record.clone() }, Durability::Lazy).await?;
            return Err(Error::operation("remove", name)(error));
        }
    }
    shared.forget(name, durability).await?;
    shared.publish("destroy", name, &[("driver", record.driver())]);
    Ok(())
}
