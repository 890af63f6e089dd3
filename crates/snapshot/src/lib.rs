//! File system snapshots on overlayfs: prepare, view, commit, mounts, usage, removal.
//!
//! Entry points: the trait [`Snapshotter`] and its implementation [`Overlay`]. The semantics are containerd's
//! (`core/snapshots`): an *active* snapshot is written to, *committing* it under a name makes it a parent for others, a
//! *view* is read only; parents are committed snapshots, and what has a child cannot be removed.
//!
//! On disk: `ROOT/snapshots/N/{fs,work}` as containerd has it; names, kinds, parents and labels per namespace in the
//! metadata database. A folder without a record, or named `rm-*`, is left over and removed when the driver opens.
//!
//! Invariants: a record is written after its folder was made and removed before its folder goes. Records are lazy: a
//! crash of the machine may forget the newest ones, unless the caller stores something synced in the same database
//! afterwards. File contents are not synced by a commit; the driver syncs the file system when commits have ceased, and
//! a committed snapshot that was not yet synced when the machine went down is dropped at open, to be unpacked again.
//!
//! Everything here blocks on the disk: asynchronous callers go through `tokio::task::spawn_blocking`.

mod error;
mod overlay;
mod record;
mod sweep;
mod usage;

use std::time::SystemTime;

use metadata::{Labels, WriteTx};

pub use error::Error;
pub use overlay::Overlay;
pub use record::Kind;
pub use sys::layers::{LayerMount as Mount, mount_layers, unmount_layer};

/// A snapshot as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub name: String,
    pub kind: Kind,
    pub parent: Option<String>,
    pub labels: Labels,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

/// What a snapshot takes on the disk, without its parents; a file with several names counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub bytes: u64,
    pub inodes: u64,
}

/// More changes for the transaction of an operation here: leases of the caller.
pub type Also = Box<dyn FnOnce(&mut WriteTx<'_>) -> Result<(), metadata::Error> + Send>;

/// What a new snapshot gets beside its name.
#[derive(Default)]
pub struct Extras {
    pub labels: Labels,
    pub also: Option<Also>,
}

impl Extras {
    pub fn labelled(labels: Labels) -> Self {
        Self { labels, also: None }
    }
}

/// Snapshots of all namespaces of one driver. Names and keys share one space within a namespace.
pub trait Snapshotter: Send + Sync {
    /// The name under which containerd's API knows the driver.
    fn name(&self) -> &str;

    fn stat(&self, namespace: &str, name: &str) -> Result<Info, Error>;

    /// Changes labels under an update mask (see [`metadata::labels::updated`]).
    fn update(&self, namespace: &str, name: &str, labels: Labels, mask: &[String]) -> Result<Info, Error>;

    /// Counted anew for an active snapshot, from the record for others; nothing for a view.
    fn usage(&self, namespace: &str, name: &str) -> Result<Usage, Error>;

    /// Mounts of an active snapshot or a view; a committed one has none.
    fn mounts(&self, namespace: &str, key: &str) -> Result<Vec<Mount>, Error>;

    /// A new active snapshot on a committed parent, or an empty one.
    fn prepare(&self, namespace: &str, key: &str, parent: Option<&str>, extras: Extras) -> Result<Vec<Mount>, Error>;

    /// A new read-only view of a committed parent.
    fn view(&self, namespace: &str, key: &str, parent: Option<&str>, extras: Extras) -> Result<Vec<Mount>, Error>;

    /// Turns the active snapshot `key` into the committed one `name`, with the labels given here.
    fn commit(&self, namespace: &str, name: &str, key: &str, extras: Extras) -> Result<(), Error>;

    /// Forgets a snapshot without children; its files are removed in the background.
    fn remove(&self, namespace: &str, name: &str) -> Result<(), Error>;

    /// Every snapshot of the namespace that matches, in order of the names.
    fn walk(&self, namespace: &str, filters: &[String]) -> Result<Vec<Info>, Error>;

    /// Waits until the files of removed snapshots are gone.
    fn cleanup(&self) -> Result<(), Error>;
}
