//! The daemon's network options, understood: the default bridge, its addresses, the packet filter, new networks' defaults.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use network_core::{Pool, Subnet};
use networks::{BridgeConfig, Config as Networks, FirewallConfig, Mark};

use crate::options::Config;
use crate::places::{Places, sibling};

const BOTH_NAMES: &str = "You specified -b & --bip, mutually exclusive options. Please specify only one";
const ICC_WITHOUT_RULES: &str = "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. \
                                 Please set --icc or --iptables to true";
const ICC_WITHOUT_RULES_6: &str = "You specified --ip6tables=false with --icc=false. ICC=false uses ip6tables to function. \
                                   Please set --icc or --ip6tables to true";

pub fn networks(config: &Config, places: &Places) -> Result<Networks> {
    let mut wanted = Networks::new(places.exec_root.clone(), places.hash.clone());
    wanted.netd_program = Some(sibling("docker-netd"));
    wanted.firewall = FirewallConfig {
        ipv4: config.iptables.unwrap_or(true),
        ipv6: config.ip6tables.unwrap_or(true),
        forwards: config.ip_forward.unwrap_or(true),
        direct_routing: config.allow_direct_routing.unwrap_or_default(),
        docker_chains: config.firewall_backend.as_deref() == Some("iptables"),
        accept_mark: mark(text(&config.bridge_accept_fwmark))?,
    };
    wanted.bridge = bridge(config, &wanted.firewall)?;
    wanted.pools = pools(config)?;
    wanted.default_options = config.default_network_opts.clone();
    Ok(wanted)
}

fn bridge(config: &Config, firewall: &FirewallConfig) -> Result<BridgeConfig> {
    let mut bridge = BridgeConfig {
        name: text(&config.bridge).map(str::to_owned),
        address: address("--bip", text(&config.bip), true)?,
        address6: address("--bip6", text(&config.bip6), false)?,
        range: subnet("--fixed-cidr", text(&config.fixed_cidr), true)?,
        range6: subnet("--fixed-cidr-v6", text(&config.fixed_cidr_v6), false)?,
        gateway: gateway("--default-gateway", config.default_gateway, true)?,
        gateway6: gateway("--default-gateway-v6", config.default_gateway_v6, false)?,
        enable_ipv6: config.ipv6.unwrap_or_default(),
        talks_inside: config.icc.unwrap_or(true),
        masquerades: config.ip_masq.unwrap_or(true),
        host_binding: config.ip,
        ..BridgeConfig::default()
    };
    ensure!(bridge.name.is_none() || (bridge.address.is_none() && bridge.address6.is_none()), BOTH_NAMES);
    ensure!(bridge.talks_inside || firewall.ipv4, ICC_WITHOUT_RULES);
    ensure!(bridge.talks_inside || firewall.ipv6 || !bridge.enable_ipv6, ICC_WITHOUT_RULES_6);
    if let Some(mtu) = config.mtu.filter(|mtu| *mtu > 0) {
        bridge.mtu = u32::try_from(mtu).with_context(|| format!("invalid default MTU: {mtu}"))?;
    }
    Ok(bridge)
}

fn mark(text: Option<&str>) -> Result<Option<Mark>> {
    let mark = text.map(str::parse).transpose();
    mark.map_err(|why: String| anyhow::anyhow!("invalid --bridge-accept-fwmark: {why}"))
}

