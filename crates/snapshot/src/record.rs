//! What the database holds of a snapshot, and the rules of its state.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metadata::{Labels, Read, Table, WriteTx, join_key, split_key};
use serde::{Deserialize, Serialize};

use crate::{Error, Info, Usage};

/// What can be done with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    View,
    Active,
    Committed,
}

/// Key: namespace, name.
const SNAPSHOTS: Table<Record> = Table::new("snapshots-overlayfs");
/// Key: namespace, parent, child.
const CHILDREN: Table<()> = Table::new("snapshots-overlayfs-children");
/// Longest name: containerd's are chain digests and container ids.
const MAX_NAME_BYTES: usize = 1024;
/// Overlayfs stacks no more lower layers (OVL_MAX_STACK in fs/overlayfs).
const MAX_LAYERS: usize = 500;

/// Times in nanoseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Name of the folder.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(crate) labels: Labels,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) inodes: u64,
    /// Boot in which it was committed, until its files are synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsynced_boot: Option<String>,
}

/// A snapshot and the folders of its ancestors, nearest first.
pub(crate) struct Chain {
    pub(crate) record: Record,
    pub(crate) parents: Vec<u64>,
}

impl Record {
    pub(crate) fn new(id: u64, kind: Kind, parent: Option<String>, labels: Labels) -> Self {
        let now = nanos_now();
        Self { id, kind, parent, labels, created: now, updated: now, bytes: 0, inodes: 0, unsynced_boot: None }
    }

    pub(crate) fn info(self, name: &str) -> Info {
        let time = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
        Info {
            name: name.to_owned(),
            kind: self.kind,
            parent: self.parent,
            labels: self.labels,
            created_at: time(self.created),
            updated_at: time(self.updated),
        }
    }
}

impl Info {
    /// The fields that containerd's filters can name.
    pub(crate) fn field(&self, path: &[&str]) -> Option<String> {
        let kind = || match self.kind {
            Kind::View => "view",
            Kind::Active => "active",
            Kind::Committed => "committed",
        };
        match path {
            ["kind"] => Some(kind().to_owned()),
            ["name"] => Some(self.name.clone()),
            ["parent"] => self.parent.clone(),
            ["labels", rest @ ..] => self.labels.get(&rest.join(".")).cloned(),
            _ => None,
        }
    }
}

pub(crate) fn find(tx: &impl Read, namespace: &str, name: &str) -> Result<Record, Error> {
    let record = SNAPSHOTS.get(tx, &join_key(&[namespace, name]))?;
    record.ok_or_else(|| Error::NotFound { name: name.to_owned() })
}

pub(crate) fn find_chain(tx: &impl Read, namespace: &str, name: &str) -> Result<Chain, Error> {
    let record = find(tx, namespace, name)?;
    let parents = parent_ids(tx, namespace, record.parent.as_deref())?;
    Ok(Chain { record, parents })
}

/// Folders from a parent down to the base.
pub(crate) fn parent_ids(tx: &impl Read, namespace: &str, parent: Option<&str>) -> Result<Vec<u64>, Error> {
    let (mut ids, mut next) = (Vec::new(), parent.map(ToOwned::to_owned));
    while let Some(name) = next.take() {
        let record = find(tx, namespace, &name).map_err(|error| match error {
            Error::NotFound { name } => Error::NoParent { name },
            other => other,
        })?;
        ids.push(record.id);
        if ids.len() > MAX_LAYERS {
            return Err(Error::TooDeep { name, depth: ids.len(), limit: MAX_LAYERS });
        }
        next = record.parent;
    }
    Ok(ids)
}

/// Records of one namespace.
pub(crate) fn list(tx: &impl Read, namespace: &str) -> Result<Vec<(String, Record)>, Error> {
    let pairs = SNAPSHOTS.list(tx, &join_key(&[namespace]))?;
    Ok(pairs.into_iter().filter_map(|(key, record)| Some((split_key(&key).pop()?, record))).collect())
}

