//! Namespaces: each a world of its own names. This service owns their records.

use std::collections::HashMap;

use containerd_api::events::{NamespaceCreate, NamespaceDelete, NamespaceUpdate};
use containerd_api::services::namespaces::v1::Namespace;
use metadata::Durability;

use crate::error::{Error, Result};
use crate::events::Exchange;
use crate::records::{CONTAINERS, IMAGES, LEASES, NAMESPACES, Store, prefix};
use crate::{identifier, messages};

#[derive(Clone)]
pub struct Namespaces {
    store: Store,
    events: Exchange,
}

impl Namespaces {
    pub fn new(store: Store, events: Exchange) -> Self {
        Self { store, events }
    }

    /// The labels of a namespace. One that nobody has made has none, which is no error: clients look before they create
    /// anything (containerd's `NewWithConn` does).
    pub fn get(&self, name: &str) -> Result<Namespace> {
        identifier::check(name)?;
        let labels = self.store.database.view(|tx| NAMESPACES.get(tx, name))?.unwrap_or_default();
        Ok(Namespace { name: name.to_owned(), labels })
    }

    pub fn list(&self) -> Result<Vec<Namespace>> {
        let all = self.store.database.view(|tx| NAMESPACES.list(tx, ""))?;
        Ok(all.into_iter().map(|(name, labels)| Namespace { name, labels }).collect())
    }

    pub async fn create(&self, namespace: Namespace) -> Result<Namespace> {
        identifier::check(&namespace.name)?;
        identifier::check_labels(&namespace.labels)?;
        let created = self
            .store
            .database
            .write(Durability::Synced, move |tx| {
                if NAMESPACES.contains(tx, &namespace.name)? {
                    return Err(messages::namespace_exists(&namespace.name));
                }
                NAMESPACES.put(tx, &namespace.name, &namespace.labels)?;
                Ok(namespace)
            })
            .await?;
        let event = NamespaceCreate { name: created.name.clone(), labels: created.labels.clone() };
        self.events.publish(&created.name, "/namespaces/create", &event);
        Ok(created)
    }

    /// Sets the labels that `paths` name (`labels.x`), or all; an empty value takes a label away.
    pub async fn update(&self, given: Namespace, paths: Vec<String>) -> Result<Namespace> {
        identifier::check(&given.name)?;
        let updated = self
            .store
            .database
            .write(Durability::Synced, move |tx| {
                let mut labels = NAMESPACES.get(tx, &given.name)?.unwrap_or_default();
                if paths.is_empty() {
                    labels = HashMap::new();
                }
                let all = paths.is_empty() || paths.iter().any(|path| path == "labels");
                let named: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix("labels.")).collect();
                if let Some(path) = paths.iter().find(|path| *path != "labels" && !path.starts_with("labels.")) {
                    return Err(messages::field_immutable(&given.name, path));
                }
                for (name, value) in &given.labels {
                    if all || named.contains(&name.as_str()) {
                        labels.insert(name.clone(), value.clone());
                    }
                }
                labels.retain(|_, value| !value.is_empty());
                identifier::check_labels(&labels)?;
                NAMESPACES.put(tx, &given.name, &labels)?;
                Ok::<_, Error>(Namespace { name: given.name, labels })
            })
            .await?;
        let event = NamespaceUpdate { name: updated.name.clone(), labels: updated.labels.clone() };
        self.events.publish(&updated.name, "/namespaces/update", &event);
        Ok(updated)
    }

    /// Deletes an empty namespace. `others` names what the caller knows to be in it besides records of ours.
    pub async fn delete(&self, name: &str, others: Vec<&'static str>) -> Result<()> {
        let gone = name.to_owned();
        self.store
            .database
            .write(Durability::Synced, move |tx| {
                if !NAMESPACES.contains(tx, &gone)? {
                    return Err(messages::namespace_not_found(&gone));
                }
                let prefix = prefix(&gone);
                let mut still = Vec::new();
                if !IMAGES.keys(tx, &prefix)?.is_empty() {
                    still.push("images");
                }
                still.extend(others);
                if !CONTAINERS.keys(tx, &prefix)?.is_empty() {
                    still.push("containers");
                }
                if !still.is_empty() {
                    return Err(messages::namespace_not_empty(&gone, &still));
                }
                LEASES.delete_prefix(tx, &prefix)?;
                NAMESPACES.delete(tx, &gone)?;
                Ok(())
            })
            .await?;
        self.store.forget(name);
        self.events.publish(name, "/namespaces/delete", &NamespaceDelete { name: name.to_owned() });
        Ok(())
    }
}
