//! Daemons that die, and what goes on without them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use libtest_mimic::Failed;
use netlink::namespace;
use networks::CreateNetwork;

use crate::host::{
    self, HOST, Host, address, ask, ask_within, code_and_address, id, netns, publish, reach, request, serve, wait_until,
};

/// A question into the gap is lost; the next one is not.
const SHORT: std::time::Duration = std::time::Duration::from_millis(100);

/// A dockerd that makes two sandboxes and is killed.
pub fn controller(folder: &Path) -> ! {
    let run = || -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let networks = host::open(folder, &Arc::new(Mutex::new(Vec::new())))?;
        runtime.block_on(async {
            networks.create(CreateNetwork { name: "front".to_owned(), ..CreateNetwork::default() }).await?;
            let mut web = request("a1", "web", &["front"]);
            web.publish = vec![publish(None, "8080", 80)];
            networks.acquire(web).await?;
            networks.acquire(request("a2", "client", &["front"])).await
        })?;
        println!("ready");
        std::io::stdout().flush()?;
        loop {
            std::thread::park();
        }
    };
    if let Err(error) = run() {
        println!("{}", error.message().unwrap_or("failed"));
    }
    std::process::exit(1);
}

/// A host whose daemon, the controller, was killed after it had made its sandboxes. The new one has done nothing yet.
fn after_a_kill() -> Result<Host, Failed> {
    let folder = Host::prepare()?;
    let mut child =
        Command::new(std::env::current_exe()?).arg("--controller").arg(folder.path()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    assert_eq!(line, "ready\n");
    Host::on(folder)
}

pub fn killed_daemon() -> Result<(), Failed> {
    let host = after_a_kill()?;
    let (web, client) = (host.folder.path().join("netns/a10000000000"), host.folder.path().join("netns/a20000000000"));
    serve(&web, 80)?;
    let (code, found) = code_and_address(&ask(&client, "web", 1)?);
    assert_eq!(code, 0);
    assert!(reach(Some(&client), (found, 80))?.is_some());
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("192.0.2.2"));
    assert!(reach(None, ([127, 0, 0, 1].into(), 8080))?.is_some());
    Ok(())
}

pub fn restore() -> Result<(), Failed> {
    let host = after_a_kill()?;
    let pid = host.netd_pid();
    let stray = host.folder.path().join("netns/stray");
    namespace::create(&stray, || Ok(()))?;
    host.runtime.block_on(host.networks.restore(&[live("a1")]))?;
    assert_eq!(host.netd_pid(), pid, "the docker-netd that runs is found again");
    assert!(!stray.exists());
    assert!(host.networks.sandbox(&id("a2")).is_none());
    let web = host.networks.sandbox(&id("a1")).ok_or("the living lost its sandbox")?;
    serve(netns(&web), 80)?;
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("192.0.2.2"));
    // The address of the dead is free, that of the living is not.
    let next = host.acquire(request("a3", "next", &["front"]))?;
    assert_eq!(address(&next).to_string(), "172.18.0.3");
    assert_eq!(code_and_address(&ask(netns(&next), "web", 1)?), (0, address(&web)));
    assert_ne!(ask(netns(&next), "client", 1)?[3] & 0xf, 0);
    let mut same = request("a4", "same", &["front"]);
    same.publish = vec![publish(None, "8080", 80)];
    assert!(host.acquire(same).is_err());
    for id in [id("a1"), id("a3")] {
        host.release(&id)?;
    }
    assert_eq!(std::fs::read_dir(host.folder.path().join("netns"))?.count(), 0);
    Ok(())
}

fn live(start: &str) -> networks::Live {
    networks::Live { container_id: id(start), networks: Some(vec!["front".to_owned()]) }
}

/// A dockerd that plugs a container into a second network and out again, without end.
pub fn changer(folder: &Path) -> ! {
    let run = || -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let networks = host::open(folder, &Arc::new(Mutex::new(Vec::new())))?;
        runtime.block_on(async {
            networks.restore(&[live("a1")]).await?;
            for name in ["front", "back"] {
                // There since the first round.
                let _ = networks.create(CreateNetwork { name: name.to_owned(), ..CreateNetwork::default() }).await;
            }
            let mut web = request("a1", "web", &["front"]);
            web.publish = vec![publish(None, "8080", 80)];
            networks.acquire(web).await?;
            println!("ready");
            loop {
                let back = networks::EndpointRequest { network: "back".to_owned(), ..Default::default() };
                networks.connect(&id("a1"), back).await?;
                networks.disconnect(&id("a1"), "back").await?;
            }
        })
    };
    if let Err(error) = run() {
        println!("{}", error.message().unwrap_or("failed"));
    }
    std::process::exit(1);
}

