//! What every [`Snapshotter`] must do, with real mounts. `cases` is run for each implementation.

mod files;
mod names;

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use metadata::Labels;
use snapshot::{Extras, Mount, Snapshotter, mount_layers, unmount_layer};

pub const NS: &str = "test";

/// An implementation under test, with a folder for mount points.
pub struct Room {
    pub snapshotter: Box<dyn Snapshotter>,
    pub folder: tempfile::TempDir,
}

/// Makes an empty implementation.
pub type Make = fn() -> Room;

/// The promise, and what checks it.
pub type Case = (&'static str, fn(&Room));

/// One trial for each promise.
pub fn cases(implementation: &str, make: Make) -> Vec<Trial> {
    let cases = names::CASES.iter().chain(files::CASES);
    cases
        .map(|(name, case)| {
            Trial::test(format!("{implementation}::{name}"), move || {
                case(&make());
                Ok(())
            })
        })
        .collect()
}

impl Room {
    /// Mounts, runs, unmounts.
    pub fn mounted<T>(&self, mounts: &[Mount], run: impl FnOnce(&Path) -> T) -> T {
        let target = tempfile::tempdir_in(self.folder.path()).unwrap();
        mount_layers(mounts, target.path()).unwrap();
        let guard = Unmount(target.path().to_owned());
        let result = run(target.path());
        drop(guard);
        result
    }

    pub fn prepare(&self, key: &str, parent: Option<&str>) -> Vec<Mount> {
        self.snapshotter.prepare(NS, key, parent, Extras::default()).unwrap()
    }

    pub fn view(&self, key: &str, parent: Option<&str>) -> Vec<Mount> {
        self.snapshotter.view(NS, key, parent, Extras::default()).unwrap()
    }

    pub fn commit(&self, name: &str, key: &str) {
        self.snapshotter.commit(NS, name, key, Extras::default()).unwrap();
    }

    /// A committed snapshot with what `write` leaves in it.
    pub fn layer(&self, name: &str, parent: Option<&str>, write: impl FnOnce(&Path)) {
        let key = format!("{name}-active");
        let mounts = self.prepare(&key, parent);
        self.mounted(&mounts, write);
        self.commit(name, &key);
    }

    /// Looks at a committed snapshot through a view.
    pub fn look<T>(&self, parent: &str, look: impl FnOnce(&Path) -> T) -> T {
        let mounts = self.view("look", Some(parent));
        let seen = self.mounted(&mounts, look);
        self.snapshotter.remove(NS, "look").unwrap();
        seen
    }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        unmount_layer(&self.0).unwrap();
    }
}
