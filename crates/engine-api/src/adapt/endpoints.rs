//! Settings of a whole container that belong to one of its endpoints by now: the hardware address, and the sysctls of an
//! interface, which are a driver option of the endpoint.

use super::Creation;
use crate::container::CreateRequest;
use crate::host_config::HostConfig;
use crate::network::EndpointSettings;

/// The driver option that carries an interface's sysctls.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// The only interface whose sysctls always were of the same endpoint.
const FIRST_INTERFACE: &str = "eth0";
const NO_ENDPOINT: &str = "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks";

/// `what`: the mode that has no endpoints beside `host` and another container's.
pub(super) fn mac_without_network(creation: &Creation, what: &str) -> Option<String> {
    let mode = creation.request.host_config.network_mode.as_str();
    let has_none = mode == "host" || mode == what || mode.starts_with("container:");
    (has_none && !creation.request.config.mac_address.is_empty())
        .then(|| "conflicting options: mac-address and the network mode".to_owned())
}

pub(super) fn put_mac_into_any(creation: &mut Creation) {
    let address = std::mem::take(&mut creation.request.config.mac_address);
    if !address.is_empty() {
        let name = any(&creation.request);
        endpoint(&mut creation.request, name).mac_address = address;
    }
}

/// Refused is an address where no endpoint is the own network's, or this one has another.
pub(super) fn mac_of_no_endpoint(creation: &Creation) -> Option<String> {
    let request = &creation.request;
    let address = &request.config.mac_address;
    if address.is_empty() || request.host_config.network_mode == "none" {
        return None;
    }
    let Some(name) = own(request) else {
        return Some(format!("unable to migrate container-wide MAC address to a specific network: {NO_ENDPOINT}"));
    };
    let known = request.networking_config.endpoints_config.get(&name).map_or("", |known| known.mac_address.as_str());
    (!known.is_empty() && known != address).then(|| {
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left \
         empty"
            .to_owned()
    })
}

pub(super) fn put_mac_into_own(creation: &mut Creation) {
    let address = std::mem::take(&mut creation.request.config.mac_address);
    if address.is_empty() {
        return;
    }
    if creation.request.host_config.network_mode != "none"
        && let Some(name) = own(&creation.request)
    {
        endpoint(&mut creation.request, name).mac_address = address;
    }
    creation.warnings.push(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
            .to_owned(),
    );
}

pub(super) fn put_sysctls_into_any(creation: &mut Creation) {
    let name = any(&creation.request);
    put_sysctls(creation, name);
}

pub(super) fn put_sysctls_into_own(creation: &mut Creation) {
    if let Some(name) = own(&creation.request) {
        put_sysctls(creation, name);
    }
}

pub(super) fn sysctl_of_no_endpoint(creation: &Creation) -> Option<String> {
    let of_interface = interface_sysctls(&creation.request.host_config);
    if let Some((key, _)) = of_interface.iter().find(|(_, parts)| parts[3] != FIRST_INTERFACE) {
        return Some(format!(
            "unable to determine network endpoint for sysctl {key}, use driver option '{SYSCTLS}' to set per-interface \
             sysctls"
        ));
    }
    let (key, _) = of_interface.first()?;
    own(&creation.request).is_none().then(|| format!("unable to find a network for sysctl {key}: {NO_ENDPOINT}"))
}

pub(super) fn sysctl_of_interface(creation: &Creation) -> Option<String> {
    let (key, _) = *interface_sysctls(&creation.request.host_config).first()?;
    Some(format!("interface specific sysctl setting {key:?} must be supplied using driver option '{SYSCTLS}'"))
}

/// Those of the first interface, behind which go those that the endpoint has already: the later ones hold.
fn put_sysctls(creation: &mut Creation, name: String) {
    let of_interface = interface_sysctls(&creation.request.host_config);
    let of_first = of_interface.iter().filter(|(_, parts)| parts[3] == FIRST_INTERFACE);
    let keys: Vec<String> = of_first.clone().map(|(key, _)| (*key).to_owned()).collect();
    if keys.is_empty() {
        return;
    }
    let sysctls = creation.request.host_config.sysctls.clone().unwrap_or_default();
    let option = of_first.map(|(key, parts)| {
        let value = sysctls.get(*key).map_or("", String::as_str);
        format!("net.{}.{}.IFNAME.{}={value}", parts[1], parts[2], parts[4])
    });
    let option = option.collect::<Vec<_>>().join(",");
    creation.warnings.push(format!("Migrated sysctl {:?} to DriverOpts{{{SYSCTLS:?}:{option:?}}}.", keys.join(",")));
    creation.request.host_config.sysctls.get_or_insert_default().retain(|key, _| !keys.contains(key));
    let options = endpoint(&mut creation.request, name).driver_opts.get_or_insert_default();
    let option = options.get(SYSCTLS).map_or_else(|| option.clone(), |known| format!("{option},{known}"));
    options.insert(SYSCTLS.to_owned(), option);
}

/// `net.*.*.ethN.*`, each with its five parts, where the interfaces are the container's own.
fn interface_sysctls(host: &HostConfig) -> Vec<(&str, [&str; 5])> {
    if host.network_mode == "host" || host.network_mode.starts_with("container:") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for key in host.sysctls.iter().flat_map(|sysctls| sysctls.keys()) {
        let parts = <[&str; 5]>::try_from(key.splitn(5, '.').collect::<Vec<_>>());
        found.extend(parts.ok().map(|parts| (key.as_str(), parts)));
    }
    found.retain(|(_, parts)| parts[0] == "net" && parts[3].starts_with("eth"));
    found
}

/// The only endpoint that there can be, or one in the container's own network.
fn any(request: &CreateRequest) -> String {
    let first = request.networking_config.endpoints_config.keys().next();
    first.cloned().unwrap_or_else(|| own_network(request).to_owned())
}

/// The endpoint of the container's own network. Networks have several names each, so that none is added beside others.
fn own(request: &CreateRequest) -> Option<String> {
    let network = own_network(request);
    let is_default = |name: &str| matches!(name, "default" | "bridge");
    let mut names = request.networking_config.endpoints_config.keys();
    if names.len() == 0 {
        return Some(network.to_owned());
    }
    names.find(|name| *name == network || (is_default(name) && is_default(network))).cloned()
}

fn own_network(request: &CreateRequest) -> &str {
    match request.host_config.network_mode.as_str() {
        "" => "default",
        mode => mode,
    }
}

fn endpoint(request: &mut CreateRequest, name: String) -> &mut EndpointSettings {
    request.networking_config.endpoints_config.entry(name).or_default()
}
