//! `docker network create`.

use std::net::IpAddr;

use engine_api::network::{ConfigReference, CreateRequest, CreateResponse, Ipam, IpamConfig};
use engine_client::Request;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::environment::check_label;
use crate::container::options::pairs;
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("attachable", NONE, Kind::Bool, "", "Enable manual container attachment"),
    flag("aux-address", NONE, Kind::Map, "map[]", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
    flag("config-from", NONE, Kind::Text, "", "The network from which to copy the configuration"),
    flag("config-only", NONE, Kind::Bool, "", "Create a configuration only network"),
    flag("driver", 'd', Kind::Text, "bridge", "Driver to manage the Network"),
    flag("gateway", NONE, Kind::Strings, "", "IPv4 or IPv6 Gateway for the master subnet"),
    flag("ingress", NONE, Kind::Bool, "", "Create swarm routing-mesh network"),
    flag("internal", NONE, Kind::Bool, "", "Restrict external access to the network"),
    flag("ip-range", NONE, Kind::Strings, "", "Allocate container ip from a sub-range"),
    flag("ipam-driver", NONE, Kind::Text, "default", "IP Address Management Driver"),
    flag("ipam-opt", NONE, Kind::Map, "map[]", "Set IPAM driver specific options"),
    flag("ipv4", NONE, Kind::Bool, "true", "Enable or disable IPv4 address assignment"),
    flag("ipv6", NONE, Kind::Bool, "", "Enable or disable IPv6 address assignment"),
    flag("label", NONE, Kind::List, "", "Set metadata on a network").checked(check_label),
    flag("opt", 'o', Kind::Map, "map[]", "Set driver specific options"),
    flag("scope", NONE, Kind::Text, "", "Control the network's scope"),
    flag("subnet", NONE, Kind::Strings, "", "Subnet in CIDR format that represents a network segment"),
];

pub const COMMAND: Command = Command {
    name: "create",
    usage: "[OPTIONS] NETWORK",
    about: "Create a network",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let config = pools(flags).map_err(Failure::Text)?;
    let given = |name: &str| flags.given(name).then(|| flags.is_set(name));
    let config_from = flags.text("config-from");
    let request = CreateRequest {
        driver: flags.text("driver").to_owned(),
        scope: flags.text("scope").to_owned(),
        enable_ipv4: given("ipv4"),
        enable_ipv6: given("ipv6"),
        ipam: Some(Ipam {
            driver: flags.text("ipam-driver").to_owned(),
            options: Some(pairs(flags.list("ipam-opt"))),
            config: Some(config),
        }),
        internal: flags.is_set("internal"),
        attachable: flags.is_set("attachable"),
        ingress: flags.is_set("ingress"),
        config_only: flags.is_set("config-only"),
        config_from: (!config_from.is_empty()).then(|| ConfigReference { network: config_from.to_owned() }),
        options: Some(pairs(flags.list("opt"))),
        labels: Some(pairs(flags.list("label"))),
        name: flags.arg(0).to_owned(),
        check_duplicate: None,
    };
    let answer: CreateResponse = context.client.call(Request::post("/networks/create").json(&request)).await?;
    context::print_line(&answer.id)?;
    Ok(0)
}

/// Ranges, gateways and reserved addresses, each given to the subnet that holds it.
fn pools(flags: &Matches) -> Result<Vec<IpamConfig>, String> {
    let (subnets, ranges, gateways) = (flags.list("subnet"), flags.list("ip-range"), flags.list("gateway"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<IpamConfig> = Vec::new();
    for text in subnets {
        for other in &pools {
            if matches(text, &other.subnet)? || matches(&other.subnet, text)? {
                return Err("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        pools.push(IpamConfig { subnet: text.clone(), ..IpamConfig::default() });
    }
    for range in ranges {
        Subnet::parse(range).ok_or_else(|| format!("invalid CIDR address: {range}"))?;
        let pool = pool_of(&mut pools, range)?.ok_or_else(|| format!("no matching subnet for range {range}"))?;
        if !pool.ip_range.is_empty() {
            return Err(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                pool.ip_range, pool.subnet
            ));
        }
        range.clone_into(&mut pool.ip_range);
    }
    for gateway in gateways {
        let pool = pool_of(&mut pools, gateway)?.ok_or_else(|| format!("no matching subnet for gateway {gateway}"))?;
        if !pool.gateway.is_empty() {
            return Err(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                pool.gateway, pool.subnet
            ));
        }
        gateway.clone_into(&mut pool.gateway);
    }
    for (name, text) in pairs(flags.list("aux-address")) {
        let pool = pool_of(&mut pools, &text)?.ok_or_else(|| format!("no matching subnet for aux-address {text}"))?;
        pool.auxiliary_addresses.insert(name, text);
    }
    Ok(pools)
}

/// The subnet that an address, or the start of a range, lies in.
fn pool_of<'a>(pools: &'a mut [IpamConfig], address: &str) -> Result<Option<&'a mut IpamConfig>, String> {
    for pool in pools {
        if matches(&pool.subnet, address)? {
            return Ok(Some(pool));
        }
    }
    Ok(None)
}

/// Whether a subnet holds an address or the start of another subnet; what is no address is in none.
fn matches(subnet: &str, text: &str) -> Result<bool, String> {
    let invalid = |what: &str, text: &str| format!("invalid {what}: invalid CIDR address: {text}");
    let holder = Subnet::parse(subnet).ok_or_else(|| invalid("subnet", subnet))?;
    let address = match text.contains('/') {
        true => Subnet::parse(text).ok_or_else(|| invalid("CIDR", text))?.address,
        false => match text.parse() {
            Ok(address) => address,
            Err(_) => return Ok(false),
        },
    };
    Ok(holder.holds(address))
}

/// An address and the length of its prefix.
#[derive(Debug, Clone, Copy)]
struct Subnet {
    address: IpAddr,
    prefix: u32,
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok()?;
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, prefix })
    }

    fn holds(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u32::from(a) ^ u32::from(b)).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (u128::from(a) ^ u128::from(b)).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_holds_its_own_addresses_only() {
        let subnet = Subnet::parse("10.1.2.0/24").unwrap();
        assert!(subnet.holds("10.1.2.9".parse().unwrap()));
        assert!(!subnet.holds("10.1.3.9".parse().unwrap()));
        assert!(!subnet.holds("fd00::1".parse().unwrap()));
        assert!(Subnet::parse("0.0.0.0/0").unwrap().holds("9.9.9.9".parse().unwrap()));
        assert!(Subnet::parse("10.0.0.0/33").is_none() && Subnet::parse("x/8").is_none());
    }
}
