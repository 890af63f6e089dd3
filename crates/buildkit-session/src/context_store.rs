//! What of contexts is kept between builds: contents under their digests, and for each client's folder which of its files
//! had which content when it was last seen. A file that has kept its size, mode and time is not asked for again.
//!
//! Layout below the store's folder: `contents/AB/DIGEST`, `indexes/KEY.json`, `tmp/`, and `boot`. Nothing is synced to the
//! disk: after a reboot the store begins anew. Contents never change; one goes when no index and no build wants it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use ids::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::error::SessionError;

/// Bytes of contents that stay for later builds.
const MAX_KEPT: u64 = 10 << 30;
/// Contents are looked through after so many new bytes.
const LOOK_AFTER: u64 = 1 << 30;
/// The largest index that is read.
const MAX_INDEX: u64 = 512 << 20;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContextStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    keep_bytes: u64,
    /// Held by builds; whoever clears up wants it for itself.
    used: Arc<RwLock<()>>,
    added: AtomicU64,
}

/// Contents that stay as long as this is held.
#[derive(Debug, Clone)]
pub struct Contents {
    folder: PathBuf,
    _used: Arc<OwnedRwLockReadGuard<()>>,
}

/// A file as it was when its content came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub size: u64,
    pub mode: u32,
    pub modified: i64,
    digest: String,
}

/// The files of one folder.
pub(crate) type Index = HashMap<String, Known>;

impl Known {
    pub fn new(size: u64, mode: u32, modified: i64, digest: Digest) -> Self {
        Self { size, mode, modified, digest: digest.to_string() }
    }

    pub fn digest(&self) -> Option<Digest> {
        Digest::from_str(&self.digest).ok()
    }
}

impl ContextStore {
    pub fn open(folder: PathBuf) -> Result<Self, SessionError> {
        Self::open_with(folder, MAX_KEPT)
    }

    fn open_with(folder: PathBuf, keep_bytes: u64) -> Result<Self, SessionError> {
        let failed = "make room for build contexts";
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let is_of_this_boot = fs::read_to_string(folder.join("boot")).is_ok_and(|known| known == boot);
        if folder.exists() && !is_of_this_boot {
            fs::remove_dir_all(&folder).map_err(SessionError::file(failed))?;
        }
        remove(&folder.join("tmp")).map_err(SessionError::file(failed))?;
        for name in ["contents", "indexes", "tmp"] {
            make_folder(&folder.join(name)).map_err(SessionError::file(failed))?;
        }
        fs::write(folder.join("boot"), boot).map_err(SessionError::file(failed))?;
        // The first look tells how much there is.
        let added = AtomicU64::new(LOOK_AFTER);
        Ok(Self { shared: Arc::new(Shared { folder, keep_bytes, used: Arc::default(), added }) })
    }

    /// Contents to read from and add to.
    pub async fn lend(&self) -> Contents {
        let used = Arc::clone(&self.shared.used).read_owned().await;
        Contents { folder: self.shared.folder.clone(), _used: Arc::new(used) }
    }

    /// Lets go of what was not used for the longest, if there is too much. While builds go on nothing does.
    pub async fn collect(&self) {
        if self.shared.added.load(Ordering::Relaxed) < LOOK_AFTER {
            return;
        }
        if let Err(error) = self.clear(self.shared.keep_bytes).await {
            tracing::warn!(error = errors::chain(&error), "what is kept of build contexts stays");
        }
    }

    /// Lets go of everything that no build under way uses; answers the bytes.
    pub async fn prune(&self) -> Result<u64, SessionError> {
        self.clear(0).await
    }

    async fn clear(&self, keep_bytes: u64) -> Result<u64, SessionError> {
        let Ok(alone) = Arc::clone(&self.shared.used).try_write_owned() else { return Ok(0) };
        let folder = self.shared.folder.clone();
        let cleared = tokio::task::spawn_blocking(move || {
            let cleared = clear(&folder, keep_bytes);
            drop(alone);
            cleared
        });
        let cleared = cleared.await.map_err(io::Error::other).and_then(|cleared| cleared);
        self.shared.added.store(0, Ordering::Relaxed);
        cleared.map_err(SessionError::file("clear what is kept of build contexts"))
    }

    pub(crate) fn note_added(&self, bytes: u64) {
        self.shared.added.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Contents {
    /// A content by its digest.
    pub fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.path(digest)).is_ok_and(|found| found.len() == size)
    }

