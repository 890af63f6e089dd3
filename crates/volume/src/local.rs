//! Folders of this host: `ROOT/NAME/_data`, as Docker has them, with something mounted there while somebody uses it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::driver::{Driver, Found, LOCAL, Options, Scope};
use crate::options::LocalOptions;
use crate::{VolumeError, mounting};

const DATA: &str = "_data";
/// Docker's file beside it, so that Docker finds its way back.
const OPTIONS: &str = "opts.json";
/// The largest such file that is read.
const MAX_OPTIONS: u64 = 64 * 1024;
/// Longest name of a folder (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// Volumes of the driver `local`.
pub struct LocalDriver {
    root: PathBuf,
    /// Whom containers take for root.
    owner: (u32, u32),
    /// Who has what mounted; of volumes that are mounts only.
    active: Mutex<HashMap<String, Arc<tokio::sync::Mutex<BTreeSet<String>>>>>,
}

/// Docker's rule for names of local volumes.
pub fn check_name(name: &str) -> Result<(), VolumeError> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    if name.len() == 1 {
        return Err(VolumeError::ShortName);
    }
    if !name.starts_with(|letter: char| letter.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
        return Err(VolumeError::Name(name.to_owned()));
    }
    if name.len() > LONGEST_NAME {
        return Err(VolumeError::LongName(name.len()));
    }
    Ok(())
}

impl LocalDriver {
    /// Makes the root unless it is there.
    pub fn open(root: PathBuf, owner: (u32, u32)) -> Result<Self, VolumeError> {
        make_folder(&root, 0o701, (0, owner.1)).map_err(|source| VolumeError::folder("make", &root, source))?;
        Ok(Self { root, owner, active: Mutex::default() })
    }

    /// Where a volume's files are, whether it is there or not.
    pub fn data_folder(&self, name: &str) -> PathBuf {
        self.root.join(name).join(DATA)
    }

    /// Volumes that are on the disk, and the options that Docker left beside them.
    pub fn on_disk(&self) -> Result<Vec<(String, Options)>, VolumeError> {
        let failed = |source| VolumeError::folder("read", &self.root, source);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if check_name(&name).is_ok() && self.data_folder(&name).is_dir() {
                let options = read_options(&self.root.join(&name).join(OPTIONS));
                found.push((name, options));
            }
        }
        Ok(found)
    }

    fn make(&self, name: &str, options: Option<&LocalOptions>) -> io::Result<()> {
        let (folder, data) = (self.root.join(name), self.data_folder(name));
        make_folder(&folder, 0o701, (0, self.owner.1))?;
        if let Some(options) = options {
            let draft = folder.join(format!("{OPTIONS}.new"));
            fs::write(&draft, serde_json::to_vec(options)?)?;
            fs::rename(draft, folder.join(OPTIONS))?;
        }
        // Last: a volume without its folder is made again.
        make_folder(&data, 0o755, self.owner)
    }

    fn holders(&self, name: &str) -> Arc<tokio::sync::Mutex<BTreeSet<String>>> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(active.entry(name.to_owned()).or_default())
    }

    fn forget(&self, name: &str) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The mount itself, unless it is there.
    async fn attach(&self, name: &str, options: &LocalOptions) -> Result<(), VolumeError> {
        let target = self.data_folder(name);
        let looked =
            mounting::is_mounted(&target).map_err(|error| VolumeError::folder("look at", &target, error.into()));
        if looked? {
            return Ok(());
        }
        let known = match options.host() {
            Some(host) => {
                let addresses = resolver::resolve(host).await.map_err(VolumeError::Address)?;
                let address = addresses.first().copied();
                let none = || VolumeError::Address(io::Error::other(format!("lookup {host}: no such host")));
                options.at(host, address.ok_or_else(none)?)
            }
            None => options.clone(),
        };
        let shown = known.clone();
        blocking(move || mounting::mount(&known, &shown, &target)).await
    }
}

#[async_trait]
impl Driver for LocalDriver {
    fn name(&self) -> &str {
        LOCAL
    }

    async fn scope(&self) -> Scope {
        Scope::Local
    }

    fn check(&self, name: &str, options: &Options) -> Result<(), VolumeError> {
        check_name(name)?;
        LocalOptions::parse(options).map(|_| ())
    }

