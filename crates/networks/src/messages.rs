//! The words that Docker's users know, each in one place.

use network_core::firewall::PublishedPort;

pub(crate) fn not_found(network: &str) -> String {
    format!("network {network} not found")
}

pub(crate) fn name_exists(name: &str) -> String {
    format!("network with name {name} already exists")
}

pub(crate) fn ambiguous(term: &str, matches: usize) -> String {
    format!("network {term} is ambiguous ({matches} matches found based on ID prefix)")
}

pub(crate) fn active_endpoints(name: &str, endpoints: &[(String, String)]) -> String {
    let list: Vec<String> =
        endpoints.iter().map(|(name, id)| format!("name:\"{name}\" id:\"{}\"", short(id))).collect();
    format!("error while removing network: network {name} has active endpoints ({})", list.join(", "))
}

pub(crate) fn create_predefined(name: &str) -> String {
    format!("operation is not permitted on predefined {name} network ")
}

pub(crate) fn remove_predefined(name: &str) -> String {
    format!("{name} is a pre-defined network and cannot be removed")
}

pub(crate) fn unknown_driver(driver: &str) -> String {
    format!("could not find plugin {driver} in v1 plugin registry: plugin \"{driver}\" not found")
}

pub(crate) const POOL_OVERLAP: &str = "invalid pool request: Pool overlaps with other one on this address space";
pub(crate) const NO_POOL: &str = "all predefined address pools have been fully subnetted";
pub(crate) const SEVERAL_SUBNETS: &str = "bridge driver doesn't support multiple subnets";
pub(crate) const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                                   connect this node to swarm and try again.";
pub(crate) const CONFIG_ONLY_FIELDS: &str = "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | \
     attachable | scope ] are not supported.";
pub(crate) const STATIC_ON_DEFAULT: &str = "user specified IP address is supported on user defined networks only";
pub(crate) const STATIC_WITHOUT_SUBNET: &str =
    "user specified IP address is supported only when connecting to networks with user configured subnets";
pub(crate) const ALIAS_ON_DEFAULT: &str =
    "network-scoped alias is supported only for containers in user defined networks";
pub(crate) const HOST_ENDPOINT: &str =
    "container cannot be connected to host network - container must be created in host network mode";

pub(crate) fn no_such_links(kind: &str) -> String {
    format!("failed to set up container networking: failed to create the {kind} port: operation not supported")
}

pub(crate) fn config_only_endpoint(network: &str) -> String {
    format!("cannot create an endpoint on configuration-only network {network}")
}

pub(crate) fn join_not_running(container: &str) -> String {
    format!("cannot join network of a non running container: {container}")
}

pub(crate) fn already_attached(container: &str, network: &str) -> String {
    format!("endpoint with name {container} already exists in network {network}")
}

pub(crate) fn not_connected(container: &str, network: &str) -> String {
    format!("container {container} is not connected to network {network}")
}

/// `failed` is the port table's or the system's clause.
pub(crate) fn external_connectivity(container: &str, endpoint_id: &str, failed: &str) -> String {
    format!(
        "failed to set up container networking: driver failed programming external connectivity on endpoint {container} \
         ({endpoint_id}): {failed}"
    )
}

/// A program outside has the port.
pub(crate) const IN_USE: &str = "address already in use";

/// `why` is the system's clause.
pub(crate) fn bind_failed(port: &PublishedPort, why: &str) -> String {
    let host = std::net::SocketAddr::new(port.host_address, port.host_port);
    format!("failed to bind host port {host}/{}: {why}", port.protocol)
}

pub(crate) fn bad_extra_host(text: &str) -> String {
    format!("invalid host format for --add-host: {text:?}")
}

pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
