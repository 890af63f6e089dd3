//! Requests and packets that mean harm.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use libtest_mimic::Failed;
use networks::{CreateNetwork, EndpointRequest, SandboxMode};

use crate::host::{Host, address, ask, code_and_address, id, inside, netns, publish, request};

pub fn resolver() -> Result<(), Failed> {
    let host = Host::new()?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "front".to_owned(), ..Default::default() }))?;
    let client = host.acquire(request("a1", "client", &["front"]))?;
    inside(netns(&client), || -> std::io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(127, 0, 0, 11), 53))?;
        let mut state = 1u32;
        for length in 0..600 {
            let noise: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            socket.send(&noise)?;
        }
        // Connections that say nothing, or announce more than a question can be.
        let silent: Vec<_> = (0..64).map(|_| TcpStream::connect((Ipv4Addr::new(127, 0, 0, 11), 53))).collect();
        let mut loud = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 11), 53))?;
        loud.write_all(&[0xff; 1000])?;
        drop(silent);
        Ok(())
    })??;
    assert_eq!(code_and_address(&ask(netns(&client), "client", 1)?), (0, address(&client)));
    Ok(())
}

pub fn control() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut wanted = request("a1", "web", &["bridge"]);
    wanted.publish = vec![publish(None, "8080", 80)];
    host.acquire(wanted)?;
    let pid = host.netd_pid();
    let mut stream = UnixStream::connect(host.folder.path().join("netd.sock"))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut say = |line: &str| -> Result<String, Failed> {
        stream.write_all(line.as_bytes())?;
        stream.write_all(b"\n")?;
        let mut answer = String::new();
        reader.read_line(&mut answer)?;
        Ok(answer)
    };
    for line in ["", "{", "[]", "{\"op\":\"format-disk\"}", "\u{0}\u{1}"] {
        assert!(say(line)?.contains("malformed request"), "{line:?}");
    }
    let missing = r#"{"op":"set","sandbox":{"id":"x","resolver":{"namespace":"/nonexistent","upstream":"host"}}}"#;
    assert!(say(missing)?.contains("cannot serve names in namespace /nonexistent"));
    // A file that is no namespace.
    let file = r#"{"op":"set","sandbox":{"id":"x","resolver":{"namespace":"/etc/passwd","upstream":"host"}}}"#;
    assert!(say(file)?.contains("cannot serve names in namespace /etc/passwd"));
    assert!(say(r#"{"op":"exit"}"#)?.contains("sandboxes are still served"));
    assert!(say(r#"{"op":"list"}"#)?.contains(&id("a1")));
    // A line without an end is cut off, and nobody else notices.
    let mut endless = UnixStream::connect(host.folder.path().join("netd.sock"))?;
    let block = vec![b'x'; 1024 * 1024];
    assert!((0..64).any(|_| endless.write_all(&block).is_err()));
    assert!(say(r#"{"op":"hello"}"#)?.contains("instance"));
    assert_eq!(host.netd_pid(), pid);

    host.release(&id("a1"))?;
    host.runtime.block_on(host.networks.shutdown())?;
    crate::host::wait_until("docker-netd has ended", || !host.folder.path().join("netd.sock").exists())?;
    Ok(())
}

pub fn requests() -> Result<(), Failed> {
    let host = Host::new()?;
    let refused = |mutate: &dyn Fn(&mut networks::SandboxRequest)| -> String {
        let mut wanted = request("a1", "web", &["bridge"]);
        mutate(&mut wanted);
        host.acquire(wanted).map_or_else(|error| errors::chain(&error), |_| "accepted".to_owned())
    };
    let with_endpoint = |endpoint: EndpointRequest| {
        move |wanted: &mut networks::SandboxRequest| wanted.mode = SandboxMode::Networks(vec![endpoint.clone()])
    };
    let on = |network: &str| EndpointRequest { network: network.to_owned(), ..EndpointRequest::default() };
    assert_eq!(refused(&with_endpoint(on("nowhere"))), "network nowhere not found");
    assert_eq!(
        refused(&with_endpoint(EndpointRequest { ipv4: "172.17.0.9".parse().ok(), ..on("bridge") })),
        "invalid endpoint settings:\nuser specified IP address is supported on user defined networks only"
    );
    assert_eq!(
        refused(&|wanted| wanted.extra_hosts = vec!["evil\n1.2.3.4:5.6.7.8".to_owned()]),
        "invalid host format for --add-host: \"evil\\n1.2.3.4:5.6.7.8\""
    );
    assert!(refused(&|wanted| wanted.publish = vec![publish(None, "", 80); 5000]).contains("more than 4096"));
    assert!(
        refused(&|wanted| wanted.mode = SandboxMode::Networks(vec![on("bridge"); 1000]))
            .contains("at most 64 networks")
    );
    assert!(refused(&|wanted| wanted.mode = SandboxMode::Networks(vec![on("bridge"); 2])).contains("already exists"));
    // An address that no link of the host has.
    assert!(
        refused(&|wanted| wanted.publish = vec![publish(Some("203.0.113.9"), "80", 80)]).contains("203.0.113.9:80")
    );
    // None of them has kept an address.
    assert_eq!(address(&host.acquire(request("a2", "next", &["bridge"]))?).to_string(), "172.17.0.2");
    Ok(())
}
