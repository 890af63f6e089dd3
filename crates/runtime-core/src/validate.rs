//! What is refused before anything is done: impossible, and not built.

use crate::SpecError;
use crate::plan::namespaces::{
    CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS, Namespaces,
};
use crate::spec::{IdMapping, IntelRdt, NetDevice, Process, Spec};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Named limits of hostile configurations.
const MAX_MOUNTS: usize = 10_000;
const MAX_ARGUMENTS: usize = 1 << 20;
/// The kernel's own (user_namespaces(7)).
const MAX_ID_MAPPINGS: usize = 340;
/// What sethostname(2) takes.
const MAX_HOSTNAME: usize = 64;
/// IFNAMSIZ without the end of the C string.
const MAX_INTERFACE_NAME: usize = 15;
const MAX_NET_DEVICES: usize = 256;

fn refuse(name: &str, value: Option<&Value>) -> Result<(), SpecError> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(SpecError::Unsupported(name.to_string())),
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::Invalid(message.into()))
}

pub fn spec(spec: &Spec) -> Result<(), SpecError> {
    if !spec.oci_version.starts_with("1.") {
        return invalid(format!("ociVersion {:?} is not a version 1 of the specification", spec.oci_version));
    }
    refuse("solaris", spec.solaris.as_ref())?;
    refuse("windows", spec.windows.as_ref())?;
    refuse("vm", spec.vm.as_ref())?;
    refuse("zos", spec.zos.as_ref())?;
    refuse("freebsd", spec.freebsd.as_ref())?;
    let linux = &spec.linux;
    linux.intel_rdt.as_ref().map_or(Ok(()), intel_rdt)?;
    if spec.root.as_ref().is_none_or(|root| root.path.is_empty()) {
        return invalid("root.path is missing in config.json");
    }
    if spec.mounts.len() > MAX_MOUNTS {
        return invalid(format!("more than {MAX_MOUNTS} mounts"));
    }
    if spec.hostname.len() > MAX_HOSTNAME || spec.domainname.len() > MAX_HOSTNAME {
        return invalid(format!("a host or domain name is longer than {MAX_HOSTNAME} bytes"));
    }
    // sched(7): a process of a fixed processor bandwidth cannot be bound to some of them.
    let scheduled = spec.process.as_ref().is_some_and(|process| process.scheduler.is_some());
    if scheduled && !linux.resources.cpu.cpus.is_empty() {
        return invalid("process scheduler can't be used together with AllowedCPUs");
    }
    spec.process.as_ref().map_or_else(|| invalid("process is missing in config.json"), process)
}

pub fn process(process: &Process) -> Result<(), SpecError> {
    if process.command_line.is_some() {
        return Err(SpecError::Unsupported("process.commandLine".into()));
    }
    if process.args.len() + process.env.len() > MAX_ARGUMENTS {
        return invalid(format!("more than {MAX_ARGUMENTS} arguments and environment variables"));
    }
    if !process.cwd.is_empty() && !process.cwd.starts_with('/') {
        return invalid(format!("cwd {:?} is not an absolute path", process.cwd));
    }
    Ok(())
}

pub fn namespaces(spec: &Spec, namespaces: &Namespaces) -> Result<(), SpecError> {
    let linux = &spec.linux;
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if !namespaces.own(CLONE_NEWUSER) && mapped {
        return invalid("user namespace mappings specified, but user namespace isn't enabled in the config");
    }
    // Whose namespace is joined has made its maps; that they are told again says nothing new.
    if namespaces.is_new(CLONE_NEWUSER) && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty()) {
        return invalid("a new user namespace needs uidMappings and gidMappings");
    }
    id_mappings("linux", &linux.uid_mappings, &linux.gid_mappings)?;
    net_devices(&linux.net_devices, namespaces)?;
    if !linux.time_offsets.is_empty() && !namespaces.is_new(CLONE_NEWTIME) {
        return invalid("time namespace offsets specified, but time namespace isn't enabled in the config");
    }
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") || offset.nanosecs > 999_999_999 {
            return invalid(format!("time offset of {clock:?} is not one of a clock that can be shifted"));
        }
    }
    if !spec.hostname.is_empty() && !namespaces.own(CLONE_NEWUTS) {
        return invalid("hostname requires a uts namespace");
    }
    if !spec.domainname.is_empty() && !namespaces.own(CLONE_NEWUTS) {
        return invalid("domainname requires a uts namespace");
    }
    if !namespaces.own(CLONE_NEWNS) && !(linux.masked_paths.is_empty() && linux.readonly_paths.is_empty()) {
        return invalid("unable to restrict sys entries without a private MNT namespace");
    }
    if !namespaces.own(CLONE_NEWNS) && namespaces.own(CLONE_NEWUSER) {
        return invalid("a user namespace has no right to the mounts of the host: it needs a mount namespace");
    }
    Ok(())
}

/// Its name becomes part of a path (runtime-spec config-linux.md, IntelRdt).
fn intel_rdt(wanted: &IntelRdt) -> Result<(), SpecError> {
    let id = wanted.clos_id.as_str();
    if id != "/" && (id.contains('/') || matches!(id, "." | ".." | "info" | "mon_groups" | "mon_data")) {
        return invalid(format!("intelRdt.closID {id:?} is no name of a class"));
    }
    let lines = wanted.schemata.iter().chain([&wanted.l3_cache_schema, &wanted.mem_bw_schema]);
    if lines.clone().any(|line| line.contains('\n')) {
        return invalid("intelRdt: a schema is more than one line");
    }
    if !wanted.mem_bw_schema.is_empty() && !wanted.mem_bw_schema.starts_with("MB:") {
        return invalid(format!("intelRdt.memBwSchema {:?} does not begin with MB:", wanted.mem_bw_schema));
    }
    Ok(())
}

