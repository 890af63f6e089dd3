//! Volumes, as containers use them: wanted at creation, filled from the image, mounted for each run, let go at the end.
//!
//! Which volumes there are is the neighbour's to know ([`crate::VolumeSource`]). A mount goes by the id that the container's
//! record has for it, so that a daemon that comes up after a crash knows whose it is. A volume of a container's own
//! (anonymous) goes with `rm -v` and `--rm`, unless another container uses it, too.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use container_core::{MountKind, MountPoint};
use containerd_api::types::Mount;

use crate::create::new_id;
use crate::error::Error;
use crate::messages;
use crate::ports::{ContainerEvent, EventSubject, Parting, PortError, VolumeRequest, VolumeSource};
use crate::record::{Container, Record};
use crate::rootfs::Layers;
use crate::service::{Shared, blocking, now};
use crate::{user_namespaces, volume_copy};

const LOCAL: &str = "local";

/// The volumes of a container, each with its mount.
fn of(record: &Record) -> impl Iterator<Item = &MountPoint> {
    record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume)
}

/// Names, drivers and places for the volumes among a container's mounts, as far as they are known; nothing is made yet.
pub(crate) fn place(shared: &Shared, mounts: &mut [MountPoint]) -> Result<(), Error> {
    for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
        if mount.name.is_empty() {
            mount.name = new_id()?;
        }
        // Also of one that is inherited: its own end must not take the other's mount away.
        mount.mount_id = new_id()?;
        if mount.driver.is_empty() {
            mount.driver = shared.neighbours.volumes.driver_of(&mount.name).unwrap_or_default();
        }
        if matches!(mount.driver.as_str(), "" | LOCAL) && mount.source.is_empty() {
            let folder = shared.settings.volumes_folder().join(&mount.name).join("_data");
            mount.source = folder.to_string_lossy().into_owned();
        }
    }
    Ok(())
}

/// Makes the volumes that are not there, and gives the empty ones what the image has at their place.
pub(crate) async fn provide(shared: &Arc<Shared>, container: &Arc<Container>, rootfs: &[Mount]) -> Result<(), Error> {
    let record = container.record();
    let mut mounts = (*record.mounts).clone();
    for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
        let request = VolumeRequest {
            name: mount.name.clone(),
            driver: mount.driver.clone(),
            options: mount.driver_options.clone(),
            labels: mount.labels.clone(),
            anonymous: mount.anonymous,
            container: record.id.clone(),
            lasting: !record.host_config.auto_remove,
        };
        let volume = shared.neighbours.volumes.acquire(request).await?;
        mount.driver = volume.driver;
        mount.source = volume.mountpoint;
    }
    if mounts != *record.mounts {
        container.change(|record| record.mounts = Arc::new(mounts));
        container.store(&shared.database, metadata::Durability::Lazy).await?;
    }
    let record = container.record();
    for mount in of(&record).filter(|mount| mount.copy_up) {
        fill(shared, container, mount, rootfs).await?;
    }
    Ok(())
}

/// What the image has at a volume's place, into the volume, if that is empty.
async fn fill(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    mount: &MountPoint,
    rootfs: &[Mount],
) -> Result<(), Error> {
    let Some(layers) = Layers::of(rootfs) else { return Ok(()) };
    let failed = |error| Error::file("fill the volume at", Path::new(&mount.destination), error);
    let destination = mount.destination.clone();
    let found = blocking(move || volume_copy::open_source(&layers, Path::new(&destination))).await?;
    let Some(source) = found.map_err(failed)? else { return Ok(()) };
    let path = mount_one(shared, mount, &mount.mount_id).await?;
    let record = container.record();
    let copied = async {
        let is_work = volume_copy::has_entries(source.as_fd()).map_err(failed)? && is_empty(&path).map_err(failed)?;
        if is_work {
            // Half of it must not pass for all of it when the daemon dies now.
            container.change(|record| record.filling = Some(mount.name.clone()));
            container.store(&shared.database, metadata::Durability::Lazy).await?;
        }
        let users = user_namespaces::maps(shared, &record.host_config);
        let copied = blocking(move || volume_copy::copy_up(source.as_fd(), &path, users.as_ref())).await?;
        copied.map_err(failed)?;
        if is_work {
            container.change(|record| record.filling = None);
            container.store(&shared.database, record.durability()).await?;
        }
        Ok(())
    };
    let copied = copied.await;
    shared.neighbours.volumes.unmount(&mount.name, &mount.mount_id).await?;
    copied
}