    async fn create(&self, name: &str, options: &Options) -> Result<(), VolumeError> {
        check_name(name)?;
        let options = LocalOptions::parse(options)?;
        if self.data_folder(name).is_dir() {
            return Ok(());
        }
        self.make(name, options.as_ref()).map_err(|source| VolumeError::folder("make", self.root.join(name), source))
    }

    async fn remove(&self, name: &str) -> Result<(), VolumeError> {
        check_name(name)?;
        let holders = self.holders(name);
        let held = holders.lock().await;
        if !held.is_empty() {
            return Err(VolumeError::Active);
        }
        let (root, name_owned) = (self.root.clone(), name.to_owned());
        let result = blocking(move || delete(&root, &name_owned)).await;
        drop(held);
        self.forget(name);
        result
    }

    async fn get(&self, name: &str) -> Result<Option<Found>, VolumeError> {
        if check_name(name).is_err() || !self.root.join(name).is_dir() {
            return Ok(None);
        }
        let mountpoint = self.data_folder(name).to_string_lossy().into_owned();
        Ok(Some(Found { name: name.to_owned(), mountpoint, ..Found::default() }))
    }

    async fn list(&self) -> Result<Vec<Found>, VolumeError> {
        let place = |name: &str| self.data_folder(name).to_string_lossy().into_owned();
        let names = self.on_disk()?.into_iter().map(|(name, _)| name);
        Ok(names.map(|name| Found { mountpoint: place(&name), name, ..Found::default() }).collect())
    }

    async fn mount(&self, name: &str, options: &Options, id: &str) -> Result<PathBuf, VolumeError> {
        check_name(name)?;
        if let Some(options) = LocalOptions::parse(options)?.filter(LocalOptions::is_mounted) {
            let holders = self.holders(name);
            let mut held = holders.lock().await;
            self.attach(name, &options).await?;
            held.insert(id.to_owned());
        }
        Ok(self.data_folder(name))
    }

    async fn unmount(&self, name: &str, id: &str) -> Result<(), VolumeError> {
        let known = self.active.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone);
        let Some(holders) = known else { return Ok(()) };
        let mut held = holders.lock().await;
        if !held.remove(id) || !held.is_empty() {
            return Ok(());
        }
        let folder = self.data_folder(name);
        mounting::unmount(&folder).map_err(|error| VolumeError::folder("unmount", &folder, error.into()))
    }

    async fn restore(&self, name: &str, options: &Options, ids: &[String]) -> Result<(), VolumeError> {
        for id in ids {
            self.mount(name, options, id).await?;
        }
        let folder = self.data_folder(name);
        let is_a_mount = LocalOptions::parse(options)?.is_some_and(|options| options.is_mounted());
        if ids.is_empty() && is_a_mount {
            mounting::unmount(&folder).map_err(|error| VolumeError::folder("unmount", &folder, error.into()))?;
        }
        Ok(())
    }
}

/// Never through a mount: what is mounted there goes first, and what somebody else mounted inside is an error.
fn delete(root: &Path, name: &str) -> Result<(), VolumeError> {
    let folder = root.join(name);
    let failed = |source| VolumeError::Remove { path: folder.clone(), source };
    mounting::unmount(&folder.join(DATA)).map_err(|error| failed(error.into()))?;
    if let Some(inside) = mounting::mount_below(&folder).map_err(failed)? {
        return Err(VolumeError::MountInside { path: folder, inside });
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// A kernel that waits for a server keeps nobody else waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, VolumeError> {
    let failed =
        |error| VolumeError::Folder { action: "wait for", path: "a mount".into(), source: io::Error::other(error) };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// With this mode whatever the umask is; one that is there is left as it is.
fn make_folder(path: &Path, mode: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(mode).create(path)?;
        }
        Err(error) => return Err(error),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    lchown(path, Some(uid), Some(gid))
}

fn read_options(path: &Path) -> Options {
    let read = || -> io::Result<LocalOptions> {
        if fs::symlink_metadata(path)?.len() > MAX_OPTIONS {
            return Err(io::Error::other("too large"));
        }
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    };
    match read() {
        Ok(options) => options.to_options(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Options::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the options of a volume cannot be read");
            Options::new()
        }
    }
}
