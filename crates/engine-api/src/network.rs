//! Networks, endpoints, ports.

use std::collections::BTreeMap;

use crate::wire::{StringMap, empty};

wire! {
    /// Body of `POST /networks/create`.
    #[serde(rename = "NetworkCreateRequest")]
    pub struct CreateRequest {
        driver: String = "Driver",
        scope: String = "Scope",
        enable_ipv4: Option<bool> = "EnableIPv4" | "empty",
        enable_ipv6: Option<bool> = "EnableIPv6" | "empty",
        ipam: Option<Ipam> = "IPAM",
        internal: bool = "Internal",
        attachable: bool = "Attachable",
        ingress: bool = "Ingress",
        config_only: bool = "ConfigOnly",
        config_from: Option<ConfigReference> = "ConfigFrom",
        options: Option<StringMap> = "Options",
        labels: Option<StringMap> = "Labels",
        name: String = "Name",
        /// Ignored since API 1.44, sent by older clients.
        check_duplicate: Option<bool> = "CheckDuplicate" | "empty",
    }

    /// Answer to it.
    pub struct CreateResponse {
        id: String = "Id",
        warning: String = "Warning",
    }

    /// A network in `GET /networks` and `GET /networks/x`.
    pub struct Network {
        name: String = "Name",
        id: String = "Id",
        created: String = "Created",
        scope: String = "Scope",
        driver: String = "Driver",
        enable_ipv4: bool = "EnableIPv4",
        enable_ipv6: bool = "EnableIPv6",
        ipam: Ipam = "IPAM",
        internal: bool = "Internal",
        attachable: bool = "Attachable",
        ingress: bool = "Ingress",
        config_from: ConfigReference = "ConfigFrom",
        config_only: bool = "ConfigOnly",
        containers: BTreeMap<String, EndpointResource> = "Containers",
        options: StringMap = "Options",
        labels: StringMap = "Labels",
        peers: Vec<PeerInfo> = "Peers" | "empty",
    }

    /// A container's endpoint as its network lists it.
    pub struct EndpointResource {
        name: String = "Name",
        endpoint_id: String = "EndpointID",
        mac_address: String = "MacAddress",
        /// With prefix length.
        ipv4_address: String = "IPv4Address",
        ipv6_address: String = "IPv6Address",
    }

    /// A node that shares an overlay network.
    pub struct PeerInfo {
        name: String = "Name",
        ip: String = "IP",
    }

    /// The network whose configuration is used.
    pub struct ConfigReference {
        network: String = "Network",
    }

    /// Address management of a network.
    pub struct Ipam {
        driver: String = "Driver",
        options: Option<StringMap> = "Options",
        config: Option<Vec<IpamConfig>> = "Config",
    }

    /// One address pool.
    pub struct IpamConfig {
        subnet: String = "Subnet" | "empty",
        ip_range: String = "IPRange" | "empty",
        gateway: String = "Gateway" | "empty",
        auxiliary_addresses: StringMap = "AuxiliaryAddresses" | "empty",
    }

    /// The networks a container is created into.
    pub struct NetworkingConfig {
        endpoints_config: BTreeMap<String, EndpointSettings> = "EndpointsConfig",
    }

    /// An endpoint, as asked for and as it is.
    pub struct EndpointSettings {
        ipam_config: Option<EndpointIpamConfig> = "IPAMConfig",
        links: Option<Vec<String>> = "Links",
        aliases: Option<Vec<String>> = "Aliases",
        mac_address: String = "MacAddress",
        driver_opts: Option<StringMap> = "DriverOpts",
        gw_priority: i64 = "GwPriority",
        network_id: String = "NetworkID",
        endpoint_id: String = "EndpointID",
        gateway: String = "Gateway",
        ip_address: String = "IPAddress",
        ip_prefix_len: u8 = "IPPrefixLen",
        ipv6_gateway: String = "IPv6Gateway",
        global_ipv6_address: String = "GlobalIPv6Address",
        global_ipv6_prefix_len: u8 = "GlobalIPv6PrefixLen",
        dns_names: Option<Vec<String>> = "DNSNames",
    }

    /// Addresses asked for.
    pub struct EndpointIpamConfig {
        ipv4_address: String = "IPv4Address" | "empty",
        ipv6_address: String = "IPv6Address" | "empty",
        link_local_ips: Vec<String> = "LinkLocalIPs" | "empty",
    }

    /// Body of `POST /networks/x/connect`.
    #[serde(rename = "NetworkConnectRequest")]
    pub struct ConnectRequest {
        container: String = "Container",
        endpoint_config: Option<EndpointSettings> = "EndpointConfig" | "empty",
    }

    /// Body of `POST /networks/x/disconnect`.
    #[serde(rename = "NetworkDisconnectRequest")]
    pub struct DisconnectRequest {
        container: String = "Container",
        force: bool = "Force",
    }

    /// Answer to `POST /networks/prune`.
    pub struct PruneReport {
        networks_deleted: Option<Vec<String>> = "NetworksDeleted",
    }

    /// A socket of the host that leads to a container's port; the port is text and may be a range when asked for.
    pub struct PortBinding {
        host_ip: String = "HostIp",
        host_port: String = "HostPort",
    }
}
