//! Local volumes, as far as containers need them: a folder each, made when a container first names it.
//!
//! This file owns the table `volumes`. A volume of a container's own (anonymous) goes with `rm -v` and `--rm`, unless
//! another container uses it, too.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use container_core::{MountKind, MountPoint, Timestamp};
use containerd_api::types::Mount;
use metadata::Table;
use serde::{Deserialize, Serialize};

use crate::create::new_id;
use crate::error::Error;
use crate::ports::{ContainerEvent, EventSubject};
use crate::record::{Container, Record};
use crate::rootfs::Layers;
use crate::service::{Shared, now};
use crate::volume_copy;

/// Key: the volume's name.
const VOLUMES: Table<Volume> = Table::new("volumes");

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Volume {
    created: Timestamp,
    anonymous: bool,
}

/// Names and places for the volumes among a container's mounts; nothing is made yet.
pub(crate) fn place(shared: &Shared, mounts: &mut [MountPoint]) -> Result<(), Error> {
    for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
        if mount.name.is_empty() {
            mount.name = new_id()?;
        }
        if mount.source.is_empty() {
            let folder = shared.settings.volumes_folder().join(&mount.name).join("_data");
            mount.source = folder.to_string_lossy().into_owned();
        }
    }
    Ok(())
}

/// Makes the volumes that are not there, and gives the empty ones what the image has at their place.
pub(crate) async fn provide(shared: &Arc<Shared>, container: &Arc<Container>, rootfs: &[Mount]) -> Result<(), Error> {
    let record = container.record();
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        make(shared, &record, mount).await?;
        if !mount.copy_up || !is_empty(Path::new(&mount.source)) {
            continue;
        }
        let Some(layers) = Layers::of(rootfs) else { continue };
        let (source, destination) = (mount.source.clone(), mount.destination.clone());
        let copy = move || volume_copy::copy_up(&layers, Path::new(&destination), Path::new(&source));
        let copied = tokio::task::spawn_blocking(copy).await;
        let copied = copied.unwrap_or_else(|failure| Err(std::io::Error::other(failure)));
        copied.map_err(|error| Error::file("fill the volume at", Path::new(&mount.destination), error))?;
    }
    Ok(())
}

async fn make(shared: &Arc<Shared>, record: &Record, mount: &MountPoint) -> Result<(), Error> {
    let folder = Path::new(&mount.source);
    let there = shared.database.view(|tx| VOLUMES.contains(tx, &mount.name))?;
    if !there {
        let (name, volume) = (mount.name.clone(), Volume { created: now(), anonymous: mount.anonymous });
        let put = move |tx: &mut metadata::WriteTx<'_>| VOLUMES.put(tx, &name, &volume);
        shared.database.write(record.durability(), put).await.map_err(Error::Store)?;
    }
    if let Some(parent) = folder.parent().filter(|_| !folder.exists()) {
        let failed = |source| Error::file("make the volume", folder, source);
        fs::DirBuilder::new().recursive(true).mode(0o701).create(parent).map_err(failed)?;
        match fs::DirBuilder::new().mode(0o755).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
    if !there {
        publish(shared, "create", &mount.name);
    }
    Ok(())
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// The container is out of the index already.
pub(crate) async fn remove_anonymous(shared: &Arc<Shared>, record: &Record) -> Result<(), Error> {
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume && mount.anonymous) {
        let used = shared.index().all().iter().any(|other| other.record().mounts.iter().any(|m| m.name == mount.name));
        if used {
            continue;
        }
        let folder = shared.settings.volumes_folder().join(&mount.name);
        match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove the volume", &folder, source));
            }
            _ => {}
        }
        let name = mount.name.clone();
        let delete = move |tx: &mut metadata::WriteTx<'_>| VOLUMES.delete(tx, &name).map(|_| ());
        shared.database.write(record.durability(), delete).await.map_err(Error::Store)?;
        publish(shared, "destroy", &mount.name);
    }
    Ok(())
}

fn publish(shared: &Shared, action: &str, name: &str) {
    shared.neighbours.events.publish(ContainerEvent {
        subject: EventSubject::Volume,
        action: action.to_owned(),
        id: name.to_owned(),
        attributes: [("driver".to_owned(), "local".to_owned())].into(),
        time_ns: now().0,
    });
}
