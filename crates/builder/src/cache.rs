//! The build cache: what steps made, by the keys of what they read.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use build_core::{Kept, Limits, to_forget};
use ids::Digest;
use metadata::{Database, Durability, Table};
use serde::{Deserialize, Serialize};

use crate::ports::Image;

const CACHE: Table<Entry> = Table::new("build-cache");

/// Steps that are remembered at most.
pub(crate) const MAX_ENTRIES: usize = 20_000;

/// What one step made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub image: Image,
    pub parent: Option<String>,
    pub description: String,
    pub has_layer: bool,
    pub bytes: u64,
    /// Seconds since 1970.
    pub created: i64,
    pub last_used: i64,
    pub uses: u64,
}

/// An entry, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    pub id: String,
    pub parent: Option<String>,
    pub description: String,
    pub bytes: u64,
    /// Seconds since 1970.
    pub created: i64,
    pub last_used: i64,
    pub uses: u64,
}

/// What a prune takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// So many bytes may stay.
    pub keep_bytes: u64,
    /// Only what was not used since then, in seconds since 1970.
    pub unused_since: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub ids: Vec<String>,
    pub reclaimed: u64,
}

impl Entry {
    pub fn new(image: Image, parent: Option<String>, description: String, has_layer: bool, bytes: u64) -> Self {
        let now = now();
        Self { image, parent, description, has_layer, bytes, created: now, last_used: now, uses: 0 }
    }
}

/// All entries in memory, each of them stored.
pub(crate) struct Cache {
    database: Database,
    entries: Mutex<HashMap<String, Entry>>,
    /// Used since the database was told.
    used: Mutex<BTreeSet<String>>,
}

impl Cache {
    pub fn open(database: Database) -> Result<Self, metadata::Error> {
        let entries = database.view(|tx| CACHE.list(tx, ""))?;
        Ok(Self { database, entries: Mutex::new(entries.into_iter().collect()), used: Mutex::default() })
    }

    pub fn find(&self, key: &Digest) -> Option<Entry> {
        let mut entries = self.entries();
        let key = key.to_string();
        let entry = entries.get_mut(&key)?;
        entry.last_used = now();
        entry.uses += 1;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        Some(entry.clone())
    }

    /// Not synced: after a loss of power a step is just made again.
    pub async fn put(&self, key: &Digest, entry: Entry) -> Result<(), metadata::Error> {
        let key = key.to_string();
        self.entries().insert(key.clone(), entry.clone());
        self.database.write(Durability::Lazy, move |tx| CACHE.put(tx, &key, &entry)).await
    }

    /// Stores when entries were used, which the database does not know yet.
    pub async fn store_uses(&self) -> Result<(), metadata::Error> {
        let keys = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if keys.is_empty() {
            return Ok(());
        }
        let used = self.with_entries(keys);
        let store =
            move |tx: &mut metadata::WriteTx<'_>| used.iter().try_for_each(|(key, entry)| CACHE.put(tx, key, entry));
        self.database.write(Durability::Lazy, store).await
    }

    fn with_entries(&self, keys: BTreeSet<String>) -> Vec<(String, Entry)> {
        let entries = self.entries();
        keys.into_iter().filter_map(|key| entries.get(&key).cloned().map(|entry| (key, entry))).collect()
    }

    pub async fn remove(&self, keys: Vec<String>) -> Result<(), metadata::Error> {
        for key in &keys {
            self.entries().remove(key);
        }
        let delete =
            move |tx: &mut metadata::WriteTx<'_>| keys.iter().try_for_each(|key| CACHE.delete(tx, key).map(|_| ()));
        self.database.write(Durability::Lazy, delete).await
    }

    /// The newest first.
    pub fn list(&self) -> Vec<CacheRecord> {
        let record = |(id, entry): (&String, &Entry)| CacheRecord {
            id: id.clone(),
            parent: entry.parent.clone(),
            description: entry.description.clone(),
            bytes: entry.bytes,
            created: entry.created,
            last_used: entry.last_used,
            uses: entry.uses,
        };
        let mut records: Vec<CacheRecord> = self.entries().iter().map(record).collect();
        records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        records
    }

    /// Keys that a limit wants gone, and the bytes that come free.
    pub fn beyond(&self, limits: Limits) -> (Vec<String>, u64) {
        let entries = self.entries();
        let kept = |(key, entry): (&String, &Entry)| Kept {
            key: key.clone(),
            parent: entry.parent.clone(),
            bytes: entry.bytes,
            last_used: entry.last_used,
        };
        let kept: Vec<Kept> = entries.iter().map(kept).collect();
        let going = to_forget(&kept, limits);
        let bytes = going.iter().filter_map(|key| entries.get(key)).map(|entry| entry.bytes).sum();
        (going, bytes)
    }

    /// Whether so many entries or bytes are there that a look is due.
    pub fn passes(&self, limits: Limits) -> bool {
        let entries = self.entries();
        entries.len() > limits.entries || entries.values().map(|entry| entry.bytes).sum::<u64>() > limits.bytes
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries().contains_key(key)
    }

    pub fn has_layer(&self, key: &str) -> bool {
        self.entries().get(key).is_some_and(|entry| entry.has_layer)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
