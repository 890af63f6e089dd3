//! Containers: what a task is made from. This service owns their records.

use std::borrow::Cow;
use std::time::SystemTime;

use containerd_api::events::{ContainerCreate, ContainerDelete, ContainerUpdate, container_create};
use containerd_api::services::containers::v1::Container;
use containerd_api::{Timestamp, time};
use metadata::Durability;

use crate::collect::Collector;
use crate::error::{Error, Result};
use crate::events::Exchange;
use crate::filter::{Fields, Filter, label, non_empty};
use crate::records::{CONTAINERS, Store, Stored, ensure_namespace, key, prefix};
use crate::{identifier, messages};

/// A container with this label dies with the machine: its record needs no sync.
const EPHEMERAL: &str = "com.longshore/ephemeral";

#[derive(Clone)]
pub struct Containers {
    store: Store,
    events: Exchange,
    collector: Collector,
}

impl Containers {
    pub fn new(store: Store, events: Exchange, collector: Collector) -> Self {
        Self { store, events, collector }
    }

    pub fn get(&self, namespace: &str, id: &str) -> Result<Container> {
        let found = self.store.database.view(|tx| CONTAINERS.get(tx, &key(namespace, id)))?;
        found.map(|stored| stored.0).ok_or_else(|| messages::container_not_found(namespace, id))
    }

    pub fn list(&self, namespace: &str, filters: &[String]) -> Result<Vec<Container>> {
        let filter = Filter::parse_all(filters)?;
        let all = self.store.database.view(|tx| CONTAINERS.list(tx, &prefix(namespace)))?;
        Ok(all.into_iter().map(|(_, stored)| stored.0).filter(|container| filter.matches(container)).collect())
    }

    pub async fn create(&self, namespace: &str, mut container: Container) -> Result<Container> {
        check(&container).map_err(|error| prefixed("create container failed validation", error))?;
        let now = now();
        (container.created_at, container.updated_at) = (Some(now), Some(now));
        let durability = durability(&container);
        let name = namespace.to_owned();
        let container = self
            .store
            .database
            .write(durability, move |tx| {
                let key = key(&name, &container.id);
                if CONTAINERS.contains(tx, &key)? {
                    return Err(messages::container_exists(&container.id));
                }
                ensure_namespace(tx, &name)?;
                let stored = Stored::new(container);
                CONTAINERS.put(tx, &key, &stored)?;
                Ok(stored.0)
            })
            .await?;
        let runtime = container
            .runtime
            .clone()
            .map(|runtime| container_create::Runtime { name: runtime.name, options: runtime.options });
        let event = ContainerCreate { id: container.id.clone(), image: container.image.clone(), runtime };
        self.events.publish(namespace, "/containers/create", &event);
        Ok(container)
    }

    /// Replaces the fields that `paths` name; all that may change when there are none.
    pub async fn update(&self, namespace: &str, container: Container, paths: Vec<String>) -> Result<Container> {
        if container.id.is_empty() {
            return Err(Error::InvalidArgument("must specify a container id: invalid argument".to_owned()));
        }
        let name = namespace.to_owned();
        let durability = durability(&self.get(namespace, &container.id)?);
        let updated = self
            .store
            .database
            .write(durability, move |tx| {
                let key = key(&name, &container.id);
                let stored = CONTAINERS.get(tx, &key)?;
                let mut updated =
                    stored.map(|stored| stored.0).ok_or_else(|| messages::container_not_found(&name, &container.id))?;
                merge(&mut updated, container, &paths)?;
                check(&updated).map_err(|error| prefixed("update failed validation", error))?;
                updated.updated_at = Some(now());
                let stored = Stored::new(updated);
                CONTAINERS.put(tx, &key, &stored)?;
                Ok::<_, Error>(stored.0)
            })
            .await?;
        let event = ContainerUpdate {
            id: updated.id.clone(),
            image: updated.image.clone(),
            labels: updated.labels.clone(),
            snapshot_key: updated.snapshot_key.clone(),
        };
        self.events.publish(namespace, "/containers/update", &event);
        Ok(updated)
    }

