//! What a user asks of a network's addresses, as text, and whether it can be so. Docker's words.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::subnet::Subnet;

/// One entry of `IPAM.Config` as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub subnet: String,
    pub range: String,
    pub gateway: String,
    pub auxiliary: BTreeMap<String, String>,
}

/// The same, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub subnet: Subnet,
    pub range: Option<Subnet>,
    pub gateway: Option<IpAddr>,
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// All entries, or everything that is wrong with them, one clause each. Without IPv6 its entries are left out.
pub fn parse(asked: &[Asked], enable_ipv6: bool) -> Result<Vec<Pool>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut pools = Vec::with_capacity(asked.len());
    for asked in asked {
        let Some((address, subnet)) = network(&asked.subnet) else {
            wrong.push(format!("invalid subnet {}: invalid CIDR block notation", short(&asked.subnet)));
            continue;
        };
        if !enable_ipv6 && !subnet.is_ipv4() {
            continue;
        }
        if address != subnet.base() {
            wrong.push(format!("invalid subnet {address}/{}: it should be {subnet}", subnet.length()));
        }
        let range = range(&asked.range, &subnet, &mut wrong);
        let mut inside = |what: String, text: &str| match inside(text, &subnet) {
            Ok(address) => address,
            Err(why) => {
                wrong.push(format!("invalid {what}: {why}"));
                None
            }
        };
        let gateway = inside(format!("gateway {}", short(&asked.gateway)), &asked.gateway);
        let auxiliary = asked.auxiliary.iter().filter_map(|(name, text)| {
            Some((name.clone(), inside(format!("auxiliary address {}", short(name)), text)?))
        });
        let auxiliary = auxiliary.collect();
        pools.push(Pool { subnet, range, gateway, auxiliary });
    }
    if wrong.is_empty() { Ok(pools) } else { Err(wrong) }
}

/// Clauses as Docker joins them: one alone as it is, several as a list.
pub fn join(clauses: &[String]) -> String {
    match clauses {
        [one] => one.clone(),
        many => many.iter().map(|clause| format!("* {clause}")).collect::<Vec<_>>().join("\n"),
    }
}

fn range(text: &str, subnet: &Subnet, wrong: &mut Vec<String>) -> Option<Subnet> {
    if text.is_empty() {
        return None;
    }
    let mut say = |why: String| wrong.push(format!("invalid ip-range {}: {why}", short(text)));
    let Some((address, range)) = network(text) else {
        say("invalid CIDR block notation".to_owned());
        return None;
    };
    if range.is_ipv4() != subnet.is_ipv4() {
        say(format!("parent subnet is an {} block", family(subnet)));
        return None;
    }
    if range.length() < subnet.length() {
        say(format!("CIDR block is bigger than its parent subnet {subnet}"));
    }
    if address != range.base() {
        say(format!("it should be {range}"));
    }
    if !subnet.overlaps(&range) {
        say(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
    Some(range)
}

fn inside(text: &str, subnet: &Subnet) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if address.is_ipv4() != subnet.is_ipv4() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    if !subnet.contains(address) {
        return Err(format!("parent subnet {subnet} doesn't contain this address"));
    }
    Ok(Some(address))
}

fn network(text: &str) -> Option<(IpAddr, Subnet)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some((address, Subnet::of(address, length.parse().ok()?)?))
}

fn family(subnet: &Subnet) -> &'static str {
    if subnet.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(subnet: &str, range: &str, gateway: &str) -> Asked {
        Asked { subnet: subnet.into(), range: range.into(), gateway: gateway.into(), ..Asked::default() }
    }

    fn wrong(asked: Asked) -> String {
        join(&parse(&[asked], true).expect_err("it is wrong"))
    }

    #[test]
    fn what_fits_together_is_understood() {
        let mut both = asked("10.0.0.0/24", "10.0.0.128/25", "10.0.0.254");
        both.auxiliary.insert("router".into(), "10.0.0.5".into());
        let pools = parse(&[both, asked("fd00::/64", "", "")], true).expect("it is right");
        assert_eq!(pools[0].gateway, Some(IpAddr::from([10, 0, 0, 254])));
        assert_eq!(pools[0].auxiliary["router"], IpAddr::from([10, 0, 0, 5]));
        assert_eq!(pools.len(), 2);
    }

    #[test]
    fn entries_of_ipv6_are_left_out_without_it() {
        assert_eq!(parse(&[asked("fd00::1/64", "", "nonsense")], false), Ok(Vec::new()));
    }

    #[test]
    fn every_mistake_has_dockers_words() {
        let cases = [
            (asked("10.0.0.0", "", ""), "invalid subnet 10.0.0.0: invalid CIDR block notation"),
            (asked("10.0.0.1/24", "", ""), "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"),
            (asked("10.0.0.0/24", "x", ""), "invalid ip-range x: invalid CIDR block notation"),
            (asked("10.0.0.0/24", "fd00::/64", ""), "invalid ip-range fd00::/64: parent subnet is an IPv4 block"),
            (
                asked("10.0.0.0/24", "10.1.0.0/25", ""),
                "invalid ip-range 10.1.0.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
            ),
            (
                asked("10.0.0.0/24", "10.0.0.0/8", ""),
                "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.0.0.0/24",
            ),
            (asked("10.0.0.0/24", "", "x"), "invalid gateway x: invalid address"),
            (
                asked("10.0.0.0/24", "", "10.0.1.1"),
                "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address",
            ),
            (asked("fd00::/64", "", "10.0.1.1"), "invalid gateway 10.0.1.1: parent subnet is an IPv6 block"),
        ];
        for (asked, expected) in cases {
            assert_eq!(wrong(asked), expected);
        }
    }

    #[test]
    fn several_mistakes_are_a_list() {
        let text = wrong(asked("10.0.0.1/24", "", "x"));
        assert_eq!(
            text,
            "* invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24\n* invalid gateway x: invalid address"
        );
    }
}
