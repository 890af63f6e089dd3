//! Packets between containers, networks, the host and the outside.

use std::net::IpAddr;

use libtest_mimic::Failed;
use netlink::namespace;
use networks::{CreateNetwork, EventAction, SandboxMode};

use crate::host::{
    HOST, Host, address, id, inside, is_unreachable, netns, outside_address, publish, reach, request, serve, wait_until,
};

pub fn default_bridge() -> Result<(), Failed> {
    let host = Host::new()?;
    let one = host.acquire(request("a1", "one", &["bridge"]))?;
    let two = host.acquire(request("a2", "two", &["default"]))?;
    assert_eq!(one.endpoints[0].mac.to_string(), "02:42:ac:11:00:02");
    assert_eq!(address(&two), IpAddr::from([172, 17, 0, 3]));
    assert!(one.hosts.ends_with("172.17.0.2\thost-one\n"), "{}", one.hosts);
    // 127.0.0.53 only works on the host.
    assert_eq!(one.resolv_conf, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    serve(netns(&one), 80)?;
    assert_eq!(reach(Some(netns(&two)), (address(&one), 80))?.as_deref(), Some("172.17.0.3"));
    assert_eq!(reach(None, (address(&one), 80))?.as_deref(), Some("172.17.0.1"));
    // Asked again, the same sandbox is answered.
    assert_eq!(host.acquire(request("a1", "one", &["bridge"]))?, one);
    let actions: Vec<EventAction> =
        host.events.lock().map_err(|_| "poisoned")?.iter().map(|event| event.action).collect();
    assert_eq!(actions, [EventAction::Connect, EventAction::Connect]);
    Ok(())
}

pub fn masquerade_and_direct_access() -> Result<(), Failed> {
    let host = Host::new()?;
    let one = host.acquire(request("a1", "one", &["bridge"]))?;
    serve(&host.outside(), 9000)?;
    serve(netns(&one), 80)?;
    assert_eq!(reach(Some(netns(&one)), (outside_address(), 9000))?, Some(HOST.to_string()));
    // The outside has a route to the container, through the host.
    assert!(is_unreachable(Some(&host.outside()), (address(&one), 80))?);
    Ok(())
}

pub fn isolation() -> Result<(), Failed> {
    let host = Host::new()?;
    let create = |name: &str, internal| {
        host.runtime.block_on(host.networks.create(CreateNetwork {
            name: name.to_owned(),
            internal,
            ..CreateNetwork::default()
        }))
    };
    create("front", false)?;
    create("closed", true)?;
    let one = host.acquire(request("a1", "one", &["bridge"]))?;
    let two = host.acquire(request("a2", "two", &["front"]))?;
    let three = host.acquire(request("a3", "three", &["closed"]))?;
    let four = host.acquire(request("a4", "four", &["closed"]))?;
    for sandbox in [&one, &two, &three, &four] {
        serve(netns(sandbox), 80)?;
    }
    serve(&host.outside(), 9000)?;
    assert!(is_unreachable(Some(netns(&one)), (address(&two), 80))?);
    assert!(is_unreachable(Some(netns(&two)), (address(&one), 80))?);
    assert!(is_unreachable(Some(netns(&three)), (address(&one), 80))?);
    assert!(is_unreachable(Some(netns(&one)), (address(&three), 80))?);
    assert!(is_unreachable(Some(netns(&three)), (outside_address(), 9000))?);
    assert!(reach(Some(netns(&three)), (address(&four), 80))?.is_some());
    assert!(reach(Some(netns(&two)), (outside_address(), 9000))?.is_some());
    Ok(())
}

pub fn flushed_ruleset() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut first = request("a1", "one", &["bridge"]);
    first.publish = vec![publish(None, "8080", 80)];
    let one = host.acquire(first)?;
    serve(netns(&one), 80)?;
    let status = std::process::Command::new("nft").args(["flush", "ruleset"]).status()?;
    assert!(status.success());
    let mut second = request("a2", "two", &["bridge"]);
    second.publish = vec![publish(None, "8081", 80)];
    host.acquire(second)?;
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("192.0.2.2"));
    Ok(())
}

