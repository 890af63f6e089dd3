//! `--network` and what belongs to an endpoint.

use std::collections::BTreeMap;

use engine_api::network::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::mounts::comma_fields;
use super::options::some_if_any;
use crate::command::Matches;

/// One `--network`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attachment {
    pub target: String,
    settings: EndpointSettings,
}

/// The network mode, which is the first network, and the endpoints asked for.
pub fn networking(flags: &Matches) -> Result<(String, NetworkingConfig), String> {
    let asked: Vec<Attachment> =
        flags.list("network").iter().map(|text| parse_network(text)).collect::<Result<_, _>>()?;
    let single = asked.len() == 1;
    let default = Attachment { target: "default".to_owned(), ..Attachment::default() };
    let mut attachments = if asked.is_empty() { vec![default] } else { asked };
    apply_flags(&mut attachments[0], flags)?;
    let mode = attachments[0].target.clone();
    let mut endpoints = BTreeMap::new();
    for attachment in attachments {
        // A network without wishes is the daemon's to attach.
        if single && attachment.settings == EndpointSettings::default() {
            continue;
        }
        let name = attachment.target.clone();
        if endpoints.insert(attachment.target, attachment.settings).is_some() {
            return Err(format!("network {name:?} is specified multiple times"));
        }
    }
    Ok((mode, NetworkingConfig { endpoints_config: endpoints }))
}

/// `--ip`, `--network-alias` and the like mean the first network.
fn apply_flags(first: &mut Attachment, flags: &Matches) -> Result<(), String> {
    let settings = &mut first.settings;
    let both = |flag: &str, there: bool| {
        if there {
            Err(format!("conflicting options: cannot specify both --{flag} and per-network {flag}"))
        } else {
            Ok(())
        }
    };
    let aliases = flags.list("network-alias");
    if !aliases.is_empty() {
        both("network-alias", settings.aliases.is_some())?;
        if !is_user_defined(&first.target) {
            return Err("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
        settings.aliases = Some(aliases.to_vec());
    }
    let links = flags.list("link");
    if !links.is_empty() && is_user_defined(&first.target) {
        settings.links = Some(links.to_vec());
    }
    for (flag, pick) in [("ip", true), ("ip6", false)] {
        let address = flags.text(flag);
        if !address.is_empty() {
            let ipam = settings.ipam_config.get_or_insert_default();
            let field = if pick { &mut ipam.ipv4_address } else { &mut ipam.ipv6_address };
            both(flag, !field.is_empty())?;
            address.clone_into(field);
        }
    }
    let link_local = flags.list("link-local-ip");
    if !link_local.is_empty() {
        settings.ipam_config.get_or_insert_default().link_local_ips = link_local.to_vec();
    }
    let mac = flags.text("mac-address");
    if !mac.is_empty() {
        both("mac-address", !settings.mac_address.is_empty())?;
        check_mac_address(mac)?;
        mac.clone_into(&mut settings.mac_address);
    }
    Ok(())
}

fn is_user_defined(network: &str) -> bool {
    !matches!(network, "default" | "bridge" | "host" | "none") && !network.starts_with("container:")
}

fn check_mac_address(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let hexadecimal = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if parts.len() == 6 && parts.iter().all(hexadecimal) {
        return Ok(());
    }
    Err(format!("{text} is not a valid mac address"))
}

/// A name, or `name=x,alias=y,ip=…`.
pub fn parse_network(text: &str) -> Result<Attachment, String> {
    let fields = comma_fields(text)?;
    if !text.contains('=') {
        if text.is_empty() {
            return Err("no name set for network".to_owned());
        }
        return Ok(Attachment { target: text.to_owned(), ..Attachment::default() });
    }
    let mut target = String::new();
    let mut settings = EndpointSettings::default();
    let mut ipam = EndpointIpamConfig::default();
    let (mut aliases, mut options) = (Vec::new(), BTreeMap::new());
    for field in fields {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim().to_lowercase().as_str() {
            "name" => value.clone_into(&mut target),
            "alias" => aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut ipam.ipv4_address),
            "ip6" => value.clone_into(&mut ipam.ipv6_address),
            "link-local-ip" => ipam.link_local_ips.push(value.to_owned()),
            "mac-address" => {
                check_mac_address(value)?;
                value.clone_into(&mut settings.mac_address);
            }
            "driver-opt" => {
                let (option, value) = value
                    .split_once('=')
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                options.insert(option.trim().to_lowercase(), value.trim().to_owned());
            }
            "gw-priority" => {
                settings.gw_priority = value.parse().map_err(|_| format!("invalid gw-priority: {value}"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if target.is_empty() {
        return Err("network: name is required".to_owned());
    }
    settings.aliases = some_if_any(aliases);
    settings.driver_opts = some_if_any(options);
    settings.ipam_config = some_if_any(ipam);
    Ok(Attachment { target, settings })
}

/// What `docker network connect` says of its endpoint.
pub fn endpoint(flags: &Matches) -> Result<EndpointSettings, String> {
    let mut attachment = Attachment::default();
    let ipam = EndpointIpamConfig {
        ipv4_address: flags.text("ip").to_owned(),
        ipv6_address: flags.text("ip6").to_owned(),
        link_local_ips: flags.list("link-local-ip").to_vec(),
    };
    attachment.settings.ipam_config = some_if_any(ipam);
    attachment.settings.links = some_if_any(flags.list("link").to_vec());
    attachment.settings.aliases = some_if_any(flags.list("alias").to_vec());
    attachment.settings.driver_opts = Some(super::options::pairs(flags.list("driver-opt")));
    attachment.settings.gw_priority = flags.int("gw-priority");
    Ok(attachment.settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_short_and_a_long_form() {
        assert_eq!(parse_network("n1").unwrap().target, "n1");
        let long = parse_network("name=n1,alias=a,alias=b,ip=1.2.3.4,driver-opt=x=y,gw-priority=3").unwrap();
        assert_eq!(long.settings.aliases.unwrap(), ["a", "b"]);
        assert_eq!(long.settings.ipam_config.unwrap().ipv4_address, "1.2.3.4");
        assert_eq!(long.settings.gw_priority, 3);
        assert_eq!(parse_network("name=n1,x=y").unwrap_err(), "invalid field key x");
        assert!(parse_network("alias=a").is_err() && parse_network("").is_err());
        assert!(parse_network("name=n,mac-address=zz").is_err());
    }
}