    pub async fn delete(&self, namespace: &str, id: &str) -> Result<()> {
        let durability = durability(&self.get(namespace, id)?);
        let (name, gone) = (namespace.to_owned(), id.to_owned());
        self.store
            .database
            .write(durability, move |tx| {
                if CONTAINERS.delete(tx, &key(&name, &gone))? {
                    Ok(())
                } else {
                    Err(messages::container_not_found(&name, &gone))
                }
            })
            .await?;
        self.collector.schedule();
        self.events.publish(namespace, "/containers/delete", &ContainerDelete { id: id.to_owned() });
        Ok(())
    }
}

fn merge(updated: &mut Container, given: Container, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        if updated.snapshotter != given.snapshotter {
            return Err(Error::InvalidArgument(
                "container.Snapshotter field is immutable: invalid argument".to_owned(),
            ));
        }
        let name = |container: &Container| container.runtime.as_ref().map(|runtime| runtime.name.clone());
        if name(updated) != name(&given) {
            return Err(Error::InvalidArgument(
                "container.Runtime.Name field is immutable: invalid argument".to_owned(),
            ));
        }
        (updated.labels, updated.spec, updated.extensions) = (given.labels, given.spec, given.extensions);
        (updated.image, updated.snapshot_key) = (given.image, given.snapshot_key);
        return Ok(());
    }
    for path in paths {
        if let Some(name) = path.strip_prefix("labels.") {
            let value = given.labels.get(name).cloned().unwrap_or_default();
            updated.labels.insert(name.to_owned(), value);
        } else if let Some(name) = path.strip_prefix("extensions.") {
            let value = given.extensions.get(name).cloned().unwrap_or_default();
            updated.extensions.insert(name.to_owned(), value);
        } else {
            match path.as_str() {
                "labels" => updated.labels = given.labels.clone(),
                "spec" => updated.spec = given.spec.clone(),
                "extensions" => updated.extensions = given.extensions.clone(),
                "image" => updated.image = given.image.clone(),
                "snapshotkey" | "snapshot_key" => updated.snapshot_key = given.snapshot_key.clone(),
                _ => return Err(messages::field_immutable(&updated.id, path)),
            }
        }
    }
    Ok(())
}

fn check(container: &Container) -> Result<()> {
    identifier::check(&container.id).map_err(|error| prefixed("container.ID", error))?;
    if container.extensions.contains_key("") {
        return Err(Error::InvalidArgument(
            "container.Extension keys must not be zero-length: invalid argument".to_owned(),
        ));
    }
    identifier::check_labels(&container.labels).map_err(|error| prefixed("containers.Labels", error))?;
    if container.runtime.as_ref().is_none_or(|runtime| runtime.name.is_empty()) {
        return Err(Error::InvalidArgument("container.Runtime.Name must be set: invalid argument".to_owned()));
    }
    if container.spec.is_none() {
        return Err(Error::InvalidArgument("container.Spec must be set: invalid argument".to_owned()));
    }
    if !container.snapshot_key.is_empty() && container.snapshotter.is_empty() {
        return Err(Error::InvalidArgument(
            "container.Snapshotter must be set if container.SnapshotKey is set: invalid argument".to_owned(),
        ));
    }
    Ok(())
}

fn prefixed(what: &str, error: Error) -> Error {
    Error::InvalidArgument(format!("{what}: {error}"))
}

/// Whether a container need not outlive the machine.
pub fn is_ephemeral(container: &Container) -> bool {
    container.labels.contains_key(EPHEMERAL)
}

fn durability(container: &Container) -> Durability {
    if is_ephemeral(container) { Durability::Lazy } else { Durability::Synced }
}

fn now() -> Timestamp {
    time::to_timestamp(SystemTime::now())
}

impl Fields for Container {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match (path[0], path.get(1).copied()) {
            ("id", _) => non_empty(&self.id),
            ("runtime", Some("name")) => non_empty(&self.runtime.as_ref()?.name),
            ("image", _) => non_empty(&self.image),
            ("labels", _) => label(&path[1..], &self.labels),
            _ => None,
        }
    }
}
