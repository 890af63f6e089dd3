//! The service as a whole: what its parts share, and the public operations.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use metadata::{Database, Durability};
use plugin_client::Plugins;
use volume::LocalDriver;

use crate::drivers::Drivers;
use crate::error::Error;
use crate::record::{Index, Record, VOLUMES};
use crate::request::{
    CreateVolume, Event, EventSink, Lifetime, Listed, LiveMount, PruneRequest, Pruned, Usage, VolumeView,
};
use crate::{create, prune, recover, remove, uses, view};

/// Where volumes are.
#[derive(Debug, Clone)]
pub struct Config {
    /// `<data-root>/volumes`.
    pub root: PathBuf,
    /// Whom containers take for root.
    pub owner: (u32, u32),
    pub plugins: Plugins,
}

/// Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct Volumes {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub database: Database,
    pub drivers: Drivers,
    pub events: Arc<dyn EventSink>,
    /// One prune at a time.
    pub pruning: AtomicBool,
    index: Mutex<Index>,
}

impl Volumes {
    /// Reads the intents, finishes what a daemon before this one left half done, and takes in volumes of Docker's that are
    /// on the disk.
    pub async fn open(config: Config, database: Database, events: Arc<dyn EventSink>) -> Result<Self, Error> {
        let local = Arc::new(LocalDriver::open(config.root, config.owner)?);
        let drivers = Drivers::new(local, config.plugins);
        let pruning = AtomicBool::new(false);
        let shared = Arc::new(Shared { database, drivers, events, pruning, index: Mutex::default() });
        recover::recover(&shared).await?;
        Ok(Self { shared })
    }

    /// A volume that is there already is answered as it is, unless another driver has it.
    pub async fn create(&self, request: CreateVolume) -> Result<VolumeView, Error> {
        create::create(&self.shared, request, None, Lifetime::Lasting).await
    }

    pub async fn inspect(&self, name: &str) -> Result<VolumeView, Error> {
        view::inspect(&self.shared, name).await
    }

    pub async fn list(&self) -> Result<Listed, Error> {
        view::list(&self.shared).await
    }

    /// Sizes of the volumes whose files are on this host's disk.
    pub async fn usage(&self) -> Result<Vec<Usage>, Error> {
        view::usage(&self.shared).await
    }

    /// Refused while somebody uses it.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        remove::remove(&self.shared, name, remove::Insistence::Ask, Durability::Synced).await
    }

    /// The same; what is not there, and what its driver cannot remove, is forgotten all the same.
    pub async fn remove_by_force(&self, name: &str) -> Result<(), Error> {
        remove::remove(&self.shared, name, remove::Insistence::Forget, Durability::Synced).await
    }

    pub async fn prune(&self, request: &PruneRequest) -> Result<Pruned, Error> {
        prune::prune(&self.shared, request).await
    }

    /// The names of the drivers that have been of use so far, the local one first.
    pub fn drivers(&self) -> Vec<String> {
        self.shared.drivers.names()
    }

    /// The driver of a volume that is known; who wants one of this name need not say which.
    pub fn driver_of(&self, name: &str) -> Option<String> {
        self.shared.index().records.get(name).map(|record| record.driver().to_owned())
    }

    /// As [`Volumes::create`], for a container: it stays until the container lets go.
    pub async fn acquire(
        &self,
        request: CreateVolume,
        container: &str,
        lifetime: Lifetime,
    ) -> Result<VolumeView, Error> {
        create::create(&self.shared, request, Some(container), lifetime).await
    }

    /// At the daemon's start, before anything else: a container that is there has this volume.
    pub fn refer(&self, name: &str, container: &str) {
        self.shared.index().use_by(name, container);
    }

    /// The container has it no longer.
    pub fn release(&self, name: &str, container: &str) {
        self.shared.index().release(name, container);
    }

    /// The same, and the volume goes unless others use it.
    pub async fn dispose(&self, name: &str, container: &str, lifetime: Lifetime) -> Result<(), Error> {
        self.shared.index().release(name, container);
        uses::dispose(&self.shared, name, lifetime).await
    }

    /// Where its files are until [`Volumes::unmount`] with the same id.
    pub async fn mount(&self, name: &str, id: &str) -> Result<PathBuf, Error> {
        uses::mount(&self.shared, name, id).await
    }

    /// An id that has nothing mounted is no error.
    pub async fn unmount(&self, name: &str, id: &str) -> Result<(), Error> {
        uses::unmount(&self.shared, name, id).await
    }

    /// At the daemon's start: these are mounted, and nothing else is.
    pub async fn restore(&self, live: &[LiveMount]) {
        uses::restore(&self.shared, live).await;
    }
}

impl Shared {
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record(&self, name: &str) -> Option<Arc<Record>> {
        self.index().records.get(name).map(Arc::clone)
    }

    /// Disk first, then memory. The gate is the caller's.
    pub async fn store(&self, name: &str, record: Record, durability: Durability) -> Result<(), Error> {
        let record = Arc::new(record);
        let (key, stored) = (name.to_owned(), Arc::clone(&record));
        self.write(durability, move |tx| VOLUMES.put(tx, &key, &stored)).await?;
        self.index().records.insert(name.to_owned(), record);
        Ok(())
    }

    pub async fn forget(&self, name: &str, durability: Durability) -> Result<(), Error> {
        let key = name.to_owned();
        self.write(durability, move |tx| VOLUMES.delete(tx, &key).map(|_| ())).await?;
        self.index().records.remove(name);
        Ok(())
    }

    async fn write<F>(&self, durability: Durability, change: F) -> Result<(), Error>
    where
        F: FnOnce(&mut metadata::WriteTx<'_>) -> Result<(), metadata::Error> + Send + 'static,
    {
        self.database.write(durability, change).await.map_err(Error::Store)
    }

    pub fn publish(&self, action: &'static str, volume: &str, attributes: &[(&str, &str)]) {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.events.publish(Event { action, volume: volume.to_owned(), attributes, time_ns: now() });
    }
}

impl Lifetime {
    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::Lasting => Durability::Synced,
            Self::Ephemeral => Durability::Lazy,
        }
    }
}

/// The clock, read in this one place.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
