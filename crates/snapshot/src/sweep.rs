//! What happens behind the callers' backs: folders of removed snapshots go, files of committed ones are synced.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metadata::{Database, Durability};

use crate::Error;
use crate::error::disk;
use crate::record::{self, Kind, Record};

/// After the last commit of a burst (a pull) before the file system is synced.
const QUIET: Duration = Duration::from_secs(2);
/// Prefix of folders whose snapshot is gone.
const REMOVED: &str = "rm-";

/// Does the work on a thread that lives as long as there is some.
#[derive(Clone)]
pub(crate) struct Sweeper {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    database: Database,
    boot: String,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    folders: Vec<PathBuf>,
    removing: bool,
    removers: bool,
    last_commit: Option<Instant>,
    syncer: bool,
    closing: bool,
    threads: Vec<JoinHandle<()>>,
}

/// What was found at open.
pub(crate) struct Settled {
    pub(crate) next_id: u64,
    pub(crate) leftovers: Vec<PathBuf>,
    /// Snapshots of this boot wait for their sync (the daemon was killed).
    pub(crate) unsynced: bool,
}

impl Sweeper {
    pub(crate) fn new(folder: PathBuf, database: Database, boot: String) -> Self {
        let shared = Shared { folder, database, boot, work: Mutex::new(Work::default()), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Renames the folder so that its number is free of meaning, and removes it in the background.
    pub(crate) fn remove(&self, path: PathBuf) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target =
            if name.starts_with(REMOVED) { path.clone() } else { path.with_file_name(format!("{REMOVED}{name}")) };
        if let Err(error) = fs::rename(&path, &target) {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot rename a removed snapshot");
            }
            return;
        }
        let mut work = self.shared.work();
        work.folders.push(target);
        if !work.removers {
            work.removers = spawn("snapshot-remove", &self.shared, &mut work.threads, Shared::remove_loop);
        }
    }

    pub(crate) fn wait_until_removed(&self) {
        let mut work = self.shared.work();
        while work.removers && (work.removing || !work.folders.is_empty()) {
            work = self.shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a commit's files are not on the disk yet.
    pub(crate) fn sync_soon(&self) {
        let mut work = self.shared.work();
        work.last_commit = Some(Instant::now());
        if !work.syncer {
            work.syncer = spawn("snapshot-sync", &self.shared, &mut work.threads, Shared::sync_loop);
        }
    }

    /// Syncs what is not synced now and ends both threads; folders that are still there are removed at the next open.
    pub(crate) fn close(&self) {
        let threads = {
            let mut work = self.shared.work();
            work.closing = true;
            std::mem::take(&mut work.threads)
        };
        self.shared.changed.notify_all();
        // Joined, not only told: they hold the database, and who opens it next must not find it in use.
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the snapshotter panicked");
            }
        }
    }
}

