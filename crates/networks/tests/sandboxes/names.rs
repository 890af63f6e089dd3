//! The embedded name server as a container sees it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use libtest_mimic::Failed;
use networks::{CreateNetwork, SandboxMode};

use crate::host::{Host, address, ask, code_and_address, id, inside, netns, question, request};

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

fn with_network(internal: bool) -> Result<Host, Failed> {
    let host = Host::new()?;
    let network = CreateNetwork { name: "front".to_owned(), internal, ..CreateNetwork::default() };
    host.runtime.block_on(host.networks.create(network))?;
    Ok(host)
}

pub fn resolve() -> Result<(), Failed> {
    let host = with_network(false)?;
    let mut wanted = request("a1b2c3", "web", &["front"]);
    if let SandboxMode::Networks(endpoints) = &mut wanted.mode {
        endpoints[0].aliases = vec!["site".to_owned()];
    }
    let web = host.acquire(wanted)?;
    let client = host.acquire(request("a2", "client", &["front"]))?;
    assert_eq!(client.resolv_conf, "nameserver 127.0.0.11\noptions ndots:0\n");
    for name in ["web", "WEB", "site", "host-web", "a1b2c3000000", "web.front"] {
        assert_eq!(code_and_address(&ask(netns(&client), name, A)?), (0, address(&web)), "{name}");
    }
    // Known, but without such an address: upstream is not asked.
    assert_eq!(ask(netns(&client), "web", AAAA)?[3] & 0xf, 0);
    let reverse = ask(netns(&client), "2.0.18.172.in-addr.arpa", PTR)?;
    assert!(reverse.ends_with(b"\x03web\x05front\x00"), "{reverse:?}");

    let mut over_tcp = (question("web", A).len() as u16).to_be_bytes().to_vec();
    over_tcp.extend_from_slice(&question("web", A));
    let answer = inside(netns(&client), move || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 11), 53))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&over_tcp)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    })??;
    assert_eq!(code_and_address(&answer), (0, address(&web)));

    host.runtime.block_on(host.networks.rename(&id("a1b2c3"), "renamed"))?;
    assert_eq!(code_and_address(&ask(netns(&client), "renamed", A)?), (0, address(&web)));
    Ok(())
}

/// A name server of the host's, on a loopback address that only the host can reach.
fn upstream() -> Result<(), Failed> {
    let server = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 53), 53))?;
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
            // The asker may be gone already.
            let _ = server.send_to(&answer, peer);
        }
    });
    Ok(())
}

pub fn forward() -> Result<(), Failed> {
    let host = with_network(false)?;
    let closed = CreateNetwork { name: "closed".to_owned(), internal: true, ..CreateNetwork::default() };
    host.runtime.block_on(host.networks.create(closed))?;
    upstream()?;
    let client = host.acquire(request("a1", "client", &["front"]))?;
    let answer = ask(netns(&client), "example.org", A)?;
    assert_eq!(code_and_address(&answer), (0, IpAddr::from([203, 0, 113, 7])));
    assert_eq!(answer[..2], [0x12, 0x34]);
    let enclosed = host.acquire(request("a2", "enclosed", &["closed"]))?;
    assert_eq!(ask(netns(&enclosed), "example.org", A)?[3] & 0xf, 2);
    Ok(())
}

pub fn own_name_server() -> Result<(), Failed> {
    let host = with_network(false)?;
    let client = host.acquire(request("a1", "client", &["front"]))?;
    let server = inside(netns(&client), || {
        (UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)), std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 53)))
    })?;
    assert!(server.0.is_ok() && server.1.is_ok());
    assert_eq!(code_and_address(&ask(netns(&client), "client", A)?), (0, address(&client)));
    Ok(())
}

/// A container that filters by the state of connections sees its questions and their answers as one connection; one that
/// does not has no connection tracked.
pub fn own_packet_filter() -> Result<(), Failed> {
    const FILTER: &str = "table inet own {
        chain out { type filter hook output priority 0; ct state invalid drop; }
        chain in { type filter hook input priority 0; policy drop;
            ct state established accept; ip daddr 127.0.0.11 ct state new accept; }
    }";
    let host = with_network(false)?;
    let client = host.acquire(request("a1", "client", &["front"]))?;
    let resolves = || -> Result<(), Failed> {
        assert_eq!(code_and_address(&ask(netns(&client), "client", A)?), (0, address(&client)));
        Ok(())
    };
    let tracked = || -> Result<usize, Failed> {
        // Of the thread's own namespace.
        let table = inside(netns(&client), || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"))??;
        Ok(table.lines().count())
    };
    resolves()?;
    assert_eq!(tracked()?, 0);
    let made = inside(netns(&client), || std::process::Command::new("nft").arg(FILTER).status())??;
    assert!(made.success());
    resolves()?;
    assert_eq!(tracked()?, 1);
    Ok(())
}
