//! `--squash`: the layers of the last stage as one, what they took back left out.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use archive::diff_directories;
use build_core::KeyMaker;
use image_core::History;

use crate::cache::Entry;
use crate::error::BuildError;
use crate::layer;
use crate::made::Made;
use crate::ports::{Image, LayerStream};
use crate::state::{Build, OpenView, owner};

/// The same files in one layer on those of `base`. Its history keeps all lines; Docker adds one that says what was merged.
pub(crate) async fn squash(build: &Build<'_>, base: &Image, made: Made) -> Result<Made, BuildError> {
    if made.image.layers.len() == base.layers.len() {
        return Ok(made);
    }
    let epoch = build.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    let key = KeyMaker::new("squash").field(base.id()).field(&made.id).field(epoch).finish();
    let _alone = build.shared.alone(&key).await;
    if let Some(found) = build.shared.cache.find(&key)
        && build.shared.images.has_layers(&found.image).await?
    {
        return Ok(Made { id: found.image.id(), image: found.image, ..made });
    }
    let mut image = merged(build, base, &made);
    let lower = match base.layers.is_empty() {
        true => None,
        false => Some(build.open_view(base).await?),
    };
    let upper = build.open_view(&made.image).await?;
    let added = match difference(lower.as_ref(), &upper) {
        Ok(layer) => build.shared.images.add_layer(&owner(&key), base, layer).await.map_err(BuildError::from),
        Err(error) => Err(error),
    };
    for view in lower.into_iter().chain([upper]) {
        build.close(view).await;
    }
    let added = added?;
    let bytes = added.size;
    image.config.rootfs.diff_ids.push(added.digest);
    image.layers.push(added);
    let entry = Entry::new(image.clone(), None, "squash".to_owned(), true, bytes);
    build.shared.cache.put(&key, entry).await?;
    Ok(Made { id: image.id(), image, ..made })
}

/// The image as it will be, still without its one layer.
fn merged(build: &Build<'_>, base: &Image, made: &Made) -> Image {
    let mut image = made.image.clone();
    image.layers.clone_from(&base.layers);
    image.config.rootfs.diff_ids.clone_from(&base.config.rootfs.diff_ids);
    for line in image.config.history.iter_mut().skip(base.config.history.len()) {
        line.empty_layer = true;
    }
    let below = base.id();
    let comment = match below.as_str() {
        "" => format!("create new from {}", made.id),
        below => format!("merge {} to {below}", made.id),
    };
    let created = build.created();
    image.config.created = Some(created.clone());
    image.config.history.push(History { created: Some(created), comment, ..History::default() });
    image
}

/// What lies in `upper` and not in `lower`, and what is gone.
fn difference(lower: Option<&OpenView>, upper: &OpenView) -> Result<LayerStream, BuildError> {
    let failed = |error| BuildError::file("look into the image", error);
    let lower = lower.map(|view| view.root.try_clone()).transpose().map_err(failed)?;
    let upper = upper.root.try_clone().map_err(failed)?;
    Ok(layer::make(move |out| {
        let below = lower.as_ref().map(place);
        diff_directories(below.as_deref(), &place(&upper), out)
            .map(drop)
            .map_err(|error| std::io::Error::other(errors::chain(&error)))
    }))
}

/// A mount that has no place, by its descriptor (proc_pid_fd(5)).
fn place(root: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/.", root.as_raw_fd()))
}
