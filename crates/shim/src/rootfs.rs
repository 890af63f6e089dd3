//! The container's root file system: the mounts that containerd names, on `rootfs` in the bundle.

use containerd_api::types::Mount;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::io;
use std::path::{Component, Path, PathBuf};
use sys::layers::LayerMount;
use sys::users::IdMaps;

/// mount(2) takes one page of options at most.
const PAGE: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(
        "failed to mount rootfs component: mount source: {source_path:?}, target: {target:?}, fstype: {kind}, flags: {flags:#x}, data: {data:?}, err: {errno}"
    )]
    Mount { source_path: String, target: PathBuf, kind: String, flags: u64, data: String, errno: Errno },
    #[error("mount target {0:?} leaves the root file system")]
    Target(String),
    #[error("the options of a mount are longer than a page")]
    TooLong,
    #[error("failed to mount rootfs component through the maps of a user namespace")]
    Mapped(#[source] io::Error),
    #[error("cannot prepare the mount point")]
    Prepare(#[from] io::Error),
}

/// Mounts all of them on `target`, in order; what was mounted is taken off again after a failure.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<(), MountError> {
    if mounts.is_empty() {
        return Ok(());
    }
    match std::fs::create_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    for one in mounts {
        if let Err(error) = mount_one(one, target) {
            unmount(target);
            return Err(error);
        }
    }
    Ok(())
}

/// Takes everything off `target`, the latest first; a busy mount is detached and goes when its last user does.
pub fn unmount(target: &Path) {
    // Bounded: each round takes one mount off or ends.
    for _ in 0..64 {
        match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EBUSY) => {
                if umount2(target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH).is_err() {
                    return;
                }
            }
            // EINVAL: nothing (more) is mounted there.
            Err(_) => return,
        }
    }
}

fn mount_one(one: &Mount, root: &Path) -> Result<(), MountError> {
    let target = target_inside(root, &one.target)?;
    if IdMaps::take_from(&one.options).map_err(MountError::Mapped)?.is_some() {
        return mount_mapped(one, &target);
    }
    let Options { flags, propagation, data } = parse_options(&one.options);
    let bind = flags.contains(MsFlags::MS_BIND);
    let (data, folder) = shorten(&one.r#type, data)?;
    // Relative lower directories are resolved where the caller is; this process has one thread.
    let back = folder.as_ref().map(|_| std::env::current_dir()).transpose()?;
    if let Some(folder) = &folder {
        std::env::set_current_dir(folder)?;
    }
    let attempt = |flags: MsFlags, data: &str| {
        let data = (!data.is_empty()).then_some(data);
        mount(Some(one.source.as_str()), &target, Some(one.r#type.as_str()), flags, data).map_err(|errno| {
            MountError::Mount {
                source_path: one.source.clone(),
                target: target.clone(),
                kind: one.r#type.clone(),
                flags: flags.bits(),
                data: data.unwrap_or_default().to_owned(),
                errno,
            }
        })
    };
    let mounted = attempt(flags, &data);
    if let Some(back) = back {
        std::env::set_current_dir(back)?;
    }
    mounted?;
    // A bind mount ignores every flag but MS_REC the first time (mount(2)).
    let changed = flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
    if bind && !changed.is_empty() {
        attempt(flags | MsFlags::MS_REMOUNT, "")?;
    }
    for flag in propagation {
        attempt(flag, "")?;
    }
    Ok(())
}

/// Layers that show a user namespace its own ids.
fn mount_mapped(one: &Mount, target: &Path) -> Result<(), MountError> {
    let layer = LayerMount { kind: one.r#type.clone(), source: one.source.clone(), options: one.options.clone() };
    sys::layers::mount_layers(&[layer], target).map_err(MountError::Mapped)
}

/// A mount below the root may name a folder inside it; nothing else.
fn target_inside(root: &Path, target: &str) -> Result<PathBuf, MountError> {
    let relative = Path::new(target.trim_start_matches('/'));
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(MountError::Target(target.to_owned()));
    }
    if relative.as_os_str().is_empty() {
        return Ok(root.to_owned());
    }
    // Links inside an image must not lead out of it: each component has to be a folder itself.
    let mut path = root.to_owned();
    for part in relative.components() {
        path.push(part);
        if !std::fs::symlink_metadata(&path)?.is_dir() {
            return Err(MountError::Target(target.to_owned()));
        }
    }
    Ok(path)
}

struct Options {
    flags: MsFlags,
    propagation: Vec<MsFlags>,
    data: Vec<String>,
}

/// Options of fstab(5) to flags; what is no flag is the file system's.
fn parse_options(options: &[String]) -> Options {
    let mut parsed = Options { flags: MsFlags::empty(), propagation: Vec::new(), data: Vec::new() };
    for option in options {
        let (set, flag) = match option.as_str() {
            "ro" => (true, MsFlags::MS_RDONLY),
            "rw" => (false, MsFlags::MS_RDONLY),
            "bind" => (true, MsFlags::MS_BIND),
            "rbind" => (true, MsFlags::MS_BIND | MsFlags::MS_REC),
            "nosuid" => (true, MsFlags::MS_NOSUID),
            "suid" => (false, MsFlags::MS_NOSUID),
            "nodev" => (true, MsFlags::MS_NODEV),
            "dev" => (false, MsFlags::MS_NODEV),
            "noexec" => (true, MsFlags::MS_NOEXEC),
            "exec" => (false, MsFlags::MS_NOEXEC),
            "noatime" => (true, MsFlags::MS_NOATIME),
            "atime" => (false, MsFlags::MS_NOATIME),
            "nodiratime" => (true, MsFlags::MS_NODIRATIME),
            "relatime" => (true, MsFlags::MS_RELATIME),
            "strictatime" => (true, MsFlags::MS_STRICTATIME),
            "sync" => (true, MsFlags::MS_SYNCHRONOUS),
            "async" => (false, MsFlags::MS_SYNCHRONOUS),
            "dirsync" => (true, MsFlags::MS_DIRSYNC),
            "remount" => (true, MsFlags::MS_REMOUNT),
            "defaults" => continue,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable" => {
                parsed.propagation.push(propagation(option));
                continue;
            }
            _ => {
                parsed.data.push(option.clone());
                continue;
            }
        };
        parsed.flags.set(flag, set);
    }
    parsed
}

