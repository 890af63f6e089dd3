//! The driver on overlayfs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metadata::{Database, Durability, Filters, Labels};

use crate::error::disk;
use crate::record::{self, Chain, Kind, Record};
use crate::sweep::{Sweeper, settle};
use crate::{Error, Extras, Info, Mount, Snapshotter, Usage, usage};

/// Snapshots under one folder; cheap to clone.
#[derive(Clone)]
pub struct Overlay {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    database: Database,
    next_id: AtomicU64,
    /// `index=off` where the kernel has it: an upper folder must be usable by two mounts at once (containerd issue 1992).
    options: Vec<String>,
    boot: String,
    sweeper: Sweeper,
}

impl Overlay {
    /// Makes the folder if it is missing, and settles what an unclean end left (see the crate's documentation).
    pub fn open(root: &Path, database: Database) -> Result<Self, Error> {
        let folder = root.join("snapshots");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(disk("create", &folder))?;
        let boot_path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read_to_string(boot_path).map_err(disk("read", boot_path))?.trim().to_owned();
        let settled = settle(&folder, &database, &boot)?;
        let index = Path::new("/sys/module/overlay/parameters/index").exists();
        let sweeper = Sweeper::new(folder, database.clone(), boot.clone());
        for path in settled.leftovers {
            sweeper.remove(path);
        }
        if settled.unsynced {
            sweeper.sync_soon();
        }
        let shared = Shared {
            root: root.to_owned(),
            database,
            next_id: AtomicU64::new(settled.next_id),
            options: index.then(|| "index=off".to_owned()).into_iter().collect(),
            boot,
            sweeper,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The folder with a snapshot's own files (the upper folder of an active one).
    pub fn upper_path(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let record = self.shared.database.view(|tx| record::find(tx, namespace, name))?;
        Ok(self.shared.fs_path(record.id))
    }

    fn create(
        &self,
        kind: Kind,
        namespace: &str,
        key: &str,
        parent: Option<&str>,
        extras: Extras,
    ) -> Result<Vec<Mount>, Error> {
        let parent = parent.filter(|parent| !parent.is_empty());
        let shared = &self.shared;
        let labels = metadata::labels::checked(extras.labels)?;
        let parents = shared.database.view(|tx| record::parent_ids(tx, namespace, parent))?;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let record = Record::new(id, kind, parent.map(ToOwned::to_owned), labels);
        shared.make_folders(&record, parents.first().copied())?;
        let (stored, owner, name) = (record.clone(), namespace.to_owned(), key.to_owned());
        let inserted = shared.database.write_blocking(Durability::Lazy, move |tx| {
            record::insert(tx, &owner, &name, &stored)?;
            extras.also.map_or(Ok(()), |also| also(tx)).map_err(Error::from)
        });
        if let Err(error) = inserted {
            shared.sweeper.remove(shared.folder(id));
            return Err(error);
        }
        Ok(shared.mounts(&Chain { record, parents }))
    }
}

impl Snapshotter for Overlay {
    fn name(&self) -> &str {
        "overlayfs"
    }

    fn stat(&self, namespace: &str, name: &str) -> Result<Info, Error> {
        Ok(self.shared.database.view(|tx| record::find(tx, namespace, name))?.info(name))
    }

    fn update(&self, namespace: &str, name: &str, labels: Labels, mask: &[String]) -> Result<Info, Error> {
        let (namespace, name, mask) = (namespace.to_owned(), name.to_owned(), mask.to_vec());
        self.shared.database.write_blocking(Durability::Lazy, move |tx| {
            let mut record = record::find(tx, &namespace, &name)?;
            record.labels = metadata::labels::updated(&record.labels, &labels, &mask, &name)?;
            record.updated = record::nanos_now();
            record::replace(tx, &namespace, &name, &record)?;
            Ok(record.info(&name))
        })
    }

    fn usage(&self, namespace: &str, name: &str) -> Result<Usage, Error> {
        let record = self.shared.database.view(|tx| record::find(tx, namespace, name))?;
        match record.kind {
            Kind::Active => usage::count(&self.shared.fs_path(record.id)),
            Kind::View | Kind::Committed => Ok(Usage { bytes: record.bytes, inodes: record.inodes }),
        }
    }

    fn mounts(&self, namespace: &str, key: &str) -> Result<Vec<Mount>, Error> {
        let chain = self.shared.database.view(|tx| record::find_chain(tx, namespace, key))?;
        match chain.record.kind {
            Kind::Committed => Err(Error::NoMounts { name: key.to_owned() }),
            Kind::View | Kind::Active => Ok(self.shared.mounts(&chain)),
        }
    }

    fn prepare(&self, namespace: &str, key: &str, parent: Option<&str>, extras: Extras) -> Result<Vec<Mount>, Error> {
        self.create(Kind::Active, namespace, key, parent, extras)
    }

    fn view(&self, namespace: &str, key: &str, parent: Option<&str>, extras: Extras) -> Result<Vec<Mount>, Error> {
        self.create(Kind::View, namespace, key, parent, extras)
    }

    fn commit(&self, namespace: &str, name: &str, key: &str, extras: Extras) -> Result<(), Error> {
        let shared = &self.shared;
        let active = shared.database.view(|tx| record::find(tx, namespace, key))?;
        if active.kind != Kind::Active {
            return Err(Error::NotActive { name: key.to_owned() });
        }
        let labels = metadata::labels::checked(extras.labels)?;
        let usage = usage::count(&shared.fs_path(active.id))?;
        let (namespace, name, key) = (namespace.to_owned(), name.to_owned(), key.to_owned());
        let boot = shared.boot.clone();
        shared.database.write_blocking(Durability::Lazy, move |tx| {
            record::commit(tx, &namespace, &name, &key, labels, usage, &boot)?;
            extras.also.map_or(Ok(()), |also| also(tx)).map_err(Error::from)
        })?;
        shared.sweeper.sync_soon();
        Ok(())
    }

    fn remove(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let removed =
            self.shared.database.write_blocking(Durability::Lazy, move |tx| record::remove(tx, &namespace, &name))?;
        self.shared.sweeper.remove(self.shared.folder(removed.id));
        Ok(())
    }

    fn walk(&self, namespace: &str, filters: &[String]) -> Result<Vec<Info>, Error> {
        let filters = Filters::parse(filters)?;
        let records = self.shared.database.view(|tx| record::list(tx, namespace))?;
        let infos = records.into_iter().map(|(name, record)| record.info(&name));
        Ok(infos.filter(|info| filters.matches(|path| info.field(path))).collect())
    }

    fn cleanup(&self) -> Result<(), Error> {
        self.shared.sweeper.wait_until_removed();
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sweeper.close();
    }
}

impl Shared {
    /// Makes `N/fs`, owned as the parent's, and `N/work` for one that is written to.
    fn make_folders(&self, record: &Record, parent: Option<u64>) -> Result<(), Error> {
        let folder = self.folder(record.id);
        let make = |path: &Path, mode| fs::DirBuilder::new().mode(mode).create(path).map_err(disk("create", path));
        let made = (|| {
            make(&folder, 0o700)?;
            let files = folder.join("fs");
            make(&files, 0o755)?;
            if let Some(parent) = parent {
                let parent = self.fs_path(parent);
                let found = fs::symlink_metadata(&parent).map_err(disk("examine", &parent))?;
                lchown(&files, Some(found.uid()), Some(found.gid())).map_err(disk("change the owner of", &files))?;
            }
            if record.kind == Kind::Active { make(&folder.join("work"), 0o711) } else { Ok(()) }
        })();
        if made.is_err() {
            self.sweeper.remove(folder);
        }
        made
    }

    /// A bind mount where one folder is all there is, since overlayfs wants an upper or two lower ones.
    fn mounts(&self, chain: &Chain) -> Vec<Mount> {
        let path = |id| self.fs_path(id).display().to_string();
        let bind = |id, mode: &str| Mount {
            kind: "bind".to_owned(),
            source: path(id),
            options: vec![mode.to_owned(), "rbind".to_owned()],
        };
        let (record, parents) = (&chain.record, chain.parents.as_slice());
        let mut options = match (record.kind, parents) {
            (Kind::Active, []) => return vec![bind(record.id, "rw")],
            (_, []) => return vec![bind(record.id, "ro")],
            (Kind::Active, _) => vec![
                format!("workdir={}", self.folder(record.id).join("work").display()),
                format!("upperdir={}", path(record.id)),
            ],
            (_, [parent]) => return vec![bind(*parent, "ro")],
            (_, _) => Vec::new(),
        };
        let lower: Vec<String> = parents.iter().map(|id| path(*id)).collect();
        options.push(format!("lowerdir={}", lower.join(":")));
        options.extend(self.options.iter().cloned());
        vec![Mount { kind: "overlay".to_owned(), source: "overlay".to_owned(), options }]
    }

    fn folder(&self, id: u64) -> PathBuf {
        self.root.join("snapshots").join(id.to_string())
    }

    fn fs_path(&self, id: u64) -> PathBuf {
        self.folder(id).join("fs")
    }
}
