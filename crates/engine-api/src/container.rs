//! Containers: creation, lists, inspection, waiting, processes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::go_json::{Document, JsonError};
use crate::host_config::{HostConfig, PortMap};
use crate::image::Descriptor;
use crate::mount::MountPoint;
use crate::network::{EndpointSettings, NetworkingConfig};
use crate::wire::{Empty, StringMap, Words, empty};

/// Body of `POST /containers/create`: the configuration's members with two more beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CreateRequest {
    #[serde(flatten)]
    pub config: Config,
    #[serde(rename = "HostConfig")]
    pub host_config: HostConfig,
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: NetworkingConfig,
}

impl CreateRequest {
    /// From a body; `None` for one that has no member of the configuration at all.
    pub fn read(document: &Document<'_>) -> Result<Option<Self>, JsonError> {
        let Beside { host_config, networking_config } = document.read_as("CreateRequest")?;
        let config = document.read_embedded("CreateRequest")?;
        Ok(document.has_member_of(Config::MEMBERS).then_some(Self { config, host_config, networking_config }))
    }
}

wire! {
    /// What stands beside the configuration.
    struct Beside {
        host_config: HostConfig = "HostConfig",
        networking_config: NetworkingConfig = "NetworkingConfig",
    }
}

wire! {
    /// The portable part of a container.
    pub struct Config {
        hostname: String = "Hostname",
        domainname: String = "Domainname",
        user: String = "User",
        attach_stdin: bool = "AttachStdin",
        attach_stdout: bool = "AttachStdout",
        attach_stderr: bool = "AttachStderr",
        exposed_ports: Option<BTreeMap<String, Empty>> = "ExposedPorts" | "empty",
        tty: bool = "Tty",
        open_stdin: bool = "OpenStdin",
        stdin_once: bool = "StdinOnce",
        env: Option<Vec<String>> = "Env",
        cmd: Option<Words> = "Cmd",
        healthcheck: Option<HealthConfig> = "Healthcheck" | "empty",
        args_escaped: bool = "ArgsEscaped" | "empty",
        image: String = "Image",
        volumes: Option<BTreeMap<String, Empty>> = "Volumes",
        working_dir: String = "WorkingDir",
        entrypoint: Option<Words> = "Entrypoint",
        network_disabled: bool = "NetworkDisabled" | "empty",
        /// Belongs to the endpoint since API 1.44.
        mac_address: String = "MacAddress" | "empty",
        on_build: Option<Vec<String>> = "OnBuild",
        labels: Option<StringMap> = "Labels",
        stop_signal: String = "StopSignal" | "empty",
        /// Seconds.
        stop_timeout: Option<i64> = "StopTimeout" | "empty",
        shell: Option<Words> = "Shell" | "empty",
    }

    /// How a container is asked for its health; times in nanoseconds, 0 inherits.
    pub struct HealthConfig {
        /// `NONE`, `CMD` and words, `CMD-SHELL` and one line; empty inherits.
        test: Vec<String> = "Test" | "empty",
        interval: i64 = "Interval" | "empty",
        timeout: i64 = "Timeout" | "empty",
        start_period: i64 = "StartPeriod" | "empty",
        start_interval: i64 = "StartInterval" | "empty",
        retries: i64 = "Retries" | "empty",
    }

    /// Answer to a creation.
    pub struct CreateResponse {
        id: String = "Id",
        warnings: Vec<String> = "Warnings",
    }

    /// A line of `GET /containers/json`.
    pub struct Summary {
        id: String = "Id",
        /// Each with a leading slash.
        names: Vec<String> = "Names",
        image: String = "Image",
        image_id: String = "ImageID",
        image_manifest_descriptor: Option<Descriptor> = "ImageManifestDescriptor" | "empty",
        command: String = "Command",
        /// Seconds since 1970.
        created: i64 = "Created",
        ports: Vec<Port> = "Ports",
        size_rw: i64 = "SizeRw" | "empty",
        size_root_fs: i64 = "SizeRootFs" | "empty",
        labels: StringMap = "Labels",
        state: String = "State",
        status: String = "Status",
        host_config: SummaryHostConfig = "HostConfig",
        network_settings: SummaryNetworks = "NetworkSettings",
        mounts: Vec<MountPoint> = "Mounts",
    }

    /// What a list tells of the host configuration.
    pub struct SummaryHostConfig {
        network_mode: String = "NetworkMode" | "empty",
        annotations: Option<StringMap> = "Annotations" | "empty",
    }

    /// What a list tells of the networks.
    pub struct SummaryNetworks {
        networks: BTreeMap<String, EndpointSettings> = "Networks",
    }

    /// A port in a list.
    pub struct Port {
        ip: String = "IP" | "empty",
        private_port: u16 = "PrivatePort",
        public_port: u16 = "PublicPort" | "empty",
        protocol: String = "Type",
    }

    /// Answer to `GET /containers/x/json`.
    pub struct Inspect {
        id: String = "Id",
        created: String = "Created",
        path: String = "Path",
        args: Vec<String> = "Args",
        state: State = "State",
        image: String = "Image",
        resolv_conf_path: String = "ResolvConfPath",
        hostname_path: String = "HostnamePath",
        hosts_path: String = "HostsPath",
        log_path: String = "LogPath",
        /// With a leading slash.
        name: String = "Name",
        restart_count: i64 = "RestartCount",
        driver: String = "Driver",
        platform: String = "Platform",
        mount_label: String = "MountLabel",
        process_label: String = "ProcessLabel",
        app_armor_profile: String = "AppArmorProfile",
        exec_ids: Option<Vec<String>> = "ExecIDs",
        host_config: HostConfig = "HostConfig",
        graph_driver: DriverData = "GraphDriver",
        size_rw: Option<i64> = "SizeRw" | "empty",
        size_root_fs: Option<i64> = "SizeRootFs" | "empty",
        mounts: Vec<MountPoint> = "Mounts",
        config: Config = "Config",
        network_settings: NetworkSettings = "NetworkSettings",
        image_manifest_descriptor: Option<Descriptor> = "ImageManifestDescriptor" | "empty",
    }

    /// Where a container stands.
    pub struct State {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        status: String = "Status",
        running: bool = "Running",
        paused: bool = "Paused",
        restarting: bool = "Restarting",
        oom_killed: bool = "OOMKilled",
        dead: bool = "Dead",
        pid: i64 = "Pid",
        exit_code: i64 = "ExitCode",
        error: String = "Error",
        started_at: String = "StartedAt",
        finished_at: String = "FinishedAt",
        health: Option<Health> = "Health" | "empty",
    }

    /// The last results of the health check, oldest first.
    pub struct Health {
        status: String = "Status",
        failing_streak: i64 = "FailingStreak",
        log: Vec<HealthResult> = "Log",
    }

    /// One health check.
    pub struct HealthResult {
        start: String = "Start",
        end: String = "End",
        exit_code: i64 = "ExitCode",
        output: String = "Output",
    }

    /// Where the container's layers are.
    pub struct DriverData {
        data: Option<StringMap> = "Data",
        name: String = "Name",
    }

    /// The sandbox, the default network's address at the top level (as before there were several), the endpoints.
    pub struct NetworkSettings {
        bridge: String = "Bridge",
        sandbox_id: String = "SandboxID",
        sandbox_key: String = "SandboxKey",
        ports: PortMap = "Ports",
        hairpin_mode: bool = "HairpinMode",
        link_local_ipv6_address: String = "LinkLocalIPv6Address",
        link_local_ipv6_prefix_len: u8 = "LinkLocalIPv6PrefixLen",
        secondary_ip_addresses: Option<Vec<Address>> = "SecondaryIPAddresses",
        secondary_ipv6_addresses: Option<Vec<Address>> = "SecondaryIPv6Addresses",
        endpoint_id: String = "EndpointID",
        gateway: String = "Gateway",
        global_ipv6_address: String = "GlobalIPv6Address",
        global_ipv6_prefix_len: u8 = "GlobalIPv6PrefixLen",
        ip_address: String = "IPAddress",
        ip_prefix_len: u8 = "IPPrefixLen",
        ipv6_gateway: String = "IPv6Gateway",
        mac_address: String = "MacAddress",
        networks: BTreeMap<String, EndpointSettings> = "Networks",
    }

    /// An address with its prefix length.
    pub struct Address {
        addr: String = "Addr",
        prefix_len: u8 = "PrefixLen",
    }

    /// Answer to `POST /containers/x/wait`, written when the container has reached the condition.
    pub struct WaitResponse {
        error: Option<WaitError> = "Error" | "empty",
        status_code: i64 = "StatusCode",
    }

    /// Why the daemon could not wait.
    pub struct WaitError {
        message: String = "Message" | "empty",
    }

    /// Answer to `GET /containers/x/top`.
    pub struct TopResponse {
        processes: Vec<Vec<String>> = "Processes",
        titles: Vec<String> = "Titles",
    }

    /// A line of `GET /containers/x/changes`.
    pub struct Change {
        path: String = "Path",
        /// 0 modified, 1 added, 2 deleted.
        kind: u8 = "Kind",
    }

    /// The header `X-Docker-Container-Path-Stat` of an archive, in base64.
    pub struct PathStat {
        name: String = "name",
        size: i64 = "size",
        /// Go's `os.FileMode`.
        mode: u32 = "mode",
        mtime: String = "mtime",
        link_target: String = "linkTarget",
    }

    /// Answer to `POST /containers/x/update`.
    pub struct UpdateResponse {
        warnings: Option<Vec<String>> = "Warnings",
    }

    /// Answer to `POST /containers/prune`.
    pub struct PruneReport {
        containers_deleted: Option<Vec<String>> = "ContainersDeleted",
        space_reclaimed: u64 = "SpaceReclaimed",
    }
}
