//! Work on mounted file systems that nobody else sees and that cannot be left behind.
//!
//! The work runs on a thread of its own in a mount namespace of its own (mount_namespaces(7)): the kernel takes the
//! mounts down with the thread, however it ends.

use std::fs;
use std::path::{Path, PathBuf};

use containerd_api::types::Mount;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use snapshot::Mount as LayerMount;

use crate::error::{Error, Result};

/// The most mounts one tree may be made of.
const MAX_MOUNTS: usize = 64;

/// Mounts each set under a root of its own in `folder` and calls `work` with the roots.
///
/// Blocks until the work is done.
pub fn with_mounts<T: Send>(
    folder: &Path,
    sets: &[&[Mount]],
    work: impl FnOnce(&[PathBuf]) -> Result<T> + Send,
) -> Result<T> {
    let roots: Vec<PathBuf> = (0..sets.len()).map(|number| folder.join(number.to_string())).collect();
    for root in &roots {
        fs::create_dir_all(root).map_err(Error::io(format!("cannot create {}", root.display())))?;
    }
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new().name("mounts".to_owned()).spawn_scoped(scope, || {
            enter_namespace()?;
            for (mounts, root) in sets.iter().zip(&roots) {
                mount_all(mounts, root)?;
            }
            work(&roots)
        });
        match inside {
            Ok(thread) => thread.join().unwrap_or(Err(Error::GivenUp)),
            Err(error) => Err(Error::io("cannot start a thread for mounts")(error)),
        }
    })
}

fn enter_namespace() -> Result<()> {
    let failed = |errno: nix::Error| Error::io("cannot make a mount namespace")(errno.into());
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    // Nothing that is mounted from here on may reach the host (mount_namespaces(7), propagation).
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).map_err(failed)
}

fn mount_all(mounts: &[Mount], root: &Path) -> Result<()> {
    if mounts.len() > MAX_MOUNTS {
        return Err(Error::InvalidArgument(format!("more than {MAX_MOUNTS} mounts: invalid argument")));
    }
    let layers: Vec<LayerMount> = mounts
        .iter()
        .map(|mount| LayerMount {
            kind: mount.r#type.clone(),
            source: mount.source.clone(),
            options: mount.options.clone(),
        })
        .collect();
    snapshot::mount_layers(&layers, root).map_err(Error::io("cannot mount a tree"))
}

/// The same tree, but read only: an overlay's upper directory becomes its topmost lower one, so that it can be looked at
/// while somebody else has it mounted.
pub fn read_only(mounts: &[Mount]) -> Vec<Mount> {
    mounts.iter().map(read_only_one).collect()
}

fn read_only_one(mount: &Mount) -> Mount {
    let mut options: Vec<String> = mount.options.iter().filter(|option| *option != "rw").cloned().collect();
    if mount.r#type == "overlay" {
        let upper = options.iter().find_map(|option| option.strip_prefix("upperdir=").map(str::to_owned));
        options.retain(|option| !option.starts_with("upperdir=") && !option.starts_with("workdir="));
        if let Some(upper) = upper {
            for option in &mut options {
                if let Some(lower) = option.strip_prefix("lowerdir=") {
                    *option = format!("lowerdir={upper}:{lower}");
                }
            }
        }
    }
    if !options.iter().any(|option| option == "ro") {
        options.push("ro".to_owned());
    }
    Mount { options, ..mount.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { r#type: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }
    }

    #[test]
    fn a_tree_in_use_is_looked_at_without_its_upper_directory_being_mounted_again() {
        let mounts = read_only(&[overlay(&["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/a:/b"])]);
        assert_eq!(mounts[0].options, ["index=off", "lowerdir=/u:/a:/b", "ro"]);
    }

    #[test]
    fn mounts_are_there_for_the_work_and_nowhere_else() {
        let folder = tempfile::tempdir().expect("tempdir");
        let (source, places) = (folder.path().join("source"), folder.path().join("places"));
        fs::create_dir(&source).expect("mkdir");
        fs::write(source.join("file"), "x").expect("write");
        let bind = Mount {
            r#type: "bind".into(),
            source: source.to_string_lossy().into_owned(),
            options: vec!["rbind".into(), "ro".into()],
            ..Mount::default()
        };
        let seen = with_mounts(&places, &[&[bind]], |roots| {
            assert!(fs::write(roots[0].join("other"), "x").is_err(), "it is read only");
            Ok(roots[0].join("file").exists())
        });
        assert!(seen.expect("work"));
        assert!(!places.join("0/file").exists());
        assert!(!fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").contains(&*places.to_string_lossy()));
    }
}
