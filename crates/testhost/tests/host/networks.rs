//! Networks as containers and the outside see them.

use anyhow::{Context, Result};
use testhost::{HOST_ADDRESS, Host, Outside, wait_until};

use crate::clients;

const SERVE: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];

pub fn published(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    outside.spawn("greeter", &["busybox", "nc", "-ll", "-p", "7000", "-e", "busybox", "echo", "greetings"])?;
    for docker in clients(&engine) {
        docker.run(
            &[&["run", "-d", "--name", "served", "-p", "8080:80", "-p", "127.0.0.1:8081:80", &image], &SERVE[..]]
                .concat(),
        )?;
        assert!(docker.run(&["port", "served", "80"]).is_ok_and(|ports| ports.contains("0.0.0.0:8080")));
        let own = docker.run(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "served"])?;
        let fetch = |url: &str| host.command("curl", &["-sf", "--max-time", "5", "--noproxy", "*", url]);
        wait_until("the published page", || fetch("http://127.0.0.1:8080/group").ok())?;
        for url in [
            &format!("http://{own}/group"),
            "http://127.0.0.1:8081/group",
            &format!("http://{HOST_ADDRESS}:8080/group"),
        ] {
            assert!(fetch(url)?.contains("root:x:0:"), "{url}");
        }
        let from_outside = |port: u16| {
            let url = format!("http://{HOST_ADDRESS}:{port}/group");
            outside.command(&["curl", "-sf", "--max-time", "2", "--noproxy", "*", &url])
        };
        assert!(from_outside(8080)?.contains("root:x:0:"));
        assert!(from_outside(8081).is_err(), "what is published on loopback is not to be reached from outside");
        // The way out is masqueraded: the outside has no route to the container.
        let words = ["exec", "served", "sh", "-c", "nc -w 5 192.0.2.2 7000 </dev/null"];
        wait_until("an answer from outside", || docker.run(&words).ok().filter(|answer| answer == "greetings"))?;
        let taken = docker.try_run(&["run", "--rm", "-p", "8080:80", &image, "true"])?;
        assert_eq!(taken.code, 125, "{}", taken.stderr);
        assert!(taken.stderr.contains("port is already allocated"), "{}", taken.stderr);
        docker.run(&["rm", "-f", "served"])?;
        assert!(fetch("http://127.0.0.1:8080/group").is_err(), "a removed container's port is closed");
    }
    Ok(())
}

/// A routed family has no port of the host: what is published is open at the container's own address, and told so.
pub fn routed(host: &Host) -> Result<()> {
    const MODE6: &str = "com.docker.network.bridge.gateway_mode_ipv6=routed";
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["network", "create", "--ipv6", "-o", MODE6, "half"])?;
        let publish = ["-p", "8000:80", "-p", "127.0.0.1:9000:90/udp", "-p", "[::]::99"];
        docker.run(
            &[&["run", "-d", "--name", "web", "--network", "half"], &publish[..], &[&image, "sleep", "1000"]].concat(),
        )?;
        assert_eq!(
            docker.run(&["port", "web"])?,
            "80/tcp -> 0.0.0.0:8000\n80/tcp -> [::]:\n90/udp -> 127.0.0.1:9000\n99/tcp -> [::]:"
        );
        assert_eq!(
            docker.run(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"])?,
            r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8000"},{"HostIp":"::","HostPort":""}],"90/udp":[{"HostIp":"127.0.0.1","HostPort":"9000"}],"99/tcp":[{"HostIp":"::","HostPort":""}]}"#
        );
        assert_eq!(
            docker.run(&["ps", "--format", "{{.Ports}}"])?,
            "99/tcp, 0.0.0.0:8000->80/tcp, 127.0.0.1:9000->90/udp"
        );
        docker.run(&["rm", "-f", "web"])?;
        docker.run(&["network", "rm", "half"])?;
    }
    Ok(())
}

