//! One endpoint of a sandbox: its network, addresses, names and link, taken out of the state. No I/O.

use std::net::IpAddr;

use errors::ErrorKind;
use network_core::{MAX_INTERFACE_NAME, Mac, ipam};

use crate::error::Error;
use crate::messages;
use crate::record::NetworkRecord;
use crate::request::{Endpoint, EndpointRequest, SandboxRequest};
use crate::state::State;

const OPTION_LINK_NAME: &str = "com.docker.network.endpoint.ifname";
const OPTION_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// Aliases, links, options and addresses of one endpoint.
const MAX_ENTRIES: usize = 1024;

/// On an error nothing stays taken.
pub(crate) fn take_endpoint(
    state: &mut State,
    request: &SandboxRequest,
    wanted: &EndpointRequest,
    id: String,
    others: &[Endpoint],
) -> Result<Endpoint, Error> {
    let network = &state.find(&wanted.network)?.record;
    check_network(network, request, others)?;
    check_settings(network, wanted)?;
    let serves_names = network.serves_names();
    let mut endpoint = Endpoint {
        network_id: network.id.clone(),
        network_name: network.name.clone(),
        endpoint_id: id,
        mac: Mac([0; 6]),
        link: link_name(network, wanted, others)?,
        ipv4: None,
        ipv6: None,
        link_local: wanted.link_local.clone(),
        aliases: wanted.aliases.clone(),
        dns_names: if serves_names { dns_names(request, &wanted.aliases) } else { Vec::new() },
        links: if serves_names { wanted.links.iter().map(|text| link(text)).collect() } else { Vec::new() },
        gateway_priority: wanted.gateway_priority,
        routes_by_link: routes_by_link(network),
        segment: 0,
        sysctls: Vec::new(),
        driver_options: wanted.driver_options.clone(),
        remote: None,
    };
    endpoint.sysctls = sysctls(wanted, &endpoint.link)?;
    let is_segmented = network.is_bridge();
    let network_id = endpoint.network_id.clone();
    endpoint.ipv4 = state.take_address(&network_id, true, wanted.ipv4)?;
    if is_segmented {
        endpoint.segment = state.take_segment(&network_id);
    }
    match state.take_address(&network_id, false, wanted.ipv6) {
        Ok(ipv6) => endpoint.ipv6 = ipv6,
        Err(error) => {
            state.release_endpoint(&endpoint);
            return Err(error.into());
        }
    }
    if endpoint.routes_by_link {
        for address in [&mut endpoint.ipv4, &mut endpoint.ipv6].into_iter().flatten() {
            address.gateway = None;
        }
    }
    let address = endpoint.addresses().first().copied();
    endpoint.mac = wanted.mac.or(address.map(Mac::from_address)).unwrap_or_else(|| Mac::from_id(&endpoint.endpoint_id));
    Ok(endpoint)
}

/// What is wrong with an endpoint whoever has it; nothing is taken.
pub(crate) fn check_endpoint(state: &State, wanted: &EndpointRequest) -> Result<(), Error> {
    check_settings(&state.find(&wanted.network)?.record, wanted)?;
    sysctls(wanted, "").map(drop)
}

