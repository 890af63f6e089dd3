//! `restore`: a container made of the files of a checkpoint.

use super::rpc::{CgroupRoot, ExternalMount, InheritedFd, Kind, Notification};
use super::service::Criu;
use super::surroundings::{self, Rootfs, Side};
use super::{DESCRIPTORS, Settings};
use crate::create::{self, Container, CreateRequest, Mode};
use crate::fd::{self, Fd};
use crate::foreground::{self, Terminal};
use crate::record::process_stat;
use crate::{Notes, Record, Root, RuntimeError, Status, bundle, delete, hooks, time};
use cgroup::Layout;
use runtime_core::plan::namespaces::CLONE_NEWTIME;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use sys::mount::{self, MNT_DETACH, MS_BIND, MS_REC};
use sys::socket;

const LOG: &str = "restore.log";
const MAX_DESCRIPTORS: u64 = 1 << 20;
/// From then on criu puts processes into a time namespace.
const KNOWS_TIME_NAMESPACES: i32 = 31_400;

#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    pub settings: Settings,
    /// `TYPE:NAME`.
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// The exit code for the caller.
pub fn restore(
    root: &Root,
    request: &CreateRequest,
    wanted: &RestoreRequest,
    mode: Mode,
    notes: &mut Notes,
) -> Result<i32, RuntimeError> {
    fd::check_preserved(request.preserve_fds)?;
    let bundle = bundle::load(&request.bundle)?;
    let terminal = bundle.spec.process.as_ref().is_some_and(|process| process.terminal);
    foreground::check_terminal(terminal, request.console_socket.is_some(), matches!(mode, Mode::Foreground { .. }))?;
    let version = super::check_version()?;
    let mut container = Container::claim(root, request, mode, bundle)?;
    let images = wanted.settings.images();
    let restored = set_up(&mut container, wanted, &images, version, notes);
    let (record, ours) = match restored {
        Ok(parts) => parts,
        Err(error) => {
            super::quote_log(wanted.settings.work_path.as_deref().unwrap_or(&images), LOG, notes);
            return Err(error.with_clean_up(container.undo(None)));
        }
    };
    let written = request.pid_file.as_deref().map_or(Ok(()), |path| create::write_pid_file(path, record.pid));
    if let Err(error) = written {
        return Err(error.with_clean_up(container.undo(Some(&record))));
    }
    let Mode::Foreground { keep, subreaper } = mode else { return Ok(0) };
    let code = foreground::wait(record.pid, ours, foreground::take_signals()?, subreaper)?;
    if !keep {
        delete::remove(root, &record, notes)?;
    }
    Ok(code)
}

fn set_up(
    container: &mut Container<'_>,
    wanted: &RestoreRequest,
    images: &Path,
    version: i32,
    notes: &mut Notes,
) -> Result<(Record, Option<Terminal>), RuntimeError> {
    let layout = Layout::detect()?;
    let rootfs = container.bundle.rootfs()?;
    let (group, unit) = container.plan_group(&layout)?;
    let compiled = container.compile()?;
    let _placeholder = container.make_group(group, unit, notes)?;
    let mut record = container.record(rootfs.clone(), compiled)?;
    if version >= KNOWS_TIME_NAMESPACES && Path::new("/proc/self/ns/time").exists() {
        record.namespaces |= CLONE_NEWTIME;
    }
    let root = BoundRoot::new(&rootfs, container.folder.join("criu-root"))?;
    let places = Rootfs::open(&rootfs)?;
    places.make_places(&container.bundle.spec)?;
    let images_folder = fs::File::open(images).map_err(RuntimeError::file(format!("open {}", images.display())))?;
    let work_folder = wanted.settings.work_path.as_deref().map(super::make_folder).transpose()?;
    let mut options = wanted.settings.options()?;
    options.images_dir_fd = images_folder.as_raw_fd();
    options.work_dir_fd = work_folder.as_ref().map(AsRawFd::as_raw_fd);
    options.log_file = Some(LOG.into());
    options.evasive_devices = Some(true);
    options.restore_sibling = Some(true);
    options.root = Some(root.path.to_string_lossy().into_owned());
    options.config_file = super::configuration(&record.annotations);
    options.lsm_profile.clone_from(&wanted.lsm_profile);
    options.lsm_mount_context.clone_from(&wanted.lsm_mount_context);
    options.external_mounts = surroundings::external_mounts(&container.bundle, &places, &record.group, Side::Restore)?;
    if !container.bundle.spec.linux.masked_paths.is_empty() {
        options.external_mounts.push(ExternalMount { key: "/dev/null".into(), value: "/dev/null".into() });
    }
    options.inherited_fds = surroundings::inherited_streams(&dumped_streams(images)?);
    let joined = surroundings::namespaces_to_join(&container.bundle.spec)?;
    for (key, fd) in &joined.fds {
        options.inherited_fds.push(InheritedFd { key: (*key).into(), fd: fd.raw() });
    }
    options.joined_namespaces = joined.others;
    let terminal = container.bundle.spec.process.as_ref().is_some_and(|process| process.terminal);
    let (console, ours) = match terminal {
        true => create::console_ends(container.request.console_socket.as_deref())?,
        false => (None, None),
    };
    let inherited: Vec<&Fd> = joined.fds.iter().map(|(_, fd)| fd).collect();
    let criu = Criu::start(&inherited)?;
    record.group.add(criu.pid())?;
    options.cgroup_roots = cgroup_roots(criu.pid())?;
    criu.perform(Kind::Restore, options, |notification, fd| {
        follow(container, &mut record, notification, fd, console.as_ref())
    })?;
    if record.pid == 0 {
        return Err(RuntimeError::Start("criu told of no restored process".into()));
    }
    Ok((record, ours))
}

