//! `docker cp` out of a container: what is at a path, and an archive of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use archive::{Marks, TreeOptions, TreeWriter, Visit};
use container_core::Timestamp;
use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat, readlinkat, statat};
use rustix::io::Errno;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Error;
use crate::inside_path::InsidePath;
use crate::messages;
use crate::record::Container;
use crate::request::PathStat;
use crate::service::{Shared, blocking};
use crate::tar_stream::TarStream;
use crate::view::{self, Access, View, is_directory, open_inside};

/// Mounted by the runtime into every container: kernel file systems, which are no files of the container's. Shown as the
/// empty folders that the image has; what is asked for below them by its own path is read.
const OF_THE_RUNTIME: [&str; 3] = ["/proc", "/sys", "/dev"];

pub(crate) async fn stat(
    shared: &Shared,
    container: &Container,
    reference: &str,
    path: &str,
) -> Result<PathStat, Error> {
    let view = view::open(shared, container, Access::Read).await?;
    let wanted = InsidePath::parse(path);
    let looked = blocking(move || Looked::at(&view, &wanted)).await?;
    looked.map(|looked| looked.stat).map_err(|errno| failed(errno, reference, path))
}

pub(crate) async fn get(
    shared: &Shared,
    container: &Container,
    reference: &str,
    path: &str,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<(PathStat, TarStream), Error> {
    let view = view::open(shared, container, Access::Read).await?;
    let wanted = InsidePath::parse(path);
    let looked = blocking(move || Looked::at(&view, &wanted).map(|looked| (view, wanted, looked))).await?;
    let (view, wanted, looked) = looked.map_err(|errno| failed(errno, reference, path))?;
    shared.publish(&container.record(), "archive-path", &[]);
    let stat = looked.stat.clone();
    let stream = TarStream::spawn(move |out| {
        let _permit = permit;
        let mut writer = TreeWriter::new(out).for_users(view.users().cloned());
        let made = looked.write(&wanted, &mut writer).and_then(|()| writer.finish().map(drop));
        drop(view);
        made.map_err(|error| io::Error::other(errors::chain(&error)))
    });
    Ok((stat, stream))
}

/// Docker's words for a path that is not there, and the kernel's for all else.
pub(crate) fn failed(errno: Errno, reference: &str, path: &str) -> Error {
    match errno {
        Errno::NOENT => messages::no_such_path(path, reference),
        other => Error::file("look at", Path::new(path), other.into()),
    }
}

/// What was found at a path.
struct Looked {
    stat: PathStat,
    /// Where it lies and what it is called there; of a folder itself and nothing.
    parent: OwnedFd,
    name: Vec<u8>,
}

impl Looked {
    fn at(view: &View, wanted: &InsidePath) -> Result<Self, Errno> {
        let (directory, name) = wanted.split();
        let (parent, stat) = if wanted.is_folder() || name.is_empty() {
            let open = open_inside(view.root(), wanted.path(), OFlags::PATH | OFlags::DIRECTORY)?;
            let stat = fstat(&open)?;
            (open, stat)
        } else {
            let open = open_inside(view.root(), directory, OFlags::PATH | OFlags::DIRECTORY)?;
            let stat = statat(&open, name, AtFlags::SYMLINK_NOFOLLOW)?;
            (open, stat)
        };
        let (parent, name) = match is_directory(&stat) && !wanted.is_folder() && !name.is_empty() {
            true => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                (rustix::fs::openat(&parent, name, flags, rustix::fs::Mode::empty())?, Vec::new())
            }
            false if is_directory(&stat) => (parent, Vec::new()),
            false => (parent, name.to_vec()),
        };
        let link_target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => link_target(view, wanted, &parent, &name)?,
            _ => String::new(),
        };
        Ok(Self { stat: described(wanted, &stat, link_target), parent, name })
    }

    fn write<W: io::Write>(
        &self,
        wanted: &InsidePath,
        writer: &mut TreeWriter<W>,
    ) -> Result<(), archive::ArchiveError> {
        let base = wanted.base();
        if !self.name.is_empty() {
            return writer.add_one(self.parent.as_fd(), &self.name, base);
        }
        // The root has no name of its own.
        let name = if base == b"/" { Vec::new() } else { base.to_vec() };
        let above = wanted.clean();
        let visit = move |path: &Path, _: &Stat| {
            let place = above.join(path);
            if OF_THE_RUNTIME.iter().any(|runtime| place == Path::new(runtime)) { Visit::Shallow } else { Visit::Whole }
        };
        let options = TreeOptions { name: Some(name), marks: Marks::None, visit: &visit };
        writer.add_tree(self.parent.as_fd(), &options)
    }
}

fn described(wanted: &InsidePath, stat: &Stat, link_target: String) -> PathStat {
    PathStat {
        name: String::from_utf8_lossy(wanted.base()).into_owned(),
        size: stat.st_size,
        mode: stat.st_mode,
        mtime: Timestamp::from_parts(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        link_target,
    }
}

/// Where a link leads inside the container, as far as it leads anywhere.
fn link_target(view: &View, wanted: &InsidePath, parent: &OwnedFd, name: &[u8]) -> Result<String, Errno> {
    if let Ok(found) = open_inside(view.root(), wanted.path(), OFlags::PATH)
        && let Ok(path) = path_of(view, &found)
    {
        return Ok(path.to_string_lossy().into_owned());
    }
    let target = readlinkat(parent, name, Vec::new())?.into_bytes();
    let target = Path::new(std::ffi::OsStr::from_bytes(&target));
    let whole = wanted.clean().parent().map_or_else(|| target.to_owned(), |folder| folder.join(target));
    let path = crate::inside_path::clean(whole.as_os_str().as_bytes());
    Ok(path.to_string_lossy().into_owned())
}

/// The path of an open file as its namespace names it (proc(5), /proc/pid/fd).
pub(crate) fn path_of(view: &View, file: &OwnedFd) -> io::Result<PathBuf> {
    let read = |fd: std::os::fd::BorrowedFd<'_>| {
        std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)))
    };
    let (root, path) = (read(view.root())?, read(file.as_fd())?);
    Ok(Path::new("/").join(path.strip_prefix(&root).unwrap_or(&path)))
}
