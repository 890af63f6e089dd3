//! Snapshots under the rules of leases and collection. The files and their records are the `snapshot` crate's.

use std::sync::Arc;

use containerd_api::events::{SnapshotCommit, SnapshotPrepare, SnapshotRemove};
use containerd_api::types::Mount;
use metadata::Labels;
use snapshot::{Extras, Info, Snapshotter, Usage};

use crate::collect::Collector;
use crate::contents::{blocking, with};
use crate::error::Result;
use crate::events::Exchange;
use crate::leases::{Leases, Scope};
use crate::messages;
use crate::records::Store;

#[derive(Clone)]
pub struct Snapshots {
    driver: Arc<dyn Snapshotter>,
    store: Store,
    leases: Leases,
    events: Exchange,
    collector: Collector,
}

/// What a new snapshot is.
#[derive(Debug, Clone, Default)]
pub struct NewSnapshot {
    pub key: String,
    pub parent: String,
    pub labels: Labels,
    pub kind: NewKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewKind {
    /// To be written to.
    #[default]
    Active,
    View,
}

impl Snapshots {
    pub fn new(
        driver: Arc<dyn Snapshotter>,
        store: Store,
        leases: Leases,
        events: Exchange,
        collector: Collector,
    ) -> Self {
        Self { driver, store, leases, events, collector }
    }

    /// The name of the driver; another one is not there.
    pub fn check_name(&self, snapshotter: &str) -> Result<()> {
        if snapshotter == self.driver.name() { Ok(()) } else { Err(messages::snapshotter_not_loaded(snapshotter)) }
    }

    pub async fn create(&self, scope: Scope, new: NewSnapshot) -> Result<Vec<Mount>> {
        self.store.ensure(&scope.namespace).await?;
        let pass = self.collector.pass().await;
        self.hold(&scope, &new.key).await?;
        let (driver, namespace) = (self.driver.clone(), scope.namespace.clone());
        let (key, parent) = (new.key.clone(), new.parent.clone());
        let mounts = blocking(move || {
            with(pass, || {
                let parent = (!parent.is_empty()).then_some(parent.as_str());
                let extras = Extras::labelled(new.labels);
                match new.kind {
                    NewKind::Active => driver.prepare(&namespace, &key, parent, extras),
                    NewKind::View => driver.view(&namespace, &key, parent, extras),
                }
            })
        })
        .await?;
        if new.kind == NewKind::Active {
            let snapshotter = self.driver.name().to_owned();
            let event = SnapshotPrepare { key: new.key, parent: new.parent, snapshotter };
            self.events.publish(&scope.namespace, "/snapshot/prepare", &event);
        }
        Ok(mounts.into_iter().map(mount).collect())
    }

    pub async fn mounts(&self, namespace: &str, key: &str) -> Result<Vec<Mount>> {
        Ok(self.driver.mounts(namespace, key)?.into_iter().map(mount).collect())
    }

    pub async fn commit(&self, scope: Scope, name: String, key: String, labels: Labels) -> Result<()> {
        let pass = self.collector.pass().await;
        self.hold(&scope, &name).await?;
        let (driver, namespace) = (self.driver.clone(), scope.namespace.clone());
        let (to, from) = (name.clone(), key.clone());
        let extras = Extras::labelled(labels);
        blocking(move || with(pass, || driver.commit(&namespace, &to, &from, extras))).await?;
        let event = SnapshotCommit { key, name, snapshotter: self.driver.name().to_owned() };
        self.events.publish(&scope.namespace, "/snapshot/commit", &event);
        Ok(())
    }

    pub async fn remove(&self, namespace: &str, key: String) -> Result<()> {
        let (driver, owner, gone) = (self.driver.clone(), namespace.to_owned(), key.clone());
        blocking(move || Ok(driver.remove(&owner, &gone)?)).await?;
        self.collector.schedule();
        let event = SnapshotRemove { key, snapshotter: self.driver.name().to_owned() };
        self.events.publish(namespace, "/snapshot/remove", &event);
        Ok(())
    }

    pub fn stat(&self, namespace: &str, key: &str) -> Result<Info> {
        Ok(self.driver.stat(namespace, key)?)
    }

    pub async fn update(&self, namespace: &str, key: String, labels: Labels, mask: Vec<String>) -> Result<Info> {
        let pass = self.collector.pass().await;
        let (driver, namespace) = (self.driver.clone(), namespace.to_owned());
        let info = blocking(move || with(pass, || driver.update(&namespace, &key, labels, &mask))).await?;
        self.collector.schedule();
        Ok(info)
    }

    pub async fn list(&self, namespace: &str, filters: Vec<String>) -> Result<Vec<Info>> {
        let (driver, namespace) = (self.driver.clone(), namespace.to_owned());
        blocking(move || Ok(driver.walk(&namespace, &filters)?)).await
    }

    pub async fn usage(&self, namespace: &str, key: String) -> Result<Usage> {
        let (driver, namespace) = (self.driver.clone(), namespace.to_owned());
        blocking(move || Ok(driver.usage(&namespace, &key)?)).await
    }

    /// Waits until the files of removed snapshots are gone.
    pub async fn cleanup(&self) -> Result<()> {
        let driver = self.driver.clone();
        blocking(move || Ok(driver.cleanup()?)).await
    }

    /// What a namespace holds, in containerd's word for it.
    pub fn kinds_in(&self, namespace: &str) -> Result<Vec<&'static str>> {
        Ok(if self.driver.walk(namespace, &[])?.is_empty() { Vec::new() } else { vec!["snapshots"] })
    }

    pub(crate) fn driver(&self) -> &dyn Snapshotter {
        self.driver.as_ref()
    }

    async fn hold(&self, scope: &Scope, key: &str) -> Result<()> {
        if scope.lease.is_none() {
            return Ok(());
        }
        self.leases.hold(scope, &format!("snapshots/{}", self.driver.name()), key).await
    }
}

fn mount(mount: snapshot::Mount) -> Mount {
    Mount { r#type: mount.kind, source: mount.source, options: mount.options, ..Mount::default() }
}