/// What is to be done at criu's points.
fn follow(
    container: &Container<'_>,
    record: &mut Record,
    notification: &Notification,
    fd: Option<Fd>,
    console: Option<&Fd>,
) -> Result<(), RuntimeError> {
    let pid = notification.pid.unwrap_or(0);
    match notification.script.as_deref() {
        Some("setup-namespaces") => {
            let seen = Record { pid, ..record.clone() };
            let wanted = &container.bundle.spec.hooks;
            hooks::run("prestart", &wanted.prestart, &seen, Status::Creating)?;
            hooks::run("createRuntime", &wanted.create_runtime, &seen, Status::Creating)
        }
        Some("post-restore") => {
            record.pid = pid;
            record.start_time = process_stat(pid).map_or(0, |(_, start)| start);
            record.created = time::now();
            container.root.save(record)
        }
        Some("orphan-pts-master") => {
            let (Some(master), Some(console)) = (fd, console) else {
                return Err(RuntimeError::Start("a terminal was restored, and nobody asked for one".into()));
            };
            let sent = socket::send_fd(console.raw(), b"orphan-pts-master", master.raw());
            sent.map_err(RuntimeError::system("hand the terminal over"))
        }
        _ => Ok(()),
    }
}

/// criu wants a root that is a mount point, with nothing mounted over its parent.
struct BoundRoot {
    path: PathBuf,
}

impl BoundRoot {
    fn new(rootfs: &str, path: PathBuf) -> Result<Self, RuntimeError> {
        let what = || format!("bind {rootfs} to {}", path.display());
        fs::create_dir(&path).map_err(RuntimeError::file(format!("mkdir {}", path.display())))?;
        let path = fs::canonicalize(&path).map_err(RuntimeError::file(what()))?;
        let names = (CString::new(rootfs), CString::new(path.to_string_lossy().into_owned()));
        let (Ok(from), Ok(to)) = names else { return Err(RuntimeError::InvalidArgument(what())) };
        let root = Self { path };
        mount::mount(Some(&from), &to, None, MS_BIND | MS_REC, None)
            .map_err(|errno| RuntimeError::System { what: format!("bind {rootfs}"), errno })?;
        Ok(root)
    }
}

impl Drop for BoundRoot {
    fn drop(&mut self) {
        if let Ok(path) = CString::new(self.path.to_string_lossy().into_owned()) {
            let _ = mount::umount(&path, MNT_DETACH);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

fn dumped_streams(images: &Path) -> Result<Vec<String>, RuntimeError> {
    let path = images.join(DESCRIPTORS);
    let failed = || RuntimeError::file(format!("read {}", path.display()));
    if fs::metadata(&path).map_err(failed())?.len() > MAX_DESCRIPTORS {
        return Err(RuntimeError::InvalidArgument(format!("{} is too large", path.display())));
    }
    let bytes = fs::read(&path).map_err(failed())?;
    serde_json::from_slice(&bytes).map_err(|source| RuntimeError::Json { what: path.display().to_string(), source })
}

/// Where criu, and so what it restores, is in each hierarchy.
fn cgroup_roots(pid: i32) -> Result<Vec<CgroupRoot>, RuntimeError> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).map_err(RuntimeError::file(format!("read {path}")))?;
    let root = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some(CgroupRoot { controller: Some(fields.next()?.into()), path: fields.next()?.into() })
    };
    Ok(text.lines().filter_map(root).collect())
}
