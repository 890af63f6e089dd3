//! Image records: names and what they stand for.

use std::collections::HashMap;
use std::time::SystemTime;

use containerd_api::services::images::v1 as api;
use containerd_api::time::{from_timestamp, to_timestamp};
use containerd_api::{FieldMask, Timestamp};
use image_core::Descriptor;

use super::{Backend, found, from_wire, to_wire};
use crate::error::ImagesError;

/// Says which image a container was made of that became this one: Docker's own label for images in containerd.
const PARENT: &str = "org.mobyproject.image.parent";

/// A name in the image store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub name: String,
    pub target: Descriptor,
    pub labels: HashMap<String, String>,
    pub updated: SystemTime,
}

impl Record {
    pub fn new(name: String, target: Descriptor) -> Self {
        Self { name, target, labels: HashMap::new(), updated: SystemTime::UNIX_EPOCH }
    }

    /// The id of the image that a commit was laid on.
    pub fn with_parent(mut self, id: &str) -> Self {
        self.labels.insert(PARENT.to_owned(), id.to_owned());
        self
    }

    pub fn parent(&self) -> Option<&str> {
        self.labels.get(PARENT).map(String::as_str)
    }

    /// Another name for the same, with what is known of it.
    pub fn renamed(&self, name: String) -> Self {
        Self { name, ..self.clone() }
    }
}

impl Backend {
    pub async fn record(&self, name: &str) -> Result<Option<Record>, ImagesError> {
        let request = api::GetImageRequest { name: name.to_owned() };
        let answer = found(self.client.images().get(request).await.map_err(Into::into))?;
        answer.and_then(|answer| answer.into_inner().image).map(read).transpose()
    }

    /// All records, by name. One that cannot be read is somebody else's and left out.
    pub async fn records(&self) -> Result<Vec<Record>, ImagesError> {
        let request = api::ListImagesRequest { filters: Vec::new() };
        let images = self.client.images().list(request).await?.into_inner().images;
        let mut records: Vec<Record> = images.into_iter().filter_map(|image| read(image).ok()).collect();
        records.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(records)
    }

    /// Makes the name stand for this, whatever it stood for before.
    pub async fn put_record(&self, record: &Record) -> Result<(), ImagesError> {
        let now = to_timestamp(SystemTime::now());
        let request = api::CreateImageRequest { image: Some(write(record, now)), source_date_epoch: None };
        match self.client.images().create(request).await.map_err(ImagesError::from) {
            Err(error) if error.already_exists() => {}
            answer => return answer.map(|_| ()),
        }
        let paths = vec!["target".to_owned(), "labels".to_owned()];
        let request = api::UpdateImageRequest {
            image: Some(write(record, now)),
            update_mask: Some(FieldMask { paths }),
            source_date_epoch: None,
        };
        self.client.images().update(request).await?;
        Ok(())
    }

    /// Removes a name; with `collect` what nothing else refers to is gone when this returns.
    pub async fn delete_record(&self, name: &str, collect: Collect) -> Result<(), ImagesError> {
        let request = api::DeleteImageRequest { name: name.to_owned(), sync: collect == Collect::Now, target: None };
        found(self.client.images().delete(request).await.map_err(Into::into)).map(|_| ())
    }
}

/// When containerd collects what a removed record leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collect {
    Now,
    Later,
}

fn read(image: api::Image) -> Result<Record, ImagesError> {
    let target = image.target.ok_or_else(|| ImagesError::Store { what: "image", reason: "no target".to_owned() })?;
    let updated = from_timestamp(image.updated_at.as_ref());
    Ok(Record { name: image.name, target: from_wire(target)?, labels: image.labels, updated })
}

fn write(record: &Record, now: Timestamp) -> api::Image {
    api::Image {
        name: record.name.clone(),
        labels: record.labels.clone(),
        target: Some(to_wire(&record.target)),
        created_at: Some(now),
        updated_at: Some(now),
    }
}
