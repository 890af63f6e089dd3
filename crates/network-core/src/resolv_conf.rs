//! The container's `/etc/resolv.conf`, and what of the host's is left to ask. resolv.conf(5).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Asked where nothing else is left, as in Docker.
const FALLBACK4: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4))];
/// The same behind them where the container has IPv6.
const FALLBACK6: [IpAddr; 2] = [
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844)),
];
/// More servers than a resolver would ever ask (`MAXNS` is 3) are a mistake or an attack.
const MAX_SERVERS: usize = 16;

/// What a resolv.conf says; lines that are none of these are kept in `other`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
    pub other: Vec<String>,
}

/// `--dns`, `--dns-search`, `--dns-option`; empty lists leave the host's values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// What the container gets and whom the embedded server asks for names that it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub file: String,
    pub upstream: Vec<IpAddr>,
}

impl ResolvConf {
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.trim();
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                None => {}
                Some(word) if word.starts_with(['#', ';']) => {}
                Some("nameserver") => {
                    let server: Option<IpAddr> = words.next().and_then(|word| word.split('%').next()?.parse().ok());
                    if conf.servers.len() < MAX_SERVERS {
                        conf.servers.extend(server);
                    }
                }
                Some("search" | "domain") => conf.search = words.collect(),
                Some("options") => conf.options.extend(words),
                Some(_) => conf.other.push(line.to_owned()),
            }
        }
        conf
    }

    fn apply(&mut self, overrides: &Overrides) {
        if !overrides.servers.is_empty() {
            self.servers.clone_from(&overrides.servers);
        }
        if !overrides.search.is_empty() {
            // A single dot means: no search domain at all.
            self.search = overrides.search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !overrides.options.is_empty() {
            self.options.clone_from(&overrides.options);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                text.push_str(&format!("{word} {}\n", values.join(" ")));
            }
        }
        for line in &self.other {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// In the host's namespace: the host's file with the overrides.
pub fn for_host_mode(host: &ResolvConf, overrides: &Overrides) -> Resolution {
    let mut conf = host.clone();
    conf.apply(overrides);
    Resolution { file: conf.text(), upstream: Vec::new() }
}

/// On the default bridge: the host's servers without those that only the host can reach.
pub fn for_default_bridge(host: &ResolvConf, overrides: &Overrides, has_ipv6: bool) -> Resolution {
    let mut conf = host.clone();
    conf.apply(overrides);
    if overrides.servers.is_empty() {
        conf.servers.retain(|server| !server.is_loopback() && (server.is_ipv4() || has_ipv6));
        if conf.servers.is_empty() {
            conf.servers.extend(FALLBACK4);
            conf.servers.extend(FALLBACK6.into_iter().filter(|_| has_ipv6));
        }
    }
    Resolution { file: conf.text(), upstream: Vec::new() }
}

/// On a user-defined network: the embedded server only, which asks the others from the host's namespace, where
/// loopback servers work.
pub fn for_user_network(host: &ResolvConf, overrides: &Overrides) -> Resolution {
    let mut conf = host.clone();
    conf.apply(overrides);
    let upstream = std::mem::replace(&mut conf.servers, vec![crate::EMBEDDED_DNS.into()]);
    if !conf.options.iter().any(|option| is_valid_ndots(option)) {
        conf.options.retain(|option| !option.starts_with("ndots:"));
        conf.options.push("ndots:0".to_owned());
    }
    Resolution { file: conf.text(), upstream }
}

fn is_valid_ndots(option: &str) -> bool {
    option.strip_prefix("ndots:").is_some_and(|value| value.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nsearch example.org\noptions edns0 trust-ad\n";

    #[test]
    fn the_default_bridge_leaves_out_what_only_the_host_can_reach() {
        let file = for_default_bridge(&ResolvConf::parse(HOST), &Overrides::default(), false).file;
        assert_eq!(file, "nameserver 10.0.0.2\nsearch example.org\noptions edns0 trust-ad\n");
        let file = for_default_bridge(&ResolvConf::parse("nameserver 127.0.0.53\n"), &Overrides::default(), false).file;
        assert_eq!(file, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        let file = for_default_bridge(&ResolvConf::parse(""), &Overrides::default(), true).file;
        assert!(file.ends_with("nameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n"), "{file}");
    }

    #[test]
    fn a_user_network_asks_the_embedded_server_which_asks_the_hosts() {
        let resolution = for_user_network(&ResolvConf::parse(HOST), &Overrides::default());
        assert_eq!(resolution.file, "nameserver 127.0.0.11\nsearch example.org\noptions edns0 trust-ad ndots:0\n");
        assert_eq!(resolution.upstream.len(), 3);
    }

    #[test]
    fn overrides_replace_and_a_dot_empties_the_search_list() {
        let overrides = Overrides {
            servers: vec![IpAddr::from([1, 1, 1, 1])],
            search: vec![".".to_owned()],
            options: vec!["ndots:3".to_owned()],
        };
        let file = for_default_bridge(&ResolvConf::parse(HOST), &overrides, false).file;
        assert_eq!(file, "nameserver 1.1.1.1\noptions ndots:3\n");
        let user = for_user_network(&ResolvConf::parse(HOST), &overrides);
        assert_eq!(user.file, "nameserver 127.0.0.11\noptions ndots:3\n");
        assert_eq!(user.upstream, [IpAddr::from([1, 1, 1, 1])]);
    }

    #[test]
    fn a_file_full_of_servers_is_read_up_to_a_limit() {
        let text = "nameserver 10.0.0.1\n".repeat(10_000);
        assert_eq!(ResolvConf::parse(&text).servers.len(), MAX_SERVERS);
    }
}
