//! Published ports, from the outside, from the host and from other containers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use libtest_mimic::Failed;
use networks::{CreateNetwork, Protocol};

use crate::host::{HOST, Host, address, id, inside, is_unreachable, netns, publish, reach, request, serve};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub fn published() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut wanted = request("a1", "web", &["bridge"]);
    wanted.publish = vec![publish(None, "8080", 80), publish(Some("192.0.2.1"), "9090", 80), publish(None, "", 80)];
    let web = host.acquire(wanted)?;
    serve(netns(&web), 80)?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "other".to_owned(), ..Default::default() }))?;
    let near = host.acquire(request("a2", "near", &["bridge"]))?;
    let far = host.acquire(request("a3", "far", &["other"]))?;
    // From outside the packet is translated: the container sees who it is.
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 8080))?.as_deref(), Some("192.0.2.2"));
    assert_eq!(reach(Some(&host.outside()), (HOST.into(), 9090))?.as_deref(), Some("192.0.2.2"));
    assert_eq!(reach(None, (HOST.into(), 8080))?.as_deref(), Some("192.0.2.1"));
    // Through the relay it comes from the bridge.
    for (from, to) in [
        (None, (LOOPBACK, 8080)),
        (None, (IpAddr::V6(Ipv6Addr::LOCALHOST), 8080)),
        (Some(netns(&near)), (HOST.into(), 8080)),
        (Some(netns(&far)), (HOST.into(), 8080)),
        (Some(netns(&web)), (HOST.into(), 8080)),
    ] {
        assert_eq!(reach(from, to)?.as_deref(), Some("172.17.0.1"), "{to:?}");
    }
    // Only on the one address it was published on.
    assert!(is_unreachable(None, (LOOPBACK, 9090))?);
    let chosen = web.ports.iter().find(|port| port.host_port > 32767).ok_or("no port was chosen")?.host_port;
    assert!(reach(Some(&host.outside()), (HOST.into(), chosen))?.is_some());
    Ok(())
}

pub fn loopback_only() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut wanted = request("a1", "web", &["bridge"]);
    wanted.publish = vec![publish(Some("127.0.0.1"), "8080", 80)];
    let web = host.acquire(wanted)?;
    serve(netns(&web), 80)?;
    let near = host.acquire(request("a2", "near", &["bridge"]))?;
    assert_eq!(reach(None, (LOOPBACK, 8080))?.as_deref(), Some("172.17.0.1"));
    assert!(is_unreachable(Some(&host.outside()), (HOST.into(), 8080))?);
    assert!(is_unreachable(Some(netns(&near)), (HOST.into(), 8080))?);
    // Even on a host that routes loopback addresses from its links, and a neighbour who sends to them.
    std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")?;
    for link in ["uplink", "br-0123abcd"] {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{link}/route_localnet"), "1")?;
    }
    let neighbours = [(host.outside(), HOST.to_string()), (netns(&near).to_path_buf(), "172.17.0.1".to_owned())];
    for (path, gateway) in neighbours {
        let routed = inside(&path, move || {
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").expect("a sysctl");
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").expect("a sysctl");
            let run = |words: &[&str]| {
                std::process::Command::new("ip").args(words).status().is_ok_and(|status| status.success())
            };
            // Its own loopback steps aside, or the packets would never leave.
            run(&["address", "delete", "127.0.0.1/8", "dev", "lo"])
                && run(&["route", "add", "127.0.0.1/32", "via", &gateway, "dev", "eth0"])
        })?;
        assert!(routed);
        assert!(is_unreachable(Some(&path), (LOOPBACK, 8080))?);
    }
    Ok(())
}

pub fn conflicts() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut first = request("a1", "web", &["bridge"]);
    first.publish = vec![publish(None, "8080", 80)];
    host.acquire(first)?;
    let mut second = request("a2", "second", &["bridge"]);
    second.publish = vec![publish(None, "8080", 80)];
    let error = host.acquire(second).expect_err("the port is taken").to_string();
    assert!(error.contains("driver failed programming external connectivity on endpoint second ("), "{error}");
    assert!(error.ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{error}");

    let program = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8081))?;
    let mut third = request("a3", "third", &["bridge"]);
    third.publish = vec![publish(None, "8081", 80)];
    let error = host.acquire(third.clone()).expect_err("the port is taken").to_string();
    assert!(error.ends_with("failed to bind host port 0.0.0.0:8081/tcp: address already in use"), "{error}");
    assert!(host.networks.sandbox(&id("a3")).is_none());
    // Of a range the next is taken.
    third.publish = vec![publish(None, "8081-8083", 80)];
    assert_eq!(host.acquire(third)?.ports[0].host_port, 8082);
    drop(program);
    // What failed has given back its address.
    assert_eq!(address(&host.acquire(request("a4", "fourth", &["bridge"]))?), IpAddr::from([172, 17, 0, 4]));
    Ok(())
}

pub fn udp() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut wanted = request("a1", "echo", &["bridge"]);
    wanted.publish = vec![networks::Publish { protocol: Protocol::Udp, ..publish(None, "5353", 53) }];
    let sandbox = host.acquire(wanted)?;
    echo_datagrams(netns(&sandbox))?;
    let exchange = |to: IpAddr| -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind((if to.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect((to, 5353))?;
        socket.send(b"hello")?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer)?;
        Ok(buffer[..length].to_vec())
    };
    assert_eq!(exchange(LOOPBACK)?, b"hello");
    assert_eq!(exchange(Ipv6Addr::LOCALHOST.into())?, b"hello");
    assert_eq!(inside(&host.outside(), || exchange(HOST.into()))??, b"hello");
    Ok(())
}