/// Says whether the thread was started. Threads that have ended are forgotten on the way.
fn spawn(name: &str, shared: &Arc<Shared>, threads: &mut Vec<JoinHandle<()>>, run: fn(&Shared)) -> bool {
    let shared = Arc::clone(shared);
    threads.retain(|thread| !thread.is_finished());
    match std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared)) {
        Ok(thread) => {
            threads.push(thread);
            true
        }
        Err(error) => {
            tracing::warn!(name, %error, "cannot start a thread; the work is done at the next open");
            false
        }
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_loop(&self) {
        let mut work = self.work();
        while let Some(path) = work.folders.pop() {
            if work.closing {
                break;
            }
            work.removing = true;
            drop(work);
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove the files of a snapshot");
            }
            work = self.work();
            work.removing = false;
        }
        work.removers = false;
        self.changed.notify_all();
    }

    fn sync_loop(&self) {
        let mut work = self.work();
        while let Some(last) = work.last_commit {
            let quiet = last.elapsed();
            if quiet < QUIET && !work.closing {
                let waited = self.changed.wait_timeout(work, QUIET - quiet);
                work = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            work.last_commit = None;
            drop(work);
            if let Err(error) = self.sync() {
                tracing::warn!(error = errors::chain(&error), "cannot sync snapshots");
            }
            work = self.work();
        }
        work.syncer = false;
        self.changed.notify_all();
    }

    /// Syncs the file system and notes it for every snapshot that had been committed before, in this boot: what an
    /// earlier one lost does not come back.
    fn sync(&self) -> Result<(), Error> {
        let before: Vec<_> = self.database.view(record::list_all)?;
        let waits = |record: &Record| record.unsynced_boot.as_ref() == Some(&self.boot);
        let committed: Vec<_> = before.into_iter().filter(|(_, _, record)| waits(record)).collect();
        if committed.is_empty() {
            return Ok(());
        }
        let file = fs::File::open(&self.folder).map_err(disk("open", &self.folder))?;
        rustix::fs::syncfs(&file).map_err(std::io::Error::from).map_err(disk("sync", &self.folder))?;
        self.database.write_blocking(Durability::Lazy, move |tx| {
            for (namespace, name, before) in committed {
                match record::find(tx, &namespace, &name) {
                    Ok(mut record) if record.id == before.id => {
                        record.unsynced_boot = None;
                        record::replace(tx, &namespace, &name, &record)?;
                    }
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }
}

/// Compares records and folders: drops records whose files are gone or may be torn, finds folders that have no record.
pub(crate) fn settle(folder: &Path, database: &Database, boot: &str) -> Result<Settled, Error> {
    let names = folder_names(folder)?;
    let all = database.view(record::list_all)?;
    let suspects = suspects(&all, &names, boot);
    let waits = |record: &Record| record.unsynced_boot.as_deref() == Some(boot);
    let mut kept: HashMap<u64, bool> = all.iter().map(|(_, _, record)| (record.id, waits(record))).collect();
    if !suspects.is_empty() {
        let dropped = database.write_blocking(Durability::Lazy, move |tx| {
            let mut dropped = Vec::new();
            for (namespace, name) in suspects {
                match record::remove(tx, &namespace, &name) {
                    Ok(record) => dropped.push((name, record.id)),
                    Err(Error::HasChild) => tracing::warn!(namespace, name, "a snapshot in use may be incomplete"),
                    Err(error) => return Err(error),
                }
            }
            Ok::<_, Error>(dropped)
        })?;
        for (name, id) in dropped {
            tracing::info!(name, "dropped a snapshot that was not synced when the machine went down");
            kept.remove(&id);
        }
    }
    let leftovers = names.iter().filter(|name| name.parse().map_or(true, |id: u64| !kept.contains_key(&id)));
    let highest = names.iter().filter_map(|name| name.trim_start_matches(REMOVED).parse::<u64>().ok()).max();
    let next_id = kept.keys().copied().max().max(highest).unwrap_or(0) + 1;
    Ok(Settled {
        next_id,
        leftovers: leftovers.map(|name| folder.join(name)).collect(),
        unsynced: kept.values().any(|unsynced| *unsynced),
    })
}

/// Snapshots that cannot be trusted, children before their parents.
fn suspects(all: &[(String, String, Record)], names: &HashSet<String>, boot: &str) -> Vec<(String, String)> {
    let torn = |record: &Record| {
        let unsynced = record.unsynced_boot.as_deref().is_some_and(|unsynced| unsynced != boot);
        !names.contains(&record.id.to_string()) || (record.kind == Kind::Committed && unsynced)
    };
    let parents: HashMap<(&str, &str), Option<&str>> =
        all.iter().map(|(ns, name, record)| ((ns.as_str(), name.as_str()), record.parent.as_deref())).collect();
    let depth = |namespace: &str, name: &str| {
        let (mut depth, mut next) = (0_usize, Some(name));
        while let Some(name) = next {
            next = parents.get(&(namespace, name)).copied().flatten();
            depth += 1;
            if depth > all.len() {
                break;
            }
        }
        depth
    };
    let mut suspects: Vec<_> = all.iter().filter(|(_, _, record)| torn(record)).collect();
    suspects.sort_by_key(|(namespace, name, _)| std::cmp::Reverse(depth(namespace, name)));
    suspects.into_iter().map(|(namespace, name, _)| (namespace.clone(), name.clone())).collect()
}

fn folder_names(folder: &Path) -> Result<HashSet<String>, Error> {
    let entries = fs::read_dir(folder).map_err(disk("list", folder))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(disk("list", folder))
    };
    entries.map(name).collect()
}