fn is_empty(folder: &Path) -> std::io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// A volume that a daemon filled when it died is empty again, unless others have it.
pub(crate) async fn abandon(shared: &Shared, record: &Record, name: &str) -> Result<(), Error> {
    let Some(mount) = of(record).find(|mount| mount.name == name) else { return Ok(()) };
    let others = shared.index().all();
    if others.iter().any(|other| other.id != record.id && of(&other.record()).any(|mount| mount.name == name)) {
        return Ok(());
    }
    let path = mount_one(shared, mount, &mount.mount_id).await?;
    let emptied = blocking(move || {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let removed = if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            removed?;
        }
        Ok(())
    });
    let emptied = emptied.await;
    shared.neighbours.volumes.unmount(&mount.name, &mount.mount_id).await?;
    emptied?.map_err(|error| Error::file("empty the volume at", Path::new(&mount.source), error))
}

async fn mount_one(shared: &Shared, mount: &MountPoint, id: &str) -> Result<PathBuf, Error> {
    let mounted = shared.neighbours.volumes.mount(&mount.name, id).await;
    mounted.map_err(|PortError { message, .. }| messages::volume_not_mounted(&mount.source, &message))
}

/// For a run: where the volume's files are until [`unmount_all`].
pub(crate) async fn mount(shared: &Shared, record: &Record, mount: &MountPoint) -> Result<PathBuf, Error> {
    let path = mount_one(shared, mount, &mount.mount_id).await?;
    let attributes = [
        ("driver", mount.driver.as_str()),
        ("container", &record.id),
        ("destination", &mount.destination),
        ("read/write", if mount.read_write { "true" } else { "false" }),
        ("propagation", &mount.propagation),
    ];
    publish(shared, "mount", &mount.name, &attributes);
    Ok(path)
}

/// After a run, or a start that failed. What cannot be unmounted keeps no container from its end.
pub(crate) async fn unmount_all(shared: &Shared, record: &Record) {
    for mount in of(record) {
        match shared.neighbours.volumes.unmount(&mount.name, &mount.mount_id).await {
            Ok(()) => {
                let attributes = [("driver", mount.driver.as_str()), ("container", &record.id)];
                publish(shared, "unmount", &mount.name, &attributes);
            }
            Err(error) => {
                tracing::warn!(container = record.id, volume = mount.name, %error, "cannot unmount a volume");
            }
        }
    }
}

/// At the daemon's start: who has what.
pub(crate) fn refer(volumes: &dyn VolumeSource, record: &Record) {
    for mount in of(record) {
        volumes.refer(&mount.name, &record.id);
    }
}

/// What the containers that run, or were about to when the daemon died, have mounted.
pub(crate) fn live(record: &Record) -> Vec<(String, String)> {
    of(record).map(|mount| (mount.name.clone(), mount.mount_id.clone())).collect()
}

/// The container goes, and with it those volumes of its own that nobody else uses, if that is wanted.
pub(crate) async fn let_go(shared: &Shared, record: &Record, with_own: bool) {
    for mount in of(record) {
        let parting = match with_own && mount.anonymous {
            true if record.host_config.auto_remove => Parting::RemoveEphemeral,
            true => Parting::Remove,
            false => Parting::Keep,
        };
        if let Err(error) = shared.neighbours.volumes.release(&mount.name, &record.id, parting).await {
            // As in Docker: no container stays for the sake of a volume that its driver cannot remove.
            tracing::warn!(container = record.id, volume = mount.name, %error, "cannot remove a volume");
        }
    }
}

/// The volumes of a container that does not run, mounted while somebody looks into it.
pub(crate) struct Held {
    volumes: Arc<dyn VolumeSource>,
    mounts: Vec<(String, String)>,
    runtime: tokio::runtime::Handle,
}

impl Held {
    /// Sources of the container's mounts as they are now.
    pub async fn of(shared: &Shared, record: &Record) -> Result<(Self, Vec<MountPoint>), Error> {
        let volumes = Arc::clone(&shared.neighbours.volumes);
        let mut held = Self { volumes, mounts: Vec::new(), runtime: tokio::runtime::Handle::current() };
        let mut mounts = (*record.mounts).clone();
        for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
            let id = new_id()?;
            mount.source = mount_one(shared, mount, &id).await?.to_string_lossy().into_owned();
            held.mounts.push((mount.name.clone(), id));
        }
        Ok((held, mounts))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (volumes, mounts) = (Arc::clone(&self.volumes), std::mem::take(&mut self.mounts));
        if mounts.is_empty() {
            return;
        }
        // It ends by itself; the next start of the daemon finds what is left.
        self.runtime.spawn(async move {
            for (name, id) in mounts {
                if let Err(error) = volumes.unmount(&name, &id).await {
                    tracing::warn!(volume = name, %error, "cannot unmount a volume");
                }
            }
        });
    }
}

fn publish(shared: &Shared, action: &str, name: &str, attributes: &[(&str, &str)]) {
    let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    shared.neighbours.events.publish(ContainerEvent {
        subject: EventSubject::Volume,
        action: action.to_owned(),
        id: name.to_owned(),
        attributes: attributes.collect(),
        time_ns: now().0,
    });
}
