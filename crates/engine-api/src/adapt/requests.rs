//! Requests, completed to the newest version or refused.

use super::{CgroupHierarchy, Change, Creation, before, endpoints, refused_before, refused_since, since};
use crate::exec;
use crate::host_config::HostConfig;
use crate::mount::Mount;
use crate::network::{self, EndpointSettings};

/// `POST /containers/create`, in Docker's order.
pub(super) const CONTAINER_CREATE: &[Change<Creation>] = &[
    before(25, "HostConfig.AutoRemove", "is not heard: the client removed it", |it| host(it).auto_remove = false),
    before(40, "HostConfig.Mounts.BindOptions.NonRecursive", "is not heard", |it| {
        mounts(it).filter_map(|mount| mount.bind_options.as_mut()).for_each(|bind| bind.non_recursive = false);
    }),
    before(40, "HostConfig.KernelMemoryTCP", "is not heard", |it| host(it).kernel_memory_tcp = 0),
    before(40, "HostConfig.IpcMode", "is `shareable` where none is given", |it| {
        default_text(&mut host(it).ipc_mode, "shareable");
    }),
    before(41, "HostConfig.CgroupnsMode", "is `host` where none is given, on cgroup v1", |it| {
        if it.cgroup == CgroupHierarchy::V1 {
            default_text(&mut host(it).cgroupns_mode, "host");
        }
    }),
    before(42, "HostConfig.Mounts.BindOptions.CreateMountpoint", "is not heard", |it| {
        mounts(it).filter_map(|mount| mount.bind_options.as_mut()).for_each(|bind| bind.create_mountpoint = false);
    }),
    before(42, "HostConfig.Mounts.VolumeOptions", "are not heard on other types", |it| {
        mounts(it).filter(|mount| mount.kind != "volume").for_each(|mount| mount.volume_options = None);
    }),
    before(42, "HostConfig.Mounts.TmpfsOptions", "are not heard on other types", |it| {
        mounts(it).filter(|mount| mount.kind != "tmpfs").for_each(|mount| mount.tmpfs_options = None);
    }),
    before(42, "HostConfig.ConsoleSize", "is not heard", |it| host(it).console_size = [0, 0]),
    since(42, "HostConfig.KernelMemory", "is not heard", |it| host(it).kernel_memory = 0),
    refused_since(42, "HostConfig.Mounts options of another type", stray_options),
    before(43, "HostConfig.Annotations", "are not heard", |it| host(it).annotations = None),
    before(44, "Healthcheck.StartInterval", "is not heard", |it| {
        if let Some(health) = &mut it.request.config.healthcheck {
            health.start_interval = 0;
        }
    }),
    refused_before(44, "HostConfig.Mounts.BindOptions.ReadOnlyForceRecursive", |it| {
        let forces = |mount: &Mount| {
            mount.kind == "bind" && mount.bind_options.as_ref().is_some_and(|bind| bind.read_only_force_recursive)
        };
        let is_forced = it.request.host_config.mounts.iter().flatten().any(forces);
        is_forced.then(|| "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer".to_owned())
    }),
    before(44, "HostConfig.Mounts.BindOptions.ReadOnlyNonRecursive", "is so: read-only was not recursive", |it| {
        for mount in mounts(it).filter(|mount| mount.read_only && mount.kind == "bind") {
            mount.bind_options.get_or_insert_default().read_only_non_recursive = true;
        }
    }),
    refused_before(44, "NetworkingConfig.EndpointsConfig of several networks", |it| {
        let endpoints = &it.request.networking_config.endpoints_config;
        let names = || endpoints.keys().cloned().collect::<Vec<_>>().join(", ");
        (endpoints.len() > 1)
            .then(|| format!("Container cannot be created with multiple network endpoints: {}", names()))
    }),
    refused_before(45, "HostConfig.Mounts.VolumeOptions.Subpath", |it| {
        let has = |mount: &Mount| mount.volume_options.as_ref().is_some_and(|volume| !volume.subpath.is_empty());
        let has = it.request.host_config.mounts.iter().flatten().any(has);
        has.then(|| "VolumeOptions.Subpath needs API v1.45 or newer".to_owned())
    }),
    before(48, "NetworkingConfig.EndpointsConfig.*.GwPriority", "is not heard", |it| {
        all_endpoints(it).for_each(|endpoint| endpoint.gw_priority = 0);
    }),
    refused_before(48, "HostConfig.Mounts of type image", |it| {
        let has = it.request.host_config.mounts.iter().flatten().any(|mount| mount.kind == "image");
        has.then(|| "Mount type \"Image\" needs API v1.48 or newer".to_owned())
    }),
    since(48, "HostConfig.VolumeDriver beside Mounts", "is warned of", volume_driver),
    before(44, "NetworkingConfig.EndpointsConfig.*.MacAddress", "is not heard without the container's", |it| {
        if it.request.config.mac_address.is_empty() {
            all_endpoints(it).for_each(|endpoint| endpoint.mac_address.clear());
        }
    }),
    refused_before(44, "MacAddress without a network of its own", |it| endpoints::mac_without_network(it, "none")),
    before(44, "MacAddress", "is the one of the network's endpoint", endpoints::put_mac_into_any),
    refused_since(44, "MacAddress beside another container's network", |it| endpoints::mac_without_network(it, "host")),
    refused_since(44, "MacAddress that no endpoint can have", endpoints::mac_of_no_endpoint),
    since(44, "MacAddress", "is the one of the network's endpoint, with a warning", endpoints::put_mac_into_own),
    before(44, "HostConfig.Sysctls of eth0", "are the ones of the network's endpoint, with a warning", |it| {
        endpoints::put_sysctls_into_any(it);
    }),
    refused_before(48, "HostConfig.Sysctls of an interface that no endpoint has", endpoints::sysctl_of_no_endpoint),
    before(48, "HostConfig.Sysctls of eth0", "are the ones of the own network's endpoint, with a warning", |it| {
        endpoints::put_sysctls_into_own(it);
    }),
    refused_since(48, "HostConfig.Sysctls of an interface", endpoints::sysctl_of_interface),
];

