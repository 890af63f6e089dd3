//! `docker commit`: a container's own layer becomes one of a new image.
//!
//! The layer is read from the upper directory, each folder from its parent, so that a container that is not paused leads it
//! nowhere; what the runtime made to mount on stays out of it.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use archive::{Marks, TreeOptions, TreeWriter, Visit};
use container_core::State;
use rustix::fs::Stat;
use tokio::sync::OwnedSemaphorePermit;

use crate::changes::{Upper, is_folder_of_places, is_of_the_runtime, is_same_folder};
use crate::error::Error;
use crate::messages;
use crate::ports::ImageCommit;
use crate::record::Container;
use crate::request::CommitRequest;
use crate::service::Shared;
use crate::stop;
use crate::tar_stream::TarStream;

pub(crate) async fn commit(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    request: CommitRequest,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<String, Error> {
    let record = container.record();
    match &record.state {
        State::Dead { .. } => return Err(messages::cannot_use("commit", &record.id, "is Dead")),
        State::Removing { .. } => return Err(messages::cannot_use("commit", &record.id, "is being removed")),
        _ => {}
    }
    // As in Docker a container that cannot be paused is committed as it is.
    let paused = request.pause
        && matches!(record.state, State::Running { .. })
        && stop::pause(shared, container).await.inspect_err(|error| tell(container, error)).is_ok();
    let committed = store(shared, container, &request, permit).await;
    if paused && let Err(error) = stop::unpause(shared, container).await {
        tell(container, &error);
    }
    let id = committed?;
    let attributes = [
        ("comment", request.comment.clone()),
        ("imageID", id.clone()),
        ("imageRef", request.name.clone().unwrap_or_default()),
    ];
    shared.publish(&container.record(), "commit", &attributes);
    Ok(id)
}

pub(crate) async fn layer_of(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<TarStream, Error> {
    Ok(layer(Upper::of(shared, container).await?, permit))
}

fn tell(container: &Container, error: &Error) {
    tracing::warn!(container = container.id, error = errors::chain(error), "a commit goes on without a pause");
}

async fn store(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    request: &CommitRequest,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<String, Error> {
    let record = container.record();
    let upper = Upper::of(shared, container).await?;
    let commit = ImageCommit {
        parent: record.image_id.clone(),
        container_config: (*record.config).clone(),
        config: request.config.clone(),
        changes: request.changes.clone(),
        author: request.author.clone(),
        comment: request.comment.clone(),
        name: request.name.clone(),
        layer: layer(upper, permit),
    };
    Ok(shared.neighbours.images.commit(commit).await?)
}

/// The upper directory as a layer, in the order and the form of an image's.
fn layer(upper: Upper, permit: Option<OwnedSemaphorePermit>) -> TarStream {
    TarStream::spawn(move |out| {
        let _permit = permit;
        let mut writer = TreeWriter::new(out);
        let visit = |inside: &Path, stat: &Stat| visit(&upper, inside, stat);
        let options = TreeOptions { name: None, marks: Marks::Overlay, visit: &visit };
        let made = writer.add_tree(upper.root.as_fd(), &options).and_then(|()| writer.finish().map(drop));
        made.map_err(|error| io::Error::other(errors::chain(&error)))
    })
}

fn visit(upper: &Upper, inside: &Path, stat: &Stat) -> Visit {
    if is_of_the_runtime(inside, stat) {
        return Visit::Skip;
    }
    if !is_folder_of_places(inside) {
        return Visit::Whole;
    }
    match upper.lower.stat(inside) {
        // It was made for the runtime's places, or is only there for them.
        Ok(None) => Visit::IfNeeded,
        Ok(Some(below)) if is_same_folder(stat, &below) => Visit::IfNeeded,
        _ => Visit::Whole,
    }
}