/// Records of all namespaces: namespace, name, record.
pub(crate) fn list_all(tx: &impl Read) -> Result<Vec<(String, String, Record)>, Error> {
    let mut all = Vec::new();
    for (key, record) in SNAPSHOTS.list(tx, "")? {
        if let [namespace, name] = split_key(&key).as_slice() {
            all.push((namespace.clone(), name.clone(), record));
        }
    }
    Ok(all)
}

/// Stores a new active snapshot or view.
pub(crate) fn insert(tx: &mut WriteTx<'_>, namespace: &str, key: &str, record: &Record) -> Result<(), Error> {
    check_name(namespace, key)?;
    if let Some(parent) = &record.parent {
        let found = find(tx, namespace, parent).map_err(|_| Error::NoParent { name: parent.clone() })?;
        if found.kind != Kind::Committed {
            return Err(Error::ParentNotCommitted { name: parent.clone() });
        }
        CHILDREN.put(tx, &join_key(&[namespace, parent, key]), &())?;
    }
    insert_new(tx, namespace, key, record)
}

/// Moves an active snapshot to its committed name.
pub(crate) fn commit(
    tx: &mut WriteTx<'_>,
    namespace: &str,
    name: &str,
    key: &str,
    labels: Labels,
    usage: Usage,
    boot: &str,
) -> Result<(), Error> {
    check_name(namespace, name)?;
    let active = find(tx, namespace, key)?;
    if active.kind != Kind::Active {
        return Err(Error::NotActive { name: key.to_owned() });
    }
    let mut committed = Record::new(active.id, Kind::Committed, active.parent.clone(), labels);
    (committed.bytes, committed.inodes) = (usage.bytes, usage.inodes);
    committed.unsynced_boot = Some(boot.to_owned());
    insert_new(tx, namespace, name, &committed)?;
    if let Some(parent) = &active.parent {
        CHILDREN.delete(tx, &join_key(&[namespace, parent, key]))?;
        CHILDREN.put(tx, &join_key(&[namespace, parent, name]), &())?;
    }
    SNAPSHOTS.delete(tx, &join_key(&[namespace, key]))?;
    Ok(())
}

pub(crate) fn has_child(tx: &impl Read, namespace: &str, name: &str) -> Result<bool, Error> {
    Ok(!CHILDREN.keys(tx, &join_key(&[namespace, name]))?.is_empty())
}

/// Removes a record without children and answers it.
pub(crate) fn remove(tx: &mut WriteTx<'_>, namespace: &str, name: &str) -> Result<Record, Error> {
    let record = find(tx, namespace, name)?;
    if has_child(tx, namespace, name)? {
        return Err(Error::HasChild);
    }
    if let Some(parent) = &record.parent {
        CHILDREN.delete(tx, &join_key(&[namespace, parent, name]))?;
    }
    SNAPSHOTS.delete(tx, &join_key(&[namespace, name]))?;
    Ok(record)
}

pub(crate) fn replace(tx: &mut WriteTx<'_>, namespace: &str, name: &str, record: &Record) -> Result<(), Error> {
    Ok(SNAPSHOTS.put(tx, &join_key(&[namespace, name]), record)?)
}

fn insert_new(tx: &mut WriteTx<'_>, namespace: &str, name: &str, record: &Record) -> Result<(), Error> {
    let key = join_key(&[namespace, name]);
    if SNAPSHOTS.contains(tx, &key)? {
        return Err(Error::AlreadyExists { name: name.to_owned() });
    }
    Ok(SNAPSHOTS.put(tx, &key, record)?)
}

fn check_name(namespace: &str, name: &str) -> Result<(), Error> {
    let good = |text: &str| !text.is_empty() && text.len() <= MAX_NAME_BYTES;
    if good(namespace) && good(name) { Ok(()) } else { Err(Error::Name { limit: MAX_NAME_BYTES }) }
}

pub(crate) fn nanos_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