/// runtime-spec config-linux.md, network devices; the names are those that the kernel takes (dev_valid_name).
fn net_devices(devices: &BTreeMap<String, NetDevice>, namespaces: &Namespaces) -> Result<(), SpecError> {
    if devices.is_empty() {
        return Ok(());
    }
    if !namespaces.own(CLONE_NEWNET) {
        return invalid("unable to move network devices without a private NET namespace");
    }
    if devices.len() > MAX_NET_DEVICES {
        return invalid(format!("more than {MAX_NET_DEVICES} network devices"));
    }
    let valid = |name: &str| {
        !name.is_empty()
            && name.len() <= MAX_INTERFACE_NAME
            && !matches!(name, "." | "..")
            && !name.contains(|letter: char| letter == '/' || letter == ':' || letter.is_whitespace() || letter == '\0')
    };
    let mut inside = BTreeSet::new();
    for (name, device) in devices {
        let new = if device.name.is_empty() { name } else { &device.name };
        if !valid(name) || !valid(new) {
            return invalid(format!("invalid network device name {name:?} or {new:?}"));
        }
        if !new.contains('%') && !inside.insert(new) {
            return invalid(format!("two network devices are to be {new:?} in the container"));
        }
    }
    Ok(())
}

pub fn id_mappings(what: &str, uids: &[IdMapping], gids: &[IdMapping]) -> Result<(), SpecError> {
    if uids.len().max(gids.len()) > MAX_ID_MAPPINGS {
        return invalid(format!("{what}: more than {MAX_ID_MAPPINGS} id mappings"));
    }
    for map in uids.iter().chain(gids) {
        let fits = |first: u32| u64::from(first) + u64::from(map.size) <= u64::from(u32::MAX);
        if map.size == 0 || !fits(map.container_id) || !fits(map.host_id) {
            return invalid(format!("{what}: an id mapping of {} ids at {} is not valid", map.size, map.container_id));
        }
    }
    Ok(())
}

/// Only what belongs to a namespace of the container may be set (runtime-spec config-linux.md, sysctl).
pub fn sysctl(key: &str, namespaces: &Namespaces) -> Result<(), SpecError> {
    let dotted = key.replace('/', ".");
    if dotted.split('.').any(str::is_empty) {
        return invalid(format!("sysctl {key:?} is not a valid name"));
    }
    let ipc = matches!(
        dotted.as_str(),
        "kernel.msgmax"
            | "kernel.msgmnb"
            | "kernel.msgmni"
            | "kernel.sem"
            | "kernel.shmall"
            | "kernel.shmmax"
            | "kernel.shmmni"
            | "kernel.shm_rmid_forced"
    ) || dotted.starts_with("fs.mqueue.");
    let (kind, name) = match dotted.as_str() {
        _ if ipc => (CLONE_NEWIPC, "ipc"),
        net if net.starts_with("net.") => (CLONE_NEWNET, "network"),
        "kernel.domainname" | "kernel.hostname" => (CLONE_NEWUTS, "uts"),
        user if user.starts_with("user.") => (CLONE_NEWUSER, "user"),
        _ => return invalid(format!("sysctl {key:?} is not in a separate kernel namespace")),
    };
    if !namespaces.own(kind) {
        return invalid(format!("sysctl {key:?} is not allowed in the host's {name} namespace"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_of_the_host_is_refused() {
        let own = Namespaces { new: CLONE_NEWNET, ..Namespaces::default() };
        assert!(sysctl("net.ipv4.ip_forward", &own).is_ok());
        assert!(sysctl("kernel.shmmax", &own).is_err());
        assert!(sysctl("vm.swappiness", &own).is_err());
        assert!(sysctl("net..x", &own).is_err());
    }

    #[test]
    fn a_property_that_is_not_built_is_named() {
        let mut config = Spec { oci_version: "1.0.2".into(), ..Spec::default() };
        config.vm = Some(serde_json::json!({}));
        assert_eq!(spec(&config).expect_err("not built").to_string(), "vm is not supported");
    }

    #[test]
    fn a_class_of_caches_cannot_leave_its_file_system() {
        let class = |clos_id: &str| IntelRdt { clos_id: clos_id.into(), ..IntelRdt::default() };
        for id in ["", "/", "guaranteed"] {
            assert!(intel_rdt(&class(id)).is_ok(), "{id:?}");
        }
        for id in ["..", "a/b", "/a", "info"] {
            assert!(intel_rdt(&class(id)).is_err(), "{id:?}");
        }
        assert!(intel_rdt(&IntelRdt { schemata: vec!["L3:0=f\nMB:0=1".into()], ..class("a") }).is_err());
        assert!(intel_rdt(&IntelRdt { mem_bw_schema: "L3:0=f".into(), ..class("a") }).is_err());
    }

    #[test]
    fn network_devices_have_names_of_links_each_its_own() {
        let own = Namespaces { new: CLONE_NEWNET, ..Namespaces::default() };
        let moved = |pairs: &[(&str, &str)]| {
            let device = |(name, inside): &(&str, &str)| (name.to_string(), NetDevice { name: inside.to_string() });
            net_devices(&pairs.iter().map(device).collect(), &own)
        };
        assert!(moved(&[("eth0", ""), ("eth1", "net%d"), ("eth2", "net%d")]).is_ok());
        for wrong in [&[("eth0", "eth1"), ("eth1", "")][..], &[("a/b", "")], &[("eth0", "a name")], &[("", "")]] {
            assert!(moved(wrong).is_err(), "{wrong:?}");
        }
        let devices = [("eth0".to_string(), NetDevice::default())].into();
        assert!(net_devices(&devices, &Namespaces::default()).is_err(), "the host's own namespace");
    }
}
