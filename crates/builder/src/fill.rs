//! What the mounts of a RUN are of, made on the host: files of the context or of an image, secrets, caches.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builder::BuilderConfig;
use crate::cache_mounts;
use crate::paths::bytes_of;
use crate::remote_cache::ImportedMount;
use crate::request::BuildSecret;
use crate::transfer::{Gathered, Item, Place};
use crate::tree::NodeKind;

/// A variable that nothing but the step's process may have.
pub(crate) struct Variable {
    pub name: String,
    pub value: BuildSecret,
}

/// What a mount's source is filled with.
pub(crate) enum Fill {
    Tree {
        gathered: Gathered,
        path: PathBuf,
        is_file: bool,
        config: Arc<BuilderConfig>,
    },
    Secret {
        value: BuildSecret,
        path: PathBuf,
        mode: u32,
        owner: (u32, u32),
    },
    /// A folder that stays; made once.
    Cache {
        path: PathBuf,
        /// What it begins with.
        from: Option<Gathered>,
        imported: Option<ImportedMount>,
        mode: u32,
        owner: (u32, u32),
        config: Arc<BuilderConfig>,
    },
    /// One file of all variables.
    Environment {
        variables: Vec<Variable>,
        path: PathBuf,
    },
}

impl Fill {
    /// Makes it. Blocks.
    pub fn make(self) -> io::Result<()> {
        let path = match &self {
            Self::Cache { path, from, mode, owner, config, .. } => {
                return cache_mounts::make(path, from.as_ref(), *mode, *owner, config);
            }
            Self::Tree { path, .. } | Self::Secret { path, .. } | Self::Environment { path, .. } => path,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        }
        match self {
            Self::Tree { gathered, path, is_file, config } => materialise(&gathered, &path, is_file, &config),
            Self::Secret { value, path, mode, owner } => {
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
                io::Write::write_all(&mut file, value.reveal())?;
                chown(&path, Some(owner.0), Some(owner.1))
            }
            Self::Environment { variables, path } => {
                // For whichever user the step has; only who knows the folder's name gets here.
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path)?;
                for Variable { name, value } in variables {
                    let parts: [&[u8]; 4] = [name.as_bytes(), b"=", value.reveal(), b"\0"];
                    parts.iter().try_for_each(|part| io::Write::write_all(&mut file, part))?;
                }
                Ok(())
            }
            Self::Cache { .. } => Ok(()),
        }
    }
}

/// Files into a folder of our own. Links come last, so that no name leads through one.
pub(crate) fn materialise(gathered: &Gathered, path: &Path, is_file: bool, config: &BuilderConfig) -> io::Result<()> {
    let place = |place: &Place| match place {
        Place::Itself(_) => path.to_owned(),
        Place::Below(relative) => path.join(OsStr::from_bytes(&bytes_of(relative))),
    };
    if !is_file {
        fs::create_dir_all(path)?;
        let (uid, gid) = config.on_host((0, 0));
        chown(path, Some(uid), Some(gid))?;
    }
    let mut links = Vec::new();
    let mut folders = Vec::new();
    for item in &gathered.items {
        let to = place(&item.place);
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        match &item.node.kind {
            NodeKind::Directory => {
                fs::create_dir_all(&to)?;
                folders.push((to, item));
            }
            NodeKind::File { .. } => {
                let mut file = fs::File::create(&to)?;
                let mut content = item.open()?;
                io::copy(&mut content, &mut file)?;
                own(&to, item, config)?;
                fs::set_permissions(&to, fs::Permissions::from_mode(item.node.mode))?;
            }
            NodeKind::Symlink(target) => links.push((target.clone(), to)),
            NodeKind::Special(_) => {}
        }
    }
    for (target, to) in links {
        symlink(OsStr::from_bytes(&bytes_of(&target)), to)?;
    }
    for (to, item) in folders {
        own(&to, item, config)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(item.node.mode))?;
    }
    Ok(())
}

fn own(path: &Path, item: &Item, config: &BuilderConfig) -> io::Result<()> {
    let inside = if item.keeps_owner { (item.node.uid, item.node.gid) } else { (0, 0) };
    let (uid, gid) = config.on_host(inside);
    chown(path, Some(uid), Some(gid))
}
