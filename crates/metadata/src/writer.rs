//! The writer thread, which applies and journals batches, and the sync thread, which makes them durable.
//!
//! The writer collects what is queued into one batch: one redb commit without sync, one journal record. Unsynced
//! callers are answered then. Synced ones go to the sync thread, which answers all it finds with one fdatasync, while
//! the writer goes on. A checkpoint syncs redb itself and lets the journal begin anew.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as sync_mpsc};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::journal::{Changes, Journal};
use crate::store::put_applied;
use crate::transaction::RECORDS;
use crate::{Durability, Error, WriteTx};

/// Jobs in one batch: it bounds how long the first of them waits.
const MAX_BATCH_JOBS: usize = 256;
/// Bytes after which a batch takes no more jobs.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Neither thread calls deep.
const STACK_BYTES: usize = 512 * 1024;

/// Answers the caller: with the result of its closure, or with why it was not stored.
type Finish = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Runs the closure, or nothing if the batch has failed already; says whether its changes are to be kept.
type Run = Box<dyn FnOnce(Option<&mut WriteTx<'_>>) -> (bool, Finish) + Send>;

/// One write that waits for its turn.
pub(crate) struct Job {
    durability: Durability,
    run: Run,
}

impl Job {
    pub(crate) fn new<T, E>(
        durability: Durability,
        change: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        reply: impl FnOnce(Result<T, E>) + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let run = move |tx: Option<&mut WriteTx<'_>>| {
            let result = tx.map_or_else(|| Err(Error::Closed.into()), change);
            let keep = result.is_ok();
            let finish: Finish = Box::new(move |stored| reply(stored.map_err(E::from).and(result)));
            (keep, finish)
        };
        Self { durability, run: Box::new(run) }
    }
}

struct Writer {
    database: Arc<redb::Database>,
    journal: Journal,
    checkpoint_bytes: u64,
    broken: Arc<AtomicBool>,
    syncs: sync_mpsc::Sender<Vec<Finish>>,
}

/// Starts both threads; they end when the queue has no senders.
pub(crate) fn start(
    database: Arc<redb::Database>,
    journal: Journal,
    queue: mpsc::Receiver<Job>,
    checkpoint_bytes: u64,
) -> io::Result<JoinHandle<()>> {
    let broken = Arc::new(AtomicBool::new(false));
    let (syncs, waiting) = sync_mpsc::channel();
    let (file, sync_broken) = (journal.file(), Arc::clone(&broken));
    let syncer = thread("db-sync").spawn(move || sync_loop(&file, &waiting, &sync_broken))?;
    let mut writer = Writer { database, journal, checkpoint_bytes, broken, syncs };
    thread("db-write").spawn(move || {
        writer.run(queue);
        drop(writer);
        if syncer.join().is_err() {
            tracing::error!("the database's sync thread panicked");
        }
    })
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}

