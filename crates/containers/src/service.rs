//! The service as a whole: what its parts share, how it opens, and how it goes away.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use container_core::Timestamp;
use container_core::spec::Host;
use containerd_client::Client;
use errors::ErrorKind;
use log_drivers::{Shipping, Watches};
use metadata::Database;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::containerd::Containerd;
use crate::error::Error;
use crate::exec::Exec;
use crate::files;
use crate::index::Index;
use crate::mountpoints::MountPoints;
use crate::ports::{ContainerEvent, EventSubject};
use crate::record::{CONTAINERS, Container, Record};
use crate::settings::{Defaults, Neighbours, Settings};
use crate::{Containers, Execs, FileSystems, Lifecycle, Recovered, Statistics, Streams, logging, runtimes, volumes};

/// What all parts of the service look at.
pub(crate) struct Shared {
    pub settings: Settings,
    /// Those of the settings, until a reload brings others.
    defaults: RwLock<Arc<Defaults>>,
    pub host: Host,
    pub database: Database,
    pub containerd: Containerd,
    pub neighbours: Neighbours,
    /// Wakes who follows a log.
    pub watches: Watches,
    pub shipping: Shipping,
    index: Mutex<Index>,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    /// Parent and bytes of the layers of images, by key.
    layer_sizes: Mutex<HashMap<String, (String, u64)>>,
    /// One prune at a time.
    pub pruning: AtomicBool,
    /// Turns true once: background work ends.
    pub closing: watch::Sender<bool>,
    /// The daemon takes its containers along: no policy starts them again.
    pub stopping: AtomicBool,
}

/// The daemon's containers. [`Service::open`], then [`Service::recover`], then the API may listen.
pub struct Service {
    pub containers: Containers,
    pub lifecycle: Lifecycle,
    pub execs: Execs,
    pub streams: Streams,
    pub file_systems: FileSystems,
    pub statistics: Statistics,
    shared: Arc<Shared>,
    following: Mutex<Option<JoinHandle<()>>>,
}

impl Service {
    /// Reads the intents; touches nothing.
    pub async fn open(
        settings: Settings,
        database: Database,
        client: Client,
        neighbours: Neighbours,
    ) -> Result<Self, Error> {
        logging::check_defaults(&settings.log_defaults)?;
        for folder in [settings.data_root.join("containers"), settings.attach_folder(), settings.runc_root()] {
            files::make_folder(&folder)?;
        }
        let containerd = Containerd::new(client, MountPoints::provide(&settings.data_root)?);
        runtimes::write_wrappers(&settings, &settings.defaults)?;
        let mut index = Index::default();
        for (_, record) in database.view(|tx| CONTAINERS.list(tx, ""))? {
            volumes::refer(&*neighbours.volumes, &record);
            admit(&mut index, record)?;
        }
        let watched = |source| Error::file("watch", &settings.data_root, source);
        let watches = Watches::new().map_err(watched)?;
        let shared = Arc::new(Shared {
            host: crate::host::facts(&settings),
            defaults: RwLock::new(Arc::new(settings.defaults.clone())),
            settings,
            database,
            containerd,
            neighbours,
            shipping: Shipping::new(watches.clone()),
            watches,
            index: Mutex::new(index),
            execs: Mutex::default(),
            layer_sizes: Mutex::default(),
            pruning: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
        });
        Ok(Self {
            containers: Containers::new(Arc::clone(&shared)),
            lifecycle: Lifecycle::new(Arc::clone(&shared)),
            execs: Execs::new(Arc::clone(&shared)),
            streams: Streams::new(Arc::clone(&shared)),
            file_systems: FileSystems::new(Arc::clone(&shared)),
            statistics: Statistics::new(Arc::clone(&shared)),
            shared,
            following: Mutex::default(),
        })
    }

    /// Compares intents with what runs, reports what ended meanwhile, and begins to follow containerd's events.
    pub async fn recover(&self) -> Result<Recovered, Error> {
        let recovered = crate::recover::recover(&self.shared).await?;
        let following = tokio::spawn(crate::follow::follow(Arc::clone(&self.shared)));
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = Some(following);
        Ok(recovered)
    }

    /// Containers that are created from now on get these defaults; runtimes count from the next start on. The policy is
    /// read once, when the service opens.
    pub fn configure(&self, defaults: Defaults) -> Result<(), Error> {
        runtimes::write_wrappers(&self.shared.settings, &defaults)?;
        *self.shared.defaults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Ends the background work. Containers run on.
    pub async fn shutdown(&self) {
        self.shared.closing.send_replace(true);
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(following) = following {
            // The loop ends by itself; an error would mean that it panicked, which has been printed.
            let _ = following.await;
        }
        self.shared.shipping.shutdown().await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

fn admit(index: &mut Index, record: Record) -> Result<(), Error> {
    index.reserve(&record.name, &record.id)?;
    index.insert(Arc::new(Container::new(record)));
    Ok(())
}

impl Shared {
    pub fn defaults(&self) -> Arc<Defaults> {
        Arc::clone(&self.defaults.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn execs(&self) -> MutexGuard<'_, HashMap<String, Arc<Exec>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn layer_sizes(&self) -> MutexGuard<'_, HashMap<String, (String, u64)>> {
        self.layer_sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn find(&self, reference: &str) -> Result<Arc<Container>, Error> {
        self.index().find(reference)
    }

    /// An event about a container, with the attributes that every one has.
    pub fn publish(&self, record: &Record, action: impl Into<String>, more: &[(&str, String)]) {
        let mut attributes = record.config.labels.clone();
        attributes.insert("image".to_owned(), record.config.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.neighbours.events.publish(ContainerEvent {
            subject: EventSubject::Container,
            action: action.into(),
            id: record.id.clone(),
            attributes,
            time_ns: now().0,
        });
    }
}

/// Runs an operation to its end even when who asked for it goes away: half a start is worse than one too many.
pub(crate) async fn detached<T, F>(operation: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    match tokio::spawn(operation).await {
        Ok(result) => result,
        Err(failure) => Err(Error::Refused {
            kind: ErrorKind::Internal,
            message: format!("the operation did not come to its end: {failure}"),
        }),
    }
}

/// Runs what may block, such as a walk through files, where it keeps nobody else waiting.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|failure| Error::Refused {
        kind: ErrorKind::Internal,
        message: format!("the operation did not come to its end: {failure}"),
    })
}

/// The clock, read in this one place.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Random bytes of the kernel (getrandom(2)).
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