/// Killed at any moment of a connect or disconnect, a daemon leaves nothing of it behind after the next start.
pub fn killed_in_a_change() -> Result<(), Failed> {
    const ROUNDS: u64 = 12;
    let folder = Host::prepare()?;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--changer")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        assert_eq!(line, "ready\n", "round {round}");
        // Another moment each round, in the 20 ms or so that a connect and a disconnect take.
        std::thread::sleep(std::time::Duration::from_micros(5000 + round * 3700));
        child.kill()?;
        child.wait()?;
    }
    let host = Host::on(folder)?;
    host.runtime.block_on(host.networks.restore(&[live("a1")]))?;
    let web = host.networks.sandbox(&id("a1")).ok_or("the living lost its sandbox")?;
    let names: Vec<&str> = web.endpoints.iter().map(|endpoint| endpoint.network_name.as_str()).collect();
    assert_eq!(names, ["front"]);
    assert_eq!(host::namespace_links(netns(&web))?, ["eth0", "lo"]);
    serve(netns(&web), 80)?;
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("192.0.2.2"));
    // One veth, whose other end is eth0; and every address of the other network is free.
    let veths = || host.links().map(|links| links.iter().filter(|link| link.starts_with("veth")).count());
    wait_until("one veth is left", || veths().is_ok_and(|count| count == 1))?;
    let next = host.acquire(request("a2", "next", &["back"]))?;
    assert_eq!(next.endpoints[0].ipv4.map(|found| found.address.to_string()), Some("172.19.0.2".to_owned()));
    assert_ne!(ask(netns(&next), "web", 1)?[3] & 0xf, 0, "the name is gone from the other network");
    Ok(())
}

pub fn killed_netd() -> Result<(), Failed> {
    let host = Host::new()?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "front".to_owned(), ..Default::default() }))?;
    let networks = host.networks.clone();
    let follower = host.runtime.spawn(async move { networks.follow_netd().await });
    let mut wanted = request("a1", "web", &["front"]);
    wanted.publish = vec![publish(None, "8080", 80)];
    let web = host.acquire(wanted)?;
    let first = host.netd_pid();
    host.end_netd();
    wait_until("another docker-netd serves", || {
        host.netd_pid() != first
            && ask_within(netns(&web), "web", 1, SHORT).is_ok_and(|answer| code_and_address(&answer).0 == 0)
    })?;
    host.end_netd();
    // The next request finds a dead connection and brings a new one up to date.
    let client = host.acquire(request("a2", "client", &["front"]))?;
    assert_eq!(code_and_address(&ask(netns(&client), "web", 1)?), (0, address(&web)));
    follower.abort();
    Ok(())
}

/// Flags of the default bridge count from the next start on; its id stays.
pub fn changed_flags() -> Result<(), Failed> {
    let folder = Host::prepare()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let events = Arc::new(Mutex::new(Vec::new()));
    let inspect = |adjust: &dyn Fn(&mut networks::Config)| -> Result<networks::NetworkRecord, Failed> {
        let networks = host::open_with(folder.path(), &events, adjust)?;
        Ok(runtime.block_on(networks.inspect("bridge"))?.network)
    };
    let before = inspect(&|_| {})?;
    assert_eq!(before.subnets[0].subnet.to_string(), "172.17.0.0/16");
    let after = inspect(&|config| {
        config.bridge.mtu = 1400;
        config.bridge.address = "10.44.0.0/24".parse().ok().map(|subnet| ([10, 44, 0, 9].into(), subnet));
    })?;
    assert_eq!((after.id.as_str(), after.mtu), (before.id.as_str(), 1400));
    assert_eq!(after.subnets[0].gateway.ok_or("no gateway")?.to_string(), "10.44.0.9");

    let both = inspect(&|config| {
        config.bridge.address = "10.44.0.0/24".parse().ok().map(|subnet| ([10, 44, 0, 9].into(), subnet));
        config.bridge.range = "10.44.0.128/25".parse().ok();
        config.bridge.gateway = Some([10, 44, 0, 1].into());
        config.bridge.enable_ipv6 = true;
        config.bridge.range6 = "fd44::/64".parse().ok();
    })?;
    let subnets = &both.subnets;
    assert_eq!(subnets[0].gateway.map(|gateway| gateway.to_string()), Some("10.44.0.1".to_owned()));
    assert_eq!(subnets[0].bridge_address.map(|address| address.to_string()), Some("10.44.0.9".to_owned()));
    assert_eq!(subnets[0].range.map(|range| range.to_string()), Some("10.44.0.128/25".to_owned()));
    assert_eq!(subnets[1].gateway.map(|gateway| gateway.to_string()), Some("fd44::1".to_owned()));

    let fresh = folder.path().join("fresh");
    std::fs::create_dir(&fresh)?;
    let networks = host::open_with(&fresh, &events, |config| config.bridge.name = Some("none".to_owned()))?;
    let names = runtime.block_on(networks.list())?.into_iter().map(|view| view.network.name);
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, ["host", "none"]);
    namespace::remove(&folder.path().join("outside"))?;
    Ok(())
}
