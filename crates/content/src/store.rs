//! The store: which namespace sees which blob, and the writes that go on.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ids::{Digest, Hasher};
use metadata::{Database, Durability, Filters, Labels, Table, WriteTx, join_key, split_key};

use crate::blob::{Record, nanos_now};
use crate::error::disk;
use crate::follow::{Following, Watched};
use crate::ingest::{Ingest, Status, read_status};
use crate::writer::{Bytes, WriteRequest, Writer, open_own};
use crate::{Error, Info, Reader};

/// More changes for the transaction of an operation here: leases of the caller.
pub type Also = Box<dyn FnOnce(&mut WriteTx<'_>) -> Result<(), metadata::Error> + Send>;

/// Key: namespace, digest.
const BLOBS: Table<Record> = Table::new("content-blobs");
/// The same the other way round, to find who sees a blob. Key: digest, namespace.
const OWNERS: Table<()> = Table::new("content-owners");
/// Locks that commits and deletions of one blob share; more means less waiting for strangers.
const DIGEST_LOCKS: usize = 32;
/// Interrupted writes whose hash is kept; others are hashed again from the disk.
const MAX_SUSPENDED: usize = 256;

/// Blobs of all namespaces under one folder; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    database: Database,
    digests: [Mutex<()>; DIGEST_LOCKS],
    writes: Mutex<Writes>,
}

#[derive(Default)]
struct Writes {
    open: HashMap<String, Arc<Watched>>,
    suspended: HashMap<String, Suspended>,
}

/// The hash of a write that is not open at the moment.
pub(crate) struct Suspended {
    pub(crate) offset: u64,
    pub(crate) hasher: Hasher,
}

impl Store {
    /// Makes the folders that are missing and removes what was cut short: blobs that no record names, and writes that were
    /// just being made, published or removed.
    pub fn open(root: &Path, database: Database) -> Result<Self, Error> {
        for folder in [root.join("blobs/sha256"), root.join("ingest")] {
            fs::create_dir_all(&folder).map_err(disk("create", &folder))?;
        }
        let shared = Shared {
            root: root.to_owned(),
            database,
            digests: std::array::from_fn(|_| Mutex::new(())),
            writes: Mutex::new(Writes::default()),
        };
        let store = Self { shared: Arc::new(shared) };
        store.remove_unseen()?;
        store.remove_torn_writes()?;
        Ok(store)
    }

    pub fn info(&self, namespace: &str, digest: &Digest) -> Result<Info, Error> {
        let record = self.shared.database.view(|tx| BLOBS.get(tx, &blob_key(namespace, digest)))?;
        Ok(record.ok_or(Error::NotFound { digest: *digest })?.info(*digest))
    }

