//! Every driver keeps the same promises; and what is each one's own.

use std::net::IpAddr;

use libtest_mimic::Failed;
use networks::{Asked, CreateNetwork, EndpointRequest, SandboxMode};

use crate::host::{
    Host, address, ask, code_and_address, id, namespace_links, netns, reach, request, serve, wait_until,
};

/// A network of each kind that this kernel has.
fn kinds() -> Vec<CreateNetwork> {
    let kind = |name: &str, options: &[(&str, &str)]| CreateNetwork {
        name: name.into(),
        driver: name.split('-').next().unwrap_or_default().into(),
        options: options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..CreateNetwork::default()
    };
    let parent = ("parent", "uplink");
    vec![
        kind("bridge-plain", &[]),
        kind("bridge-named", &[("com.docker.network.bridge.name", "own-name")]),
        kind("macvlan-plain", &[parent]),
        kind("macvlan-bridge", &[parent, ("macvlan_mode", "bridge"), ("com.docker.network.driver.mtu", "1400")]),
    ]
}

pub fn conformance() -> Result<(), Failed> {
    let host = Host::new()?;
    let links = host.links()?;
    for (number, mut wanted) in kinds().into_iter().enumerate() {
        let name = wanted.name.clone();
        // A subnet each: addresses make MACs, and what a former kind's servers keep alive still has its own.
        let place = |last: u8| -> IpAddr { [10, 50, number as u8, last].into() };
        wanted.pools = vec![Asked { subnet: format!("10.50.{number}.0/24"), ..Asked::default() }];
        let created = host.runtime.block_on(host.networks.create(wanted.clone()))?;
        let again = host.runtime.block_on(host.networks.create(wanted)).expect_err("the name is taken");
        assert_eq!(again.to_string(), format!("network with name {name} already exists"));
        let one = host.acquire(request("a1", "one", &[&name]))?;
        let mut still = request("a2", "two", &[]);
        let endpoint = EndpointRequest { network: name.clone(), ipv4: Some(place(77)), ..Default::default() };
        still.mode = SandboxMode::Networks(vec![endpoint]);
        let two = host.acquire(still)?;
        // Addresses: the first free one, the one that was asked for, never the gateway's.
        assert_eq!(address(&one), place(2), "{name}");
        assert_eq!(address(&two), place(77), "{name}");
        // They reach each other, by name too, in both directions.
        serve(netns(&one), 80)?;
        serve(netns(&two), 80)?;
        assert_eq!(
            reach(Some(netns(&two)), (address(&one), 80))?.as_deref(),
            Some(place(77).to_string().as_str()),
            "{name}"
        );
        assert_eq!(
            reach(Some(netns(&one)), (address(&two), 80))?.as_deref(),
            Some(place(2).to_string().as_str()),
            "{name}"
        );
        assert_eq!(code_and_address(&ask(netns(&one), "two", 1)?), (0, address(&two)), "{name}");
        // In use it stays; a taken address is refused.
        let used = host.runtime.block_on(host.networks.remove(&name)).expect_err("in use").to_string();
        assert!(used.contains("has active endpoints"), "{used}");
        let mut same = request("a3", "three", &[]);
        let endpoint = EndpointRequest { network: name.clone(), ipv4: Some(place(77)), ..Default::default() };
        same.mode = SandboxMode::Networks(vec![endpoint]);
        assert!(errors::chain(&host.acquire(same).expect_err("it is taken")).contains("Address already in use"));
        // Out while it runs, and in again.
        host.runtime.block_on(host.networks.disconnect(&id("a1"), &name))?;
        assert_eq!(namespace_links(netns(&one))?, ["lo"], "{name}");
        let back = EndpointRequest { network: name.clone(), ..Default::default() };
        let one = host.runtime.block_on(host.networks.connect(&id("a1"), back))?;
        assert!(reach(Some(netns(&one)), (address(&two), 80))?.is_some(), "{name}");
        // And nothing is left.
        host.release(&id("a1"))?;
        host.release(&id("a2"))?;
        assert_eq!(host.runtime.block_on(host.networks.remove(&name))?, created.id);
        // The servers' sockets keep the namespaces, and the veths with them, until this process ends.
        let stays = |link: &String| links.contains(link) || link == "br-0123abcd" || link.starts_with("veth");
        assert!(host.links()?.iter().all(stays), "{name}: {:?}", host.links()?);
    }
    Ok(())
}

/// An existing bridge is used and left behind; something else of that name is refused.
pub fn foreign_bridge() -> Result<(), Failed> {
    let host = Host::new()?;
    assert!(std::process::Command::new("ip").args(["link", "add", "mine", "type", "bridge"]).status()?.success());
    let on = |bridge: &str| {
        let mut wanted = CreateNetwork { name: "on-mine".into(), ..CreateNetwork::default() };
        wanted.options.insert("com.docker.network.bridge.name".into(), bridge.into());
        host.runtime.block_on(host.networks.create(wanted))
    };
    on("mine")?;
    host.runtime.block_on(host.networks.remove("on-mine"))?;
    assert!(host.links()?.contains(&"mine".to_owned()));
    let refused = on("outside").expect_err("a veth").to_string();
    assert_eq!(refused, "existing interface outside is not a bridge");
    Ok(())
}

/// What makes a request wrong.
type Adjust<'a> = &'a dyn Fn(&mut CreateNetwork);

