//! Opening a database, and its two faces: asynchronous and blocking.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redb::ReadableDatabase;
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Changes, Journal, Replay};
use crate::transaction::RECORDS;
use crate::writer::{self, Job};
use crate::{Error, ReadTx, Table, WriteTx};

/// redb's page cache: the daemons' memory budget allows a few megabytes, the rest is the kernel's page cache.
const CACHE_BYTES: usize = 2 * 1024 * 1024;
/// Writers that wait for the writer thread; more wait for a place here.
const QUEUE_LENGTH: usize = 1024;

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Power loss: acknowledged after an fdatasync, shared with all that wait at the time.
    Synced,
    /// The death of the process, not that of the machine: no fsync.
    Lazy,
}

/// The version of what a program stores, and how it brings older data to it.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// At least 1.
    pub version: u32,
    /// Called once, in one transaction, when the file has an older version (never for a new file).
    pub migrate: fn(u32, &mut WriteTx<'_>) -> Result<(), Error>,
}

/// How to open a database.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub schema: Schema,
    /// Bytes in the journal after which the database is synced and the journal begins anew.
    pub checkpoint_bytes: u64,
}

impl Default for Options {
    /// Schema version 1, which has no older one.
    fn default() -> Self {
        Self { schema: Schema { version: 1, migrate: |_, _| Ok(()) }, checkpoint_bytes: 4 * 1024 * 1024 }
    }
}

/// An open database; cheap to clone, closed when the last clone is dropped.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<redb::Database>,
    jobs: mpsc::Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

const META: Table<u64> = Table::new("\u{1}meta");
const SCHEMA: &str = "schema";
const APPLIED: &str = "applied";

impl Database {
    /// Opens `path`, making it and its journal if they are missing, and brings it up to date: redb repairs what an
    /// unclean end left, the journal is replayed, an older schema is migrated. One process at a time.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        let database = open_redb(path)?;
        let open_error = |source| Error::Open { path: path.to_owned(), source };
        let applied = read_meta(&database)?;
        let (mut journal, replay) =
            Journal::open(&journal_path(path), applied).map_err(|source| open_error(source.into()))?;
        if !replay.changes.is_empty() {
            tracing::info!(path = %path.display(), batches = replay.changes.len(), "replaying the journal");
        }
        for changes in &replay.changes {
            writer::apply(&database, changes, redb::Durability::None)?;
        }
        migrate(path, &database, &options.schema, &replay)?;
        journal.reset().map_err(|source| open_error(source.into()))?;
        sync_folder(path).map_err(|source| open_error(source.into()))?;
        let database = Arc::new(database);
        let (jobs, queue) = mpsc::channel(QUEUE_LENGTH);
        let writer = writer::start(Arc::clone(&database), journal, queue, options.checkpoint_bytes)
            .map_err(|source| open_error(source.into()))?;
        Ok(Self { shared: Arc::new(Shared { database, jobs, writer: Mutex::new(Some(writer)) }) })
    }

    /// A snapshot for reading. It holds no lock; short-lived ones let the file stay small.
    pub fn read(&self) -> Result<ReadTx, Error> {
        let tx = self.shared.database.begin_read().map_err(Error::read)?;
        let records = tx.open_table(RECORDS).map_err(Error::read)?;
        Ok(ReadTx { records })
    }

    /// Looks at a fresh snapshot.
    pub fn view<T, E: From<Error>>(&self, look: impl FnOnce(&ReadTx) -> Result<T, E>) -> Result<T, E> {
        look(&self.read()?)
    }

    /// Runs `change` on the writer thread: all of it is stored or, when it answers an error, nothing. Returns when the
    /// chosen durability holds. A caller that gives up waiting does not stop the write.
    ///
    /// The closure must not block on anything else: every other writer waits for it.
    pub async fn write<T, E, F>(&self, durability: Durability, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job::new(durability, change, move |result| drop(reply.send(result)));
        self.shared.jobs.send(job).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// [`Database::write`] for threads without a runtime; it panics on a thread that runs asynchronous tasks.
    pub fn write_blocking<T, E, F>(&self, durability: Durability, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job::new(durability, change, move |result| drop(reply.send(result)));
        self.shared.jobs.blocking_send(job).map_err(|_| Error::Closed)?;
        answer.blocking_recv().map_err(|_| Error::Closed)?
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        // The writer ends when its queue has no senders: it finishes what is queued and makes a last checkpoint.
        drop(std::mem::replace(&mut self.jobs, closed));
        let writer = self.writer.lock().map(|mut writer| writer.take());
        if let Ok(Some(writer)) = writer
            && writer.join().is_err()
        {
            tracing::error!("the database writer panicked");
        }
    }
}

fn open_redb(path: &Path) -> Result<redb::Database, Error> {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // redb asserts its own invariants; on a damaged file such an assertion is a finding, not a reason to abort.
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.create(path)));
    let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err(Error::Locked { path: path.to_owned() }),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Corrupted(reason)))) => Err(damaged(reason)),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error))))
            if matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Err(damaged(error.to_string()))
        }
        Ok(Err(error)) => Err(Error::Open { path: path.to_owned(), source: error.into() }),
        Err(_) => Err(damaged("its pages contradict each other".to_owned())),
    }
}

/// Sequence of the last batch the file contains; makes the table in a new file.
fn read_meta(database: &redb::Database) -> Result<u64, Error> {
    let tx = database.begin_read().map_err(Error::read)?;
    match tx.open_table(RECORDS) {
        Ok(records) => Ok(META.get(&ReadTx { records }, APPLIED)?.unwrap_or(0)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(Error::read(error)),
    }
}

/// Checks and writes the schema version and makes what was replayed durable: the journal may begin anew after it.
fn migrate(path: &Path, database: &redb::Database, schema: &Schema, replay: &Replay) -> Result<(), Error> {
    let mut found_version = None;
    let fresh = writer::in_transaction(database, Changes::new(), |tx| {
        let found = META.get(tx, SCHEMA)?.and_then(|version| u32::try_from(version).ok());
        found_version = found;
        if let Some(found) = found {
            if found > schema.version {
                return Err(Error::SchemaNewer { path: path.to_owned(), found, known: schema.version });
            }
            if found < schema.version {
                (schema.migrate)(found, tx)?;
            }
        }
        META.put(tx, SCHEMA, &u64::from(schema.version))?;
        META.put(tx, APPLIED, &replay.sequence)
    });
    let ((), changes) = fresh?;
    if replay.changes.is_empty() && found_version == Some(schema.version) {
        return Ok(());
    }
    writer::apply(database, &changes, redb::Durability::Immediate)
}

/// The value the checkpoint stores under [`APPLIED`].
pub(crate) fn put_applied(tx: &mut WriteTx<'_>, sequence: u64) -> Result<(), Error> {
    META.put(tx, APPLIED, &sequence)
}

fn journal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    PathBuf::from(name)
}

/// Makes the names of both files durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
