//! `POST /containers/create`: the wire's body becomes what the service is asked for.
//!
//! Every member has its place in the service, which refuses what it cannot honour: nothing is taken and forgotten.

use crate::status::Failure;
use container_core::{
    Config, DeviceMapping, DeviceRequest, EndpointRequest, Healthcheck, HostConfig, LogConfig, MountKind, MountRequest,
    PortBinding, ReadOnly, Resources, RestartPolicy, StrayOptions, ThrottleDevice, Ulimit, WeightDevice,
};
use containers::CreateRequest;
use engine_api::container as wire;
use engine_api::host_config as wire_host;
use engine_api::mount as wire_mount;
use engine_api::network::EndpointSettings;

/// The whole body, the name from the query, and how deep read-only binds are in the client's version.
pub fn from_wire(
    name: Option<String>,
    body: wire::CreateRequest,
    read_only: ReadOnly,
) -> Result<CreateRequest, Failure> {
    let endpoints = body.networking_config.endpoints_config;
    Ok(CreateRequest {
        name,
        config: config(body.config),
        host_config: host_config(body.host_config)?,
        endpoints: endpoints.into_iter().map(|(network, settings)| endpoint(network, settings)).collect(),
        read_only,
    })
}

pub(super) fn config(wire: wire::Config) -> Config {
    Config {
        hostname: wire.hostname,
        domainname: wire.domainname,
        user: wire.user,
        attach_stdin: wire.attach_stdin,
        attach_stdout: wire.attach_stdout,
        attach_stderr: wire.attach_stderr,
        exposed_ports: wire.exposed_ports.unwrap_or_default().into_keys().collect(),
        tty: wire.tty,
        open_stdin: wire.open_stdin,
        stdin_once: wire.stdin_once,
        env: wire.env.unwrap_or_default(),
        cmd: wire.cmd.map(|words| words.0),
        entrypoint: wire.entrypoint.map(|words| words.0),
        healthcheck: wire.healthcheck.map(healthcheck),
        image: wire.image,
        volumes: wire.volumes.unwrap_or_default().into_keys().collect(),
        working_dir: wire.working_dir,
        network_disabled: wire.network_disabled,
        labels: wire.labels.unwrap_or_default(),
        stop_signal: Some(wire.stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout_s: wire.stop_timeout,
        args_escaped: wire.args_escaped,
        on_build: wire.on_build.unwrap_or_default(),
        shell: wire.shell.map(|words| words.0),
    }
}

fn healthcheck(wire: wire::HealthConfig) -> Healthcheck {
    Healthcheck {
        test: wire.test,
        interval_ns: wire.interval,
        timeout_ns: wire.timeout,
        start_period_ns: wire.start_period,
        start_interval_ns: wire.start_interval,
        retries: wire.retries,
    }
}

fn host_config(wire: wire_host::HostConfig) -> Result<HostConfig, Failure> {
    let resources = resources(&wire);
    let [height, width] = wire.console_size;
    Ok(HostConfig {
        binds: wire.binds.unwrap_or_default(),
        mounts: wire.mounts.unwrap_or_default().into_iter().map(mount).collect::<Result<_, _>>()?,
        tmpfs: wire.tmpfs.unwrap_or_default(),
        volumes_from: wire.volumes_from.unwrap_or_default(),
        volume_driver: wire.volume_driver,
        links: wire.links.unwrap_or_default(),
        network_mode: wire.network_mode,
        port_bindings: port_bindings(wire.port_bindings.unwrap_or_default()),
        publish_all_ports: wire.publish_all_ports,
        restart_policy: RestartPolicy::parse(&wire.restart_policy.name, wire.restart_policy.maximum_retry_count)?,
        auto_remove: wire.auto_remove,
        log_config: LogConfig { driver: wire.log_config.driver, options: wire.log_config.config.unwrap_or_default() },
        cap_add: wire.cap_add.unwrap_or_default(),
        cap_drop: wire.cap_drop.unwrap_or_default(),
        cgroupns_mode: wire.cgroupns_mode,
        dns: wire.dns.unwrap_or_default(),
        dns_options: wire.dns_options.unwrap_or_default(),
        dns_search: wire.dns_search.unwrap_or_default(),
        extra_hosts: wire.extra_hosts.unwrap_or_default(),
        group_add: wire.group_add.unwrap_or_default(),
        ipc_mode: wire.ipc_mode,
        pid_mode: wire.pid_mode,
        uts_mode: wire.uts_mode,
        userns_mode: wire.userns_mode,
        privileged: wire.privileged,
        readonly_rootfs: wire.readonly_rootfs,
        security_opt: wire.security_opt.unwrap_or_default(),
        shm_size: wire.shm_size,
        sysctls: wire.sysctls.unwrap_or_default(),
        init: wire.init,
        oom_score_adj: wire.oom_score_adj,
        cgroup_parent: wire.cgroup_parent,
        runtime: wire.runtime,
        masked_paths: wire.masked_paths,
        readonly_paths: wire.readonly_paths,
        annotations: wire.annotations.unwrap_or_default(),
        console_size: (height != 0 && width != 0).then_some((height, width)),
        container_id_file: wire.container_id_file,
        isolation: wire.isolation,
        storage_opt: wire.storage_opt.unwrap_or_default(),
        cgroup: wire.cgroup,
        resources,
    })
}

pub(super) fn resources(wire: &wire_host::HostConfig) -> Resources {
    let device = |device: &wire_host::DeviceMapping| DeviceMapping {
        path_on_host: device.path_on_host.clone(),
        path_in_container: device.path_in_container.clone(),
        permissions: device.cgroup_permissions.clone(),
    };
    let ulimit = |limit: &wire_host::Ulimit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard };
    Resources {
        memory: wire.memory,
        memory_reservation: wire.memory_reservation,
        memory_swap: wire.memory_swap,
        memory_swappiness: wire.memory_swappiness,
        kernel_memory: wire.kernel_memory,
        kernel_memory_tcp: wire.kernel_memory_tcp,
        oom_kill_disable: wire.oom_kill_disable,
        nano_cpus: wire.nano_cpus,
        cpu_shares: wire.cpu_shares,
        cpu_period_us: wire.cpu_period,
        cpu_quota_us: wire.cpu_quota,
        cpu_realtime_period_us: wire.cpu_realtime_period,
        cpu_realtime_runtime_us: wire.cpu_realtime_runtime,
        cpuset_cpus: wire.cpuset_cpus.clone(),
        cpuset_mems: wire.cpuset_mems.clone(),
        cpu_count: wire.cpu_count,
        cpu_percent: wire.cpu_percent,
        io_maximum_iops: wire.io_maximum_iops,
        io_maximum_bandwidth: wire.io_maximum_bandwidth,
        // What is no limit is told as none.
        pids_limit: wire.pids_limit.filter(|limit| *limit > 0),
        blkio_weight: wire.blkio_weight,
        blkio_weight_device: wire.blkio_weight_device.iter().flatten().map(weight).collect(),
        blkio_device_read_bps: throttles(&wire.blkio_device_read_bps),
        blkio_device_write_bps: throttles(&wire.blkio_device_write_bps),
        blkio_device_read_iops: throttles(&wire.blkio_device_read_iops),
        blkio_device_write_iops: throttles(&wire.blkio_device_write_iops),
        device_requests: wire.device_requests.iter().flatten().map(device_request).collect(),
        devices: wire.devices.iter().flatten().map(device).collect(),
        device_cgroup_rules: wire.device_cgroup_rules.clone().unwrap_or_default(),
        ulimits: wire.ulimits.iter().flatten().map(ulimit).collect(),
    }
}