pub fn refusals() -> Result<(), Failed> {
    let host = Host::new()?;
    let refused = |adjust: &dyn Fn(&mut CreateNetwork)| -> String {
        let mut wanted = CreateNetwork { name: "x".into(), ..CreateNetwork::default() };
        adjust(&mut wanted);
        host.runtime
            .block_on(host.networks.create(wanted))
            .map_or_else(|error| errors::chain(&error), |_| "made".into())
    };
    let pool = |subnet: &str| Asked { subnet: subnet.into(), ..Asked::default() };
    let cases: [(Adjust<'_>, &str); 10] = [
        (&|wanted| wanted.ingress = true, "Ingress network can only be global scope network"),
        (&|wanted| wanted.enable_ipv4 = Some(false), "IPv4 or IPv6 must be enabled"),
        (
            &|wanted| wanted.pools = vec![pool("10.0.0.1/24")],
            "invalid network config:\ninvalid subnet 10.0.0.1/24: it should be 10.0.0.0/24",
        ),
        (
            &|wanted| wanted.pools = vec![pool("10.0.0.0/24"), pool("10.1.0.0/24")],
            "bridge driver doesn't support multiple subnets",
        ),
        (&|wanted| wanted.config_from = "nothing".into(), "configuration network \"nothing\" does not exist"),
        (&|wanted| wanted.driver = "host".into(), "only one instance of \"host\" network is allowed"),
        (
            &|wanted| (wanted.driver, wanted.options) = ("macvlan".into(), [("parent".into(), "lo".into())].into()),
            "loopback interface is not a valid macvlan parent link",
        ),
        (
            &|wanted| (wanted.driver, wanted.options) = ("macvlan".into(), [("parent".into(), "none.7".into())].into()),
            "failed to find master interface none on the Docker host: Link not found",
        ),
        (
            &|wanted| (wanted.config_only, wanted.internal) = (true, true),
            "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
        ),
        (
            &|wanted| wanted.options = [("com.docker.network.bridge.gateway_mode_ipv4".into(), "open".into())].into(),
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: open (unknown gateway mode open)",
        ),
    ];
    for (adjust, expected) in cases {
        assert_eq!(refused(adjust), expected);
    }
    // None of them left anything.
    assert_eq!(host.runtime.block_on(host.networks.list())?.len(), 3);
    Ok(())
}

/// Made from another network's configuration, which then cannot go.
pub fn configuration() -> Result<(), Failed> {
    let host = Host::new()?;
    let create = |request| host.runtime.block_on(host.networks.create(request));
    let pools = vec![Asked { subnet: "10.60.0.0/24".into(), ..Asked::default() }];
    let conf = CreateNetwork { name: "conf".into(), config_only: true, pools, ..CreateNetwork::default() };
    create(conf)?;
    create(CreateNetwork { name: "made".into(), config_from: "conf".into(), ..CreateNetwork::default() })?;
    let made = host.runtime.block_on(host.networks.inspect("made"))?.network;
    assert_eq!((made.subnets[0].subnet.to_string().as_str(), made.driver.as_str()), ("10.60.0.0/24", "bridge"));
    let remove = |name: &str| host.runtime.block_on(host.networks.remove(name));
    assert_eq!(remove("conf").expect_err("in use").to_string(), "configuration network \"conf\" is in use");
    assert!(host.acquire(request("a1", "one", &["conf"])).is_err());
    host.acquire(request("a2", "two", &["made"]))?;
    host.release(&id("a2"))?;
    remove("made")?;
    remove("conf")?;
    Ok(())
}

/// More endpoints than a bridge has ports.
pub fn thousands() -> Result<(), Failed> {
    const COUNT: usize = 2000;
    let host = Host::new()?;
    let pools = vec![Asked { subnet: "10.70.0.0/16".into(), ..Asked::default() }];
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "big".into(), pools, ..Default::default() }))?;
    let acquire = |number: usize| {
        let name = format!("c{number}");
        host.networks.acquire(request(&format!("{number:012}"), &name, &["big"]))
    };
    let sandboxes = host.runtime.block_on(async {
        let mut sandboxes = Vec::with_capacity(COUNT);
        for first in (0..COUNT).step_by(50) {
            let batch: Vec<_> = (first..first + 50).map(acquire).collect();
            for sandbox in futures(batch).await {
                sandboxes.push(sandbox?);
            }
        }
        Ok::<_, networks::Error>(sandboxes)
    })?;
    let addresses: std::collections::HashSet<_> = sandboxes.iter().map(address).collect();
    assert_eq!(addresses.len(), COUNT);
    let segment =
        |wanted: u16| sandboxes.iter().find(|sandbox| sandbox.endpoints[0].segment == wanted).ok_or("nobody is there");
    let (first, second) = (segment(0)?, segment(1)?);
    serve(netns(first), 80)?;
    serve(netns(second), 80)?;
    serve(&host.outside(), 9000)?;
    // Across the trunk, to the gateway and through it, and by name.
    assert!(reach(Some(netns(second)), (address(first), 80))?.is_some());
    assert!(reach(Some(netns(first)), (address(second), 80))?.is_some());
    assert!(reach(None, (address(second), 80))?.is_some());
    assert!(reach(Some(netns(second)), (crate::host::outside_address(), 9000))?.is_some());
    let name = &second.endpoints[0].dns_names[0];
    assert_eq!(code_and_address(&ask(netns(first), name, 1)?), (0, address(second)));
    for number in 0..COUNT {
        host.release(&id(&format!("{number:012}")))?;
    }
    host.runtime.block_on(host.networks.remove("big"))?;
    wait_until("its bridges are gone", || {
        host.links().is_ok_and(|links| links.iter().all(|link| !link.starts_with("bx") && !link.starts_with("bt")))
    })?;
    Ok(())
}

/// All of them at once, in their order.
async fn futures<F: Future>(batch: Vec<F>) -> Vec<F::Output> {
    let mut batch: Vec<_> = batch.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = batch.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in batch.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => *output = Some(value),
                std::task::Poll::Pending => is_done = false,
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
