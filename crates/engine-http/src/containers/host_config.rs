//! `HostConfig` on its way out.

use std::collections::BTreeMap;

use container_core::{HostConfig, MountKind, MountRequest, Resources, ThrottleDevice};
use engine_api::host_config as wire;
use engine_api::mount as wire_mount;
use engine_api::network::PortBinding;

pub fn to_wire(host: &HostConfig) -> wire::HostConfig {
    let list = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    let (height, width) = host.console_size.unwrap_or_default();
    let mut answer = wire::HostConfig {
        binds: list(&host.binds),
        log_config: wire::LogConfig {
            driver: host.log_config.driver.clone(),
            config: Some(host.log_config.options.clone()),
        },
        network_mode: host.network_mode.clone(),
        port_bindings: Some(port_bindings(host)),
        restart_policy: wire::RestartPolicy {
            name: host.restart_policy.name().to_owned(),
            maximum_retry_count: i64::from(host.restart_policy.maximum_retries()),
        },
        auto_remove: host.auto_remove,
        volumes_from: list(&host.volumes_from),
        volume_driver: host.volume_driver.clone(),
        links: list(&host.links),
        container_id_file: host.container_id_file.clone(),
        isolation: host.isolation.clone(),
        console_size: [height, width],
        annotations: Some(host.annotations.clone()).filter(|map| !map.is_empty()),
        cap_add: list(&host.cap_add),
        cap_drop: list(&host.cap_drop),
        cgroupns_mode: host.cgroupns_mode.clone(),
        dns: Some(host.dns.clone()),
        dns_options: Some(host.dns_options.clone()),
        dns_search: Some(host.dns_search.clone()),
        extra_hosts: list(&host.extra_hosts),
        group_add: list(&host.group_add),
        ipc_mode: host.ipc_mode.clone(),
        oom_score_adj: host.oom_score_adj,
        pid_mode: host.pid_mode.clone(),
        privileged: host.privileged,
        publish_all_ports: host.publish_all_ports,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: list(&host.security_opt),
        tmpfs: Some(host.tmpfs.clone()).filter(|map| !map.is_empty()),
        uts_mode: host.uts_mode.clone(),
        userns_mode: host.userns_mode.clone(),
        shm_size: host.shm_size,
        sysctls: Some(host.sysctls.clone()).filter(|map| !map.is_empty()),
        runtime: host.runtime.clone(),
        cgroup_parent: host.cgroup_parent.clone(),
        mounts: Some(host.mounts.iter().map(mount).collect()).filter(|list: &Vec<_>| !list.is_empty()),
        masked_paths: host.masked_paths.clone(),
        readonly_paths: host.readonly_paths.clone(),
        init: host.init,
        ..wire::HostConfig::default()
    };
    resources(host, &mut answer);
    answer
}

fn resources(host: &HostConfig, answer: &mut wire::HostConfig) {
    let resources = &host.resources;
    answer.cpu_shares = resources.cpu_shares;
    answer.memory = resources.memory;
    answer.nano_cpus = resources.nano_cpus;
    answer.blkio_weight = resources.blkio_weight;
    answer.cpu_count = resources.cpu_count;
    answer.cpu_period = resources.cpu_period_us;
    answer.cpu_quota = resources.cpu_quota_us;
    answer.cpu_realtime_period = resources.cpu_realtime_period_us;
    answer.cpu_realtime_runtime = resources.cpu_realtime_runtime_us;
    answer.cpuset_cpus = resources.cpuset_cpus.clone();
    answer.cpuset_mems = resources.cpuset_mems.clone();
    answer.memory_reservation = resources.memory_reservation;
    answer.memory_swap = resources.memory_swap;
    answer.memory_swappiness = resources.memory_swappiness;
    answer.oom_kill_disable = resources.oom_kill_disable;
    answer.kernel_memory_tcp = resources.kernel_memory_tcp;
    answer.pids_limit = resources.pids_limit;
    block_io(resources, answer);
    answer.device_cgroup_rules = Some(resources.device_cgroup_rules.clone()).filter(|list| !list.is_empty());
    let devices = resources.devices.iter().map(|device| wire::DeviceMapping {
        path_on_host: device.path_on_host.clone(),
        path_in_container: device.path_in_container.clone(),
        cgroup_permissions: device.permissions.clone(),
    });
    answer.devices = Some(devices.collect());
    let limits = resources.ulimits.iter().map(|limit| wire::Ulimit {
        name: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    });
    answer.ulimits = Some(limits.collect());
}

