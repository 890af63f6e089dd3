//! `docker manifest push`: what the list's repository lacks of its images, then the list.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use ids::Reference;
use image_core::{Descriptor, Document};
use registry_client::{BlobSource, OpenBlob, Repository, Verify};

use super::list::List;
use super::parse;
use super::remote::{self, failed};
use super::store::{Store, Stored};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

const FLAGS: &[Flag] = &[
    flag("insecure", NONE, Kind::Bool, "", "Allow push to an insecure registry"),
    flag("purge", 'p', Kind::Bool, "", "Remove the local manifest list after push"),
];

pub const COMMAND: Command = Command {
    name: "push",
    usage: "[OPTIONS] MANIFEST_LIST",
    about: "Push a manifest list to a repository",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    local: true,
    experimental: true,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let target = parse(flags.arg(0))?;
    let store = Store::new(&context.config.folder);
    let images = store.list(&target)?.filter(|images| !images.is_empty());
    let images = images.ok_or_else(|| Failure::Text(format!("{target} not found")))?;
    for image in &images {
        let platform = image.descriptor.platform.clone().unwrap_or_default();
        if platform.os.is_empty() || platform.architecture.is_empty() {
            return Err(Failure::Text(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                image.reference
            )));
        }
    }
    let list = List::new(&target, &images)?;
    let insecure = flags.is_set("insecure");
    let repository = remote::repository(context, &target, insecure);
    for image in &images {
        let reference = parse(&image.reference)?;
        if reference.path() != target.path() {
            let source = remote::repository(context, &reference, insecure);
            push_image(&source, &repository, image, &target).await?;
        }
    }
    let tag = target.digest().map_or_else(|| target.tag().unwrap_or_default().to_owned(), ToString::to_string);
    let digest = repository.put_manifest(&tag, &list.media_type, list.to_bytes().into()).await.map_err(failed)?;
    context::print_line(&digest.to_string())?;
    if flags.is_set("purge") {
        store.remove(&target)?;
    }
    Ok(0)
}

/// An image of another repository of the registry: its blobs are mounted, or copied where that is refused.
async fn push_image(source: &Repository, target: &Repository, image: &Stored, list: &Reference) -> Result<(), Failure> {
    let bytes = image.bytes()?;
    let document = Document::parse(&bytes, &image.descriptor.media_type, &image.reference).map_err(failed)?;
    let Document::Manifest(manifest) = document else {
        return Err(Failure::Text(format!("{} is a manifest list", image.reference)));
    };
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let is_foreign = blob.urls.as_ref().is_some_and(|urls| !urls.is_empty());
        if !is_foreign {
            target.push_blob(&copy_of(source, blob), &[source.path().to_owned()]).await.map_err(failed)?;
        }
    }
    let digest = &image.descriptor.digest;
    let stored = target.put_manifest(digest, &manifest.media_type, bytes.into()).await.map_err(failed)?;
    context::print_line(&format!("Pushed ref {}@{digest} with digest: {stored}", list.name()))
}

fn copy_of(source: &Repository, blob: &Descriptor) -> BlobSource {
    let (source, digest, size) = (source.clone(), blob.digest, blob.size);
    let open: Arc<OpenBlob> = Arc::new(move |offset| {
        let source = source.clone();
        let begun = async move { source.blob(digest, size, offset, Verify::Receiver).await };
        let state = (Some(begun), None);
        Box::pin(stream::unfold(state, |(mut begun, mut reader)| async move {
            if let Some(begun) = begun.take() {
                match begun.await {
                    Ok(opened) => reader = Some(opened),
                    Err(error) => return Some((Err(io::Error::other(error)), (None, None))),
                }
            }
            let piece: io::Result<Option<Bytes>> = reader.as_mut()?.next().await.map_err(io::Error::other);
            match piece {
                Ok(Some(piece)) => Some((Ok(piece), (None, reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), (None, None))),
            }
        }))
    });
    BlobSource { digest, size, open, progress: Arc::new(|_| {}) }
}
