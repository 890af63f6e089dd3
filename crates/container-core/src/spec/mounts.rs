//! Mounts of a container: the defaults that the user did not replace, the user's own, the daemon's three files.

use super::{Host, Input, UserNamespace};
use crate::config::{MountKind, MountPoint, ReadOnly};
use crate::error::ConfigError;
use crate::oci::Mount;

/// Docker's size of /dev/shm when none is asked for.
const DEFAULT_SHM_SIZE: i64 = 64 * 1024 * 1024;
/// Places that stay writable in a read-only container.
const ALWAYS_WRITABLE: [&str; 5] = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];

pub(super) fn all(input: &Input<'_>) -> Result<Vec<Mount>, ConfigError> {
    let replaced = |destination: &str| input.mounts.iter().any(|mount| mount.destination == destination);
    let hidden = |destination: &str| replaced("/dev") && destination.starts_with("/dev/");
    let mut mounts: Vec<Mount> = defaults(input)
        .into_iter()
        .filter(|mount| !replaced(&mount.destination) && !hidden(&mount.destination))
        .collect();
    if input.host_config.readonly_rootfs {
        for mount in &mut mounts {
            let writable = ALWAYS_WRITABLE.contains(&mount.destination.as_str());
            if !writable && !mount.options.iter().any(|option| option == "ro") {
                mount.options.push("ro".to_owned());
            }
        }
    }
    // A cgroup file system cannot be made read-only again in a user namespace (mount_namespaces(7), locked flags).
    let remapped = input.namespaces.user != UserNamespace::Host;
    for mount in &mut mounts {
        let writable = match &*mount.kind {
            "sysfs" => input.host_config.privileged,
            "cgroup" => input.host_config.privileged || remapped,
            _ => false,
        };
        if writable {
            mount.options.retain(|option| option != "ro");
        }
    }
    // Parents before what is mounted inside them.
    let mut own: Vec<Mount> = files(input).into_iter().filter(|mount| !replaced(&mount.destination)).collect();
    for mount in input.mounts {
        own.push(user_mount(mount, input)?);
    }
    own.sort_by_key(|mount| mount.destination.matches('/').count());
    mounts.append(&mut own);
    Ok(mounts)
}

/// What every Linux container has (runtime-spec config-linux.md, default filesystems), with Docker's options.
fn defaults(input: &Input<'_>) -> Vec<Mount> {
    let mount = |destination: &str, kind: &'static str, source: &str, options: &[&str]| Mount {
        destination: destination.to_owned(),
        kind: kind.into(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    match (input.host_config.ipc_mode.as_str(), input.shm) {
        ("none", _) => {}
        (_, Some(shared)) => mounts.push(mount("/dev/shm", "bind", shared, &["rbind", "rprivate"])),
        (_, None) => {
            let size = if input.host_config.shm_size > 0 { input.host_config.shm_size } else { DEFAULT_SHM_SIZE };
            let size = format!("size={size}");
            mounts.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
        }
    }
    mounts
}

fn files(input: &Input<'_>) -> Vec<Mount> {
    let mut options = vec!["rbind".to_owned(), "rprivate".to_owned()];
    if input.host_config.readonly_rootfs {
        options.insert(1, "ro".to_owned());
    }
    let files = [
        ("/etc/resolv.conf", &input.files.resolv_conf),
        ("/etc/hostname", &input.files.hostname),
        ("/etc/hosts", &input.files.hosts),
    ];
    let bind = |(destination, source): (&str, &Option<String>)| {
        let source = source.clone()?;
        Some(Mount { destination: destination.to_owned(), kind: "bind".into(), source, options: options.clone() })
    };
    files.into_iter().filter_map(bind).collect()
}

fn user_mount(mount: &MountPoint, input: &Input<'_>) -> Result<Mount, ConfigError> {
    let destination = mount.destination.clone();
    if mount.kind == MountKind::Tmpfs {
        let options = crate::mounts::tmpfs_options(&mount.mode)?;
        return Ok(Mount { destination, kind: "tmpfs".into(), source: "tmpfs".to_owned(), options });
    }
    let mut options = vec![if mount.non_recursive { "bind" } else { "rbind" }];
    if !mount.read_write {
        options.push(if is_recursively_read_only(mount, input.host)? { "rro" } else { "ro" });
    }
    match (mount.propagation.as_str(), mount.kind) {
        // As Docker has it: a volume's mount asks for none.
        ("", MountKind::Volume) => {}
        ("", _) => options.push("rprivate"),
        (asked, _) => options.push(asked),
    }
    let options = options.into_iter().map(str::to_owned).collect();
    Ok(Mount { destination, kind: "bind".into(), source: mount.source.clone(), options })
}

fn is_recursively_read_only(mount: &MountPoint, host: &Host) -> Result<bool, ConfigError> {
    match mount.read_only {
        ReadOnly::Shallow => Ok(false),
        ReadOnly::Default => Ok(host.recursive_read_only),
        ReadOnly::Forced if host.recursive_read_only => Ok(true),
        ReadOnly::Forced => Err(ConfigError::Value("rro is not supported: requires kernel 5.12".to_owned())),
    }
}

/// A mount that hands events on needs a root that does (mount_namespaces(7)).
pub(super) fn rootfs_propagation(mounts: &[MountPoint]) -> String {
    let asks = |words: [&str; 2]| mounts.iter().any(|mount| words.contains(&mount.propagation.as_str()));
    match () {
        () if asks(["shared", "rshared"]) => "shared".to_owned(),
        () if asks(["slave", "rslave"]) => "rslave".to_owned(),
        () => String::new(),
    }
}
