//! The names that an image gets in the store: the one that was asked for, and those that an archive gives its images.

use std::collections::HashMap;
use std::time::SystemTime;

use containerd_api::services::images::v1::Image;
use containerd_api::types::transfer::{ImageReference, ImageStore};
use errors::{ErrorKind, Kind};
use image_core::{Descriptor, layout};

use crate::Task;
use crate::error::TransferError;
use crate::progress::to_proto;

impl Task<'_> {
    /// The names of the request for its target.
    pub(crate) async fn store_names(
        &self,
        store: &ImageStore,
        target: &Descriptor,
    ) -> Result<Vec<String>, TransferError> {
        let named = (!store.name.is_empty()).then(|| (store.name.clone(), store.labels.clone()));
        let extra = store.extra_references.iter().filter(|reference| !reference.is_prefix || reference.add_digest);
        let extra = extra.map(|reference| {
            let name = if reference.add_digest { with_digest(&reference.name, target) } else { reference.name.clone() };
            (name, extra_labels(store))
        });
        let all: Vec<_> = named.into_iter().chain(extra).collect();
        if all.is_empty() {
            return Err(TransferError::NotFound("no image name found".to_owned()));
        }
        self.name_all(all, target).await
    }

    /// The names of an archive's image, by what the archive says; maybe none.
    pub(crate) async fn store_annotated(
        &self,
        store: &ImageStore,
        target: &Descriptor,
    ) -> Result<Vec<String>, TransferError> {
        let all = store.extra_references.iter().filter(|reference| reference.is_prefix);
        let all = all.flat_map(|reference| annotated(reference, target)).map(|name| (name, extra_labels(store)));
        self.name_all(all.collect(), target).await
    }

    async fn name_all(
        &self,
        names: Vec<(String, HashMap<String, String>)>,
        target: &Descriptor,
    ) -> Result<Vec<String>, TransferError> {
        let images = &self.services.images;
        let namespace = &self.scope.namespace;
        let mut stored = Vec::new();
        for (name, labels) in names {
            let image = Image { name: name.clone(), labels, target: Some(to_proto(target)), ..Image::default() };
            loop {
                match images.create(namespace, image.clone(), None).await {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    answer => break answer.map(drop)?,
                }
                match images.update(namespace, image.clone(), Vec::new(), None).await {
                    // Removed between the two: made anew.
                    Err(error) if error.is_not_found() => {}
                    answer => break answer.map(drop)?,
                }
            }
            stored.push(name);
        }
        Ok(stored)
    }
}

/// What a name of the store stands for.
pub(crate) fn target_of(image: &Image) -> Result<Descriptor, TransferError> {
    let target = image.target.clone().unwrap_or_default();
    let digest = target.digest.parse().map_err(|_| TransferError::NotFound(format!("target of {:?}", image.name)))?;
    Ok(Descriptor::new(&target.media_type, digest, u64::try_from(target.size).unwrap_or(0)))
}

/// The names that one reference of a request makes of what an archive says.
fn annotated(reference: &ImageReference, target: &Descriptor) -> Vec<String> {
    let mut names = Vec::new();
    let name = name_in(reference, target);
    if reference.add_digest && (name.is_none() || !reference.skip_named_digest) {
        names.push(with_digest(&reference.name, target));
    }
    names.extend(name);
    names
}

fn name_in(reference: &ImageReference, target: &Descriptor) -> Option<String> {
    let annotations = target.annotations.as_ref()?;
    let translated = |text: &String| {
        if reference.name.is_empty() {
            None
        } else if text.contains(['/', ':', '@']) {
            // A whole name is taken as it is, or not at all.
            (reference.allow_overwrite || begins_with_name(text, &reference.name)).then(|| text.clone())
        } else {
            Some(format!("{}:{text}", reference.name))
        }
    };
    match annotations.get(layout::IMAGE_NAME).filter(|name| !name.is_empty()) {
        Some(name) => translated(name).filter(|translated| translated == name),
        None => annotations.get(layout::REF_NAME).filter(|name| !name.is_empty()).and_then(translated),
    }
}

fn begins_with_name(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

fn with_digest(name: &str, target: &Descriptor) -> String {
    format!("{name}@{}", target.digest)
}

/// Further names go with the first one, as containerd has it.
fn extra_labels(store: &ImageStore) -> HashMap<String, String> {
    let mut labels = store.labels.clone();
    if !store.name.is_empty() {
        let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        labels.insert("containerd.io/gc.bref.image".to_owned(), store.name.clone());
        labels.insert("containerd.io/gc.expire".to_owned(), now.to_string());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::Digest;

    fn target(key: &str, value: &str) -> Descriptor {
        let mut target = Descriptor::new("", Digest::of("x"), 1);
        target.annotations = Some([(key.to_owned(), value.to_owned())].into());
        target
    }

    #[test]
    fn an_archives_names_are_taken_whole_or_behind_the_prefix() {
        let prefix = |allow_overwrite, add_digest, skip_named_digest| ImageReference {
            name: "reg/app".to_owned(),
            is_prefix: true,
            allow_overwrite,
            add_digest,
            skip_named_digest,
        };
        let digest = format!("reg/app@{}", Digest::of("x"));
        for (reference, key, value, expected) in [
            (prefix(true, false, false), layout::IMAGE_NAME, "docker.io/library/a:1", vec!["docker.io/library/a:1"]),
            (prefix(false, false, false), layout::IMAGE_NAME, "docker.io/library/a:1", vec![]),
            (prefix(false, false, false), layout::IMAGE_NAME, "reg/app/x:1", vec!["reg/app/x:1"]),
            (prefix(false, false, false), layout::IMAGE_NAME, "reg/apple:1", vec![]),
            (prefix(false, false, false), layout::REF_NAME, "v1", vec!["reg/app:v1"]),
            (prefix(false, true, false), layout::REF_NAME, "v1", vec![&digest, "reg/app:v1"]),
            (prefix(false, true, true), layout::REF_NAME, "v1", vec!["reg/app:v1"]),
            (prefix(false, true, true), "other", "v1", vec![&digest]),
        ] {
            assert_eq!(annotated(&reference, &target(key, value)), expected, "{reference:?} {value}");
        }
    }
}
