//! `HostConfig`: what of a container belongs to the host it runs on.

use std::collections::BTreeMap;

use crate::mount::Mount;
use crate::network::PortBinding;
use crate::wire::{StringMap, empty};

wire! {
    /// The non-portable part of a container, as created and as inspected. What Docker's client sends as `null` is `None`
    /// and goes back as `null`.
    pub struct HostConfig {
        binds: Option<Vec<String>> = "Binds",
        container_id_file: String = "ContainerIDFile",
        log_config: LogConfig = "LogConfig",
        network_mode: String = "NetworkMode",
        port_bindings: Option<PortMap> = "PortBindings",
        restart_policy: RestartPolicy = "RestartPolicy",
        auto_remove: bool = "AutoRemove",
        volume_driver: String = "VolumeDriver",
        volumes_from: Option<Vec<String>> = "VolumesFrom",
        /// Height, then width.
        console_size: [u32; 2] = "ConsoleSize",
        annotations: Option<StringMap> = "Annotations" | "empty",
        cap_add: Option<Vec<String>> = "CapAdd",
        cap_drop: Option<Vec<String>> = "CapDrop",
        cgroupns_mode: String = "CgroupnsMode",
        dns: Option<Vec<String>> = "Dns",
        dns_options: Option<Vec<String>> = "DnsOptions",
        dns_search: Option<Vec<String>> = "DnsSearch",
        extra_hosts: Option<Vec<String>> = "ExtraHosts",
        group_add: Option<Vec<String>> = "GroupAdd",
        ipc_mode: String = "IpcMode",
        cgroup: String = "Cgroup",
        links: Option<Vec<String>> = "Links",
        oom_score_adj: i64 = "OomScoreAdj",
        pid_mode: String = "PidMode",
        privileged: bool = "Privileged",
        publish_all_ports: bool = "PublishAllPorts",
        readonly_rootfs: bool = "ReadonlyRootfs",
        security_opt: Option<Vec<String>> = "SecurityOpt",
        storage_opt: Option<StringMap> = "StorageOpt" | "empty",
        tmpfs: Option<StringMap> = "Tmpfs" | "empty",
        uts_mode: String = "UTSMode",
        userns_mode: String = "UsernsMode",
        /// Bytes.
        shm_size: i64 = "ShmSize",
        sysctls: Option<StringMap> = "Sysctls" | "empty",
        runtime: String = "Runtime" | "empty",
        isolation: String = "Isolation",
        cpu_shares: i64 = "CpuShares",
        /// Bytes.
        memory: i64 = "Memory",
        nano_cpus: i64 = "NanoCpus",
        cgroup_parent: String = "CgroupParent",
        blkio_weight: u16 = "BlkioWeight",
        blkio_weight_device: Option<Vec<WeightDevice>> = "BlkioWeightDevice",
        blkio_device_read_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadBps",
        blkio_device_write_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteBps",
        blkio_device_read_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadIOps",
        blkio_device_write_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteIOps",
        /// Microseconds.
        cpu_period: i64 = "CpuPeriod",
        /// Microseconds.
        cpu_quota: i64 = "CpuQuota",
        cpu_realtime_period: i64 = "CpuRealtimePeriod",
        cpu_realtime_runtime: i64 = "CpuRealtimeRuntime",
        cpuset_cpus: String = "CpusetCpus",
        cpuset_mems: String = "CpusetMems",
        devices: Option<Vec<DeviceMapping>> = "Devices",
        device_cgroup_rules: Option<Vec<String>> = "DeviceCgroupRules",
        device_requests: Option<Vec<DeviceRequest>> = "DeviceRequests",
        /// Gone since API 1.42; older clients send it and the daemon may refuse it.
        kernel_memory: i64 = "KernelMemory" | "empty",
        kernel_memory_tcp: i64 = "KernelMemoryTCP" | "empty",
        memory_reservation: i64 = "MemoryReservation",
        /// Bytes of memory and swap together; -1 is unlimited swap.
        memory_swap: i64 = "MemorySwap",
        memory_swappiness: Option<i64> = "MemorySwappiness",
        oom_kill_disable: Option<bool> = "OomKillDisable",
        /// 0 and -1 are unlimited, `None` unchanged.
        pids_limit: Option<i64> = "PidsLimit",
        ulimits: Option<Vec<Ulimit>> = "Ulimits",
        cpu_count: i64 = "CpuCount",
        cpu_percent: i64 = "CpuPercent",
        io_maximum_iops: u64 = "IOMaximumIOps",
        io_maximum_bandwidth: u64 = "IOMaximumBandwidth",
        mounts: Option<Vec<Mount>> = "Mounts" | "empty",
        masked_paths: Option<Vec<String>> = "MaskedPaths",
        readonly_paths: Option<Vec<String>> = "ReadonlyPaths",
        init: Option<bool> = "Init" | "empty",
    }

    /// Where the output of a container is kept.
    pub struct LogConfig {
        driver: String = "Type",
        config: Option<StringMap> = "Config",
    }

    /// `no`, `always`, `unless-stopped` or `on-failure`.
    pub struct RestartPolicy {
        name: String = "Name",
        maximum_retry_count: i64 = "MaximumRetryCount",
    }

    /// A host device inside the container.
    pub struct DeviceMapping {
        path_on_host: String = "PathOnHost",
        path_in_container: String = "PathInContainer",
        cgroup_permissions: String = "CgroupPermissions",
    }

    /// A device asked of a driver (`--gpus`).
    pub struct DeviceRequest {
        driver: String = "Driver",
        count: i64 = "Count",
        device_ids: Option<Vec<String>> = "DeviceIDs",
        capabilities: Option<Vec<Vec<String>>> = "Capabilities",
        options: Option<StringMap> = "Options",
    }

    /// One resource limit; -1 is unlimited.
    pub struct Ulimit {
        name: String = "Name",
        hard: i64 = "Hard",
        soft: i64 = "Soft",
    }

    /// Relative block I/O weight of a device.
    pub struct WeightDevice {
        path: String = "Path",
        weight: u16 = "Weight",
    }

    /// Block I/O limit of a device, in bytes or operations a second.
    pub struct ThrottleDevice {
        path: String = "Path",
        rate: u64 = "Rate",
    }
}

/// `80/tcp` to the host's sockets; `null` for a port that is exposed and not published.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;
