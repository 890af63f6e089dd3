//! Who reaches whom: expected values as a table, for each way in which a network and the world reach each other.

use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use libtest_mimic::Failed;
use networks::{CreateNetwork, Sandbox};

use crate::host::{
    HOST, HOST6, Host, inside, is_unreachable, netns, outside_address, outside_address6, publish, reach, request,
};

/// The columns: from where to where.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The host to the container's own port.
    HostToContainer,
    /// Another container of the network.
    Inside,
    /// A container of another network to a published port at the container's address.
    FarToPublished,
    /// The same to a port that is not published.
    FarToOther,
    /// The outside, with a route through the host, to a published port at the container's address.
    OutsideToPublished,
    /// The same to a port that is not published.
    OutsideToOther,
    /// The outside to the published port of the host.
    OutsideToHost,
    /// The container to the outside.
    ContainerToOutside,
}

const WAYS: [Way; 8] = [
    Way::HostToContainer,
    Way::Inside,
    Way::FarToPublished,
    Way::FarToOther,
    Way::OutsideToPublished,
    Way::OutsideToOther,
    Way::OutsideToHost,
    Way::ContainerToOutside,
];

struct Row {
    name: &'static str,
    mode: &'static str,
    internal: bool,
    options: &'static [(&'static str, &'static str)],
    /// `+` reached, `-` not, in the order of the columns.
    expected: &'static str,
}

/// Docker 28's values (docs.docker.com, "Port publishing and mapping", "Gateway modes").
const TABLE: [Row; 7] = [
    Row { name: "nat", mode: "nat", internal: false, options: &[], expected: "++----++" },
    Row { name: "open", mode: "nat-unprotected", internal: false, options: &[], expected: "++++++++" },
    Row { name: "routed", mode: "routed", internal: false, options: &[], expected: "+++-+--+" },
    Row { name: "closed", mode: "nat", internal: true, options: &[], expected: "++------" },
    Row { name: "isolated", mode: "isolated", internal: true, options: &[], expected: "-+------" },
    Row {
        name: "silent",
        mode: "nat",
        internal: false,
        options: &[("com.docker.network.bridge.enable_icc", "false")],
        expected: "+-----++",
    },
    Row {
        name: "plain",
        mode: "nat",
        internal: false,
        options: &[("com.docker.network.bridge.enable_ip_masquerade", "false")],
        // The outside knows a way back.
        expected: "++----++",
    },
];

const PUBLISHED: u16 = 80;
const OTHER: u16 = 81;

/// A server of both families that says something to each client.
fn serve(path: &Path, port: u16) -> Result<(), Failed> {
    let listener = inside(path, || TcpListener::bind(("::", port)))??;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The client may be gone already.
            let _ = std::io::Write::write_all(&mut stream, b"here");
        }
    });
    Ok(())
}

fn address(sandbox: &Sandbox, is_ipv4: bool) -> Result<IpAddr, Failed> {
    let endpoint = &sandbox.endpoints[0];
    let address = if is_ipv4 { endpoint.ipv4 } else { endpoint.ipv6 };
    Ok(address.ok_or("no address")?.address)
}

