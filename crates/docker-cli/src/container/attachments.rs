//! `--network` and what belongs to an endpoint.

use std::collections::BTreeMap;

use engine_api::network::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::fields::comma_fields;
use super::options::some_if_any;
use crate::command::Matches;
use crate::messages;

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
    let default = Attachment { target: "default".to_owned(), ..Attachment::default() };
    let is_single = asked.len() == 1;
    let mut attachments = if asked.is_empty() { vec![default] } else { asked };
    let is_mixed = attachments.iter().any(|one| is_user_defined(&one.target))
        && attachments.iter().any(|one| !is_user_defined(&one.target));
    apply_flags(&mut attachments[0], flags)?;
    let mode = attachments[0].target.clone();
    let mut endpoints = BTreeMap::new();
    for attachment in attachments {
        check(&attachment)?;
        // A network without wishes is the daemon's to attach.
        if is_single && attachment.settings == EndpointSettings::default() {
            continue;
        }
        let name = attachment.target.clone();
        if endpoints.insert(attachment.target, attachment.settings).is_some() {
            return Err(format!("network {name:?} is specified multiple times"));
        }
    }
    if is_mixed {
        return Err(messages::MIXED_NETWORKS.to_owned());
    }
    Ok((mode, NetworkingConfig { endpoints_config: endpoints }))
}

/// What an endpoint cannot have, wherever it was asked for.
fn check(attachment: &Attachment) -> Result<(), String> {
    let settings = &attachment.settings;
    if attachment.target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(&attachment.target) && settings.aliases.is_some() {
        return Err("network-scoped aliases are only supported for user-defined networks".to_owned());
    }
    check_hardware_address(&settings.mac_address)
}

/// `--ip`, `--network-alias` and the like mean the first network.
fn apply_flags(first: &mut Attachment, flags: &Matches) -> Result<(), String> {
    let ipam = first.settings.ipam_config.clone().unwrap_or_default();
    let (aliases, link_local) = (flags.list("network-alias"), flags.list("link-local-ip"));
    for (flag, is_given, part, is_there) in [
        ("network-alias", !aliases.is_empty(), "alias", first.settings.aliases.is_some()),
        ("ip", flags.given("ip"), "IPv4 address", !ipam.ipv4_address.is_empty()),
        ("ip6", flags.given("ip6"), "IPv6 address", !ipam.ipv6_address.is_empty()),
        ("mac-address", flags.given("mac-address"), "MAC address", !first.settings.mac_address.is_empty()),
        ("link-local-ip", !link_local.is_empty(), "link-local IP addresses", !ipam.link_local_ips.is_empty()),
    ] {
        if is_given && is_there {
            return Err(format!("conflicting options: cannot specify both --{flag} and per-network {part}"));
        }
    }
    let settings = &mut first.settings;
    if !aliases.is_empty() {
        settings.aliases = Some(aliases.to_vec());
    }
    let links = flags.list("link");
    if !links.is_empty() && is_user_defined(&first.target) {
        settings.links = Some(links.to_vec());
    }
    let of_flags = EndpointIpamConfig {
        ipv4_address: flags.text("ip").to_owned(),
        ipv6_address: flags.text("ip6").to_owned(),
        link_local_ips: link_local.to_vec(),
    };
    let mut ipam = ipam;
    for (field, text) in
        [(&mut ipam.ipv4_address, of_flags.ipv4_address), (&mut ipam.ipv6_address, of_flags.ipv6_address)]
    {
        if !text.is_empty() {
            *field = text;
        }
    }
    ipam.link_local_ips.extend(of_flags.link_local_ips);
    settings.ipam_config = some_if_any(ipam);
    if flags.given("mac-address") {
        flags.text("mac-address").clone_into(&mut settings.mac_address);
    }
    Ok(())
}

fn is_user_defined(network: &str) -> bool {
    !matches!(network, "default" | "bridge" | "host" | "none") && !network.starts_with("container:")
}

