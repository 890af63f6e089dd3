//! The engine itself: ping, version, info.

use std::collections::BTreeMap;

use crate::wire::{StringMap, empty};

/// Headers of `GET|HEAD /_ping`, and of every answer for the first two.
pub mod ping {
    /// Newest version that the daemon speaks.
    pub const API_VERSION: &str = "Api-Version";
    /// `linux`.
    pub const OS_TYPE: &str = "Ostype";
    /// `true` or `false`.
    pub const EXPERIMENTAL: &str = "Docker-Experimental";
    /// `1` is the classic builder, `2` BuildKit.
    pub const BUILDER_VERSION: &str = "Builder-Version";
    /// `inactive`, or the node's state and role.
    pub const SWARM: &str = "Swarm";
}

wire! {
    /// Answer to `GET /version`.
    pub struct Version {
        platform: Platform = "Platform",
        components: Vec<ComponentVersion> = "Components" | "empty",
        version: String = "Version",
        api_version: String = "ApiVersion",
        min_api_version: String = "MinAPIVersion" | "empty",
        git_commit: String = "GitCommit",
        go_version: String = "GoVersion",
        os: String = "Os",
        arch: String = "Arch",
        kernel_version: String = "KernelVersion" | "empty",
        experimental: bool = "Experimental" | "empty",
        /// RFC 3339 with nanoseconds.
        build_time: String = "BuildTime" | "empty",
    }

    /// The product.
    pub struct Platform {
        name: String = "Name",
    }

    /// `Engine`, `containerd`, `runc`, `docker-init`.
    pub struct ComponentVersion {
        name: String = "Name",
        version: String = "Version",
        details: StringMap = "Details" | "empty",
    }

    /// Answer to `GET /info`.
    pub struct Info {
        id: String = "ID",
        containers: i64 = "Containers",
        containers_running: i64 = "ContainersRunning",
        containers_paused: i64 = "ContainersPaused",
        containers_stopped: i64 = "ContainersStopped",
        images: i64 = "Images",
        driver: String = "Driver",
        driver_status: Vec<[String; 2]> = "DriverStatus",
        plugins: Plugins = "Plugins",
        memory_limit: bool = "MemoryLimit",
        swap_limit: bool = "SwapLimit",
        /// Until API 1.41.
        kernel_memory: bool = "KernelMemory" | "empty",
        kernel_memory_tcp: bool = "KernelMemoryTCP" | "empty",
        cpu_cfs_period: bool = "CpuCfsPeriod",
        cpu_cfs_quota: bool = "CpuCfsQuota",
        cpu_shares: bool = "CPUShares",
        cpu_set: bool = "CPUSet",
        pids_limit: bool = "PidsLimit",
        ipv4_forwarding: bool = "IPv4Forwarding",
        debug: bool = "Debug",
        open_files: i64 = "NFd",
        oom_kill_disable: bool = "OomKillDisable",
        goroutines: i64 = "NGoroutines",
        system_time: String = "SystemTime",
        logging_driver: String = "LoggingDriver",
        cgroup_driver: String = "CgroupDriver",
        cgroup_version: String = "CgroupVersion" | "empty",
        events_listeners: i64 = "NEventsListener",
        kernel_version: String = "KernelVersion",
        operating_system: String = "OperatingSystem",
        os_version: String = "OSVersion",
        os_type: String = "OSType",
        architecture: String = "Architecture",
        index_server_address: String = "IndexServerAddress",
        registry_config: Option<RegistryConfig> = "RegistryConfig",
        cpus: i64 = "NCPU",
        /// Bytes.
        memory_total: i64 = "MemTotal",
        generic_resources: Option<Vec<serde_json::Value>> = "GenericResources",
        docker_root_dir: String = "DockerRootDir",
        http_proxy: String = "HttpProxy",
        https_proxy: String = "HttpsProxy",
        no_proxy: String = "NoProxy",
        name: String = "Name",
        labels: Vec<String> = "Labels",
        experimental_build: bool = "ExperimentalBuild",
        server_version: String = "ServerVersion",
        runtimes: BTreeMap<String, Runtime> = "Runtimes",
        default_runtime: String = "DefaultRuntime",
        swarm: SwarmInfo = "Swarm",
        live_restore_enabled: bool = "LiveRestoreEnabled",
        isolation: String = "Isolation",
        init_binary: String = "InitBinary",
        containerd_commit: Commit = "ContainerdCommit",
        runc_commit: Commit = "RuncCommit",
        init_commit: Commit = "InitCommit",
        security_options: Vec<String> = "SecurityOptions",
        product_license: String = "ProductLicense" | "empty",
        default_address_pools: Vec<AddressPool> = "DefaultAddressPools" | "empty",
        firewall_backend: Option<FirewallInfo> = "FirewallBackend" | "empty",
        cdi_spec_dirs: Vec<String> = "CDISpecDirs",
        discovered_devices: Vec<DeviceInfo> = "DiscoveredDevices" | "empty",
        containerd: Option<ContainerdInfo> = "Containerd" | "empty",
        warnings: Option<Vec<String>> = "Warnings",
    }

    /// Drivers by kind.
    pub struct Plugins {
        volume: Vec<String> = "Volume",
        network: Vec<String> = "Network",
        authorization: Option<Vec<String>> = "Authorization",
        log: Vec<String> = "Log",
    }

    /// Registries as configured.
    pub struct RegistryConfig {
        insecure_registry_cidrs: Vec<String> = "InsecureRegistryCIDRs",
        index_configs: BTreeMap<String, IndexInfo> = "IndexConfigs",
        mirrors: Option<Vec<String>> = "Mirrors",
    }

    /// One registry.
    pub struct IndexInfo {
        name: String = "Name",
        mirrors: Vec<String> = "Mirrors",
        secure: bool = "Secure",
        official: bool = "Official",
    }

    /// An OCI runtime that containers can ask for.
    pub struct Runtime {
        path: String = "path" | "empty",
        args: Vec<String> = "runtimeArgs" | "empty",
        kind: String = "runtimeType" | "empty",
        options: Option<serde_json::Value> = "options" | "empty",
        status: StringMap = "status" | "empty",
    }

    /// The swarm as one node sees it; `inactive` outside of one.
    pub struct SwarmInfo {
        node_id: String = "NodeID",
        node_addr: String = "NodeAddr",
        local_node_state: String = "LocalNodeState",
        control_available: bool = "ControlAvailable",
        error: String = "Error",
        remote_managers: Option<Vec<serde_json::Value>> = "RemoteManagers",
        nodes: i64 = "Nodes" | "empty",
        managers: i64 = "Managers" | "empty",
        cluster: Option<serde_json::Value> = "Cluster" | "empty",
    }

    /// Version of a program beside the daemon.
    pub struct Commit {
        id: String = "ID",
        /// Until API 1.48.
        expected: String = "Expected" | "empty",
    }

    /// Where new networks take their addresses.
    pub struct AddressPool {
        base: String = "Base",
        size: i64 = "Size",
    }

    /// What keeps the packet filter.
    pub struct FirewallInfo {
        driver: String = "Driver",
        info: Vec<[String; 2]> = "Info" | "empty",
    }

    /// A device found by a driver.
    pub struct DeviceInfo {
        source: String = "Source",
        id: String = "ID",
    }

    /// The supervisor in use.
    pub struct ContainerdInfo {
        address: String = "Address" | "empty",
        namespaces: ContainerdNamespaces = "Namespaces",
    }

    /// Its namespaces.
    pub struct ContainerdNamespaces {
        containers: String = "Containers",
        plugins: String = "Plugins",
    }

    /// Answer to `GET /system/df`.
    pub struct DiskUsage {
        layers_size: i64 = "LayersSize",
        images: Option<Vec<crate::image::Summary>> = "Images",
        containers: Option<Vec<crate::container::Summary>> = "Containers",
        volumes: Option<Vec<crate::volume::Volume>> = "Volumes",
        build_cache: Option<Vec<serde_json::Value>> = "BuildCache",
        /// Longshore's own, for who asks with `why`: who holds each byte of the store.
        stored: Option<Vec<Stored>> = "Stored" | "empty",
    }

    /// Something in the store.
    pub struct Stored {
        /// `snapshot`, `blob`, `ingest` (a part of a blob) or `volume`.
        kind: String = "Kind",
        id: String = "ID",
        size: i64 = "Size",
        /// `image busybox:latest`, `container web`, `pull under way`.
        held_by: Vec<String> = "HeldBy",
    }
}
