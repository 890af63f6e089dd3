//! `--link`: another container of the default bridge by a name of one's own, in /etc/hosts and in the environment.
//!
//! On a network of the user's a link is an alias for the name server, and the networks' business.

use std::collections::BTreeMap;
use std::sync::Arc;

use container_core::{EndpointRequest, NetworkMode};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;
use crate::messages;
use crate::ports::Endpoint;
use crate::record::{Container, Record};
use crate::service::Shared;

const DEFAULT_NETWORK: &str = "bridge";

/// One link, to the container that had the name when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub id: String,
    pub alias: String,
}

/// From `name` or `name:alias`.
pub(crate) fn resolve(shared: &Shared, asked: &[String]) -> Result<Vec<Link>, Error> {
    asked.iter().map(|text| resolve_one(shared, text)).collect()
}

fn resolve_one(shared: &Shared, text: &str) -> Result<Link, Error> {
    let parts: Vec<&str> = text.split(':').collect();
    let (name, alias) = match parts[..] {
        [""] => return Err(messages::empty_link()),
        // `/name:/parent/alias`, as inspect shows it and clients send it back.
        [name, alias] => (name, alias.rsplit('/').next().unwrap_or(alias)),
        [name] => (name, name.trim_start_matches('/')),
        _ => return Err(messages::bad_link(text)),
    };
    let mut target = shared.find(name).map_err(|_| messages::no_link_target(name))?;
    // Who has the network of another is reached at the other's address.
    while let NetworkMode::Container(other) = NetworkMode::parse(&target.record().host_config.network_mode) {
        target = shared.find(other)?;
    }
    if NetworkMode::parse(&target.record().host_config.network_mode) == NetworkMode::Host {
        return Err(messages::conflicting(
            "host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    Ok(Link { id: target.id.clone(), alias: alias.to_owned() })
}

/// As `inspect` shows them: `/child:/parent/alias`.
pub(crate) fn shown(shared: &Shared, record: &Record) -> Vec<String> {
    let of = |link: &Link| {
        let child = shared.index().get(&link.id)?;
        Some(format!("/{}:/{}/{}", child.record().name, record.name, link.alias))
    };
    record.links.iter().filter_map(of).collect()
}

/// The names that links give to those whom they lead to, by id: `parent/alias`, sorted.
pub(crate) fn names(records: &[Arc<Record>]) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        for link in record.links.iter() {
            names.entry(link.id.clone()).or_default().push(format!("{}/{}", record.name, link.alias));
        }
    }
    names.values_mut().for_each(|names| names.sort());
    names
}

/// Takes the link `parent/alias` away. What a running parent has of it stays until it starts again.
pub(crate) async fn remove(shared: &Shared, name: &str) -> Result<(), Error> {
    shared.find(name)?;
    let Some((parent, alias)) = name.trim_start_matches('/').rsplit_once('/') else {
        return Err(messages::default_link());
    };
    let container = shared.find(parent)?;
    let _gate = container.gate.lock().await;
    let old = Arc::clone(&container.record().links);
    let left: Vec<Link> = old.iter().filter(|link| link.alias != alias).cloned().collect();
    if left.len() == old.len() {
        return Err(messages::no_such_container(name));
    }
    let record = container.change(|record| record.links = Arc::new(left));
    let stored = container.store(&shared.database, record.durability()).await;
    if stored.is_err() {
        container.change(|record| record.links = old);
    }
    stored
}

/// What links bring into a container that is about to start.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub env: Vec<String>,
    /// Lines of /etc/hosts.
    pub hosts: String,
}

/// For a container that has an address on the default bridge; each that it links to must run there.
pub(crate) fn bring(shared: &Shared, record: &Record, own: &[Endpoint]) -> Result<Brought, Error> {
    let mut brought = Brought::default();
    if !own.iter().any(|endpoint| endpoint.network_name == DEFAULT_NETWORK) {
        return Ok(brought);
    }
    for link in record.links.iter() {
        let child = shared.find(&link.id)?.record();
        if !child.state.counts_as_running() {
            return Err(messages::link_not_running(&child.name, &record.name, &link.alias));
        }
        let endpoint = endpoint_of(&child).ok_or_else(|| messages::link_off_the_bridge(&child.name))?;
        brought.hosts.push_str(&host_lines(&link.alias, &child, &endpoint));
        brought.env.extend(environment(&endpoint.ipv4, &record.name, &link.alias, &child));
    }
    Ok(brought)
}

/// Lines for all links as they are now, whoever of them runs.
fn current_lines(shared: &Shared, record: &Record) -> String {
    let of = |link: &Link| {
        let child = shared.index().get(&link.id)?.record();
        let endpoint = endpoint_of(&child)?;
        Some(host_lines(&link.alias, &child, &endpoint))
    };
    record.links.iter().filter_map(of).collect()
}

fn endpoint_of(child: &Record) -> Option<Endpoint> {
    child.sandbox.as_ref()?.endpoints.iter().find(|endpoint| endpoint.network_name == DEFAULT_NETWORK).cloned()
}

fn host_lines(alias: &str, child: &Record, endpoint: &Endpoint) -> String {
    let mut names = format!("{alias} {}", child.config.hostname);
    if alias != child.name {
        names = format!("{names} {}", child.name);
    }
    let addresses = [&endpoint.ipv4, &endpoint.ipv6].into_iter().filter(|address| !address.is_empty());
    addresses.map(|address| format!("{address}\t{names}\n")).collect()
}

