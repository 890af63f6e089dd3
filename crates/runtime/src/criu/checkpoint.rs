//! `checkpoint`: the processes of a container go into files.

use super::rpc::{Features, Kind, PageServer};
use super::service::Criu;
use super::surroundings::{self, Rootfs, Side};
use super::{DESCRIPTORS, Settings};
use crate::{Notes, Record, Root, RuntimeError, Status, bundle, delete};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use sys::file;

const LOG: &str = "dump.log";

#[derive(Debug, Clone, Default)]
pub struct CheckpointRequest {
    pub settings: Settings,
    /// Images of an earlier pre-dump, relative to these.
    pub parent_path: Option<PathBuf>,
    pub leave_running: bool,
    pub tcp_skip_in_flight: bool,
    pub link_remap: bool,
    /// Memory alone; the container goes on.
    pub pre_dump: bool,
    /// `ADDRESS:PORT`.
    pub page_server: Option<String>,
    /// Gets a zero byte once pages can be fetched.
    pub status_fd: Option<i32>,
}

pub fn checkpoint(root: &Root, id: &str, request: &CheckpointRequest, notes: &mut Notes) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    let status = root.status(&record);
    if !matches!(status, Status::Running | Status::Paused) {
        let message = format!("Container cannot be checkpointed in {} state", status.name());
        return Err(RuntimeError::InvalidArgument(message));
    }
    super::check_version()?;
    let images = request.settings.images();
    let work = request.settings.work_path.clone().unwrap_or_else(|| images.clone());
    dump(&record, request, &images).inspect_err(|_| super::quote_log(&work, LOG, notes))?;
    if !request.leave_running && !request.pre_dump {
        delete::remove(root, &record, notes)?;
    }
    Ok(())
}

fn dump(record: &Record, request: &CheckpointRequest, images: &Path) -> Result<(), RuntimeError> {
    let bundle = bundle::load(Path::new(&record.bundle))?;
    let settings = &request.settings;
    let mut options = settings.options()?;
    let images_folder = super::make_folder(images)?;
    let work_folder = settings.work_path.as_deref().map(super::make_folder).transpose()?;
    options.images_dir_fd = images_folder.as_raw_fd();
    options.work_dir_fd = work_folder.as_ref().map(AsRawFd::as_raw_fd);
    options.log_file = Some(LOG.into());
    options.root = Some(record.rootfs.clone());
    options.pid = Some(record.pid);
    options.leave_running = Some(request.leave_running);
    options.tcp_skip_in_flight = Some(request.tcp_skip_in_flight);
    options.link_remap = Some(request.link_remap);
    options.config_file = super::configuration(&record.annotations);
    options.external = surroundings::external_namespaces(&bundle.spec)?;
    let freezer = record.group.member("freezer").or(record.group.v2.as_deref().filter(|_| record.group.is_v2()));
    options.freeze_cgroup = freezer.map(|path| path.to_string_lossy().into_owned());
    if let Some(parent) = &request.parent_path {
        options.parent_image = Some(checked_parent(images, parent)?);
        options.track_memory = Some(true);
    }
    options.page_server = request.page_server.as_deref().map(page_server).transpose()?;
    let kind = if request.pre_dump { Kind::PreDump } else { Kind::Dump };
    if request.pre_dump {
        Criu::check(&Features { track_memory: Some(true), ..Features::default() })?;
    } else {
        let rootfs = Rootfs::open(&record.rootfs)?;
        options.external_mounts = surroundings::external_mounts(&bundle, &rootfs, &record.group, Side::Dump)?;
        options.external_mounts.extend(surroundings::masked_files(&bundle.spec, record.pid)?);
        let streams = serde_json::json!(surroundings::streams(record.pid)).to_string();
        let file = images.join(DESCRIPTORS);
        fs::write(&file, streams).map_err(RuntimeError::file(format!("cannot write {}", file.display())))?;
    }
    if settings.lazy_pages {
        Criu::check(&Features { lazy_pages: Some(true), ..Features::default() })?;
        request.status_fd.map_or(Ok(()), check_status_fd)?;
    }
    Criu::start(&[])?.perform(kind, options, |notification, _| {
        if notification.script.as_deref() == Some("status-ready")
            && let Some(fd) = request.status_fd
        {
            file::write(fd, &[0]).map_err(RuntimeError::system("write to the status descriptor"))?;
            file::close(fd);
        }
        Ok(())
    })
}

/// criu takes it relative to the images, and it has to be there.
fn checked_parent(images: &Path, parent: &Path) -> Result<String, RuntimeError> {
    if parent.is_absolute() {
        return Err(RuntimeError::InvalidArgument("--parent-path must be relative".into()));
    }
    let place = images.join(parent);
    match fs::metadata(&place) {
        Ok(facts) if facts.is_dir() => Ok(parent.to_string_lossy().into_owned()),
        Ok(_) => {
            Err(RuntimeError::InvalidArgument(format!("invalid --parent-path: {}: not a directory", place.display())))
        }
        Err(error) => Err(RuntimeError::file(format!("invalid --parent-path: stat {}", place.display()))(error)),
    }
}

fn page_server(text: &str) -> Result<PageServer, RuntimeError> {
    let invalid = |why: &str| RuntimeError::InvalidArgument(why.to_string());
    let (address, port) =
        text.split_once(':').ok_or_else(|| invalid("Use --page-server ADDRESS:PORT to specify page server"))?;
    let port = port.parse::<u16>().map_err(|_| invalid("invalid port number"))?;
    Ok(PageServer { address: Some(address.into()), port: Some(port.into()) })
}

fn check_status_fd(fd: i32) -> Result<(), RuntimeError> {
    if file::is_open(fd) {
        return Ok(());
    }
    Err(RuntimeError::InvalidArgument(format!("invalid --status-fd argument {fd}: bad file descriptor")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        let server = page_server("10.0.0.1:77").expect("valid");
        assert_eq!((server.address.as_deref(), server.port), (Some("10.0.0.1"), Some(77)));
        for text in ["10.0.0.1", "host:port", "host:99999"] {
            assert!(page_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_parent_lies_beside_its_images() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("parent")).expect("a folder");
        fs::create_dir(folder.path().join("images")).expect("a folder");
        fs::write(folder.path().join("file"), "").expect("a file");
        let parent = |path: &str| checked_parent(&folder.path().join("images"), Path::new(path));
        assert_eq!(parent("../parent").ok().as_deref(), Some("../parent"));
        assert!(parent("/parent").is_err() && parent("../file").is_err() && parent("../none").is_err());
    }
}
