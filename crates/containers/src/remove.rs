//! `docker rm`: what a container had is taken away, its intent last.

use std::path::Path;
use std::sync::Arc;

use container_core::{Event, MountKind, State};
use metadata::Durability;

use crate::error::Error;
use crate::record::{CONTAINERS, Container};
use crate::request::RemoveOptions;
use crate::service::Shared;
use crate::{files, logging, messages, staging, stop, volumes};

/// Starts that may come between a forced removal and its gate.
const KILLS: u32 = 5;

pub(crate) async fn remove(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    options: RemoveOptions,
) -> Result<(), Error> {
    for _ in 0..KILLS {
        let record = container.record();
        if record.state.counts_as_running() {
            if !options.force {
                return Err(messages::cannot_remove(&record.name, record.state.word()));
            }
            stop::kill_for_good(shared, container).await?;
        }
        let _gate = container.gate.lock().await;
        if container.progress.borrow().removed {
            // `--rm` was quicker; gone is gone.
            return Ok(());
        }
        let record = container.record();
        match &record.state {
            State::Removing { .. } => return Err(messages::removal_in_progress(&record.id)),
            // A start held the gate before us.
            state if state.counts_as_running() => {}
            _ => return begin_and_erase(shared, container, options.volumes).await,
        }
    }
    let record = container.record();
    Err(messages::cannot_remove(&record.name, record.state.word()))
}

/// The gate is the caller's.
pub(crate) async fn begin_and_erase(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    volumes: bool,
) -> Result<(), Error> {
    container.take(Event::RemovalBegun).map_err(|_| messages::removal_in_progress(&container.id))?;
    container.change(|record| record.removes_volumes = volumes);
    // So that a daemon that dies now goes on with it; for `--rm` the stored end says as much.
    if !container.record().host_config.auto_remove {
        container.store(&shared.database, Durability::Lazy).await?;
    }
    let erased = erase(shared, container, volumes).await;
    if let Err(error) = &erased {
        let text = errors::chain(error);
        if let Err(refused) = container.take(Event::RemovalFailed { error: text.clone() }) {
            tracing::error!(container = container.id, %refused, "a failed removal has no place in the container's life");
        }
        container.store(&shared.database, Durability::Lazy).await?;
        container.notify(|progress| progress.error = Some(text));
    }
    erased
}

/// Snapshot, volumes, folder, record: each step may be done again.
pub(crate) async fn erase(shared: &Arc<Shared>, container: &Arc<Container>, with_volumes: bool) -> Result<(), Error> {
    let record = container.record();
    container.drop_pending();
    // What docker-containerd has of it, and what is here, need not wait for one another.
    let snapshots = async {
        shared.containerd.remove_snapshot(&record.id).await?;
        staging::unstage(shared, &record.id);
        for (index, _) in record.mounts.iter().enumerate().filter(|(_, mount)| mount.kind == MountKind::Image) {
            shared.containerd.remove_snapshot(&staging::image_snapshot(&record.id, index)).await?;
        }
        Ok::<_, Error>(())
    };
    let files = async {
        if let Err(error) = shared.neighbours.sandboxes.release(&record.id).await {
            tracing::warn!(container = record.id, %error, "cannot release the sandbox of a removed container");
        }
        logging::finish(shared, &record.id).await;
        files::remove_folder(&shared.settings.container_folder(&record.id))
    };
    let (snapshots, files) = tokio::join!(snapshots, files);
    snapshots.and(files)?;
    // Before the record that tells of them.
    volumes::let_go(shared, &record, with_volumes).await;
    remove_file(&shared.settings.attach_path(&record.id))?;
    let id = record.id.clone();
    let delete = move |tx: &mut metadata::WriteTx<'_>| CONTAINERS.delete(tx, &id).map(|_| ());
    shared.database.write(record.durability(), delete).await.map_err(Error::Store)?;
    shared.index().remove(&record.id);
    let execs: Vec<_> = shared.execs().extract_if(|_, exec| exec.container_id() == record.id).collect();
    for (id, _) in execs {
        // Where a shim was killed, nobody has taken it away.
        remove_file(&shared.settings.attach_path(&id))?;
    }
    shared.publish(&record, "destroy", &[]);
    container.notify(|progress| {
        progress.removed = true;
        progress.running = false;
        // A removal that succeeded is no failure, whatever led to it.
        progress.error = None;
    });
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path, source)),
        _ => Ok(()),
    }
}
