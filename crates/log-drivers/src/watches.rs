//! Who waits for which folder: one inotify instance for all who follow logs.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use logs::{Changes, FolderWatch, WatchId};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Folders that are watched. Clones are the same.
#[derive(Clone)]
pub struct Watches {
    inner: Arc<Inner>,
    _waking: Arc<Waking>,
}

struct Inner {
    folders: AsyncFd<FolderWatch>,
    waiting: Mutex<HashMap<WatchId, Vec<Arc<Notify>>>>,
}

/// The task that passes events on; ends with the last clone.
struct Waking(JoinHandle<()>);

impl Drop for Waking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One watch of a folder, while it lives.
pub struct Watched {
    id: WatchId,
    changed: Arc<Notify>,
    inner: Weak<Inner>,
}

impl Watches {
    /// To be called within a runtime.
    // Deprecated for types whose descriptor may change; a `FolderWatch` keeps its own for life.
    #[expect(deprecated)]
    pub fn new() -> io::Result<Self> {
        let folders = AsyncFd::new(FolderWatch::new()?)?;
        let inner = Arc::new(Inner { folders, waiting: Mutex::default() });
        let waking = Waking(tokio::spawn(wake(Arc::clone(&inner))));
        Ok(Self { inner, _waking: Arc::new(waking) })
    }

    pub fn watch(&self, folder: &Path) -> io::Result<Watched> {
        let changed = Arc::new(Notify::new());
        // The kernel gives the same number for the same folder: nobody else's watch may end in between.
        let mut waiting = self.inner.waiting();
        let id = self.inner.folders.get_ref().add(folder)?;
        waiting.entry(id).or_default().push(Arc::clone(&changed));
        Ok(Watched { id, changed, inner: Arc::downgrade(&self.inner) })
    }
}

impl Watched {
    /// Waits for the next change, or answers for one since the last answer.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let mut waiting = inner.waiting();
        let Some(list) = waiting.get_mut(&self.id) else { return };
        list.retain(|changed| !Arc::ptr_eq(changed, &self.changed));
        if list.is_empty() {
            waiting.remove(&self.id);
            inner.folders.get_ref().remove(self.id);
        }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, HashMap<WatchId, Vec<Arc<Notify>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, changes: Changes) {
        let mut waiting = self.waiting();
        if changes.all {
            waiting.values().flatten().for_each(|changed| changed.notify_one());
        }
        for id in &changes.folders {
            waiting.get(id).into_iter().flatten().for_each(|changed| changed.notify_one());
        }
        for id in &changes.gone {
            waiting.remove(id).into_iter().flatten().for_each(|changed| changed.notify_one());
        }
    }
}

async fn wake(inner: Arc<Inner>) {
    loop {
        let Ok(mut ready) = inner.folders.readable().await else { return };
        ready.clear_ready();
        match inner.folders.get_ref().changes() {
            Ok(changes) => inner.pass_on(changes),
            // The kernel has no memory for it: everybody looks.
            Err(_) => inner.pass_on(Changes { all: true, ..Changes::default() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn only_the_watchers_of_the_changed_folder_wake() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watches = Watches::new().unwrap();
        let (first, second) = (watches.watch(one.path()).unwrap(), watches.watch(one.path()).unwrap());
        let other = watches.watch(two.path()).unwrap();
        std::fs::write(one.path().join("x"), "x").unwrap();
        first.changed().await;
        second.changed().await;
        drop(first);
        std::fs::write(one.path().join("x"), "y").unwrap();
        second.changed().await;
        assert!(tokio::time::timeout(Duration::from_millis(50), other.changed()).await.is_err());
    }
}