    /// Opens a blob for reading.
    pub fn reader(&self, namespace: &str, digest: &Digest) -> Result<Reader, Error> {
        let size = self.info(namespace, digest)?.size;
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Reader { file, size }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::NotFound { digest: *digest }),
            Err(error) => Err(disk("open", &path)(error)),
        }
    }

    /// A part of a blob, at most `length` bytes from `offset` on; an offset beyond the end is an error.
    pub fn read_range(&self, namespace: &str, digest: &Digest, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let reader = self.reader(namespace, digest)?;
        if offset > reader.size() {
            return Err(Error::Range { offset, size: reader.size(), digest: *digest });
        }
        let left = usize::try_from(reader.size() - offset).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(left)];
        let path = self.blob_path(digest);
        let count = reader.read_at(&mut buffer, offset).map_err(disk("read", &path))?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Every blob of the namespace that matches, in order of the digests.
    pub fn walk(&self, namespace: &str, filters: &[String]) -> Result<Vec<Info>, Error> {
        let filters = Filters::parse(filters)?;
        let records = self.shared.database.view(|tx| BLOBS.list(tx, &join_key(&[namespace])))?;
        let infos = records.into_iter().filter_map(|(key, record)| {
            let digest: Digest = split_key(&key).pop()?.parse().ok()?;
            Some(record.info(digest))
        });
        Ok(infos.filter(|info| filters.matches(|path| info.field(path))).collect())
    }

    /// Changes labels under an update mask (see [`metadata::labels::updated`]).
    pub fn update(&self, namespace: &str, digest: &Digest, labels: Labels, mask: &[String]) -> Result<Info, Error> {
        let (key, digest, mask) = (blob_key(namespace, digest), *digest, mask.to_vec());
        self.shared.database.write_blocking(Durability::Synced, move |tx| {
            let mut record = BLOBS.get(tx, &key)?.ok_or(Error::NotFound { digest })?;
            record.labels = metadata::labels::updated(&record.labels, &labels, &mask, &digest.to_string())?;
            record.updated = nanos_now();
            BLOBS.put(tx, &key, &record)?;
            Ok(record.info(digest))
        })
    }

    /// Removes a blob from the namespace, and from the disk when no other has it.
    pub fn delete(&self, namespace: &str, digest: &Digest) -> Result<(), Error> {
        match self.delete_all(namespace, &[*digest])? {
            0 => Err(Error::NotFound { digest: *digest }),
            _ => Ok(()),
        }
    }

    /// The same for several in one transaction; says how many of them there were.
    pub fn delete_all(&self, namespace: &str, digests: &[Digest]) -> Result<usize, Error> {
        // Each lock once, and in one order.
        let locks: BTreeSet<usize> = digests.iter().map(digest_lock).collect();
        let _guards: Vec<MutexGuard<'_, ()>> = locks.into_iter().map(|lock| self.lock(lock)).collect();
        let (namespace, digests) = (namespace.to_owned(), digests.to_vec());
        let (removed, nobodys) = self.shared.database.write_blocking(Durability::Synced, move |tx| {
            let (mut removed, mut nobodys) = (0, Vec::new());
            for digest in digests {
                if !BLOBS.delete(tx, &blob_key(&namespace, &digest))? {
                    continue;
                }
                removed += 1;
                OWNERS.delete(tx, &owner_key(&digest, &namespace))?;
                if OWNERS.keys(tx, &join_key(&[&digest.to_string()]))?.is_empty() {
                    nobodys.push(digest);
                }
            }
            Ok::<_, Error>((removed, nobodys))
        })?;
        for digest in nobodys {
            let path = self.blob_path(&digest);
            // The record is gone and that is the answer; a file that stays is removed at the next open.
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a blob");
            }
        }
        Ok(removed)
    }

    /// Opens a write, new or to go on with.
    pub fn writer(&self, namespace: &str, request: &WriteRequest) -> Result<Writer, Error> {
        let ingest = Ingest::new(&self.shared.root, namespace, &request.reference)?;
        let shared = match &request.expected {
            Some(digest) => self.find_shared(namespace, digest, request.total)?,
            None => None,
        };
        let watched = self.watch(&ingest.name, &request.reference)?;
        let opened = match shared {
            Some((digest, size)) if !ingest.data().exists() => {
                let now = SystemTime::now();
                let reference = request.reference.clone();
                let (total, leased) = (size, request.leased);
                let status = Status { reference, offset: size, total, started_at: now, updated_at: now, leased };
                Ok((status, Bytes::Shared { digest }))
            }
            _ => open_own(self, &ingest, request),
        };
        match opened {
            Ok((status, bytes)) => {
                watched.reached(status.offset);
                Ok(Writer { store: self.clone(), namespace: namespace.to_owned(), ingest, status, bytes, watched })
            }
            Err(error) => {
                self.unlock_reference(&ingest.name);
                Err(error)
            }
        }
    }

    /// Opens what an open write has so far, and will have, to be read as the blob that it is to become.
    pub fn follow(&self, namespace: &str, reference: &str, expected: &Digest) -> Result<Following, Error> {
        let ingest = Ingest::new(&self.shared.root, namespace, reference)?;
        let missing = || Error::NoSuchWrite { reference: reference.to_owned() };
        let watched = self.writes().open.get(&ingest.name).cloned().ok_or_else(missing)?;
        // The bytes of a write that has been committed just now, or that shares a blob, lie where the blob does.
        for path in [ingest.data(), self.blob_path(expected)] {
            match File::open(&path) {
                Ok(file) => return Ok(Following::new(file, watched, *expected)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(disk("open", &path)(error)),
            }
        }
        Err(missing())
    }

    pub fn status(&self, namespace: &str, reference: &str) -> Result<Status, Error> {
        let ingest = Ingest::new(&self.shared.root, namespace, reference)?;
        let found = read_status(&ingest.folder)?.filter(|(name, _)| *name == ingest.name);
        found.map(|(_, status)| status).ok_or_else(|| Error::NoSuchWrite { reference: reference.to_owned() })
    }

    /// Every write of the namespace that goes on or was interrupted, in order of the references.
    pub fn statuses(&self, namespace: &str, filters: &[String]) -> Result<Vec<Status>, Error> {
        let filters = Filters::parse(filters)?;
        let prefix = format!("{namespace}/");
        let mut statuses = Vec::new();
        for folder in self.ingest_folders()? {
            if let Some((name, status)) = read_status(&folder)?
                && name.starts_with(&prefix)
                && filters.matches(|path| status.field(path))
            {
                statuses.push(status);
            }
        }
        statuses.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(statuses)
    }

    /// Removes what an interrupted write left. One that is open is `Locked`.
    pub fn abort(&self, namespace: &str, reference: &str) -> Result<(), Error> {
        let ingest = Ingest::new(&self.shared.root, namespace, reference)?;
        let mut writes = self.writes();
        if writes.open.contains_key(&ingest.name) {
            return Err(Error::Locked { reference: reference.to_owned() });
        }
        writes.suspended.remove(&ingest.name);
        match ingest.remove()? {
            true => Ok(()),
            false => Err(Error::NoSuchWrite { reference: reference.to_owned() }),
        }
    }

    /// Removes a write that nobody wants any more, open or not. Whoever has it open can go on, and learns at the commit.
    pub fn discard(&self, namespace: &str, reference: &str) -> Result<(), Error> {
        let ingest = Ingest::new(&self.shared.root, namespace, reference)?;
        self.writes().suspended.remove(&ingest.name);
        ingest.remove().map(drop)
    }

    /// Where a blob's file is, whether or not it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.shared.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn insert_record(
        &self,
        namespace: &str,
        digest: Digest,
        size: u64,
        labels: Labels,
        also: Option<Also>,
    ) -> Result<(), Error> {
        let (key, owner) = (blob_key(namespace, &digest), owner_key(&digest, namespace));
        let there = self.shared.database.write_blocking(Durability::Synced, move |tx| {
            if let Some(also) = also {
                also(tx)?;
            }
            if BLOBS.contains(tx, &key)? {
                return Ok::<_, Error>(true);
            }
            let now = nanos_now();
            BLOBS.put(tx, &key, &Record { size, created: now, updated: now, labels })?;
            OWNERS.put(tx, &owner, &())?;
            Ok(false)
        })?;
        if there { Err(Error::AlreadyExists { digest }) } else { Ok(()) }
    }

    pub(crate) fn lock_digest(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        self.lock(digest_lock(digest))
    }

    fn lock(&self, lock: usize) -> MutexGuard<'_, ()> {
        self.shared.digests[lock].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes new names in the folder of blobs durable.
    pub(crate) fn sync_blobs(&self) -> Result<(), Error> {
        let folder = self.shared.root.join("blobs/sha256");
        File::open(&folder).and_then(|file| file.sync_all()).map_err(disk("sync", &folder))
    }

    pub(crate) fn suspend(&self, name: &str, suspended: Suspended) {
        let mut writes = self.writes();
        if writes.suspended.len() < MAX_SUSPENDED {
            writes.suspended.insert(name.to_owned(), suspended);
        }
    }

    pub(crate) fn resume(&self, name: &str) -> Option<Suspended> {
        self.writes().suspended.remove(name)
    }

    /// Marks a write as open; no other can be under its name until it is unlocked.
    fn watch(&self, name: &str, reference: &str) -> Result<Arc<Watched>, Error> {
        match self.writes().open.entry(name.to_owned()) {
            Entry::Occupied(_) => Err(Error::Locked { reference: reference.to_owned() }),
            Entry::Vacant(vacant) => Ok(vacant.insert(Arc::default()).clone()),
        }
    }

    /// Begins anew for who reads an open write: what they have read is not what will be there.
    pub(crate) fn watch_anew(&self, name: &str, offset: u64) -> Arc<Watched> {
        let watched = Arc::new(Watched::default());
        watched.reached(offset);
        self.writes().open.insert(name.to_owned(), watched.clone());
        watched
    }

    pub(crate) fn unlock_reference(&self, name: &str) {
        self.writes().open.remove(name);
    }

    /// A blob that this namespace does not see and another does, of the right size if one is given.
    fn find_shared(&self, namespace: &str, digest: &Digest, total: u64) -> Result<Option<(Digest, u64)>, Error> {
        let (tx, key) = (self.shared.database.read()?, blob_key(namespace, digest));
        if BLOBS.contains(&tx, &key)? {
            return Err(Error::AlreadyExists { digest: *digest });
        }
        let owners = OWNERS.keys(&tx, &join_key(&[&digest.to_string()]))?;
        let Some(other) = owners.first().and_then(|key| split_key(key).pop()) else { return Ok(None) };
        let record = BLOBS.get(&tx, &blob_key(&other, digest))?;
        Ok(record.filter(|record| total == 0 || record.size == total).map(|record| (*digest, record.size)))
    }

    fn remove_unseen(&self) -> Result<(), Error> {
        let owners = self.shared.database.view(|tx| OWNERS.keys(tx, ""))?;
        let seen: HashSet<String> = owners.iter().filter_map(|key| split_key(key).into_iter().next()).collect();
        let folder = self.shared.root.join("blobs/sha256");
        for entry in fs::read_dir(&folder).map_err(disk("list", &folder))? {
            let entry = entry.map_err(disk("list", &folder))?;
            let digest = format!("sha256:{}", entry.file_name().to_string_lossy());
            if digest.parse::<Digest>().is_ok() && !seen.contains(&digest) {
                tracing::info!(digest, "removing a blob without a record");
                fs::remove_file(entry.path()).map_err(disk("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn remove_torn_writes(&self) -> Result<(), Error> {
        for folder in self.ingest_folders()? {
            if read_status(&folder)?.is_none() {
                tracing::info!(folder = %folder.display(), "removing a write that was cut short");
                fs::remove_dir_all(&folder).map_err(disk("remove", &folder))?;
            }
        }
        Ok(())
    }

    fn ingest_folders(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.shared.root.join("ingest");
        let entries = fs::read_dir(&folder).map_err(disk("list", &folder))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(disk("list", &folder))).collect()
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.shared.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of the locks is the digest's.
fn digest_lock(digest: &Digest) -> usize {
    usize::from(digest.bytes()[0]) % DIGEST_LOCKS
}

fn blob_key(namespace: &str, digest: &Digest) -> String {
    join_key(&[namespace, &digest.to_string()])
}

fn owner_key(digest: &Digest, namespace: &str) -> String {
    join_key(&[&digest.to_string(), namespace])
}
