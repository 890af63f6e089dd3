//! Images: names of content. This service owns their records.

use std::borrow::Cow;
use std::time::SystemTime;

use containerd_api::events::{ImageCreate, ImageDelete, ImageUpdate};
use containerd_api::services::images::v1::Image;
use containerd_api::types::Descriptor;
use containerd_api::{Timestamp, time};
use ids::Digest;
use metadata::Durability;

use crate::collect::Collector;
use crate::error::{Error, Result};
use crate::events::Exchange;
use crate::filter::{Fields, Filter, label, non_empty};
use crate::records::{IMAGES, Store, Stored, ensure_namespace, key, prefix};
use crate::{identifier, messages};

/// The longest name of an image.
const MAX_NAME_BYTES: usize = 4096;

#[derive(Clone)]
pub struct Images {
    store: Store,
    events: Exchange,
    collector: Collector,
}

impl Images {
    pub fn new(store: Store, events: Exchange, collector: Collector) -> Self {
        Self { store, events, collector }
    }

    pub fn get(&self, namespace: &str, name: &str) -> Result<Image> {
        let found = self.store.database.view(|tx| IMAGES.get(tx, &key(namespace, name)))?;
        found.map(|stored| stored.0).ok_or_else(|| messages::image_not_found(name))
    }

    pub fn list(&self, namespace: &str, filters: &[String]) -> Result<Vec<Image>> {
        let filter = Filter::parse_all(filters)?;
        let all = self.store.database.view(|tx| IMAGES.list(tx, &prefix(namespace)))?;
        Ok(all.into_iter().map(|(_, stored)| stored.0).filter(|image| filter.matches(image)).collect())
    }

    /// Stores a new name. `epoch` takes the place of the present, for reproducible builds.
    pub async fn create(&self, namespace: &str, mut image: Image, epoch: Option<Timestamp>) -> Result<Image> {
        check(&image)?;
        let now = epoch.unwrap_or_else(now);
        (image.created_at, image.updated_at) = (Some(now), Some(now));
        let owner = namespace.to_owned();
        let image = self
            .store
            .database
            .write(Durability::Synced, move |tx| {
                let key = key(&owner, &image.name);
                if IMAGES.contains(tx, &key)? {
                    return Err(messages::image_exists(&image.name));
                }
                ensure_namespace(tx, &owner)?;
                let stored = Stored::new(image);
                IMAGES.put(tx, &key, &stored)?;
                Ok(stored.0)
            })
            .await?;
        let event = ImageCreate { name: image.name.clone(), labels: image.labels.clone() };
        self.events.publish(namespace, "/images/create", &event);
        Ok(image)
    }

    pub async fn update(
        &self,
        namespace: &str,
        image: Image,
        paths: Vec<String>,
        epoch: Option<Timestamp>,
    ) -> Result<Image> {
        if image.name.is_empty() {
            return Err(Error::InvalidArgument("image name is required for update: invalid argument".to_owned()));
        }
        let owner = namespace.to_owned();
        let updated = self
            .store
            .database
            .write(Durability::Synced, move |tx| {
                let key = key(&owner, &image.name);
                let stored = IMAGES.get(tx, &key)?;
                let mut updated =
                    stored.map(|stored| stored.0).ok_or_else(|| messages::image_not_found(&image.name))?;
                merge(&mut updated, image, &paths)?;
                check(&updated)?;
                updated.updated_at = Some(epoch.unwrap_or_else(now));
                let stored = Stored::new(updated);
                IMAGES.put(tx, &key, &stored)?;
                Ok::<_, Error>(stored.0)
            })
            .await?;
        // The old target may have lost its last name.
        self.collector.schedule();
        let event = ImageUpdate { name: updated.name.clone(), labels: updated.labels.clone() };
        self.events.publish(namespace, "/images/update", &event);
        Ok(updated)
    }

    /// Removes a name, only if it still means `target` where one is given.
    pub async fn delete(&self, namespace: &str, name: &str, target: Option<String>) -> Result<()> {
        let (owner, gone) = (namespace.to_owned(), name.to_owned());
        self.store
            .database
            .write(Durability::Synced, move |tx| {
                let key = key(&owner, &gone);
                let stored = IMAGES.get(tx, &key)?.ok_or_else(|| messages::image_not_found(&gone))?;
                let current = stored.0.target.map(|target| target.digest).unwrap_or_default();
                if let Some(wanted) = target.filter(|wanted| !wanted.is_empty() && *wanted != current) {
                    return Err(Error::NotFound(format!(
                        "image {gone:?} has target {current}, not {wanted}: not found"
                    )));
                }
                IMAGES.delete(tx, &key)?;
                Ok(())
            })
            .await?;
        self.collector.schedule();
        self.events.publish(namespace, "/images/delete", &ImageDelete { name: name.to_owned() });
        Ok(())
    }
}

fn merge(updated: &mut Image, given: Image, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        let created_at = updated.created_at;
        *updated = Image { created_at, ..given };
        return Ok(());
    }
    for path in paths {
        let annotations = given.target.as_ref().map(|target| target.annotations.clone()).unwrap_or_default();
        if let Some(name) = path.strip_prefix("labels.") {
            let value = given.labels.get(name).cloned().unwrap_or_default();
            updated.labels.insert(name.to_owned(), value);
        } else if let Some(name) = path.strip_prefix("annotations.") {
            let value = annotations.get(name).cloned().unwrap_or_default();
            updated.target.get_or_insert_with(Descriptor::default).annotations.insert(name.to_owned(), value);
        } else {
            match path.as_str() {
                "labels" => updated.labels = given.labels.clone(),
                "target" => updated.target = given.target.clone(),
                "annotations" => updated.target.get_or_insert_with(Descriptor::default).annotations = annotations,
                _ => {
                    return Err(Error::InvalidArgument(format!(
                        "cannot update {path:?} field on image {:?}: invalid argument",
                        updated.name
                    )));
                }
            }
        }
    }
    Ok(())
}

fn check(image: &Image) -> Result<()> {
    let invalid = |text: String| Error::InvalidArgument(format!("{text}: invalid argument"));
    if image.name.is_empty() || image.name.len() > MAX_NAME_BYTES {
        return Err(invalid("image name must not be empty".to_owned()));
    }
    identifier::check_labels(&image.labels)
        .map_err(|error| Error::InvalidArgument(format!("image.Labels: {error}")))?;
    let target = image.target.clone().unwrap_or_default();
    target.digest.parse::<Digest>().map_err(|error| invalid(format!("Target.Digest {:?}: {error}", target.digest)))?;
    if target.size <= 0 {
        return Err(invalid("Target.Size must be greater than zero".to_owned()));
    }
    if target.media_type.is_empty() {
        return Err(invalid("Target.MediaType must be set".to_owned()));
    }
    Ok(())
}

fn now() -> Timestamp {
    time::to_timestamp(SystemTime::now())
}

impl Fields for Image {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match (path[0], path.get(1).copied()) {
            ("name", _) => non_empty(&self.name),
            ("target", Some("digest")) => non_empty(&self.target.as_ref()?.digest),
            ("target", Some("mediatype")) => non_empty(&self.target.as_ref()?.media_type),
            ("labels", _) => label(&path[1..], &self.labels),
            ("annotations", _) => label(&path[1..], &self.target.as_ref()?.annotations),
            _ => None,
        }
    }
}