fn block_io(resources: &Resources, answer: &mut wire::HostConfig) {
    let throttles = |list: &[ThrottleDevice]| {
        let device = |limit: &ThrottleDevice| wire::ThrottleDevice { path: limit.path.clone(), rate: limit.rate };
        Some(list.iter().map(device).collect())
    };
    let weights = resources.blkio_weight_device.iter();
    let weight =
        |limit: &container_core::WeightDevice| wire::WeightDevice { path: limit.path.clone(), weight: limit.weight };
    answer.blkio_weight_device = Some(weights.map(weight).collect());
    answer.blkio_device_read_bps = throttles(&resources.blkio_device_read_bps);
    answer.blkio_device_write_bps = throttles(&resources.blkio_device_write_bps);
    answer.blkio_device_read_iops = throttles(&resources.blkio_device_read_iops);
    answer.blkio_device_write_iops = throttles(&resources.blkio_device_write_iops);
    let requests = resources.device_requests.iter().map(|request| wire::DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: Some(request.device_ids.clone()).filter(|ids| !ids.is_empty()),
        capabilities: Some(request.capabilities.clone()).filter(|sets| !sets.is_empty()),
        options: Some(request.options.clone()),
    });
    answer.device_requests = Some(requests.collect()).filter(|list: &Vec<_>| !list.is_empty());
}

fn port_bindings(host: &HostConfig) -> wire::PortMap {
    let mut map = BTreeMap::new();
    for binding in &host.port_bindings {
        let host = PortBinding { host_ip: binding.host_ip.clone(), host_port: binding.host_port.clone() };
        map.entry(binding.container.clone()).or_insert_with(|| Some(Vec::new())).get_or_insert_default().push(host);
    }
    map
}

fn mount(mount: &MountRequest) -> wire_mount::Mount {
    let bind = wire_mount::BindOptions {
        propagation: mount.propagation.clone(),
        non_recursive: mount.non_recursive,
        create_mountpoint: mount.create_mountpoint,
        read_only_non_recursive: mount.read_only_non_recursive,
        read_only_force_recursive: mount.read_only_force_recursive,
        id_map: mount.id_map.clone(),
    };
    let driver = wire_mount::Driver { name: mount.volume_driver.clone(), options: mount.volume_driver_options.clone() };
    let volume = wire_mount::VolumeOptions {
        no_copy: mount.no_copy,
        labels: mount.volume_labels.clone(),
        subpath: mount.subpath.clone(),
        driver_config: Some(driver).filter(|driver| *driver != Default::default()),
    };
    let image = wire_mount::ImageOptions { subpath: mount.subpath.clone() };
    let tmpfs = wire_mount::TmpfsOptions {
        size_bytes: mount.tmpfs_size,
        mode: mount.tmpfs_mode,
        options: mount.tmpfs_options.clone(),
    };
    let of_kind = |kind| mount.kind == kind;
    wire_mount::Mount {
        kind: mount.kind.as_str().to_owned(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        bind_options: Some(bind).filter(|options| of_kind(MountKind::Bind) && *options != Default::default()),
        volume_options: Some(volume).filter(|options| of_kind(MountKind::Volume) && *options != Default::default()),
        image_options: Some(image).filter(|options| of_kind(MountKind::Image) && *options != Default::default()),
        tmpfs_options: Some(tmpfs).filter(|options| of_kind(MountKind::Tmpfs) && *options != Default::default()),
        consistency: mount.consistency.clone(),
    }
}
