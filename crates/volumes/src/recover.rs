//! The start of the daemon: records on one side, folders on the other.

use std::sync::Arc;

use metadata::Durability;
use volume::Driver;

use crate::error::Error;
use crate::record::{Record, Step, VOLUMES};
use crate::remove::{self, Insistence};
use crate::service::{Shared, now};

pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<(), Error> {
    let records = shared.database.view(|tx| VOLUMES.list(tx, ""))?;
    shared.index().records =
        records.into_iter().map(|(name, record): (_, Record)| (name, Arc::new(record.brought_up()))).collect();
    let local: Vec<(String, Arc<Record>)> = {
        let index = shared.index();
        let local = index.records.iter().filter(|(_, record)| record.is_local());
        local.map(|(name, record)| (name.clone(), Arc::clone(record))).collect()
    };
    for (name, record) in local {
        if let Err(error) = finish(shared, &name, &record).await {
            // One broken volume keeps no daemon from coming up; who uses it is told.
            tracing::warn!(volume = name, error = errors::chain(&error), "a volume is not as it should be");
        }
    }
    take_in(shared).await
}

/// A removal goes on; a volume without its folder gets one.
async fn finish(shared: &Arc<Shared>, name: &str, record: &Record) -> Result<(), Error> {
    if record.step == Step::Removing {
        return remove::carry_out(shared, name, record, Insistence::Ask, Durability::Lazy).await;
    }
    Ok(shared.drivers.local.create(name, record.options()).await?)
}

/// Folders that no record tells of were made by Docker, or before a record was lost with the power.
async fn take_in(shared: &Arc<Shared>) -> Result<(), Error> {
    for (name, options) in shared.drivers.local.on_disk()? {
        if shared.record(&name).is_none() {
            tracing::info!(volume = name, "a volume was found on the disk");
            let options = Some(options).filter(|options| !options.is_empty());
            let record = Record { created: now(), driver: crate::LOCAL.to_owned(), options, ..Record::default() };
            shared.store(&name, record, Durability::Lazy).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use metadata::Database;
    use plugin_client::Plugins;

    use crate::request::Event;
    use crate::{Config, Volumes};

    use super::*;

    /// What a daemon leaves that was killed between a record and a folder.
    #[tokio::test]
    async fn what_was_half_made_or_half_removed_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("volumes");
        std::fs::create_dir_all(root.join("going/_data")).unwrap();
        std::fs::write(root.join("going/_data/file"), "x").unwrap();
        let database = Database::open(&folder.path().join("db"), &metadata::Options::default()).unwrap();
        let record = |step| Record { created: 7, step, ..Record::default() };
        let records = [("coming", Step::Ready), ("going", Step::Removing), ("gone", Step::Removing)];
        let put = move |tx: &mut metadata::WriteTx<'_>| {
            records.iter().try_for_each(|(name, step)| VOLUMES.put(tx, name, &record(*step)))
        };
        database.write::<_, metadata::Error, _>(Durability::Synced, put).await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let events = Arc::new(move |event: Event| sink.lock().unwrap().push((event.action, event.volume)));
        let plugins = Plugins { sockets: folder.path().into(), specs: Vec::new(), ..Plugins::default() };
        let config = Config { root: root.clone(), owner: (0, 0), plugins };
        let volumes = Volumes::open(config, database.clone(), events).await.unwrap();
        let names: Vec<String> = volumes.list().await.unwrap().volumes.into_iter().map(|view| view.name).collect();
        assert_eq!(names, ["coming"]);
        assert!(root.join("coming/_data").is_dir() && !root.join("going").exists());
        assert_eq!(*told.lock().unwrap(), [("destroy", "going".to_owned()), ("destroy", "gone".to_owned())]);
        assert_eq!(database.view(|tx| VOLUMES.keys(tx, "")).unwrap(), ["coming"]);
    }
}
