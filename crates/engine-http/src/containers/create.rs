//! `POST /containers/create`: the wire's body becomes what the service is asked for.
//!
//! A member that the service has no place for is refused when it is set: nothing is taken and forgotten.

use container_core::{
    Config, DeviceMapping, EndpointRequest, Healthcheck, HostConfig, LogConfig, MountKind, MountRequest, PortBinding,
    Resources, RestartPolicy, Ulimit,
};
use containers::CreateRequest;
use engine_api::container as wire;
use engine_api::host_config as wire_host;
use engine_api::mount as wire_mount;
use engine_api::network::EndpointSettings;
use errors::ErrorKind;

use crate::status::Failure;

/// The whole body, and the name from the query.
pub fn from_wire(name: Option<String>, body: wire::CreateRequest) -> Result<CreateRequest, Failure> {
    refuse_unknown(&body)?;
    let mac = body.config.mac_address.clone();
    let mut endpoints: Vec<EndpointRequest> = body
        .networking_config
        .endpoints_config
        .into_iter()
        .map(|(network, settings)| endpoint(network, settings))
        .collect();
    if let (false, [only]) = (mac.is_empty(), endpoints.as_mut_slice()) {
        only.mac.get_or_insert(mac);
    }
    Ok(CreateRequest { name, config: config(body.config), host_config: host_config(body.host_config)?, endpoints })
}

fn refuse_unknown(body: &wire::CreateRequest) -> Result<(), Failure> {
    let host = &body.host_config;
    let set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let throttles = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    let refused = [
        ("Links", set(&host.links)),
        ("VolumeDriver", !matches!(host.volume_driver.as_str(), "" | "local")),
        ("StorageOpt", host.storage_opt.as_ref().is_some_and(|options| !options.is_empty())),
        ("DeviceRequests", host.device_requests.as_ref().is_some_and(|list| !list.is_empty())),
        ("BlkioWeightDevice", host.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty())),
        ("BlkioDevice limits", throttles.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))),
        ("Isolation", !matches!(host.isolation.as_str(), "" | "default")),
        ("KernelMemory", host.kernel_memory != 0 || host.kernel_memory_tcp != 0),
        ("CpuCount and CpuPercent", host.cpu_count != 0 || host.cpu_percent != 0),
    ];
    match refused.iter().find(|(_, is_set)| *is_set) {
        Some((member, _)) => Err(Failure::new(
            ErrorKind::NotImplemented,
            format!("HostConfig.{member} cannot be honoured by this engine"),
        )),
        None => Ok(()),
    }
}

fn config(wire: wire::Config) -> Config {
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
        resources,
    })
}

fn resources(wire: &wire_host::HostConfig) -> Resources {
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
        memory_swappiness: wire.memory_swappiness.filter(|value| *value != -1),
        oom_kill_disable: wire.oom_kill_disable,
        nano_cpus: wire.nano_cpus,
        cpu_shares: wire.cpu_shares,
        cpu_period_us: wire.cpu_period,
        cpu_quota_us: wire.cpu_quota,
        cpu_realtime_period_us: wire.cpu_realtime_period,
        cpu_realtime_runtime_us: wire.cpu_realtime_runtime,
        cpuset_cpus: wire.cpuset_cpus.clone(),
        cpuset_mems: wire.cpuset_mems.clone(),
        pids_limit: wire.pids_limit,
        blkio_weight: wire.blkio_weight,
        devices: wire.devices.iter().flatten().map(device).collect(),
        device_cgroup_rules: wire.device_cgroup_rules.clone().unwrap_or_default(),
        ulimits: wire.ulimits.iter().flatten().map(ulimit).collect(),
    }
}

fn mount(wire: wire_mount::Mount) -> Result<MountRequest, Failure> {
    let kind = match wire.kind.as_str() {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        other => {
            return Err(Failure::bad_request(format!("invalid mount config for type \"{other}\": mount type unknown")));
        }
    };
    let bind = wire.bind_options.unwrap_or_default();
    let volume = wire.volume_options.unwrap_or_default();
    let tmpfs = wire.tmpfs_options.unwrap_or_default();
    let driver = volume.driver_config.unwrap_or_default();
    if !matches!(driver.name.as_str(), "" | "local") || !driver.options.is_empty() || !volume.subpath.is_empty() {
        let message = "a volume's driver, its options and its subpath cannot be honoured by this engine";
        return Err(Failure::new(ErrorKind::NotImplemented, message));
    }
    Ok(MountRequest {
        kind,
        source: wire.source,
        target: wire.target,
        read_only: wire.read_only,
        propagation: bind.propagation,
        non_recursive: bind.non_recursive,
        create_mountpoint: bind.create_mountpoint,
        no_copy: volume.no_copy,
        tmpfs_size: tmpfs.size_bytes,
        tmpfs_mode: tmpfs.mode,
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
    }
}
