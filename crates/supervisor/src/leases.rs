//! Leases: what must not be collected although nothing refers to it yet. This service owns their records.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

use containerd_api::services::leases::v1::{Lease, Resource};
use containerd_api::{Timestamp, time};
use ids::Digest;
use metadata::{Durability, WriteTx, split_key};

use crate::collect::Collector;
use crate::error::{Error, Result};
use crate::filter::{Fields, Filter, label, non_empty};
use crate::records::{LEASES, LeaseRecord, Store, ensure_namespace, key, prefix};
use crate::{identifier, messages};

/// The most things one lease may hold.
const MAX_RESOURCES: usize = 100_000;

/// The caller of an operation: its namespace, and the lease under which new things are put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub namespace: String,
    pub lease: Option<String>,
}

#[derive(Clone)]
pub struct Leases {
    store: Store,
    collector: Collector,
}

impl Leases {
    pub fn new(store: Store, collector: Collector) -> Self {
        Self { store, collector }
    }

    pub async fn create(&self, namespace: &str, id: &str, labels: HashMap<String, String>) -> Result<Lease> {
        if id.is_empty() {
            return Err(Error::InvalidArgument("lease id must be provided: invalid argument".to_owned()));
        }
        if id.len() > identifier::MAX_LENGTH * 4 {
            return Err(Error::InvalidArgument("lease id is too long: invalid argument".to_owned()));
        }
        identifier::check_labels(&labels)?;
        let now = time::to_timestamp(SystemTime::now());
        let record = LeaseRecord {
            created_at_seconds: now.seconds,
            created_at_nanos: now.nanos,
            labels,
            resources: Default::default(),
        };
        let (owner, id) = (namespace.to_owned(), id.to_owned());
        // What a lease protects dies with power as well: it is unreferenced, and the next collection takes it.
        self.store
            .database
            .write(Durability::Lazy, move |tx| {
                let key = key(&owner, &id);
                if LEASES.contains(tx, &key)? {
                    return Err(messages::lease_exists(&id));
                }
                ensure_namespace(tx, &owner)?;
                LEASES.put(tx, &key, &record)?;
                Ok(lease(id, record))
            })
            .await
    }

    pub async fn delete(&self, namespace: &str, id: &str) -> Result<()> {
        let (owner, id) = (namespace.to_owned(), id.to_owned());
        self.store
            .database
            .write(Durability::Lazy, move |tx| {
                if LEASES.delete(tx, &key(&owner, &id))? { Ok(()) } else { Err(messages::lease_not_found(&id)) }
            })
            .await?;
        self.collector.schedule();
        Ok(())
    }

    pub fn list(&self, namespace: &str, filters: &[String]) -> Result<Vec<Lease>> {
        let filter = Filter::parse_all(filters)?;
        let all = self.store.database.view(|tx| LEASES.list(tx, &prefix(namespace)))?;
        let leases = all.into_iter().map(|(key, record)| lease(split_key(&key).pop().unwrap_or_default(), record));
        Ok(leases.filter(|lease| filter.matches(lease)).collect())
    }

    pub async fn add_resource(&self, namespace: &str, id: &str, resource: Resource) -> Result<()> {
        check(&resource)?;
        self.change(namespace, id, move |record, id| {
            record.resources.insert((resource.r#type, resource.id));
            if record.resources.len() > MAX_RESOURCES {
                return Err(Error::FailedPrecondition(format!(
                    "lease {id:?} holds more than {MAX_RESOURCES} resources: failed precondition"
                )));
            }
            Ok(())
        })
        .await
    }

    pub async fn delete_resource(&self, namespace: &str, id: &str, resource: Resource) -> Result<()> {
        check(&resource)?;
        self.change(namespace, id, move |record, _| {
            record.resources.remove(&(resource.r#type, resource.id));
            Ok(())
        })
        .await?;
        self.collector.schedule();
        Ok(())
    }

    pub fn resources(&self, namespace: &str, id: &str) -> Result<Vec<Resource>> {
        let found = self.store.database.view(|tx| LEASES.get(tx, &key(namespace, id)))?;
        let record = found.ok_or_else(|| messages::lease_not_found(id))?;
        Ok(record.resources.into_iter().map(|(r#type, id)| Resource { id, r#type }).collect())
    }

    /// Puts something under the lease of a scope, before it is made: a lease may hold what is not there.
    pub async fn hold(&self, scope: &Scope, r#type: &str, id: &str) -> Result<()> {
        self.hold_all(scope, vec![(r#type.to_owned(), id.to_owned())]).await
    }

    /// The same for several things at once.
    pub async fn hold_all(&self, scope: &Scope, held: Vec<(String, String)>) -> Result<()> {
        let Some(lease) = &scope.lease else { return Ok(()) };
        let known = self.store.database.view(|tx| LEASES.get(tx, &key(&scope.namespace, lease)))?;
        if known.is_some_and(|record| held.iter().all(|thing| record.resources.contains(thing))) {
            return Ok(());
        }
        self.change(&scope.namespace, lease, move |record, _| {
            record.resources.extend(held);
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        namespace: &str,
        id: &str,
        change: impl FnOnce(&mut LeaseRecord, &str) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (owner, id) = (namespace.to_owned(), id.to_owned());
        self.store
            .database
            .write(Durability::Lazy, move |tx: &mut WriteTx<'_>| {
                let key = key(&owner, &id);
                let mut record = LEASES.get(tx, &key)?.ok_or_else(|| messages::lease_not_found(&id))?;
                change(&mut record, &id)?;
                LEASES.put(tx, &key, &record)?;
                Ok(())
            })
            .await
    }
}

fn check(resource: &Resource) -> Result<()> {
    let (kind, rest) = match resource.r#type.split_once('/') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (resource.r#type.as_str(), None),
    };
    let invalid = |text: String| Err(Error::InvalidArgument(format!("{text}: invalid argument")));
    match (kind, rest) {
        ("content", None) => match resource.id.parse::<Digest>() {
            Ok(_) => Ok(()),
            Err(error) => invalid(format!("invalid content resource id {}: {error}", resource.id)),
        },
        ("ingests" | "images", None) => Ok(()),
        ("snapshots", Some(name)) if !name.is_empty() && !name.contains('/') => Ok(()),
        ("snapshots", _) => invalid(format!("invalid snapshot resource type {}", resource.r#type)),
        ("content" | "ingests" | "images", _) => invalid(format!("invalid resource type {}", resource.r#type)),
        _ => {
            Err(Error::NotImplemented(format!("resource type {} not supported yet: not implemented", resource.r#type)))
        }
    }
}

fn lease(id: String, record: LeaseRecord) -> Lease {
    let created_at = Some(Timestamp { seconds: record.created_at_seconds, nanos: record.created_at_nanos });
    Lease { id, created_at, labels: record.labels }
}

impl Fields for Lease {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path[0] {
            "id" => non_empty(&self.id),
            "labels" => label(&path[1..], &self.labels),
            _ => None,
        }
    }
}
