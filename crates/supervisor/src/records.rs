//! The tables of the daemon's database that the supervisor owns: namespaces, leases, containers, images.
//!
//! Keys are `namespace, name`. Containers and images are stored as the messages in which they are asked for and answered.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use containerd_api::prost::Message;
use containerd_api::services::{containers::v1::Container, images::v1::Image};
use metadata::{Database, Table, WriteTx, join_key};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;

pub type Labels = HashMap<String, String>;

pub const NAMESPACES: Table<Labels> = Table::new("namespaces");
pub const LEASES: Table<LeaseRecord> = Table::new("leases");
pub const CONTAINERS: Table<Stored<Container>> = Table::new("containers");
pub const IMAGES: Table<Stored<Image>> = Table::new("images");

/// A lease and what it holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub created_at_seconds: i64,
    pub created_at_nanos: i32,
    pub labels: Labels,
    /// (type, id), each once.
    pub resources: BTreeSet<(String, String)>,
}

/// A message as a value of a table: its bytes in base 64.
#[derive(Debug, Clone)]
pub struct Stored<M>(pub M, PhantomData<()>);

impl<M> Stored<M> {
    pub fn new(message: M) -> Self {
        Self(message, PhantomData)
    }
}

impl<M: Message> Serialize for Stored<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0.encode_to_vec()))
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Stored<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(D::Error::custom)?;
        M::decode(bytes.as_slice()).map(Self::new).map_err(D::Error::custom)
    }
}

/// The key of an object in a namespace.
pub fn key(namespace: &str, name: &str) -> String {
    join_key(&[namespace, name])
}

/// What the keys of a namespace's objects begin with.
pub fn prefix(namespace: &str) -> String {
    join_key(&[namespace])
}

/// Makes a namespace that is not there yet: it comes to be with its first object, as in containerd.
pub fn ensure_namespace(tx: &mut WriteTx<'_>, namespace: &str) -> Result<()> {
    if !NAMESPACES.contains(tx, namespace)? {
        NAMESPACES.put(tx, namespace, &Labels::new())?;
    }
    Ok(())
}

/// The database, and which namespaces are known to exist.
#[derive(Clone)]
pub struct Store {
    pub database: Database,
    known: Arc<Mutex<BTreeSet<String>>>,
}

impl Store {
    pub fn new(database: Database) -> Self {
        Self { database, known: Arc::default() }
    }

    /// As [`ensure_namespace`], for objects that other crates store.
    pub async fn ensure(&self, namespace: &str) -> Result<()> {
        crate::identifier::check(namespace)?;
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(namespace) {
            return Ok(());
        }
        let name = namespace.to_owned();
        self.database.write(metadata::Durability::Lazy, move |tx| ensure_namespace(tx, &name)).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
        Ok(())
    }

    /// A namespace was deleted.
    pub fn forget(&self, namespace: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
    }
}