/// Whatever keeps a port from being bound is told in Docker's words, and nothing of the container's network stays.
pub fn unbound(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let _taken = std::net::TcpListener::bind("0.0.0.0:7777")?;
    for docker in clients(&engine) {
        for (port, words) in [
            ("203.0.113.9:80:80", "failed to bind host port 203.0.113.9:80/tcp: cannot assign requested address"),
            ("7777:80", "failed to bind host port 0.0.0.0:7777/tcp: address already in use"),
        ] {
            let ran = docker.try_run(&["run", "--name", "web", "-p", "9999:90", "-p", port, &image, "true"])?;
            assert_eq!(ran.code, 125, "{}", ran.stderr);
            let begins = "failed to set up container networking: driver failed programming external connectivity on endpoint web (";
            assert!(ran.stderr.contains(begins) && ran.stderr.contains(words), "{}", ran.stderr);
            assert_eq!(docker.run(&["network", "inspect", "-f", "{{len .Containers}}", "bridge"])?, "0");
            docker.run(&["rm", "web"])?;
            docker.run(&["run", "--rm", "-p", "9999:90", &image, "true"])?;
        }
    }
    Ok(())
}

/// A docker-netd that starts hears of every sandbox, also of those that are just being made.
pub fn names_from_the_first(host: &Host) -> Result<()> {
    const ROUNDS: usize = 6;
    const AT_ONCE: usize = 6;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&["network", "create", "town"])?;
    for round in 0..ROUNDS {
        if round > 0 {
            testhost::kill_process(engine.netd_pid()?)?;
        }
        std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| docker.run(&["run", "-d", "--network", "town", &image, "sleep", "1000"]));
            let starts: Vec<_> = (0..AT_ONCE).map(start).collect();
            let ids = starts.into_iter().map(|start| start.join().expect("a start")).collect::<Result<Vec<_>>>()?;
            for id in &ids {
                let asked = ["exec", id, "timeout", "5", "nslookup", &id[..12]];
                docker.run(&asked).with_context(|| format!("round {round}"))?;
            }
            docker.run(&[&["rm", "-f"], &*ids.iter().map(String::as_str).collect::<Vec<_>>()].concat()).map(drop)
        })?;
    }
    docker.run(&["network", "rm", "town"])?;
    Ok(())
}

pub fn names(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["network", "create", "town"])?;
        for name in ["alice", "bob"] {
            docker.run(&[
                "run",
                "-d",
                "--name",
                name,
                "--network",
                "town",
                "--network-alias",
                &format!("{name}-too"),
                &image,
                "sleep",
                "1000",
            ])?;
        }
        docker.run(&["run", "-d", "--name", "stranger", &image, "sleep", "1000"])?;
        let address = |name: &str| {
            docker.run(&["inspect", "--format", "{{(index .NetworkSettings.Networks \"town\").IPAddress}}", name])
        };
        for (from, to) in [("alice", "bob"), ("bob", "alice"), ("bob", "alice-too")] {
            let looked_up = docker.run(&["exec", from, "nslookup", to])?;
            let expected = address(to.trim_end_matches("-too"))?;
            assert!(looked_up.contains(&expected), "{from} asks for {to} at {expected}: {looked_up}");
            docker.run(&["exec", from, "ping", "-c", "1", "-W", "5", to])?;
        }
        assert_ne!(docker.try_run(&["exec", "stranger", "nslookup", "alice"])?.code, 0, "names end with their network");
        let across = docker.try_run(&["exec", "stranger", "ping", "-c", "1", "-W", "1", &address("alice")?])?;
        assert_ne!(across.code, 0, "networks are apart: {}", across.stdout);
        let used = docker.try_run(&["network", "rm", "town"])?;
        assert_eq!(used.code, 1);
        assert!(used.stderr.contains("has active endpoints"), "{}", used.stderr);
        docker.run(&["rm", "-f", "alice", "bob", "stranger"])?;
        docker.run(&["network", "rm", "town"])?;
    }
    Ok(())
}

pub fn host_and_none(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let inside = docker.run(&["run", "--rm", "--network", "host", &image, "readlink", "/proc/self/ns/net"])?;
        assert_eq!(inside, own.display().to_string());
        let links = docker.run(&["run", "--rm", "--network", "none", &image, "ls", "/sys/class/net"])?;
        assert_eq!(links, "lo");
        let links = docker.run(&["run", "--rm", &image, "ls", "/sys/class/net"])?;
        assert_eq!(links, "eth0\nlo");
        let joined = docker.run(&["run", "-d", "--name", "first", &image, "sleep", "1000"])?;
        let address = |words: &[&str]| docker.run(&[words, &["ip", "-4", "-o", "address", "show", "eth0"]].concat());
        let of_second = address(&["run", "--rm", "--network", "container:first", &image])?;
        assert_eq!(address(&["exec", &joined])?, of_second);
        docker.run(&["rm", "-f", "first"])?;
    }
    Ok(())
}
