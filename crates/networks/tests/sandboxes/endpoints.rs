//! Endpoints that come and go while a container runs, and what goes with them.

use std::path::Path;

use libtest_mimic::Failed;
use networks::{CreateNetwork, EndpointRequest, SandboxMode};

use crate::host::{
    HOST, Host, address, ask, code_and_address, id, inside, netns, outside_address, publish, reach, request, serve,
};

fn create(host: &Host, name: &str, internal: bool) -> Result<(), Failed> {
    let wanted = CreateNetwork { name: name.into(), internal, ..CreateNetwork::default() };
    Ok(host.runtime.block_on(host.networks.create(wanted)).map(drop)?)
}

fn default_route(path: &Path) -> Result<Option<String>, Failed> {
    let routes = inside(path, || netlink::Route::open().and_then(|route| route.routes()))??;
    Ok(routes.iter().find(|route| route.destination.is_none()).and_then(|route| Some(route.gateway?.to_string())))
}

fn on(network: &str) -> EndpointRequest {
    EndpointRequest { network: network.into(), ..EndpointRequest::default() }
}

/// A container is set up in a namespace whose links are still made; what is completed is what was told.
pub fn begun_and_completed() -> Result<(), Failed> {
    let host = Host::new()?;
    for wanted in [
        request("a1", "plain", &["bridge"]),
        networks::SandboxRequest {
            publish: vec![publish(None, "8080", 80)],
            ..request("a2", "published", &["bridge"])
        },
    ] {
        let begun = host.runtime.block_on(host.networks.begin(wanted))?;
        let told = begun.sandbox().clone();
        assert!(netlink::namespace::exists(netns(&told)));
        let completed = host.runtime.block_on(begun.complete())?;
        assert_eq!(completed, told);
        let links = || netlink::Route::open().and_then(|route| route.links());
        assert!(inside(netns(&told), links)??.iter().any(|link| link.name == told.endpoints[0].link));
        assert!(default_route(netns(&told))?.is_some());
    }
    // What cannot be is told by the beginning.
    let taken =
        networks::SandboxRequest { publish: vec![publish(None, "8080", 80)], ..request("a3", "c", &["bridge"]) };
    assert!(host.runtime.block_on(host.networks.begin(taken)).is_err());
    Ok(())
}

/// The way out, and the published ports with it, follow names and priorities.
pub fn way_out_moves() -> Result<(), Failed> {
    let host = Host::new()?;
    for name in ["m-first", "a-second", "z-third"] {
        create(&host, name, false)?;
    }
    let mut wanted = request("a1", "web", &["m-first"]);
    wanted.publish = vec![publish(None, "8080", 80), publish(None, "", 81)];
    let web = host.acquire(wanted)?;
    serve(netns(&web), 80)?;
    let gateway = |number: usize, sandbox: &networks::Sandbox| {
        sandbox.endpoints[number].ipv4.and_then(|address| address.gateway).map(|gateway| gateway.to_string())
    };
    let connect = |endpoint| host.runtime.block_on(host.networks.connect(&id("a1"), endpoint));
    let from_outside = || reach(Some(&host.outside()), (HOST.into(), 8080));
    assert_eq!(default_route(netns(&web))?, gateway(0, &web));
    let second = connect(on("a-second"))?;
    assert_eq!(default_route(netns(&web))?, gateway(1, &second), "the smaller name leads out");
    assert_eq!(second.ports[0].container_address, second.endpoints[1].ipv4.ok_or("no address")?.address);
    let numbers = |sandbox: &networks::Sandbox| sandbox.ports.iter().map(|port| port.host_port).collect::<Vec<_>>();
    assert_eq!(numbers(&second), numbers(&web), "ports keep their numbers");
    assert_eq!(from_outside()?.as_deref(), Some("192.0.2.2"));
    let third = connect(EndpointRequest { gateway_priority: 1, ..on("z-third") })?;
    assert_eq!(default_route(netns(&web))?, gateway(2, &third), "a priority goes before names");
    assert!(from_outside()?.is_some());
    assert!(reach(None, ([127, 0, 0, 1].into(), 8080))?.is_some(), "the relay leads there, too");
    for (network, left) in [("z-third", Some(1)), ("a-second", Some(0)), ("m-first", None)] {
        let after = host.runtime.block_on(host.networks.disconnect(&id("a1"), network))?;
        let expected = left.and_then(|number| gateway(number, &third));
        assert_eq!(default_route(netns(&web))?, expected, "without {network}");
        assert_eq!(after.ports.is_empty(), left.is_none());
    }
    // A container without any network gets one again, and its ports.
    let back = connect(on("m-first"))?;
    assert_eq!(numbers(&back)[0], 8080);
    assert!(from_outside()?.is_some());
    Ok(())
}