fn propagation(option: &str) -> MsFlags {
    let (recursive, name) = match option.strip_prefix('r') {
        Some(name) => (MsFlags::MS_REC, name),
        None => (MsFlags::empty(), option),
    };
    recursive
        | match name {
            "shared" => MsFlags::MS_SHARED,
            "slave" => MsFlags::MS_SLAVE,
            "unbindable" => MsFlags::MS_UNBINDABLE,
            _ => MsFlags::MS_PRIVATE,
        }
}

/// The data string, and the folder to be in for it: many layers pass a page only with paths relative to their common
/// folder.
fn shorten(kind: &str, mut data: Vec<String>) -> Result<(String, Option<PathBuf>), MountError> {
    let joined = data.join(",");
    if joined.len() < PAGE {
        return Ok((joined, None));
    }
    let lower = data.iter().position(|option| option.starts_with("lowerdir=")).filter(|_| kind == "overlay");
    let Some(index) = lower else { return Err(MountError::TooLong) };
    let layers: Vec<PathBuf> = data[index]["lowerdir=".len()..].split(':').map(PathBuf::from).collect();
    let folder = common_folder(&layers).ok_or(MountError::TooLong)?;
    let short: Vec<_> = layers
        .iter()
        .map(|layer| layer.strip_prefix(&folder).unwrap_or(layer).to_string_lossy().into_owned())
        .collect();
    data[index] = format!("lowerdir={}", short.join(":"));
    let joined = data.join(",");
    if joined.len() < PAGE { Ok((joined, Some(folder))) } else { Err(MountError::TooLong) }
}

fn common_folder(paths: &[PathBuf]) -> Option<PathBuf> {
    let mut common = paths.first()?.parent()?.to_owned();
    for path in paths {
        while !path.starts_with(&common) {
            common = common.parent()?.to_owned();
        }
    }
    (common.components().count() > 1).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_layers_are_named_relative_to_their_folder() {
        let layers: Vec<_> = (0..120).map(|n| format!("/var/lib/x/snapshotter.overlayfs/snapshots/{n}/fs")).collect();
        let data = vec!["workdir=/w".to_owned(), format!("lowerdir={}", layers.join(":"))];
        let (text, folder) = shorten("overlay", data).expect("short enough");
        assert_eq!(folder.as_deref(), Some(Path::new("/var/lib/x/snapshotter.overlayfs/snapshots")));
        assert!(text.starts_with("workdir=/w,lowerdir=0/fs:1/fs:") && text.len() < PAGE);
        assert!(shorten("ext4", vec!["x".repeat(PAGE)]).is_err());
    }

    #[test]
    fn options_become_flags_and_data() {
        let options = ["rbind", "ro", "nosuid", "suid", "rslave", "index=off"].map(String::from);
        let parsed = parse_options(&options);
        assert_eq!(parsed.flags, MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY);
        assert_eq!(parsed.propagation, [MsFlags::MS_REC | MsFlags::MS_SLAVE]);
        assert_eq!(parsed.data, ["index=off"]);
    }

    #[test]
    fn a_target_that_leads_out_of_the_root_is_refused() {
        let root = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(root.path().join("dir")).expect("mkdir");
        std::os::unix::fs::symlink("/etc", root.path().join("link")).expect("symlink");
        assert_eq!(target_inside(root.path(), "/dir").expect("inside"), root.path().join("dir"));
        assert_eq!(target_inside(root.path(), "").expect("root"), root.path());
        assert!(target_inside(root.path(), "../x").is_err());
        assert!(target_inside(root.path(), "/link/x").is_err());
    }
}