fn text(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

/// `10.1.0.1/16`: the bridge's own address and its subnet.
fn address(flag: &str, text: Option<&str>, is_ipv4: bool) -> Result<Option<(IpAddr, Subnet)>> {
    let Some(found) = subnet(flag, text, is_ipv4)? else { return Ok(None) };
    let text = text.unwrap_or_default();
    let own = text.split('/').next().unwrap_or_default().parse();
    Ok(Some((own.with_context(|| format!("invalid {flag} {text}: expected address/prefix"))?, found)))
}

fn subnet(flag: &str, text: Option<&str>, is_ipv4: bool) -> Result<Option<Subnet>> {
    let Some(text) = text else { return Ok(None) };
    let found: Subnet = text.parse().with_context(|| format!("invalid {flag} {text}: expected address/prefix"))?;
    ensure!(found.is_ipv4() == is_ipv4, "invalid {flag} {text}: not an {} address", family(is_ipv4));
    Ok(Some(found))
}

fn gateway(flag: &str, found: Option<IpAddr>, is_ipv4: bool) -> Result<Option<IpAddr>> {
    if let Some(found) = found {
        ensure!(found.is_ipv4() == is_ipv4, "invalid {flag} {found}: not an {} address", family(is_ipv4));
    }
    Ok(found)
}

fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "IPv4" } else { "IPv6" }
}

fn pools(config: &Config) -> Result<Vec<Pool>> {
    let pools = config.default_address_pools.iter().map(|pool| {
        let invalid = || format!("invalid default address pool base={},size={}", pool.base, pool.size);
        let base = pool.base.parse().with_context(invalid)?;
        Ok(Pool { base, size: pool.size })
    });
    pools.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(Some("/d".into()), Some("/e".into()))
    }

    #[test]
    fn addresses_of_the_default_bridge_are_understood() {
        let config = Config {
            bip: Some("10.9.0.1/16".to_owned()),
            fixed_cidr: Some("10.9.1.0/24".to_owned()),
            default_gateway: Some("10.9.0.254".parse().expect("address")),
            ipv6: Some(true),
            bip6: Some("fd00:9::1/64".to_owned()),
            ip: Some("192.0.2.1".parse().expect("address")),
            ..Config::default()
        };
        let bridge = networks(&config, &places()).expect("valid").bridge;
        let subnet = |text: &str| text.parse::<Subnet>().expect("subnet");
        assert_eq!(bridge.address, Some(("10.9.0.1".parse().expect("address"), subnet("10.9.0.0/16"))));
        assert_eq!(bridge.address6, Some(("fd00:9::1".parse().expect("address"), subnet("fd00:9::/64"))));
        assert_eq!((bridge.range, bridge.enable_ipv6), (Some(subnet("10.9.1.0/24")), true));
        assert_eq!(bridge.host_binding, config.ip);
    }

    #[test]
    fn marks_and_back_ends_are_understood() {
        let config = Config {
            bridge_accept_fwmark: Some("0x1/0x3".to_owned()),
            firewall_backend: Some("iptables".to_owned()),
            ..Config::default()
        };
        let firewall = networks(&config, &places()).expect("valid").firewall;
        assert!(firewall.docker_chains && firewall.accept_mark == Some(Mark { value: 1, mask: 3 }));
        let wrong = Config { bridge_accept_fwmark: Some("x".to_owned()), ..Config::default() };
        let refused = networks(&wrong, &places()).expect_err("refused").to_string();
        assert!(refused.starts_with("invalid --bridge-accept-fwmark: invalid firewall mark \"x\""), "{refused}");
    }

    #[test]
    fn contradictions_are_refused_in_docker_s_words() {
        let some = |text: &str| Some(text.to_owned());
        for (config, error) in [
            (Config { bridge: some("br0"), bip: some("10.0.0.1/8"), ..Config::default() }, BOTH_NAMES),
            (Config { iptables: Some(false), icc: Some(false), ..Config::default() }, ICC_WITHOUT_RULES),
            (
                Config { ip6tables: Some(false), icc: Some(false), ipv6: Some(true), ..Config::default() },
                ICC_WITHOUT_RULES_6,
            ),
            (
                Config { bip6: some("10.0.0.1/8"), ..Config::default() },
                "invalid --bip6 10.0.0.1/8: not an IPv6 address",
            ),
            (Config { fixed_cidr: some("x"), ..Config::default() }, "invalid --fixed-cidr x: expected address/prefix"),
        ] {
            let refused = networks(&config, &places()).expect_err("refused").to_string();
            assert_eq!(refused, error);
        }
    }
}
