//! The layer below all layers: the places that every container has something mounted onto.
//!
//! An image need not have `/proc` or `/etc/hosts`; whoever mounts there makes them first, in the container's own layer, where
//! they cost a dozen new files a container and show as changes. Here they stand once, in a folder that is the lowest layer of
//! every container, so that whatever the image has itself covers them. What stands in it is what Docker puts into a layer
//! that it makes for each container, `/.dockerenv` included, by which programs learn that they are in one.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use containerd_api::types::Mount;

use crate::error::Error;

const FOLDERS: [&str; 6] = ["proc", "sys", "dev", "dev/pts", "dev/shm", "etc"];
const FILES: [&str; 5] = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// What mount(2) takes is a page of text (fs/namespace.c, copy_mount_options); so many layers leave room for one more.
const MOST_LAYERS: usize = 32;

/// Where the layer is.
#[derive(Debug, Clone)]
pub(crate) struct MountPoints(PathBuf);

impl MountPoints {
    /// Makes the layer unless it is there. It appears whole or not at all.
    pub fn provide(data_root: &Path) -> Result<Self, Error> {
        let layer = data_root.join("mountpoints");
        if !layer.exists() {
            let draft = data_root.join("mountpoints.new");
            let made = fill(&draft).and_then(|()| fs::rename(&draft, &layer));
            made.map_err(|source| Error::file("make the layer of mount points", &layer, source))?;
        }
        Ok(Self(layer))
    }

    /// The same mounts with the layer below; mounts of another make, or of too many layers, stay as they are.
    pub fn below(&self, mut mounts: Vec<Mount>) -> Vec<Mount> {
        if let [mount] = &mut mounts[..]
            && mount.r#type == "overlay"
            && let Some(lower) = mount.options.iter_mut().find(|option| option.starts_with("lowerdir="))
            && lower.matches(':').count() < MOST_LAYERS
            && !self.0.to_string_lossy().contains([':', ',', '\\'])
        {
            lower.push(':');
            lower.push_str(&self.0.to_string_lossy());
        }
        mounts
    }
}

fn fill(draft: &Path) -> io::Result<()> {
    match fs::remove_dir_all(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = |path: &Path| -> io::Result<()> {
        DirBuilder::new().mode(0o755).create(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    folder(draft)?;
    for name in FOLDERS {
        folder(&draft.join(name))?;
    }
    for name in FILES {
        let path = draft.join(name);
        File::create(&path)?.set_permissions(Permissions::from_mode(0o755))?;
    }
    symlink("/proc/mounts", draft.join("etc/mtab"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(lower: &str) -> Mount {
        Mount {
            r#type: "overlay".to_owned(),
            options: vec!["workdir=/w".to_owned(), "upperdir=/u".to_owned(), format!("lowerdir={lower}")],
            ..Mount::default()
        }
    }

    #[test]
    fn the_layer_is_made_once_and_lies_below_all_others() {
        let root = tempfile::tempdir().expect("tempdir");
        fs::create_dir(root.path().join("mountpoints.new")).expect("left by a daemon that was killed");
        let points = MountPoints::provide(root.path()).expect("provide");
        fs::write(points.0.join("mark"), "").expect("write");
        let points = MountPoints::provide(root.path()).expect("again");
        assert!(points.0.join("mark").exists());
        assert_eq!(fs::read_link(points.0.join("etc/mtab")).expect("mtab"), Path::new("/proc/mounts"));
        let mounts = points.below(vec![overlay("/b:/a")]);
        assert_eq!(mounts[0].options[2], format!("lowerdir=/b:/a:{}", points.0.display()));
    }

    #[test]
    fn what_is_no_overlay_or_has_many_layers_stays_as_it_is() {
        let points = MountPoints(PathBuf::from("/m"));
        let many = overlay(&vec!["/l"; 127].join(":"));
        assert_eq!(points.below(vec![many.clone()]), [many]);
        let bind = Mount { r#type: "bind".to_owned(), source: "/s".to_owned(), ..Mount::default() };
        assert_eq!(points.below(vec![bind.clone()]), [bind]);
        let odd = MountPoints(PathBuf::from("/with:colon"));
        assert_eq!(odd.below(vec![overlay("/a")]), [overlay("/a")]);
    }
}