/// Six, eight or twenty octets in colons or dashes, or in groups of four digits with dots, as Go reads them; empty is none.
pub fn check_hardware_address(text: &str) -> Result<(), String> {
    let groups = |separator: char, digits: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let hexadecimal = |part: &&str| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
        counts.contains(&parts.len()) && parts.iter().all(hexadecimal)
    };
    if text.is_empty() || groups(':', 2, [6, 8, 20]) || groups('-', 2, [6, 8, 20]) || groups('.', 4, [3, 4, 10]) {
        return Ok(());
    }
    Err(format!("{text} is not a valid mac address"))
}

/// Whether the text is `key=value` and not a name: some letter or digit on both sides of an equals sign.
fn is_long_form(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=').any(|(at, _)| text[..at].ends_with(is_word) && text[at + 1..].starts_with(is_word))
}

/// A name, or `name=x,alias=y,ip=…`; Docker takes all of the long form in lower case.
pub fn parse_network(text: &str) -> Result<Attachment, String> {
    if !is_long_form(text) {
        return Ok(Attachment { target: text.to_owned(), ..Attachment::default() });
    }
    let mut target = String::new();
    let mut settings = EndpointSettings::default();
    let mut ipam = EndpointIpamConfig::default();
    let (mut aliases, mut options) = (Vec::new(), BTreeMap::new());
    for field in comma_fields(text)? {
        let lower = field.to_lowercase();
        let invalid = || format!("invalid field {field}");
        let (key, value) = lower.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(invalid)?;
        let value = value.trim();
        match key.trim() {
            "name" => value.clone_into(&mut target),
            "alias" => aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut ipam.ipv4_address),
            "ip6" => value.clone_into(&mut ipam.ipv6_address),
            "link-local-ip" => ipam.link_local_ips.push(value.to_owned()),
            "mac-address" => value.clone_into(&mut settings.mac_address),
            "driver-opt" => {
                let (option, value) = value
                    .split_once('=')
                    .filter(|(option, _)| !option.is_empty())
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                options.insert(option.trim().to_owned(), value.trim().to_owned());
            }
            "gw-priority" => {
                settings.gw_priority =
                    value.parse().map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if target.is_empty() {
        return Err("network name/id is not specified".to_owned());
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
    attachment.settings.ipam_config = Some(ipam);
    attachment.settings.links = some_if_any(flags.list("link").to_vec());
    attachment.settings.aliases = Some(flags.list("alias").to_vec());
    let options = flags.list("driver-opt");
    if options.iter().any(|option| !option.contains('=')) {
        return Err("invalid key/value pair format in driver options".to_owned());
    }
    attachment.settings.driver_opts = Some(super::options::pairs(options));
    attachment.settings.gw_priority = flags.int("gw-priority");
    Ok(attachment.settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_written_in_three_ways() {
        for good in ["", "92:d0:c6:0a:29:33", "92-d0-c6-0a-29-33", "92d0.c60a.2933", "00:00:5e:00:53:01:02:03"] {
            assert!(check_hardware_address(good).is_ok(), "{good}");
        }
        for bad in ["x", "92:d0:c6:0a:29", "92:d0:c6:0a:29:zz", "92d0c60a2933"] {
            assert_eq!(check_hardware_address(bad).unwrap_err(), format!("{bad} is not a valid mac address"));
        }
    }

    #[test]
    fn a_network_has_a_short_and_a_long_form() {
        assert_eq!(parse_network("n1").unwrap().target, "n1");
        let long = parse_network("name=n1,alias=a,alias=b,ip=1.2.3.4,driver-opt=x=y,gw-priority=3").unwrap();
        assert_eq!(long.settings.aliases.unwrap(), ["a", "b"]);
        assert_eq!(long.settings.ipam_config.unwrap().ipv4_address, "1.2.3.4");
        assert_eq!(long.settings.gw_priority, 3);
        assert_eq!(parse_network("name=n1,x=y").unwrap_err(), "invalid field key x");
        assert_eq!(parse_network("alias=a").unwrap_err(), "network name/id is not specified");
        assert_eq!(parse_network("name=").unwrap().target, "name=");
    }
}
