//! `docker cp` into a container.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use archive::{ExtractOptions, Overwrite};
use container_core::{MountKind, resolve_user};
use rustix::fs::{OFlags, fstat};
use rustix::io::Errno;

use crate::archive_out::{failed, path_of};
use crate::error::Error;
use crate::inside_path::InsidePath;
use crate::messages;
use crate::record::{Container, Record};
use crate::request::PutArchive;
use crate::rootfs::{self, Layers};
use crate::service::{Shared, blocking};
use crate::tar_stream::{ArchiveSource, incoming};
use crate::view::{self, Access, View, is_directory, open_inside};

pub(crate) async fn put(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    reference: &str,
    request: PutArchive,
    source: ArchiveSource,
) -> Result<(), Error> {
    let owner = if request.copy_owner { owner(shared, container).await? } else { None };
    // A container that does not run stays so while something is put into it: its start mounts the same directories.
    let running = container.record().state.has_process();
    let gate = if running { None } else { Some(container.gate.lock().await) };
    let view = view::open(shared, container, Access::Write).await?;
    let record = container.record();
    let wanted = InsidePath::parse(&request.path);
    let keep_kind = request.no_overwrite_dir_non_dir;
    let extracted = blocking(move || {
        let place = place(&view, &wanted)?;
        may_write(&record, &place)?;
        let options = ExtractOptions {
            overwrite: if keep_kind { Overwrite::KeepKind } else { Overwrite::Replace },
            owner,
            users: view.users().cloned(),
            ..ExtractOptions::default()
        };
        let _acting = view.act_as_root().map_err(|error| PutError::Refused(Error::file("write to", &place, error)))?;
        archive::extract(incoming(source), view.root(), &place, &options).map_err(PutError::Archive)
    });
    let extracted = extracted.await?;
    drop(gate);
    match extracted {
        Ok(_) => {}
        Err(PutError::Look(errno)) => return Err(failed(errno, reference, &request.path)),
        Err(PutError::Refused(error)) => return Err(error),
        Err(PutError::Archive(error)) => return Err(error.into()),
    }
    shared.publish(&container.record(), "extract-to-dir", &[]);
    Ok(())
}

enum PutError {
    Look(Errno),
    Refused(Error),
    Archive(archive::ArchiveError),
}

/// Where the archive goes, with all links on the way resolved.
fn place(view: &View, wanted: &InsidePath) -> Result<std::path::PathBuf, PutError> {
    let found: OwnedFd = open_inside(view.root(), wanted.path(), OFlags::PATH).map_err(PutError::Look)?;
    let stat = fstat(&found).map_err(PutError::Look)?;
    if !is_directory(&stat) {
        return Err(PutError::Refused(messages::not_a_place()));
    }
    path_of(view, &found).map_err(|error| PutError::Refused(Error::file("name", wanted.path(), error)))
}

/// A place inside a volume may be written as the volume may, any other as the root file system.
fn may_write(record: &Record, place: &Path) -> Result<(), PutError> {
    let mounts = record.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs || record.state.has_process());
    let innermost = mounts
        .filter(|mount| place.starts_with(&mount.destination))
        .max_by_key(|mount| Path::new(&mount.destination).components().count());
    match innermost {
        Some(mount) if mount.read_write => Ok(()),
        Some(_) => Err(PutError::Refused(messages::read_only_volume())),
        None if record.host_config.readonly_rootfs => Err(PutError::Refused(messages::read_only_rootfs())),
        None => Ok(()),
    }
}

/// Whom the container's process belongs to; `None` leaves what the archive says.
async fn owner(shared: &Shared, container: &Container) -> Result<Option<(u32, u32)>, Error> {
    let record = container.record();
    if record.config.user.is_empty() {
        return Ok(None);
    }
    let mounts = container.rootfs(&shared.containerd).await?;
    let layers = Layers::of(&mounts).unwrap_or_default();
    let passwd = rootfs::read_small(&layers, "etc", "passwd")?;
    let group = rootfs::read_small(&layers, "etc", "group")?;
    let user = resolve_user(&record.config.user, &[], &passwd, &group)?;
    Ok(Some((user.uid, user.gid)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use container_core::{HostConfig, MountPoint};

    use super::*;

    fn refused(place: &str, readonly_rootfs: bool, mounts: &[(&str, bool)]) -> Option<String> {
        let mut record = crate::record::tests::record("a", "a");
        record.host_config = Arc::new(HostConfig { readonly_rootfs, ..HostConfig::default() });
        let mount = |(destination, read_write): &(&str, bool)| MountPoint {
            kind: MountKind::Volume,
            destination: (*destination).to_owned(),
            read_write: *read_write,
            ..MountPoint::default()
        };
        record.mounts = Arc::new(mounts.iter().map(mount).collect());
        match may_write(&record, Path::new(place)) {
            Err(PutError::Refused(error)) => Some(error.to_string()),
            _ => None,
        }
    }

    #[test]
    fn what_is_read_only_is_refused_in_docker_s_words() {
        assert_eq!(refused("/srv", false, &[]), None);
        assert_eq!(refused("/srv", true, &[]).unwrap(), "container rootfs is marked read-only");
        assert_eq!(refused("/data/x", true, &[("/data", true)]), None);
        assert_eq!(refused("/data/x", false, &[("/data", false)]).unwrap(), "mounted volume is marked read-only");
        assert_eq!(refused("/data/rw/x", false, &[("/data", false), ("/data/rw", true)]), None);
        assert_eq!(refused("/database", false, &[("/data", false)]), None);
    }
}
