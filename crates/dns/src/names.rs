//! Who is called what, network by network, and what one sandbox may learn of it.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::message::{Query, kind};
use crate::name::reverse_address;

/// How one sandbox is known in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointNames {
    pub network_id: String,
    /// Names may be asked for with the network's name behind them: `web.backend`.
    pub network_name: String,
    pub addresses: Vec<IpAddr>,
    /// Any spelling; the first is the one that reverse lookups answer.
    pub names: Vec<String>,
    /// Words that only this sandbox has for names of the network.
    pub links: Vec<(String, String)>,
}

/// What one sandbox brings and sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxNames {
    pub endpoints: Vec<EndpointNames>,
}

/// What the table knows about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Addresses(Vec<IpAddr>),
    Pointer(String),
    /// The name is ours, records of the type are not: upstream is not asked.
    NoData,
    /// Not ours.
    Unknown,
}

#[derive(Debug, Default)]
struct Network {
    name: String,
    /// Lower-case name → (sandbox, address), in the order of arrival.
    forward: HashMap<String, Vec<(String, IpAddr)>>,
    /// Address → (sandbox, name).
    reverse: HashMap<IpAddr, (String, String)>,
    endpoints: usize,
}

/// All names of all networks of a daemon.
#[derive(Debug, Default)]
pub struct Names {
    networks: HashMap<String, Network>,
    sandboxes: HashMap<String, SandboxNames>,
}

impl Names {
    pub fn new() -> Self {
        Self::default()
    }

    /// States what holds for a sandbox from now on; what held before is forgotten.
    pub fn set(&mut self, sandbox: &str, names: SandboxNames) {
        self.remove(sandbox);
        for endpoint in &names.endpoints {
            let network = self.networks.entry(endpoint.network_id.clone()).or_default();
            network.name = endpoint.network_name.to_ascii_lowercase();
            network.endpoints += 1;
            for name in &endpoint.names {
                let holders = network.forward.entry(name.to_ascii_lowercase()).or_default();
                for address in &endpoint.addresses {
                    let holder = (sandbox.to_owned(), *address);
                    if !holders.contains(&holder) {
                        holders.push(holder);
                    }
                }
            }
            for (address, name) in endpoint.addresses.iter().zip(endpoint.names.first().into_iter().cycle()) {
                network.reverse.insert(*address, (sandbox.to_owned(), name.clone()));
            }
        }
        self.sandboxes.insert(sandbox.to_owned(), names);
    }

    pub fn remove(&mut self, sandbox: &str) {
        let Some(old) = self.sandboxes.remove(sandbox) else { return };
        for endpoint in old.endpoints {
            let Some(network) = self.networks.get_mut(&endpoint.network_id) else { continue };
            for name in &endpoint.names {
                let name = name.to_ascii_lowercase();
                if let Some(holders) = network.forward.get_mut(&name) {
                    holders.retain(|(holder, _)| holder != sandbox);
                    if holders.is_empty() {
                        network.forward.remove(&name);
                    }
                }
            }
            network.reverse.retain(|_, (holder, _)| holder != sandbox);
            network.endpoints -= 1;
            if network.endpoints == 0 {
                self.networks.remove(&endpoint.network_id);
            }
        }
    }

    /// Answers for what the sandbox sees: the networks that it is in. `turn` rotates the addresses of a shared name.
    pub fn answer(&self, sandbox: &str, query: &Query, turn: usize) -> Answer {
        let name = query.name.as_str();
        if query.kind == kind::PTR {
            let found = reverse_address(name).and_then(|address| self.reverse(sandbox, address));
            return found.map_or(Answer::Unknown, Answer::Pointer);
        }
        let Some(holders) = self.holders(sandbox, name) else { return Answer::Unknown };
        let mut addresses: Vec<IpAddr> = match query.kind {
            kind::A => holders.iter().map(|(_, address)| *address).filter(IpAddr::is_ipv4).collect(),
            kind::AAAA => holders.iter().map(|(_, address)| *address).filter(IpAddr::is_ipv6).collect(),
            _ => Vec::new(),
        };
        if addresses.is_empty() {
            return Answer::NoData;
        }
        let turn = turn % addresses.len();
        addresses.rotate_left(turn);
        Answer::Addresses(addresses)
    }

    fn seen(&self, sandbox: &str) -> impl Iterator<Item = &Network> {
        let endpoints = self.sandboxes.get(sandbox).map(|sandbox| sandbox.endpoints.as_slice()).unwrap_or_default();
        endpoints.iter().filter_map(|endpoint| self.networks.get(&endpoint.network_id))
    }

    fn holders(&self, sandbox: &str, name: &str) -> Option<&[(String, IpAddr)]> {
        if let Some(linked) = self.linked(sandbox, name) {
            return Some(linked);
        }
        if let Some(holders) = self.seen(sandbox).find_map(|network| network.forward.get(name)) {
            return Some(holders);
        }
        let (name, suffix) = name.rsplit_once('.')?;
        let network = self.seen(sandbox).find(|network| network.name == suffix)?;
        network.forward.get(name).map(Vec::as_slice)
    }

