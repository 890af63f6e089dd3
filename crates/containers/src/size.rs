//! How much a container takes on disk: its own files, and those of its image.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::changes::Upper;
use crate::error::Error;
use crate::record::Container;
use crate::request::ContainerSize;
use crate::service::{Shared, blocking};
use crate::view::is_directory;

/// stat(2): `st_blocks` counts units of this size whatever the file system's own is.
const BLOCK_BYTES: u64 = 512;
/// Layers whose size is remembered; they never change.
const MOST_REMEMBERED: usize = 4096;

/// Docker's two figures: what the container wrote, and that with all layers of its image.
pub(crate) async fn size_of(shared: &Shared, container: &Container) -> Result<ContainerSize, Error> {
    let upper = Upper::of(shared, container).await?;
    let measured = blocking(move || measure(&upper)).await?;
    let own = measured.map_err(|error| Error::file("measure", std::path::Path::new("the container"), error))?;
    let mut total = own.bytes;
    let mut layer = shared.containerd.snapshot_parent(&container.id).await?;
    while !layer.is_empty() {
        let (parent, bytes) = layer_of(shared, &layer).await?;
        total = total.saturating_add(bytes);
        layer = parent;
    }
    Ok(ContainerSize { own: own.bytes, on_disk: own.on_disk, total })
}

async fn layer_of(shared: &Shared, key: &str) -> Result<(String, u64), Error> {
    if let Some(known) = shared.layer_sizes().get(key) {
        return Ok(known.clone());
    }
    let found = (shared.containerd.snapshot_parent(key).await?, shared.containerd.snapshot_bytes(key).await?);
    let mut sizes = shared.layer_sizes();
    if sizes.len() >= MOST_REMEMBERED {
        sizes.clear();
    }
    sizes.insert(key.to_owned(), found.clone());
    Ok(found)
}

/// An upper directory as far as it was gone through, each inode once.
#[derive(Default)]
struct Measured {
    bytes: u64,
    on_disk: u64,
    /// Files with several names.
    seen: HashSet<(u64, u64)>,
}

fn measure(upper: &Upper) -> io::Result<Measured> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(&upper.root, ".", flags, Mode::empty())?;
    let mut measured = Measured::default();
    measure_below(root.as_fd(), 0, &mut measured)?;
    Ok(measured)
}

fn measure_below(directory: BorrowedFd<'_>, depth: usize, measured: &mut Measured) -> io::Result<()> {
    if depth > archive::DEEPEST {
        return Err(io::Error::other("folders are nested too deeply"));
    }
    for name in archive::names(directory)? {
        let stat = match statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // A container that runs takes files away meanwhile.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
        if !is_directory(&stat) {
            if stat.st_nlink < 2 || measured.seen.insert((stat.st_dev, stat.st_ino)) {
                measured.bytes = measured.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
                measured.on_disk = measured.on_disk.saturating_add(blocks);
            }
            continue;
        }
        measured.on_disk = measured.on_disk.saturating_add(blocks);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(directory, &name, flags, Mode::empty()) {
            Ok(inner) => measure_below(inner.as_fd(), depth + 1, measured)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