pub fn internal_first() -> Result<(), Failed> {
    let host = Host::new()?;
    create(&host, "closed", true)?;
    let mut wanted = request("a1", "web", &["closed"]);
    wanted.publish = vec![publish(None, "8080", 80)];
    let web = host.acquire(wanted)?;
    assert!(web.ports.is_empty());
    serve(netns(&web), 80)?;
    serve(&host.outside(), 9000)?;
    let opened = host.runtime.block_on(host.networks.connect(&id("a1"), on("bridge")))?;
    assert_eq!(opened.ports.len(), 2);
    assert!(opened.hosts.contains("172.18.0.2\thost-web\n172.17.0.2\thost-web\n"), "{}", opened.hosts);
    assert!(reach(Some(&host.outside()), (HOST.into(), 8080))?.is_some());
    assert!(reach(Some(netns(&web)), (outside_address(), 9000))?.is_some());
    Ok(())
}

/// Links, names of links, sysctls, further addresses.
pub fn settings() -> Result<(), Failed> {
    let host = Host::new()?;
    create(&host, "town", false)?;
    let db = host.acquire(request("d1", "db", &["town"]))?;
    let options = [
        ("com.docker.network.endpoint.ifname", "net7"),
        ("com.docker.network.endpoint.sysctls", "net.ipv4.conf.IFNAME.log_martians=1"),
    ];
    let mut wanted = request("a1", "web", &[]);
    wanted.mode = SandboxMode::Networks(vec![EndpointRequest {
        links: vec![format!("{}:store", id("d1")), "db:base".into()],
        link_local: vec!["169.254.7.7".parse()?],
        mac: Some("02:00:00:00:00:07".parse().map_err(|_| "no MAC")?),
        driver_options: options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..on("town")
    }]);
    let web = host.acquire(wanted)?;
    for word in ["store", "base", "db"] {
        assert_eq!(code_and_address(&ask(netns(&web), word, 1)?), (0, address(&db)), "{word}");
    }
    // Only who linked knows the word.
    assert_ne!(ask(netns(&db), "store", 1)?[3] & 0xf, 0);
    let (link, has_further, sysctl) = inside(netns(&web), || {
        let route = netlink::Route::open().expect("a socket");
        let link = route.link_by_name("net7").expect("an answer").expect("a link");
        let further = route
            .addresses()
            .expect("addresses")
            .iter()
            .any(|(index, prefix)| *index == link.index && prefix.to_string() == "169.254.7.7/16");
        (link, further, std::fs::read_to_string("/proc/sys/net/ipv4/conf/net7/log_martians").expect("a sysctl"))
    })?;
    assert_eq!((link.mac, has_further, sysctl.trim()), (Some([2, 0, 0, 0, 0, 7]), true, "1"));
    let connect = |endpoint| host.runtime.block_on(host.networks.connect(&id("d1"), endpoint));
    create(&host, "other", false)?;
    let wrong = [
        EndpointRequest { ipv4: Some([10, 0, 0, 1].into()), ..on("other") },
        EndpointRequest { link_local: vec![[10, 0, 0, 1].into()], ..on("other") },
        EndpointRequest { driver_options: [(options[0].0.into(), "eth0".into())].into(), ..on("other") },
        EndpointRequest { driver_options: [(options[1].0.into(), "net.core.x=1".into())].into(), ..on("other") },
    ];
    let check = |endpoint| host.runtime.block_on(host.networks.check(endpoint));
    // A name of a link can be taken by another endpoint only, which is not there yet.
    for endpoint in [&wrong[0], &wrong[1], &wrong[3]] {
        let error = check(endpoint.clone()).expect_err("it is wrong").to_string();
        assert!(error.starts_with("invalid endpoint settings:\n"), "{error} of {endpoint:?}");
    }
    check(on("other"))?;
    assert_eq!(check(on("nowhere")).expect_err("it is not there").to_string(), "network nowhere not found");
    for endpoint in wrong {
        let error = connect(endpoint.clone()).expect_err("it is wrong").to_string();
        assert!(error.starts_with("invalid endpoint settings:\n"), "{error} of {endpoint:?}");
    }
    // None of them took an address.
    assert_eq!(
        connect(on("other"))?.endpoints[1].ipv4.map(|found| found.address.to_string()),
        Some("172.19.0.2".into())
    );
    Ok(())
}

pub fn forgotten() -> Result<(), Failed> {
    let host = Host::new()?;
    create(&host, "town", false)?;
    host.acquire(request("a1", "web", &["town"]))?;
    let forget = |name: &str| host.runtime.block_on(host.networks.forget("town", name));
    assert_eq!(forget("nobody").expect_err("unknown").to_string(), "endpoint nobody not found");
    forget("web")?;
    host.runtime.block_on(host.networks.remove("town"))?;
    Ok(())
}

pub fn pruned() -> Result<(), Failed> {
    let host = Host::new()?;
    for name in ["used", "unused", "kept"] {
        create(&host, name, false)?;
    }
    host.acquire(request("a1", "web", &["used"]))?;
    let prune = |fits: fn(&networks::NetworkRecord) -> bool| host.runtime.block_on(host.networks.prune(fits));
    assert_eq!(prune(|network| network.name != "kept")?, ["unused"]);
    host.release(&id("a1"))?;
    let mut names = prune(|_| true)?;
    names.sort();
    assert_eq!(names, ["kept", "used"]);
    Ok(())
}
