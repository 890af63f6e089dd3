//! Device nodes of the host that a container gets: those of `--device`, and all of them when it is privileged.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use container_core::spec::DeviceNode;
use container_core::{DeviceMapping, HostConfig, Resources, ThrottleDevice, WeightDevice, oci};

use crate::error::Error;
use crate::messages;

/// No host has more below one folder that is handed on.
const MOST_NODES: usize = 4096;
const DEEPEST: usize = 8;
/// What a container has a version of its own of, or what is no device of the host's hardware.
const NOT_FOR_CONTAINERS: [&str; 9] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"];

pub(crate) fn nodes(host_config: &HostConfig) -> Result<Vec<DeviceNode>, Error> {
    let mut nodes = Vec::new();
    if host_config.privileged {
        walk(Path::new("/dev"), "/dev", "rwm", 0, &mut nodes);
    }
    for mapping in &host_config.resources.devices {
        add(mapping, &mut nodes)?;
    }
    Ok(nodes)
}

/// Limits of block devices, by the devices' numbers.
pub(crate) fn block_io(wanted: &Resources) -> Result<oci::BlockIo, Error> {
    let throttles = |list: &[ThrottleDevice]| -> Result<Vec<oci::ThrottleDevice>, Error> {
        let device = |limit: &ThrottleDevice| {
            let (major, minor) = numbers(&limit.path)?;
            Ok(oci::ThrottleDevice { major, minor, rate: limit.rate })
        };
        list.iter().map(device).collect()
    };
    let weight = |limit: &WeightDevice| -> Result<oci::WeightDevice, Error> {
        let (major, minor) = numbers(&limit.path)?;
        Ok(oci::WeightDevice { major, minor, weight: limit.weight })
    };
    Ok(oci::BlockIo {
        weight: None,
        weight_device: wanted.blkio_weight_device.iter().map(weight).collect::<Result<_, _>>()?,
        throttle_read_bps_device: throttles(&wanted.blkio_device_read_bps)?,
        throttle_write_bps_device: throttles(&wanted.blkio_device_write_bps)?,
        throttle_read_iops_device: throttles(&wanted.blkio_device_read_iops)?,
        throttle_write_iops_device: throttles(&wanted.blkio_device_write_iops)?,
    })
}

fn numbers(path: &str) -> Result<(i64, i64), Error> {
    let stat = fs::metadata(path).map_err(|error| messages::no_block_device(path, &error))?;
    Ok((i64::from(rustix::fs::major(stat.rdev())), i64::from(rustix::fs::minor(stat.rdev()))))
}

fn add(mapping: &DeviceMapping, nodes: &mut Vec<DeviceNode>) -> Result<(), Error> {
    let source = Path::new(&mapping.path_on_host);
    let target = if mapping.path_in_container.is_empty() { &mapping.path_on_host } else { &mapping.path_in_container };
    let permissions = if mapping.permissions.is_empty() { "rwm" } else { &mapping.permissions };
    let missing = |why: &str| messages::device_missing(&mapping.path_on_host, why);
    // Links are followed: /dev/disk/by-id and its kin are how users name devices.
    let stat = fs::metadata(source).map_err(|_| missing("no such file or directory"))?;
    let before = nodes.len();
    if stat.is_dir() {
        walk(source, target, permissions, 0, nodes);
        if nodes.len() == before {
            return Err(missing("not a device node"));
        }
        return Ok(());
    }
    let node = node(&stat, target, permissions).ok_or_else(|| missing("not a device node"))?;
    nodes.retain(|known| known.path_in_container != node.path_in_container);
    nodes.push(node);
    Ok(())
}

/// Everything below a folder; links are left out, what cannot be read is passed by.
fn walk(folder: &Path, target: &str, permissions: &str, depth: usize, nodes: &mut Vec<DeviceNode>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| depth > 0 || !NOT_FOR_CONTAINERS.contains(name)) else { continue };
        let Ok(stat) = entry.metadata() else { continue };
        let inside = format!("{}/{name}", target.trim_end_matches('/'));
        if nodes.len() >= MOST_NODES {
            return;
        }
        if stat.is_dir() && depth < DEEPEST {
            walk(&entry.path(), &inside, permissions, depth + 1, nodes);
        } else if let Some(node) = node(&stat, &inside, permissions) {
            nodes.push(node);
        }
    }
}

fn node(stat: &fs::Metadata, target: &str, permissions: &str) -> Option<DeviceNode> {
    let kind = match stat.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    Some(DeviceNode {
        path_in_container: target.to_owned(),
        kind,
        major: i64::from(rustix::fs::major(stat.rdev())),
        minor: i64::from(rustix::fs::minor(stat.rdev())),
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        gid: stat.gid(),
        permissions: permissions.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str) -> Result<Vec<DeviceNode>, Error> {
        let mut host_config = HostConfig::default();
        host_config.resources.devices.push(DeviceMapping {
            path_on_host: path.to_owned(),
            path_in_container: "/dev/x".to_owned(),
            permissions: "r".to_owned(),
        });
        nodes(&host_config)
    }

    #[test]
    fn a_device_brings_its_numbers_and_gets_the_place_asked_for() {
        let found = asked("/dev/null").unwrap();
        assert_eq!((found[0].kind, found[0].major, found[0].minor), ("c", 1, 3));
        assert_eq!((found[0].path_in_container.as_str(), found[0].permissions.as_str()), ("/dev/x", "r"));
    }

    #[test]
    fn what_is_missing_or_no_device_is_named() {
        let text = asked("/dev/nope").unwrap_err().to_string();
        assert!(text.ends_with("custom device \"/dev/nope\": no such file or directory"), "{text}");
        assert!(asked("/etc/passwd").unwrap_err().to_string().ends_with("not a device node"));
    }

    #[test]
    fn a_privileged_container_gets_the_hosts_devices_but_not_its_terminals() {
        let found = nodes(&HostConfig { privileged: true, ..HostConfig::default() }).unwrap();
        assert!(found.iter().any(|node| node.path_in_container == "/dev/null"));
        assert!(!found.iter().any(|node| node.path_in_container.starts_with("/dev/pts/")));
    }
}