fn check_network(network: &NetworkRecord, request: &SandboxRequest, others: &[Endpoint]) -> Result<(), Error> {
    if network.config_only {
        let message = messages::config_only_endpoint(&network.name);
        return Err(Error::docker(ErrorKind::PermissionDenied, message));
    }
    if !network.has_endpoints() {
        return Err(Error::docker(ErrorKind::InvalidArgument, messages::HOST_ENDPOINT));
    }
    if others.iter().any(|other| other.network_id == network.id) {
        let message = messages::already_attached(&request.name, &network.name);
        return Err(Error::docker(ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

/// All that is wrong with it, in Docker's words and order.
fn check_settings(network: &NetworkRecord, wanted: &EndpointRequest) -> Result<(), Error> {
    let mut wrong: Vec<String> = Vec::new();
    let count = wanted.aliases.len() + wanted.links.len() + wanted.driver_options.len() + wanted.link_local.len();
    if count > MAX_ENTRIES {
        wrong.push(format!("more than {MAX_ENTRIES} aliases, links, options and addresses"));
    }
    if network.predefined {
        if wanted.ipv4.or(wanted.ipv6).is_some() {
            wrong.push(messages::STATIC_ON_DEFAULT.to_owned());
        }
        if !wanted.aliases.is_empty() {
            wrong.push(messages::ALIAS_ON_DEFAULT.to_owned());
        }
    }
    for (address, is_ipv4) in [(wanted.ipv4, true), (wanted.ipv6, false)] {
        let Some(address) = address else { continue };
        if address.is_ipv4() != is_ipv4 || address.is_unspecified() {
            wrong.push(format!("invalid {} address: {address}", if is_ipv4 { "IPv4" } else { "IPv6" }));
        } else if !network.predefined {
            wrong.extend(place_of(network, address).err());
        }
    }
    for address in &wanted.link_local {
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if !is_link_local {
            wrong.push(format!("invalid link-local IP address: {address}"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!("invalid endpoint settings:\n{}", ipam::join(&wrong));
    Err(Error::docker(ErrorKind::InvalidArgument, message))
}

fn place_of(network: &NetworkRecord, address: IpAddr) -> Result<(), String> {
    let mut same = network.subnets.iter().filter(|subnet| subnet.subnet.is_ipv4() == address.is_ipv4()).peekable();
    if same.peek().is_none() {
        return Err(messages::STATIC_WITHOUT_SUBNET.to_owned());
    }
    if same.any(|subnet| subnet.subnet.contains(address)) {
        return Ok(());
    }
    Err(format!("no configured subnet or ip-range contain the IP address {address}"))
}

/// ipvlan beyond layer 2 answers no neighbour: everything is on the link.
fn routes_by_link(network: &NetworkRecord) -> bool {
    let is_routed = network.parent.as_ref().is_some_and(|parent| matches!(parent.mode.as_str(), "l3" | "l3s"));
    network.driver == "ipvlan" && is_routed && !network.internal
}

/// Name, aliases, short id, host name: Docker's order, each once.
fn dns_names(request: &SandboxRequest, aliases: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let own = [request.name.as_str()];
    let rest = [messages::short(&request.container_id), request.hostname.as_str()];
    for name in own.into_iter().chain(aliases.iter().map(String::as_str)).chain(rest) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// `name:word`, `name`, or `id:word`: the word and a name under which the network knows the other.
fn link(text: &str) -> (String, String) {
    let (name, word) = text.split_once(':').unwrap_or((text, text));
    let name = name.trim_start_matches('/');
    let word = word.rsplit('/').next().unwrap_or(word);
    let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    (word.to_owned(), if is_id { messages::short(name) } else { name }.to_owned())
}

/// The name that was asked for, or the network's prefix and the first number that is free.
fn link_name(network: &NetworkRecord, wanted: &EndpointRequest, others: &[Endpoint]) -> Result<String, Error> {
    let is_taken = |name: &str| others.iter().any(|other| other.link == name);
    if let Some(name) = wanted.driver_options.get(OPTION_LINK_NAME) {
        let is_valid = is_link_name(name) && name != "lo";
        if !is_valid || is_taken(name) {
            let message = format!("invalid endpoint settings:\ninvalid interface name {:?}", short(name));
            return Err(Error::docker(ErrorKind::InvalidArgument, message));
        }
        return Ok(name.clone());
    }
    let prefix = network.link_prefix();
    let mut names = (0..=others.len()).map(|number| format!("{prefix}{number}"));
    // One more name than there are others.
    Ok(names.find(|name| !is_taken(name)).unwrap_or_else(|| format!("{prefix}{}", others.len())))
}

/// What the kernel takes, `dev_valid_name`.
pub(crate) fn is_link_name(name: &str) -> bool {
    (1..=MAX_INTERFACE_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
}

/// `net.ipv4.conf.IFNAME.log_martians=1,…` as paths below `/proc/sys` and values.
fn sysctls(wanted: &EndpointRequest, link: &str) -> Result<Vec<(String, String)>, Error> {
    let Some(text) = wanted.driver_options.get(OPTION_SYSCTLS) else { return Ok(Vec::new()) };
    let parse = |text: &str| {
        let invalid = || {
            let message = format!(
                "invalid endpoint settings:\nunrecognised network interface sysctl '{}'; represent \
                 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'",
                short(text)
            );
            Error::docker(ErrorKind::InvalidArgument, message)
        };
        let (name, value) = text.split_once('=').ok_or_else(invalid)?;
        let parts: Vec<&str> = name.splitn(5, '.').collect();
        let is_word = |word: &&str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        match parts.as_slice() {
            ["net", family @ ("ipv4" | "ipv6" | "mpls"), group, "IFNAME" | "ifname", key]
                if is_word(group) && is_word(key) =>
            {
                Ok((format!("net/{family}/{group}/{link}/{key}"), value.to_owned()))
            }
            _ => Err(invalid()),
        }
    };
    text.split(',').map(parse).collect()
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_word_for_a_name_or_an_id() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(link("db:store"), ("store".to_owned(), "db".to_owned()));
        assert_eq!(link("/db:/web/store"), ("store".to_owned(), "db".to_owned()));
        assert_eq!(link("db"), ("db".to_owned(), "db".to_owned()));
        assert_eq!(link(&format!("{id}:store")), ("store".to_owned(), "0123456789ab".to_owned()));
    }

    #[test]
    fn sysctls_of_a_link_stay_below_it() {
        let wanted = |text: &str| {
            let driver_options = [(OPTION_SYSCTLS.to_owned(), text.to_owned())].into();
            sysctls(&EndpointRequest { driver_options, ..EndpointRequest::default() }, "eth1")
        };
        let right = wanted("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.ifname.mcast_solicit=4");
        let path = |text: &str| text.to_owned();
        assert_eq!(
            right.ok(),
            Some(vec![
                (path("net/ipv4/conf/eth1/log_martians"), path("1")),
                (path("net/ipv6/neigh/eth1/mcast_solicit"), path("4"))
            ])
        );
        for text in
            ["", "net.ipv4.conf.eth0.x=1", "net.core.x.IFNAME.y=1", "net.ipv4.../.IFNAME.y=1", "net.ipv4.a.IFNAME.y"]
        {
            assert!(wanted(text).is_err(), "{text}");
        }
    }
}
