//! The folder of a task: what its shim works in, and all we know of the shim after a restart.
//!
//! `STATE/NAMESPACE/ID` holds `config.json`, `rootfs/`, the FIFO `log`, the link `work` (to `ROOT/NAMESPACE/ID`, which
//! survives a reboot), `shim-binary-path`, and `address`, as containerd lays it out. Of our own is `exit.json`: the exit
//! status, written as soon as it is known, so that neither our death nor the shim's can lose it.
//!
//! Invariants: a bundle comes and goes by rename (hidden names start with a dot and are rubbish), so that a kill at any
//! moment leaves either a bundle or rubbish. Names are checked identifiers; nothing here follows a link inside a bundle.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Gid, Mode};
use rustix::mount::UnmountFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::shim_program::Bootstrap;

/// The most bytes that are read of a file in a bundle.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where bundles and their working folders lie.
#[derive(Debug, Clone)]
pub struct Places {
    pub state: PathBuf,
    pub root: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bundle {
    pub namespace: String,
    pub id: String,
    pub path: PathBuf,
    work: PathBuf,
}

/// What is left of a bundle whose place is free again.
#[derive(Debug)]
#[must_use]
pub struct Rubbish {
    hidden: Vec<PathBuf>,
}

impl Rubbish {
    pub fn remove(self) -> io::Result<()> {
        for path in self.hidden {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub pid: u32,
    pub status: u32,
    exited_at_nanos: u128,
}

impl Exit {
    pub fn new(pid: u32, status: u32, exited_at: SystemTime) -> Self {
        let since = exited_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { pid, status, exited_at_nanos: since.as_nanos() }
    }

    pub fn exited_at(&self) -> SystemTime {
        let nanos = u64::try_from(self.exited_at_nanos).unwrap_or(u64::MAX);
        UNIX_EPOCH + Duration::from_nanos(nanos)
    }
}

impl Places {
    /// The bundle of a task, whether it exists or not.
    pub fn bundle(&self, namespace: &str, id: &str) -> Bundle {
        Bundle {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            path: self.state.join(namespace).join(id),
            work: self.root.join(namespace).join(id),
        }
    }

    /// Every bundle there is, after removing what was left half removed.
    pub fn all(&self) -> Vec<Bundle> {
        let mut bundles = Vec::new();
        for namespace in folders(&self.state) {
            for id in folders(&self.state.join(&namespace)) {
                bundles.push(self.bundle(&namespace, &id));
            }
        }
        bundles
    }

    /// Removes working folders whose bundle is gone: after a reboot that is all of them.
    pub fn remove_stray_work(&self) {
        for namespace in folders(&self.root) {
            for id in folders(&self.root.join(&namespace)) {
                let bundle = self.bundle(&namespace, &id);
                if !bundle.path.exists() {
                    let _ = fs::remove_dir_all(&bundle.work);
                }
            }
            let _ = fs::remove_dir(self.root.join(&namespace));
        }
    }
}

impl Bundle {
    /// Makes the folder and everything a shim expects in it. What an earlier attempt left is removed first.
    pub fn create(&self, spec: &[u8]) -> Result<()> {
        if self.path.exists() {
            self.delete()?;
        }
        let made = self.create_contents(spec);
        if made.is_err() {
            let _ = self.delete();
        }
        made
    }

    fn create_contents(&self, spec: &[u8]) -> Result<()> {
        let failed = |what: &str| Error::io(format!("cannot create {what} of the bundle of {:?}", self.id));
        let _ = fs::remove_dir_all(&self.work);
        folder(&self.work, 0o711).map_err(failed("the working folder"))?;
        if let Some(parent) = self.path.parent() {
            folder(parent, 0o711).map_err(failed("the folder"))?;
        }
        DirBuilder::new().mode(0o700).create(&self.path).map_err(failed("the folder"))?;
        if let Some(gid) = remapped_gid(spec) {
            rustix::fs::chown(&self.path, None, Some(Gid::from_raw(gid))).map_err(|e| failed("the owner")(e.into()))?;
            rustix::fs::chmod(&self.path, Mode::from_raw_mode(0o710)).map_err(|e| failed("the mode")(e.into()))?;
        }
        DirBuilder::new().mode(0o711).create(self.path.join("rootfs")).map_err(failed("rootfs"))?;
        std::os::unix::fs::symlink(&self.work, self.path.join("work")).map_err(failed("work"))?;
        rustix::fs::mknodat(CWD, self.log(), FileType::Fifo, Mode::from_raw_mode(0o700), 0)
            .map_err(|errno| failed("log")(errno.into()))?;
        write(&self.path.join("config.json"), spec, 0o600).map_err(failed("config.json"))
    }

    /// The FIFO that the shim writes its own log to.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Records which program the shim is, before it is started.
    pub fn write_program(&self, program: &Path) -> Result<()> {
        let bytes = program.as_os_str().as_encoded_bytes();
        write(&self.path.join("shim-binary-path"), bytes, 0o600).map_err(Error::io("cannot record the shim's program"))
    }

    pub fn program(&self) -> Option<PathBuf> {
        let text = self.read("shim-binary-path")?;
        let text = text.trim();
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// How to reach the shim: `bootstrap.json` for version 3, else the file `address`, which the shim or we have written.
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        if let Some(text) = self.read("bootstrap.json") {
            return serde_json::from_str(&text).ok();
        }
        let text = self.read("address")?;
        let address = text.trim();
        (!address.is_empty()).then(|| Bootstrap::version_2(address))
    }

    pub fn write_bootstrap(&self, bootstrap: &Bootstrap) -> Result<()> {
        let failed = |error: io::Error| Error::io("cannot record the shim's address")(error);
        if bootstrap.version >= 3 {
            let json = serde_json::to_vec(bootstrap).map_err(|error| failed(error.into()))?;
            self.replace("bootstrap.json", &json).map_err(failed)?;
        }
        if self.read("address").is_some_and(|known| known.trim() == bootstrap.address) {
            return Ok(());
        }
        self.replace("address", bootstrap.address.as_bytes()).map_err(failed)
    }

    pub fn exit(&self) -> Option<Exit> {
        serde_json::from_str(&self.read("exit.json")?).ok()
    }

    pub fn write_exit(&self, exit: &Exit) -> Result<()> {
        let bytes = serde_json::to_vec(exit).map_err(|error| Error::io("cannot write an exit")(error.into()))?;
        self.replace("exit.json", &bytes).map_err(Error::io(format!("cannot record the exit of {:?}", self.id)))
    }

    /// How long ago the bundle was made.
    pub fn age(&self) -> Option<Duration> {
        fs::symlink_metadata(self.path.join("config.json")).ok()?.modified().ok()?.elapsed().ok()
    }

    /// Unmounts the root file system, hides the bundle and removes it. What is gone already is fine.
    pub fn delete(&self) -> Result<()> {
        self.retire()?.remove().map_err(Error::io(format!("cannot remove the bundle of {:?}", self.id)))
    }

    /// Unmounts the root file system and hides the bundle: its place is free, and what remains is rubbish.
    pub fn retire(&self) -> Result<Rubbish> {
        self.unmount_rootfs()?;
        let rootfs = self.path.join("rootfs");
        // Only an empty folder goes this way: if something is still mounted there, nothing below may be deleted.
        match fs::remove_dir(&rootfs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::NotADirectory => {
                return Err(Error::io(format!("cannot remove the bundle rootfs of {:?}", self.id))(error));
            }
            _ => {}
        }
        let failed = |error: io::Error| Error::io(format!("cannot hide the bundle of {:?}", self.id))(error);
        let hidden = [hide(&self.path).map_err(failed)?, hide(&self.work).map_err(failed)?];
        Ok(Rubbish { hidden: hidden.into_iter().flatten().collect() })
    }

    fn unmount_rootfs(&self) -> Result<()> {
        let rootfs = self.path.join("rootfs");
        loop {
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            match rustix::mount::unmount(&rootfs, flags) {
                Ok(()) => {}
                // umount2(2): EINVAL says that it is no mount point.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return Ok(()),
                Err(errno) => {
                    return Err(Error::io(format!("cannot unmount the rootfs of {:?}", self.id))(errno.into()));
                }
            }
        }
    }

    fn read(&self, name: &str) -> Option<String> {
        use std::io::Read;
        let file = OpenOptions::new().read(true).custom_flags(nofollow()).open(self.path.join(name)).ok()?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Replaces a file in one step, so that a kill leaves the old or the new one.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let hidden = self.path.join(format!(".{name}"));
        let _ = fs::remove_file(&hidden);
        write(&hidden, bytes, 0o600)?;
        fs::rename(&hidden, self.path.join(name))
    }
}

fn nofollow() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed()
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
}

fn folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Names of the folders in a folder; hidden ones are what a removal left and are removed.
fn folders(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if name.starts_with('.') {
            let _ = fs::remove_dir_all(entry.path());
        } else if crate::identifier::check(&name).is_ok() {
            names.push(name);
        }
    }
    names
}

/// Gives a folder a hidden name; answers it, or nothing when there is no such folder.
fn hide(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let hidden = parent.join(format!(".{}", name.to_string_lossy()));
    match fs::rename(path, &hidden) {
        Ok(()) => return Ok(Some(hidden)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) => {}
    }
    // A hidden one of the same name is in the way when its removal was cut short.
    let _ = fs::remove_dir_all(&hidden);
    fs::rename(path, &hidden).map(|()| Some(hidden))
}

/// The host's group of the container's root, so that it may enter the bundle (user namespaces).
fn remapped_gid(spec: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Spec {
        linux: Option<Linux>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Linux {
        #[serde(default)]
        gid_mappings: Vec<Mapping>,
    }
    #[derive(Deserialize)]
    struct Mapping {
        #[serde(rename = "containerID")]
        container_id: u32,
        #[serde(rename = "hostID")]
        host_id: u32,
    }
    const NEEDLE: &[u8] = b"gidMappings";
    if !spec.windows(NEEDLE.len()).any(|window| window == NEEDLE) {
        return None;
    }
    let spec: Spec = serde_json::from_slice(spec).ok()?;
    let mappings = spec.linux?.gid_mappings;
    mappings.iter().find(|mapping| mapping.container_id == 0).map(|mapping| mapping.host_id).filter(|gid| *gid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().expect("tempdir");
        let places = Places { state: folder.path().join("state"), root: folder.path().join("root") };
        (folder, places)
    }

    #[test]
    fn a_bundle_has_what_a_shim_expects_and_goes_without_a_trace() {
        let (_folder, places) = places();
        let bundle = places.bundle("default", "one");
        bundle.create(b"{}").expect("create");
        assert_eq!(fs::read(bundle.path.join("config.json")).expect("config"), b"{}");
        assert!(bundle.path.join("rootfs").is_dir() && bundle.path.join("work").is_dir());
        assert_eq!(places.all(), std::slice::from_ref(&bundle));
        bundle.delete().expect("delete");
        assert!(places.all().is_empty() && !bundle.work.exists());
        bundle.delete().expect("what is gone already is fine");
    }

    #[test]
    fn a_bundle_of_an_earlier_attempt_is_replaced() {
        let (_folder, places) = places();
        let bundle = places.bundle("default", "one");
        bundle.create(b"old").expect("create");
        bundle.write_bootstrap(&Bootstrap::version_2("unix:///x")).expect("address");
        assert_eq!(bundle.bootstrap(), Some(Bootstrap::version_2("unix:///x")));
        bundle.create(b"new").expect("create again");
        assert_eq!((bundle.bootstrap(), fs::read(bundle.path.join("config.json")).ok()), (None, Some(b"new".to_vec())));
    }

    #[test]
    fn rubbish_of_a_cut_off_removal_goes_at_the_next_look() {
        let (_folder, places) = places();
        fs::create_dir_all(places.state.join("default/.one/rootfs")).expect("mkdir");
        fs::create_dir_all(places.root.join("default/two")).expect("mkdir");
        assert!(places.all().is_empty());
        places.remove_stray_work();
        assert!(!places.state.join("default/.one").exists() && !places.root.join("default").exists());
    }

    #[test]
    fn an_exit_outlives_everybody() {
        let (_folder, places) = places();
        let bundle = places.bundle("default", "one");
        bundle.create(b"{}").expect("create");
        assert_eq!(bundle.exit(), None);
        let exit = Exit::new(7, 42, UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        bundle.write_exit(&exit).expect("write");
        bundle.write_exit(&exit).expect("write again");
        assert_eq!(places.bundle("default", "one").exit(), Some(exit));
        assert_eq!(exit.exited_at(), UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
    }

    #[test]
    fn the_root_of_a_user_namespace_may_enter() {
        let spec = br#"{"linux":{"gidMappings":[{"containerID":0,"hostID":100000,"size":1}]}}"#;
        assert_eq!(remapped_gid(spec), Some(100_000));
        assert_eq!(remapped_gid(b"{}"), None);
    }
}