    /// A content in the making.
    pub(crate) fn create(&self) -> io::Result<Writing> {
        let mut name = [0_u8; 16];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join("tmp").join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Writing { file, path, hasher: Hasher::new(), size: 0 })
    }

    /// Gives it its place; answers its digest and size.
    pub(crate) fn keep(&self, mut writing: Writing) -> io::Result<(Digest, u64)> {
        let digest = std::mem::take(&mut writing.hasher).finish();
        let path = self.path(&digest);
        if !path.exists() {
            if let Some(folder) = path.parent() {
                make_folder(folder)?;
            }
            fs::rename(&writing.path, &path)?;
        }
        Ok((digest, writing.size))
    }

    pub(crate) fn index(&self, key: &str) -> Index {
        let path = self.index_path(key);
        let known = fs::metadata(&path).ok().filter(|found| found.len() <= MAX_INDEX);
        let read = known.and_then(|_| fs::read(&path).ok());
        // What cannot be read is not known.
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Notes the files of a folder; the index counts as used just now.
    pub(crate) fn put_index(&self, key: &str, index: &Index, is_new: bool) -> io::Result<()> {
        let path = self.index_path(key);
        if !is_new && path.exists() {
            return OpenOptions::new().write(true).open(&path)?.set_modified(SystemTime::now());
        }
        let bytes = serde_json::to_vec(index)?;
        let mut writing = self.create()?;
        writing.write(&bytes)?;
        fs::rename(&writing.path, path)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        content_path(&self.folder, &digest.hex())
    }

    /// Keys come from clients: their digest is a name.
    fn index_path(&self, key: &str) -> PathBuf {
        self.folder.join("indexes").join(format!("{}.json", Digest::of(key).hex()))
    }
}

/// A content that comes; what does not come to its end goes.
pub(crate) struct Writing {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
}

impl Writing {
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Gone already where it was given its place.
        let _ = fs::remove_file(&self.path);
    }
}

fn content_path(folder: &Path, hex: &str) -> PathBuf {
    folder.join("contents").join(&hex[..2]).join(hex)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn clear(folder: &Path, keep_bytes: u64) -> io::Result<u64> {
    let mut indexes = Vec::new();
    for entry in fs::read_dir(folder.join("indexes"))? {
        let entry = entry?;
        indexes.push((entry.metadata()?.modified()?, entry.path()));
    }
    indexes.sort_by(|a, b| b.cmp(a));
    let (mut kept, mut bytes) = (HashSet::new(), 0_u64);
    for (_, path) in indexes {
        let index: Index = serde_json::from_slice(&fs::read(&path)?).unwrap_or_default();
        let new: HashMap<&str, u64> = index
            .values()
            .filter_map(|known| Some((known.digest.strip_prefix("sha256:")?, known.size)))
            .filter(|(digest, _)| !kept.contains(*digest))
            .collect();
        let size: u64 = new.values().sum();
        match bytes.saturating_add(size) {
            total if total <= keep_bytes && keep_bytes > 0 => {
                bytes = total;
                kept.extend(new.into_keys().map(str::to_owned));
            }
            _ => fs::remove_file(&path)?,
        }
    }
    let mut cleared = 0;
    for shelf in fs::read_dir(folder.join("contents"))? {
        for content in fs::read_dir(shelf?.path())? {
            let content = content?;
            if content.file_name().to_str().is_none_or(|name| !kept.contains(name)) {
                cleared += content.metadata()?.len();
                fs::remove_file(content.path())?;
            }
        }
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(contents: &Contents, bytes: &[u8]) -> Digest {
        let mut writing = contents.create().unwrap();
        writing.write(bytes).unwrap();
        contents.keep(writing).unwrap().0
    }

    #[tokio::test]
    async fn contents_stay_while_an_index_or_a_build_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContextStore::open_with(folder.path().join("c"), 8).unwrap();
        let contents = store.lend().await;
        let (old, new) = (add(&contents, b"12345"), add(&contents, b"123456"));
        for (key, digest, size) in [("old", old, 5), ("new", new, 6)] {
            let index = Index::from([("f".to_owned(), Known::new(size, 0o644, 1, digest))]);
            contents.put_index(key, &index, true).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(store.clear(8).await.unwrap(), 0, "a build goes on");
        drop(contents);
        assert_eq!(store.clear(8).await.unwrap(), 5);
        let contents = store.lend().await;
        assert!(contents.has(&new, 6) && !contents.has(&old, 5));
        assert_eq!(contents.index("new")["f"].digest(), Some(new));
        assert!(contents.index("old").is_empty());
        drop(contents);
        assert_eq!(store.prune().await.unwrap(), 6);
    }

    #[tokio::test]
    async fn what_does_not_come_to_its_end_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContextStore::open(folder.path().to_owned()).unwrap();
        let contents = store.lend().await;
        let mut writing = contents.create().unwrap();
        writing.write(b"half").unwrap();
        drop(writing);
        add(&contents, b"whole");
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
        drop((contents, store));
        fs::write(folder.path().join("boot"), "another").unwrap();
        ContextStore::open(folder.path().to_owned()).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("contents")).unwrap().count(), 0, "a reboot was between");
    }
}