fn weight(device: &wire_host::WeightDevice) -> WeightDevice {
    WeightDevice { path: device.path.clone(), weight: device.weight }
}

fn throttles(list: &Option<Vec<wire_host::ThrottleDevice>>) -> Vec<ThrottleDevice> {
    let device = |device: &wire_host::ThrottleDevice| ThrottleDevice { path: device.path.clone(), rate: device.rate };
    list.iter().flatten().map(device).collect()
}

fn device_request(wire: &wire_host::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: wire.driver.clone(),
        count: wire.count,
        device_ids: wire.device_ids.clone().unwrap_or_default(),
        capabilities: wire.capabilities.clone().unwrap_or_default(),
        options: wire.options.clone().unwrap_or_default(),
    }
}

fn mount(wire: wire_mount::Mount) -> Result<MountRequest, Failure> {
    let kind = match wire.kind.as_str() {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        "image" => MountKind::Image,
        // Windows' pipes and a swarm's volumes are no more known to this daemon than to Docker's outside of one.
        other => {
            return Err(Failure::bad_request(format!("invalid mount config for type \"{other}\": mount type unknown")));
        }
    };
    let options = [
        (wire.bind_options.is_some(), MountKind::Bind, StrayOptions::BindOptions),
        (wire.volume_options.is_some(), MountKind::Volume, StrayOptions::VolumeOptions),
        (wire.image_options.is_some(), MountKind::Image, StrayOptions::ImageOptions),
        (wire.tmpfs_options.is_some(), MountKind::Tmpfs, StrayOptions::TmpfsOptions),
    ];
    let stray = options.into_iter().find(|(given, of, _)| *given && *of != kind).map(|(_, _, name)| name);
    let bind = wire.bind_options.unwrap_or_default();
    let volume = wire.volume_options.unwrap_or_default();
    let image = wire.image_options.unwrap_or_default();
    let tmpfs = wire.tmpfs_options.unwrap_or_default();
    let driver = volume.driver_config.unwrap_or_default();
    Ok(MountRequest {
        kind,
        source: wire.source,
        target: wire.target,
        read_only: wire.read_only,
        propagation: bind.propagation,
        non_recursive: bind.non_recursive,
        create_mountpoint: bind.create_mountpoint,
        read_only_non_recursive: bind.read_only_non_recursive,
        read_only_force_recursive: bind.read_only_force_recursive,
        id_map: bind.id_map,
        no_copy: volume.no_copy,
        volume_labels: volume.labels,
        volume_driver: driver.name,
        volume_driver_options: driver.options,
        subpath: if kind == MountKind::Image { image.subpath } else { volume.subpath },
        consistency: wire.consistency,
        tmpfs_size: tmpfs.size_bytes,
        tmpfs_mode: tmpfs.mode,
        tmpfs_options: tmpfs.options,
        stray_options: stray,
    })
}

fn port_bindings(map: wire_host::PortMap) -> Vec<PortBinding> {
    let mut bindings = Vec::new();
    for (container, hosts) in map {
        for host in hosts.unwrap_or_default() {
            bindings.push(PortBinding {
                container: container.clone(),
                host_ip: host.host_ip,
                host_port: host.host_port,
            });
        }
    }
    bindings
}

pub fn endpoint(network: String, settings: EndpointSettings) -> EndpointRequest {
    let addresses = settings.ipam_config.unwrap_or_default();
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    EndpointRequest {
        network,
        aliases: settings.aliases.unwrap_or_default(),
        ipv4: given(addresses.ipv4_address),
        ipv6: given(addresses.ipv6_address),
        mac: given(settings.mac_address),
        links: settings.links.unwrap_or_default(),
        link_local: addresses.link_local_ips,
        gateway_priority: settings.gw_priority,
        driver_options: settings.driver_opts.unwrap_or_default(),
        network_id: String::new(),
    }
}