pub fn table() -> Result<(), Failed> {
    let host = Host::new()?;
    serve(&host.outside(), 9000)?;
    let create = |request: CreateNetwork| host.runtime.block_on(host.networks.create(request));
    create(CreateNetwork { name: "far".into(), enable_ipv6: Some(true), ..CreateNetwork::default() })?;
    let far = host.acquire(request("f", "far", &["far"]))?;
    let mut wrong = Vec::new();
    for (number, row) in TABLE.iter().enumerate() {
        let mut wanted = CreateNetwork {
            name: row.name.into(),
            internal: row.internal,
            enable_ipv6: Some(true),
            ..CreateNetwork::default()
        };
        for family in ["ipv4", "ipv6"] {
            wanted.options.insert(format!("com.docker.network.bridge.gateway_mode_{family}"), row.mode.into());
        }
        wanted.options.extend(row.options.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        create(wanted)?;
        let host_port = 8000 + number as u16;
        let mut served = request(&format!("a{number}"), &format!("web{number}"), &[row.name]);
        served.publish = vec![publish(None, &host_port.to_string(), PUBLISHED)];
        let served = host.acquire(served)?;
        let near = host.acquire(request(&format!("b{number}"), &format!("near{number}"), &[row.name]))?;
        serve(netns(&served), PUBLISHED)?;
        serve(netns(&served), OTHER)?;
        for is_ipv4 in [true, false] {
            let own = address(&served, is_ipv4)?;
            let (host_address, world) =
                if is_ipv4 { (HOST.into(), outside_address()) } else { (HOST6.into(), outside_address6()) };
            let outside = host.outside();
            let mut found = String::new();
            for (way, expected) in WAYS.iter().zip(row.expected.chars()) {
                let (from, to) = match way {
                    Way::HostToContainer => (None, (own, PUBLISHED)),
                    Way::Inside => (Some(netns(&near)), (own, OTHER)),
                    Way::FarToPublished => (Some(netns(&far)), (own, PUBLISHED)),
                    Way::FarToOther => (Some(netns(&far)), (own, OTHER)),
                    Way::OutsideToPublished => (Some(outside.as_path()), (own, PUBLISHED)),
                    Way::OutsideToOther => (Some(outside.as_path()), (own, OTHER)),
                    Way::OutsideToHost => (Some(outside.as_path()), (host_address, host_port)),
                    Way::ContainerToOutside => (Some(netns(&served)), (world, 9000)),
                };
                let is_reached = match expected {
                    '+' => reach(from, to)?.is_some(),
                    _ => !is_unreachable(from, to)?,
                };
                found.push(if is_reached { '+' } else { '-' });
            }
            if found != row.expected {
                wrong.push(format!("{} ipv4={is_ipv4}: expected {} found {found}", row.name, row.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "of {WAYS:?}:\n{}", wrong.join("\n"));
    Ok(())
}

/// What a host address takes the place of, and the mark that lets packets in.
pub fn source_and_mark() -> Result<(), Failed> {
    let folder = Host::prepare()?;
    let host = Host::on_with(folder, |config| config.firewall.accept_mark = "0x20/0xf0".parse().ok())?;
    let status = |words: &[&str]| std::process::Command::new(words[0]).args(&words[1..]).status();
    assert!(status(&["ip", "address", "add", "192.0.2.77/24", "dev", "uplink"])?.success());
    let mut wanted = CreateNetwork { name: "front".into(), ..CreateNetwork::default() };
    wanted.options.insert("com.docker.network.host_ipv4".into(), "192.0.2.77".into());
    host.runtime.block_on(host.networks.create(wanted))?;
    let one = host.acquire(request("a1", "one", &["front"]))?;
    crate::host::serve(&host.outside(), 9000)?;
    crate::host::serve(netns(&one), 80)?;
    assert_eq!(reach(Some(netns(&one)), (outside_address(), 9000))?.as_deref(), Some("192.0.2.77"));
    let own = crate::host::address(&one);
    assert!(is_unreachable(Some(&host.outside()), (own, 80))?);
    assert!(status(&["nft", "add table inet marks"])?.success());
    assert!(status(&["nft", "add chain inet marks early { type filter hook prerouting priority -200; }"])?.success());
    assert!(status(&["nft", "add rule inet marks early iifname uplink meta mark set 0x2a"])?.success());
    assert!(reach(Some(&host.outside()), (own, 80))?.is_some());
    Ok(())
}

/// A host's own policy wins, and that is told.
pub fn policy_of_the_host() -> Result<(), Failed> {
    let host = Host::new()?;
    host.acquire(request("a1", "one", &["bridge"]))?;
    let warnings = || host.runtime.block_on(host.networks.warnings());
    assert_eq!(warnings()?, Vec::<String>::new());
    let chain = "add chain inet own passing { type filter hook forward priority 5; policy drop; }";
    for command in ["add table inet own", chain] {
        assert!(std::process::Command::new("nft").arg(command).status()?.success());
    }
    let told = warnings()?;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("inet own passing") && told[0].contains("--bridge-accept-fwmark"), "{told:?}");
    Ok(())
}

/// Nobody starts a container meanwhile: the table comes back by itself.
pub fn flushed_and_restored() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut first = request("a1", "one", &["bridge"]);
    first.publish = vec![publish(None, "8080", 80)];
    let one = host.acquire(first)?;
    crate::host::serve(netns(&one), 80)?;
    let networks = host.networks.clone();
    let follower = host.runtime.spawn(async move { networks.follow_firewall().await });
    let has_table = || host.ruleset().is_ok_and(|rules| rules.contains("published4"));
    // Once before the watch may have begun, again when it certainly has.
    for _ in 0..3 {
        assert!(std::process::Command::new("nft").args(["flush", "ruleset"]).status()?.success());
        crate::host::wait_until("the table is back", has_table)?;
    }
    let table = host.ruleset()?.lines().find_map(|line| line.strip_prefix("table ").map(str::to_owned));
    let table = table.ok_or("no table")?.trim_end_matches(" {").to_owned();
    let emptied = std::process::Command::new("nft").args(["flush", "table"]).args(table.split(' ')).status()?;
    assert!(emptied.success());
    crate::host::wait_until("the rules are back", || host.ruleset().is_ok_and(|rules| rules.contains("dnat ip to")))?;
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("192.0.2.2"));
    follower.abort();
    Ok(())
}

/// Hosts that live by iptables: Docker's chains in front of a policy that drops, and the administrator's in front of them.
pub fn docker_chains() -> Result<(), Failed> {
    let folder = Host::prepare()?;
    let tables = |words: &str| -> Result<bool, Failed> {
        Ok(std::process::Command::new("iptables")
            .args(words.split(' '))
            .stderr(std::process::Stdio::null())
            .status()?
            .success())
    };
    assert!(tables("-P FORWARD DROP")?);
    let host = Host::on_with(folder, |config| config.firewall.docker_chains = true)?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "front".into(), ..CreateNetwork::default() }))?;
    let mut web = request("a1", "web", &["front"]);
    web.publish = vec![publish(None, "8080", 80)];
    let web = host.acquire(web)?;
    crate::host::serve(netns(&web), 80)?;
    crate::host::serve(&host.outside(), 9000)?;
    let from_outside = || reach(Some(&host.outside()), (HOST.into(), 8080));
    assert!(from_outside()?.is_some() && reach(Some(netns(&web)), (outside_address(), 9000))?.is_some());
    assert!(is_unreachable(Some(&host.outside()), (crate::host::address(&web), 80))?, "our table still drops");
    assert!(tables("-A DOCKER-USER -p tcp -d 172.18.0.2 --dport 80 -j DROP")?);
    assert!(is_unreachable(Some(&host.outside()), (HOST.into(), 8080))?);
    // The administrator's rules stay when networks come and go; Docker's follow.
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "back".into(), ..CreateNetwork::default() }))?;
    assert!(tables("-C DOCKER-USER -p tcp -d 172.18.0.2 --dport 80 -j DROP")?);
    assert!(tables("-D DOCKER-USER -p tcp -d 172.18.0.2 --dport 80 -j DROP")?);
    assert!(from_outside()?.is_some());
    Ok(())
}