fn echo_datagrams(path: &std::path::Path) -> Result<(), Failed> {
    let server = inside(path, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)))??;
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            // The client may be gone already.
            let _ = server.send_to(&buffer[..length], peer);
        }
    });
    Ok(())
}

/// moby issue 8795: a client that never pauses follows the port to the next container.
pub fn udp_flow_follows() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut wanted = request("a1", "echo", &["bridge"]);
    wanted.publish = vec![networks::Publish { protocol: Protocol::Udp, ..publish(None, "5353", 53) }];
    echo_datagrams(netns(&host.acquire(wanted.clone())?))?;
    let client = inside(&host.outside(), || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    client.connect((HOST, 5353))?;
    let mut buffer = [0; 64];
    client.send(b"one")?;
    assert_eq!(client.recv(&mut buffer)?, 3);
    host.release(&id("a1"))?;
    // Somebody else gets the address.
    host.acquire(request("a2", "other", &["bridge"]))?;
    let next = host.acquire(wanted)?;
    assert_eq!(address(&next), IpAddr::from([172, 17, 0, 3]));
    echo_datagrams(netns(&next))?;
    client.send(b"three")?;
    assert_eq!(client.recv(&mut buffer)?, 5);
    Ok(())
}

pub fn large_transfer() -> Result<(), Failed> {
    const BYTES: usize = 32 * 1024 * 1024;
    let host = Host::new()?;
    let mut wanted = request("a1", "sink", &["bridge"]);
    wanted.publish = vec![publish(None, "8080", 80)];
    let sandbox = host.acquire(wanted)?;
    let listener = inside(netns(&sandbox), || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)))??;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut writer = stream.try_clone()?;
        std::io::copy(&mut stream, &mut writer)?;
        writer.shutdown(std::net::Shutdown::Write)
    });
    let stream = TcpStream::connect((LOOPBACK, 8080))?;
    let mut writer = stream.try_clone()?;
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        let block: Vec<u8> = (0..65536).map(|index| (index % 251) as u8).collect();
        for _ in 0..BYTES / block.len() {
            writer.write_all(&block)?;
        }
        writer.shutdown(std::net::Shutdown::Write)
    });
    let mut received = Vec::with_capacity(BYTES);
    (&stream).read_to_end(&mut received)?;
    sender.join().map_err(|_| "the sender panicked")??;
    echo.join().map_err(|_| "the echo panicked")??;
    assert_eq!(received.len(), BYTES);
    assert!(received.iter().enumerate().all(|(at, byte)| *byte == (at % 65536 % 251) as u8));
    Ok(())
}

pub fn nothing_left() -> Result<(), Failed> {
    let host = Host::new()?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "front".to_owned(), ..Default::default() }))?;
    let (ruleset, links) = (host.ruleset()?, host.links()?);
    let begin = std::time::Instant::now();
    for round in 0..20 {
        let mut wanted = request(&format!("b{round:02}"), &format!("web-{round}"), &["front", "bridge"]);
        wanted.publish = vec![publish(None, "", 80), publish(Some("127.0.0.1"), "", 81)];
        host.acquire(wanted)?;
    }
    println!("20 sandboxes with two networks and two ports: {:?} each", begin.elapsed() / 20);
    let begin = std::time::Instant::now();
    for round in 0..20 {
        host.release(&id(&format!("b{round:02}")))?;
    }
    println!("their release: {:?} each", begin.elapsed() / 20);
    assert_eq!(host.ruleset()?, ruleset);
    assert_eq!(std::fs::read_dir(host.folder.path().join("netns"))?.count(), 0);
    crate::host::wait_until("the links go with their namespaces", || host.links().is_ok_and(|now| now == links))?;
    let begin = std::time::Instant::now();
    for round in 0..20 {
        host.acquire(request(&format!("c{round:02}"), &format!("plain-{round}"), &["bridge"]))?;
    }
    println!("20 sandboxes on the default bridge: {:?} each", begin.elapsed() / 20);
    Ok(())
}

pub fn many_at_once() -> Result<(), Failed> {
    const COUNT: usize = 64;
    let host = Host::new()?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "front".to_owned(), ..Default::default() }))?;
    let begin = std::time::Instant::now();
    let tasks: Vec<_> = (0..COUNT)
        .map(|number| {
            let networks = host.networks.clone();
            let mut wanted = request(&format!("d{number:02}"), &format!("web-{number}"), &["front"]);
            wanted.publish = vec![publish(None, "", 80)];
            host.runtime.spawn(async move { networks.acquire(wanted).await })
        })
        .collect();
    let mut addresses = std::collections::HashSet::new();
    let mut ports = std::collections::HashSet::new();
    for task in tasks {
        let sandbox = host.runtime.block_on(task)??;
        addresses.insert(address(&sandbox));
        ports.insert(sandbox.ports[0].host_port);
    }
    println!("{COUNT} sandboxes at once: {:?}", begin.elapsed());
    assert_eq!((addresses.len(), ports.len()), (COUNT, COUNT));
    let tasks: Vec<_> = (0..COUNT)
        .map(|number| {
            let networks = host.networks.clone();
            host.runtime.spawn(async move { networks.release(&id(&format!("d{number:02}"))).await })
        })
        .collect();
    for task in tasks {
        host.runtime.block_on(task)??;
    }
    assert_eq!(std::fs::read_dir(host.folder.path().join("netns"))?.count(), 0);
    Ok(())
}