    /// What the sandbox itself calls so: its own words go before everybody's names.
    fn linked(&self, sandbox: &str, word: &str) -> Option<&[(String, IpAddr)]> {
        self.sandboxes.get(sandbox)?.endpoints.iter().find_map(|endpoint| {
            let (_, name) = endpoint.links.iter().find(|(own, _)| own.eq_ignore_ascii_case(word))?;
            let network = self.networks.get(&endpoint.network_id)?;
            network.forward.get(&name.to_ascii_lowercase()).map(Vec::as_slice)
        })
    }

    fn reverse(&self, sandbox: &str, address: IpAddr) -> Option<String> {
        self.seen(sandbox)
            .find_map(|network| network.reverse.get(&address).map(|(_, name)| format!("{name}.{}", network.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::query_bytes;

    fn endpoint(network: &str, last: u8, names: &[&str]) -> EndpointNames {
        EndpointNames {
            network_id: format!("id-{network}"),
            network_name: network.to_owned(),
            addresses: vec![IpAddr::from([10, 0, 0, last])],
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            links: Vec::new(),
        }
    }

    fn table() -> Names {
        let mut names = Names::new();
        names.set("a", SandboxNames { endpoints: vec![endpoint("front", 2, &["web", "Site", "aaaa"])] });
        names.set(
            "b",
            SandboxNames { endpoints: vec![endpoint("front", 3, &["api", "site"]), endpoint("back", 9, &["api"])] },
        );
        names.set("c", SandboxNames { endpoints: vec![endpoint("back", 4, &["db"])] });
        names
    }

    fn ask(names: &Names, sandbox: &str, name: &str, kind: u16, turn: usize) -> Answer {
        names.answer(sandbox, &Query::parse(&query_bytes(1, name, kind, None)).expect("a query"), turn)
    }

    fn addresses(lasts: &[u8]) -> Answer {
        Answer::Addresses(lasts.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect())
    }

    #[test]
    fn a_sandbox_sees_the_names_of_its_own_networks_only() {
        let names = table();
        assert_eq!(ask(&names, "a", "API", kind::A, 0), addresses(&[3]));
        assert_eq!(ask(&names, "a", "db", kind::A, 0), Answer::Unknown);
        assert_eq!(ask(&names, "b", "db", kind::A, 0), addresses(&[4]));
        assert_eq!(ask(&names, "stranger", "web", kind::A, 0), Answer::Unknown);
    }

    #[test]
    fn a_shared_name_goes_round() {
        let names = table();
        assert_eq!(ask(&names, "a", "site", kind::A, 0), addresses(&[2, 3]));
        assert_eq!(ask(&names, "a", "site", kind::A, 1), addresses(&[3, 2]));
    }

    #[test]
    fn a_known_name_without_such_records_has_no_data() {
        let names = table();
        assert_eq!(ask(&names, "a", "web", kind::AAAA, 0), Answer::NoData);
        assert_eq!(ask(&names, "a", "web", 15, 0), Answer::NoData);
        assert_eq!(ask(&names, "a", "example.org", kind::AAAA, 0), Answer::Unknown);
    }

    #[test]
    fn names_may_carry_their_network_and_addresses_lead_back_to_both() {
        let names = table();
        assert_eq!(ask(&names, "b", "api.back", kind::A, 0), addresses(&[9]));
        assert_eq!(ask(&names, "a", "db.back", kind::A, 0), Answer::Unknown);
        assert_eq!(ask(&names, "a", "3.0.0.10.in-addr.arpa", kind::PTR, 0), Answer::Pointer("api.front".to_owned()));
        assert_eq!(ask(&names, "a", "4.0.0.10.in-addr.arpa", kind::PTR, 0), Answer::Unknown);
    }

    #[test]
    fn a_link_is_a_word_of_one_sandbox_and_goes_before_names() {
        let mut names = table();
        let mut own = endpoint("front", 5, &["own"]);
        own.links = vec![("store".to_owned(), "API".to_owned()), ("web".to_owned(), "api".to_owned())];
        names.set("d", SandboxNames { endpoints: vec![own] });
        assert_eq!(ask(&names, "d", "Store", kind::A, 0), addresses(&[3]));
        assert_eq!(ask(&names, "d", "web", kind::A, 0), addresses(&[3]));
        assert_eq!(ask(&names, "a", "store", kind::A, 0), Answer::Unknown);
        names.remove("b");
        assert_eq!(ask(&names, "d", "store", kind::A, 0), Answer::Unknown);
    }

    #[test]
    fn a_removed_sandbox_leaves_nothing() {
        let mut names = table();
        names.set("a", SandboxNames { endpoints: vec![endpoint("front", 2, &["renamed"])] });
        assert_eq!(ask(&names, "b", "web", kind::A, 0), Answer::Unknown);
        assert_eq!(ask(&names, "b", "renamed", kind::A, 0), addresses(&[2]));
        for sandbox in ["a", "b", "c", "never"] {
            names.remove(sandbox);
        }
        assert!(names.networks.is_empty() && names.sandboxes.is_empty());
    }
}
