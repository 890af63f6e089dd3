//! Binds whose files belong inside to the container's user (`bind-idmap=match-user`).
//!
//! The source's owner on the host and the container's user are taken for each other, in both directions: what the container's
//! user makes belongs on the host to who owns the source. Everybody else is who he was, except that nobody inside can make
//! files of the host's user with the container user's number. The mount is made here, through a user namespace that lasts as
//! long as the mount does (mount_setattr(2), MOUNT_ATTR_IDMAP), so that any runtime can bind it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use container_core::{Owners, resolve_user};
use containerd_api::types::Mount;
use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;
use sys::users::{IdMaps, IdRange, outside};

use crate::error::Error;
use crate::record::Record;
use crate::rootfs::{self, Layers};
use crate::service::Shared;
use crate::staging::{self, Staged};
use crate::{messages, start, user_namespaces};

/// Ids are 32 bits, of which the last stands for none (credentials(7)).
const NO_ID: u32 = u32::MAX;

/// Puts mapped mounts into the place of the sources that are to be.
pub(crate) fn stage(shared: &Shared, record: &Record, rootfs: &[Mount], staged: &mut Staged) -> Result<(), Error> {
    if staged.mounts.iter().all(|mount| mount.owners == Owners::Host) {
        return Ok(());
    }
    let (uid, gid) = user(shared, record, rootfs)?;
    let folder = shared.settings.mounts_folder(&record.id);
    for (index, mount) in staged.mounts.iter_mut().enumerate() {
        if mount.owners == Owners::Host {
            continue;
        }
        start::provide_source(shared, mount)?;
        let place = folder.join(index.to_string());
        let source = Path::new(&mount.source);
        let failed = |error| Error::file("map the owners of", source, error);
        let found = fs::metadata(source).map_err(failed)?;
        if (found.uid(), found.gid()) == (uid, gid) {
            continue;
        }
        let maps = IdMaps { uids: exchanged(found.uid(), uid), gids: exchanged(found.gid(), gid) };
        match bind(source, !mount.non_recursive, &maps, &place) {
            // mount_setattr(2): what a file system that knows nothing of it answers.
            Err(error) if error.raw_os_error() == Some(EINVAL) => {
                return Err(messages::no_id_map(&mount.source));
            }
            result => result.map_err(failed)?,
        }
        mount.source = place.to_string_lossy().into_owned();
    }
    Ok(())
}

const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();

/// The container's user by the host's numbers.
fn user(shared: &Shared, record: &Record, rootfs: &[Mount]) -> Result<(u32, u32), Error> {
    let layers = Layers::of(rootfs).unwrap_or_default();
    let user = resolve_user(
        &record.config.user,
        &[],
        &rootfs::read_small(&layers, "etc", "passwd")?,
        &rootfs::read_small(&layers, "etc", "group")?,
    )?;
    let Some(maps) = user_namespaces::maps(shared, &record.host_config) else { return Ok((user.uid, user.gid)) };
    Ok((outside(&maps.uids, user.uid).unwrap_or(NO_ID), outside(&maps.gids, user.gid).unwrap_or(NO_ID)))
}

/// On disk `owner`, seen as `user`; all others as they are, save the two.
fn exchanged(owner: u32, user: u32) -> Vec<IdRange> {
    let mut ranges = vec![IdRange { inside: owner, outside: user, size: 1 }];
    let (low, high) = (owner.min(user), owner.max(user));
    let mut same = |from: u32, to: u32| {
        if from < to {
            ranges.push(IdRange { inside: from, outside: from, size: to - from });
        }
    };
    same(0, low);
    same(low.saturating_add(1), high);
    same(high.saturating_add(1), NO_ID);
    ranges
}

fn bind(source: &Path, recursive: bool, maps: &IdMaps, place: &Path) -> io::Result<()> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut below = 0;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
        below = sys::mount::AT_RECURSIVE;
    }
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    let users = sys::users::user_namespace(maps)?;
    sys::mount::set_id_map(tree.as_raw_fd(), below, users.as_raw_fd())?;
    staging::attach_at(tree, source.is_dir(), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_stand_for_each_other_and_all_others_for_themselves() {
        let seen = |ranges: &[IdRange], id| outside(ranges, id);
        for (owner, user) in [(1000, 0), (0, 1000), (5, 6)] {
            let ranges = exchanged(owner, user);
            assert_eq!((seen(&ranges, owner), seen(&ranges, user)), (Some(user), None));
            assert_eq!((seen(&ranges, 4), seen(&ranges, 2000)), (Some(4), Some(2000)));
            assert_eq!(seen(&ranges, NO_ID - 1), Some(NO_ID - 1));
        }
    }

    #[test]
    fn who_owns_the_source_is_the_containers_user_in_both_directions() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (source, place) = (folder.path().join("source"), folder.path().join("staged/0"));
        fs::create_dir(&source).unwrap();
        std::os::unix::fs::chown(&source, Some(1000), Some(1001)).unwrap();
        let maps = IdMaps { uids: exchanged(1000, 0), gids: exchanged(1001, 0) };
        match bind(&source, true, &maps, &place) {
            // A file system of the machine's that has none: what is said of it then is tested with the whole engine.
            Err(error) if error.raw_os_error() == Some(EINVAL) => return,
            result => result.unwrap(),
        }
        let seen = fs::metadata(&place).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (0, 0));
        fs::write(place.join("file"), "x").unwrap();
        let made = fs::metadata(source.join("file")).unwrap();
        assert_eq!((made.uid(), made.gid()), (1000, 1001));
        rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