/// Published ports at the containers' own addresses: by a link that the network trusts, or for everybody.
pub fn direct_routing() -> Result<(), Failed> {
    let folder = Host::prepare()?;
    let host = Host::on(folder)?;
    let make = |host: &Host, name: &str, start: &str, trusted: &str| -> Result<IpAddr, Failed> {
        let mut wanted = CreateNetwork { name: name.into(), ..CreateNetwork::default() };
        wanted.options.insert("com.docker.network.bridge.trusted_host_interfaces".into(), trusted.into());
        host.runtime.block_on(host.networks.create(wanted))?;
        let mut web = request(start, name, &[name]);
        web.publish = vec![publish(None, "", PUBLISHED)];
        let web = host.acquire(web)?;
        crate::host::serve(netns(&web), PUBLISHED)?;
        crate::host::serve(netns(&web), OTHER)?;
        Ok(crate::host::address(&web))
    };
    let outside = host.outside();
    let wary = make(&host, "wary", "a1", "somelink")?;
    let trusting = make(&host, "trusting", "a2", "somelink:uplink")?;
    assert!(is_unreachable(Some(&outside), (wary, PUBLISHED))?);
    assert!(reach(Some(&outside), (trusting, PUBLISHED))?.is_some());
    assert!(is_unreachable(Some(&outside), (trusting, OTHER))?);
    for id in ["a1", "a2"] {
        host.release(&crate::host::id(id))?;
    }
    for name in ["wary", "trusting"] {
        host.runtime.block_on(host.networks.remove(name))?;
    }
    let folder = tempfile::tempdir()?;
    let events = Arc::new(Mutex::new(Vec::new()));
    let networks = crate::host::open_with(folder.path(), &events, |config| {
        config.roots_hash = Some("0a0a0a0a".into());
        config.firewall.direct_routing = true;
    })?;
    let mut web = request("a3", "web", &["bridge"]);
    web.publish = vec![publish(None, "", PUBLISHED)];
    let web = host.runtime.block_on(networks.acquire(web))?;
    crate::host::serve(netns(&web), PUBLISHED)?;
    crate::host::serve(netns(&web), OTHER)?;
    assert!(reach(Some(&outside), (crate::host::address(&web), PUBLISHED))?.is_some());
    assert!(is_unreachable(Some(&outside), (crate::host::address(&web), OTHER))?);
    host.runtime.block_on(networks.release(&crate::host::id("a3")))?;
    crate::host::end_netd(folder.path());
    Ok(())
}