/// Docker's oldest way to tell of a linked container's ports.
fn environment(address: &str, parent: &str, alias: &str, child: &Record) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut ports: Vec<(bool, &str, u16)> = child
        .config
        .exposed_ports
        .iter()
        .filter_map(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            Some((protocol != "tcp", protocol, number.parse().ok()?))
        })
        .collect();
    // TCP first, then by protocol and number.
    ports.sort_unstable();
    let mut env = Vec::new();
    if let Some((_, protocol, number)) = ports.first() {
        env.push(format!("{prefix}_PORT={protocol}://{address}:{number}"));
    }
    for run in ports.chunk_by(|a, b| a.1 == b.1 && a.2.checked_add(1) == Some(b.2)) {
        for (_, protocol, number) in run {
            let name = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
            env.push(format!("{name}={protocol}://{address}:{number}"));
            env.push(format!("{name}_ADDR={address}"));
            env.push(format!("{name}_PORT={number}"));
            env.push(format!("{name}_PROTO={protocol}"));
        }
        if let [(_, protocol, first), .., (_, _, last)] = run {
            let name = format!("{prefix}_PORT_{first}_{}", protocol.to_uppercase());
            env.push(format!("{name}_START={protocol}://{address}:{first}"));
            env.push(format!("{name}_PORT_START={first}"));
            env.push(format!("{name}_END={protocol}://{address}:{last}"));
            env.push(format!("{name}_PORT_END={last}"));
        }
    }
    env.push(format!("{prefix}_NAME=/{parent}/{alias}"));
    let own = child.config.env.iter().filter_map(|variable| variable.split_once('='));
    // Those that a build sets tell nothing of the service.
    let told = own.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"));
    env.extend(told.map(|(name, value)| format!("{prefix}_ENV_{name}={value}")));
    env
}

/// A container that others link to has started, perhaps at another address: their hosts files follow.
pub(crate) fn tell_parents(shared: &Arc<Shared>, child: &Container) {
    let parents = shared.index().all();
    let linked = |parent: &Arc<Container>| {
        let record = parent.record();
        record.state.has_process() && record.links.iter().any(|link| link.id == child.id)
    };
    for parent in parents.into_iter().filter(linked) {
        let record = parent.record();
        let Some(sandbox) = record.sandbox.as_deref() else { continue };
        let lines = current_lines(shared, &record);
        let folder = shared.settings.container_folder(&record.id);
        if let Err(error) = files::write(&folder, &record.config.hostname, sandbox, &lines) {
            tracing::warn!(container = record.id, error = %errors::chain(&error), "cannot write the hosts of a linked container");
        }
    }
}

/// Links of a container on a network of the user's, as aliases of its endpoint there.
pub(crate) fn as_aliases(links: &[Link], endpoints: &mut [EndpointRequest], mode: &str) {
    let on_bridge = NetworkMode::parse(mode) == NetworkMode::Network(DEFAULT_NETWORK);
    if let (false, Some(first)) = (on_bridge, endpoints.first_mut()) {
        let own = links.iter().map(|link| format!("{}:{}", link.id, link.alias));
        first.links.extend(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use container_core::Config;

    fn child() -> Record {
        let config = Config {
            hostname: "abc".into(),
            exposed_ports: ["53/udp".to_owned(), "80/tcp".to_owned(), "81/tcp".to_owned()].into(),
            env: vec!["PATH=/bin".into(), "PASSWORD=x=y".into()],
            ..Config::default()
        };
        Record { name: "db".into(), config: Arc::new(config), ..Record::default() }
    }

    #[test]
    fn the_environment_tells_ports_ranges_names_and_variables() {
        let env = environment("172.17.0.2", "web", "my-db", &child());
        let expected = "MY_DB_PORT=tcp://172.17.0.2:80
MY_DB_PORT_80_TCP=tcp://172.17.0.2:80
MY_DB_PORT_80_TCP_ADDR=172.17.0.2
MY_DB_PORT_80_TCP_PORT=80
MY_DB_PORT_80_TCP_PROTO=tcp
MY_DB_PORT_81_TCP=tcp://172.17.0.2:81
MY_DB_PORT_81_TCP_ADDR=172.17.0.2
MY_DB_PORT_81_TCP_PORT=81
MY_DB_PORT_81_TCP_PROTO=tcp
MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80
MY_DB_PORT_80_TCP_PORT_START=80
MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:81
MY_DB_PORT_80_TCP_PORT_END=81
MY_DB_PORT_53_UDP=udp://172.17.0.2:53
MY_DB_PORT_53_UDP_ADDR=172.17.0.2
MY_DB_PORT_53_UDP_PORT=53
MY_DB_PORT_53_UDP_PROTO=udp
MY_DB_NAME=/web/my-db
MY_DB_ENV_PASSWORD=x=y";
        assert_eq!(env.join("\n"), expected);
    }

    #[test]
    fn a_linked_container_has_its_alias_host_name_and_name_in_one_line() {
        let endpoint = Endpoint { ipv4: "172.17.0.2".into(), ..Endpoint::default() };
        assert_eq!(host_lines("my-db", &child(), &endpoint), "172.17.0.2\tmy-db abc db\n");
        assert_eq!(host_lines("db", &child(), &endpoint), "172.17.0.2\tdb abc\n");
    }
}