pub fn network_life() -> Result<(), Failed> {
    let host = Host::new()?;
    let run = |request: CreateNetwork| host.runtime.block_on(host.networks.create(request));
    let named = |name: &str| CreateNetwork { name: name.to_owned(), ..CreateNetwork::default() };
    let front = run(named("front"))?;
    let same = run(named("front")).expect_err("the name is taken");
    assert_eq!(same.to_string(), "network with name front already exists");
    assert_eq!(
        run(named("host")).expect_err("predefined").to_string(),
        "operation is not permitted on predefined host network "
    );
    let asked = pool("10.9.0.0/24");
    run(CreateNetwork { pools: vec![asked.clone()], ..named("tens") })?;
    let overlap = run(CreateNetwork { pools: vec![asked], ..named("again") }).expect_err("the subnet is taken");
    assert!(overlap.to_string().contains("Pool overlaps with other one on this address space"));
    let driver = run(CreateNetwork { driver: "weave".to_owned(), ..named("x") }).expect_err("no such driver");
    assert!(driver.to_string().contains("plugin \"weave\" not found"));

    let list = host.runtime.block_on(host.networks.list())?;
    let mut names: Vec<_> =
        list.iter().map(|view| (view.network.name.as_str(), view.network.driver.as_str())).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [("bridge", "bridge"), ("front", "bridge"), ("host", "host"), ("none", "null"), ("tens", "bridge")]
    );

    let mut wanted = request("a1", "one", &["tens"]);
    if let SandboxMode::Networks(endpoints) = &mut wanted.mode {
        endpoints[0].ipv4 = Some(IpAddr::from([10, 9, 0, 77]));
    }
    let one = host.acquire(wanted)?;
    assert_eq!(address(&one), IpAddr::from([10, 9, 0, 77]));
    let view = host.runtime.block_on(host.networks.inspect(&front.id[..8]))?;
    assert_eq!(view.network.subnets[0].subnet.to_string(), "172.18.0.0/16");
    let remove = |name: &str| host.runtime.block_on(host.networks.remove(name));
    let active = remove("tens").expect_err("a container is on it").to_string();
    assert!(
        active.starts_with("error while removing network: network tens has active endpoints (name:\"one\" id:"),
        "{active}"
    );
    assert_eq!(
        remove("bridge").expect_err("predefined").to_string(),
        "bridge is a pre-defined network and cannot be removed"
    );
    assert_eq!(remove("nowhere").expect_err("unknown").to_string(), "network nowhere not found");
    host.release(&id("a1"))?;
    assert_eq!(remove("front")?, front.id);
    remove("tens")?;
    let expected = ["br-0123abcd", "outside", "uplink"];
    // The veth goes with its namespace, in the background.
    wait_until("only the default bridge is left", || host.links().is_ok_and(|links| links == expected))?;
    Ok(())
}

pub fn pool(text: &str) -> networks::Asked {
    networks::Asked { subnet: text.to_owned(), ..networks::Asked::default() }
}

pub fn connect_and_disconnect() -> Result<(), Failed> {
    let host = Host::new()?;
    for name in ["front", "back"] {
        let network = CreateNetwork { name: name.to_owned(), ..CreateNetwork::default() };
        host.runtime.block_on(host.networks.create(network))?;
    }
    let one = host.acquire(request("a1", "one", &["front"]))?;
    let two = host.acquire(request("a2", "two", &["back"]))?;
    serve(netns(&two), 80)?;
    assert!(is_unreachable(Some(netns(&one)), (address(&two), 80))?);
    let endpoint = networks::EndpointRequest { network: "back".to_owned(), ..Default::default() };
    let plugged = host.runtime.block_on(host.networks.connect(&id("a1"), endpoint.clone()))?;
    assert_eq!(plugged.endpoints[1].link, "eth1");
    assert!(reach(Some(netns(&one)), (address(&two), 80))?.is_some());
    assert_eq!(crate::host::code_and_address(&crate::host::ask(netns(&one), "two", 1)?), (0, address(&two)));
    let again = host.runtime.block_on(host.networks.connect(&id("a1"), endpoint)).expect_err("it is there");
    assert_eq!(again.to_string(), "endpoint with name one already exists in network back");
    host.runtime.block_on(host.networks.disconnect(&id("a1"), "back"))?;
    let links = inside(netns(&one), namespace_links)?;
    assert_eq!(links, ["eth0", "lo"]);
    Ok(())
}