/// `POST /containers/x/update`.
pub(super) const CONTAINER_UPDATE: &[Change<HostConfig>] = &[
    before(40, "PidsLimit", "is not heard", |host| host.pids_limit = None),
    since(42, "KernelMemory", "is not heard", |host| host.kernel_memory = 0),
];

/// `POST /containers/x/exec`.
pub(super) const EXEC_CREATE: &[Change<exec::CreateRequest>] =
    &[before(42, "ConsoleSize", "is not heard", |exec| exec.console_size = None)];

/// `POST /exec/x/start`.
pub(super) const EXEC_START: &[Change<exec::StartRequest>] =
    &[before(42, "ConsoleSize", "is not heard", |exec| exec.console_size = None)];

/// `POST /networks/create`.
pub(super) const NETWORK_CREATE: &[Change<network::CreateRequest>] = &[
    before(48, "EnableIPv4", "is not heard", |network| network.enable_ipv4 = None),
    since(44, "CheckDuplicate", "is not heard", |network| network.check_duplicate = None),
];

fn host(creation: &mut Creation) -> &mut HostConfig {
    &mut creation.request.host_config
}

fn mounts(creation: &mut Creation) -> impl Iterator<Item = &mut Mount> {
    creation.request.host_config.mounts.iter_mut().flatten()
}

fn all_endpoints(creation: &mut Creation) -> impl Iterator<Item = &mut EndpointSettings> {
    creation.request.networking_config.endpoints_config.values_mut()
}

fn default_text(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}

fn stray_options(creation: &Creation) -> Option<String> {
    for mount in creation.request.host_config.mounts.iter().flatten() {
        let options = [
            (mount.volume_options.is_some(), "volume", "VolumeOptions"),
            (mount.bind_options.is_some(), "bind", "BindOptions"),
            (mount.tmpfs_options.is_some(), "tmpfs", "TmpfsOptions"),
        ];
        if let Some((_, _, name)) = options.into_iter().find(|(given, kind, _)| *given && *kind != mount.kind) {
            return Some(format!("{name} must not be specified on mount type {:?}", mount.kind));
        }
    }
    None
}

fn volume_driver(creation: &mut Creation) {
    let request = &creation.request;
    let is_without_driver = |mount: &Mount| {
        let driver = mount.volume_options.as_ref().and_then(|volume| volume.driver_config.as_ref());
        mount.kind == "volume" && driver.is_none_or(|driver| driver.name.is_empty())
    };
    let is_ignored = !request.host_config.volume_driver.is_empty()
        && request.host_config.mounts.iter().flatten().any(is_without_driver);
    if is_ignored {
        creation.warnings.push(
            "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use \
             '--mount type=volume,volume-driver=...' instead"
                .to_owned(),
        );
    }
}