impl Writer {
    fn run(&mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            self.run_batch(first, &mut queue);
            if self.journal.bytes() >= self.checkpoint_bytes {
                self.checkpoint();
            }
        }
        self.checkpoint();
    }

    fn run_batch(&mut self, first: Job, queue: &mut mpsc::Receiver<Job>) {
        let mut finished = Vec::new();
        let result = if self.broken.load(Ordering::Acquire) {
            finished.push((Durability::Lazy, (first.run)(None).1));
            Err("an earlier write failed".to_owned())
        } else {
            self.commit(first, queue, &mut finished).map_err(|error| errors::chain(&error))
        };
        let mut synced = Vec::new();
        for (durability, finish) in finished {
            match (&result, durability) {
                (Err(reason), _) => finish(Err(Error::Write { reason: reason.clone() })),
                (Ok(()), Durability::Lazy) => finish(Ok(())),
                (Ok(()), Durability::Synced) => synced.push(finish),
            }
        }
        // The sync thread lives as long as this sender; were it gone, dropping the answers says "closed" to the callers.
        if !synced.is_empty() && self.syncs.send(synced).is_err() {
            self.broken.store(true, Ordering::Release);
        }
    }

    /// Runs jobs on one transaction, journals what they changed, and commits it.
    fn commit(
        &mut self,
        first: Job,
        queue: &mut mpsc::Receiver<Job>,
        finished: &mut Vec<(Durability, Finish)>,
    ) -> Result<(), Error> {
        let opened = self.database.begin_write().map_err(|error| Error::write(&error)).and_then(|mut tx| {
            tx.set_durability(redb::Durability::None).map_err(|error| Error::write(&error))?;
            Ok(tx)
        });
        let tx = match opened {
            Ok(tx) => tx,
            Err(error) => {
                finished.push((Durability::Lazy, (first.run)(None).1));
                return Err(error);
            }
        };
        let mut batch = Changes::new();
        let mut table = match tx.open_table(RECORDS) {
            Ok(table) => table,
            Err(error) => {
                finished.push((Durability::Lazy, (first.run)(None).1));
                return Err(Error::write(&error));
            }
        };
        let (mut job, mut bytes) = (Some(first), 0);
        while let Some(next) = job.take() {
            let durability = next.durability;
            let mut view = WriteTx { base: &table, changes: Changes::new() };
            // A closure that panics loses its own changes only; its caller sees a closed channel.
            let outcome = catch_unwind(AssertUnwindSafe(|| (next.run)(Some(&mut view))));
            let changes = view.changes;
            if let Ok((keep, finish)) = outcome {
                let changed = keep && !changes.is_empty();
                finished.push((if changed { durability } else { Durability::Lazy }, finish));
                if changed {
                    bytes += insert(&mut table, &changes)?;
                    batch.extend(changes);
                }
            }
            if finished.len() < MAX_BATCH_JOBS && bytes < MAX_BATCH_BYTES {
                job = queue.try_recv().ok();
            }
        }
        drop(table);
        if batch.is_empty() {
            return tx.abort().map_err(|error| Error::write(&error));
        }
        self.journal.append(&batch).map_err(|error| Error::write(&error))?;
        tx.commit().map_err(|error| {
            self.broken.store(true, Ordering::Release);
            Error::write(&error)
        })
    }

    /// Syncs the database itself, with the number of the last batch in it; then the journal's records are not needed.
    fn checkpoint(&mut self) {
        if self.journal.bytes() == 0 || self.broken.load(Ordering::Acquire) {
            return;
        }
        let sequence = self.journal.sequence();
        let stored = in_transaction(&self.database, Changes::new(), |tx| put_applied(tx, sequence))
            .and_then(|((), changes)| apply(&self.database, &changes, redb::Durability::Immediate));
        match stored {
            Ok(()) => self.journal.restart(),
            Err(error) => {
                self.broken.store(true, Ordering::Release);
                tracing::error!(error = errors::chain(&error), "cannot make a checkpoint of the database");
            }
        }
    }
}

/// Runs a closure over the current state and returns what it would change.
pub(crate) fn in_transaction<T>(
    database: &redb::Database,
    changes: Changes,
    run: impl FnOnce(&mut WriteTx<'_>) -> Result<T, Error>,
) -> Result<(T, Changes), Error> {
    let tx = database.begin_write().map_err(|error| Error::write(&error))?;
    let outcome = {
        let table = tx.open_table(RECORDS).map_err(|error| Error::write(&error))?;
        let mut view = WriteTx { base: &table, changes };
        run(&mut view).map(|value| (value, view.changes))
    };
    tx.abort().map_err(|error| Error::write(&error))?;
    outcome
}

/// Commits changes in a transaction of their own.
pub(crate) fn apply(database: &redb::Database, changes: &Changes, durability: redb::Durability) -> Result<(), Error> {
    let mut tx = database.begin_write().map_err(|error| Error::write(&error))?;
    tx.set_durability(durability).map_err(|error| Error::write(&error))?;
    let mut table = tx.open_table(RECORDS).map_err(|error| Error::write(&error))?;
    insert(&mut table, changes)?;
    drop(table);
    tx.commit().map_err(|error| Error::write(&error))
}

fn insert(table: &mut redb::Table<'_, &'static [u8], &'static [u8]>, changes: &Changes) -> Result<usize, Error> {
    let mut bytes = 0;
    for (key, value) in changes {
        match value {
            Some(value) => {
                bytes += key.len() + value.len();
                table.insert(key.as_slice(), value.as_slice()).map_err(|error| Error::write(&error))?;
            }
            None => {
                table.remove(key.as_slice()).map_err(|error| Error::write(&error))?;
            }
        }
    }
    Ok(bytes)
}

/// One fdatasync for all that wait. After a failed one nothing can be promised any more (fsync(2), NOTES).
fn sync_loop(file: &File, waiting: &sync_mpsc::Receiver<Vec<Finish>>, broken: &AtomicBool) {
    while let Ok(mut answers) = waiting.recv() {
        while let Ok(more) = waiting.try_recv() {
            answers.extend(more);
        }
        let synced = if broken.load(Ordering::Acquire) {
            Err("an earlier write failed".to_owned())
        } else {
            file.sync_data().map_err(|error| {
                broken.store(true, Ordering::Release);
                error.to_string()
            })
        };
        for finish in answers {
            finish(synced.clone().map_err(|reason| Error::Write { reason }));
        }
    }
}