fn namespace_links() -> Vec<String> {
    let route = netlink::Route::open().expect("a socket");
    let mut names: Vec<String> = route.links().expect("links").into_iter().map(|link| link.name).collect();
    names.retain(|name| ["lo", "eth0", "eth1"].contains(&name.as_str()));
    names.sort();
    names
}

pub fn shared_sandbox() -> Result<(), Failed> {
    let host = Host::new()?;
    let one = host.acquire(request("a1", "one", &["bridge"]))?;
    let mut sharing = request("a2", "two", &[]);
    sharing.mode = SandboxMode::Container(id("a1"));
    let two = host.acquire(sharing.clone())?;
    assert_eq!(two.netns_path, one.netns_path);
    host.release(&id("a2"))?;
    assert!(namespace::exists(netns(&one)), "the namespace belongs to the other container");
    host.release(&id("a1"))?;
    let error = host.acquire(sharing).expect_err("nobody to share with");
    assert_eq!(error.to_string(), format!("cannot join network of a non running container: {}", id("a1")));

    let mut alone = request("a3", "alone", &[]);
    alone.mode = SandboxMode::None;
    let alone = host.acquire(alone)?;
    assert_eq!(inside(netns(&alone), namespace_links)?, ["lo"]);
    let mut on_host = request("a4", "on-host", &[]);
    on_host.mode = SandboxMode::Host;
    assert_eq!(host.acquire(on_host)?.netns_path, None);
    Ok(())
}

pub fn dual_stack() -> Result<(), Failed> {
    let host = Host::new()?;
    let wanted = CreateNetwork {
        name: "both".to_owned(),
        enable_ipv6: Some(true),
        pools: vec![pool("10.7.0.0/24"), pool("fd00:7::/64")],
        ..CreateNetwork::default()
    };
    host.runtime.block_on(host.networks.create(wanted))?;
    let mut wanted = request("a1", "one", &["both"]);
    wanted.publish = vec![publish(None, "8080", 80)];
    let one = host.acquire(wanted)?;
    let two = host.acquire(request("a2", "two", &["both"]))?;
    let six = one.endpoints[0].ipv6.ok_or("no IPv6 address")?.address;
    assert_eq!(six.to_string(), "fd00:7::2");
    let listener = inside(netns(&one), || std::net::TcpListener::bind(("::", 80)))??;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
            // The client may be gone already.
            let _ = std::io::Write::write_all(&mut stream, peer.as_bytes());
        }
    });
    assert_eq!(reach(Some(netns(&two)), (six, 80))?.as_deref(), Some("fd00:7::3"));
    let answer = crate::host::ask(netns(&two), "one", 28)?;
    assert!(answer.ends_with(&[0xfd, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]), "{answer:?}");
    // The host's own address of that family: translated, not relayed.
    assert_eq!(reach(None, ("fd00:7::1".parse()?, 8080))?.as_deref(), Some("fd00:7::1"));
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("::ffff:192.0.2.2"));
    Ok(())
}

pub fn no_communication_inside() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut wanted = CreateNetwork { name: "apart".to_owned(), ..CreateNetwork::default() };
    wanted.options.insert("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
    host.runtime.block_on(host.networks.create(wanted))?;
    let one = host.acquire(request("a1", "one", &["apart"]))?;
    let two = host.acquire(request("a2", "two", &["apart"]))?;
    serve(netns(&one), 80)?;
    serve(&host.outside(), 9000)?;
    assert!(is_unreachable(Some(netns(&two)), (address(&one), 80))?);
    // Nor by way of the gateway.
    let gateway = one.endpoints[0].ipv4.and_then(|address| address.gateway).ok_or("no gateway")?.to_string();
    let target = format!("{}/32", address(&one));
    let detour = inside(netns(&two), || {
        std::process::Command::new("ip").args(["route", "add", &target, "via", &gateway]).status()
    })??;
    assert!(detour.success() && is_unreachable(Some(netns(&two)), (address(&one), 80))?);
    assert!(reach(Some(netns(&two)), (outside_address(), 9000))?.is_some());
    assert!(reach(None, (address(&one), 80))?.is_some());
    Ok(())
}
