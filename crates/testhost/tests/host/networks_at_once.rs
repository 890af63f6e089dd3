//! Many containers at once, and the daemon's death: what a network promised goes on, and nothing half done stays.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host, wait_until};

use crate::probes::{Probe, Protocol, Server, World};

const MANY: usize = 100;
const ROUNDS: u64 = 12;

pub fn hundred_starts(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&["network", "create", "town"])?;
    let start = |number: usize| {
        let name = format!("c{number}");
        docker.run(&["run", "-d", "--name", &name, "--network", "town", "-p", "7000", &image, "sleep", "1000"])
    };
    thread::scope(|scope| {
        let starts: Vec<_> = (0..MANY).map(|number| scope.spawn(move || start(number))).collect();
        starts.into_iter().try_for_each(|start| start.join().unwrap_or_else(|_| anyhow::bail!("panicked")).map(drop))
    })?;
    let names: Vec<String> = (0..MANY).map(|number| format!("c{number}")).collect();
    let format = "{{.State.Pid}} {{.NetworkSettings.Networks.town.IPAddress}} \
                  {{(index (index .NetworkSettings.Ports \"7000/tcp\") 0).HostPort}}";
    let words: Vec<&str> = ["inspect", "-f", format].into_iter().chain(names.iter().map(String::as_str)).collect();
    let towners = docker.run(&words)?.lines().map(Towner::parse).collect::<Result<Vec<_>>>()?;
    let addresses: BTreeSet<Ipv4Addr> = towners.iter().map(|towner| towner.address).collect();
    let ports: BTreeSet<u16> = towners.iter().map(|towner| towner.port).collect();
    ensure!(addresses.len() == MANY && ports.len() == MANY, "{} addresses, {} ports", addresses.len(), ports.len());

    engine.kill_dockerd()?;
    let servers = towners.iter().map(|towner| Server::start(Some(towner.pid), 7000)).collect::<Result<Vec<_>>>()?;
    let asks = |towner: &Towner| Probe {
        from: World::Host,
        to: (Ipv4Addr::LOCALHOST.into(), towner.port),
        protocol: Protocol::Tcp,
        is_expected: true,
    };
    let reached = Probe::all(towners.iter().map(asks).collect())?;
    ensure!(reached.iter().all(|is_reached| *is_reached), "not every port answers without dockerd: {reached:?}");
    for (name, towner) in names.iter().zip(&towners) {
        let found = resolve(host, towners[0].pid, name)?;
        ensure!(found.contains(&towner.address.to_string()), "{name} is at {}: {found}", towner.address);
    }
    servers.into_iter().try_for_each(Server::end)?;
    engine.start_again()?;
    let words: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    docker.run(&words)?;
    docker.run(&["network", "rm", "town"])?;
    Ok(())
}

struct Towner {
    pid: u32,
    address: Ipv4Addr,
    port: u16,
}

impl Towner {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let mut next = || words.next().context("a word");
        Ok(Self { pid: next()?.parse()?, address: next()?.parse()?, port: next()?.parse()? })
    }
}

/// What the embedded server says to a program in that process's network.
fn resolve(host: &Host, pid: u32, name: &str) -> Result<String> {
    let pid = pid.to_string();
    host.command("nsenter", &["--net", "--target", &pid, "busybox", "nslookup", "-type=a", name, "127.0.0.11"])
}

/// Connects and disconnects that are cut off at any moment: after the next start kernel, names and what is told agree, and
/// with the container nothing stays.
pub fn killed_in_changes(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&["network", "create", "front"])?;
    docker.run(&["network", "create", "back"])?;
    docker.run(&["run", "-d", "--name", "peer", "--network", "back", &image, "sleep", "1000"])?;
    docker.run(&["run", "-d", "--name", "web", "--network", "front", "-p", "8080:80", &image, "sleep", "1000"])?;
    let links_before = links(host)?;
    for round in 0..ROUNDS {
        let is_joined = is_joined(docker)?;
        let words: &[&str] = match is_joined {
            true => &["network", "disconnect", "back", "web"],
            false => &["network", "connect", "--alias", "shop", "--gw-priority", "1", "back", "web"],
        };
        let mut changing = docker.start(words)?;
        changing.write_and_close(b"")?;
        // The moments of a change, one after the other: nothing is waited for.
        thread::sleep(Duration::from_millis(round * 4 % 29));
        engine.kill_dockerd()?;
        let told = changing.wait()?;
        engine.start_again()?;
        agree(host, &engine, &links_before)
            .with_context(|| format!("round {round}: {words:?} ended with {} {}", told.code, told.stderr.trim()))?;
        if told.code == 0 {
            ensure!(self::is_joined(docker)? != is_joined, "round {round}: what was acknowledged is lost");
        }
    }
    docker.run(&["rm", "-f", "web", "peer"])?;
    docker.run(&["network", "rm", "front", "back"])?;
    Ok(())
}

fn is_joined(docker: &Docker) -> Result<bool> {
    let format = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    Ok(docker.run(&["inspect", "-f", format, "web"])?.contains("back"))
}

fn links(host: &Host) -> Result<usize> {
    Ok(host.command("ip", &["-oneline", "link"])?.lines().count())
}

/// Every view of whether the container is on the second network.
fn agree(host: &Host, engine: &Engine, links_before: &usize) -> Result<()> {
    let docker = &engine.docker;
    let is_joined = is_joined(docker)?;
    let listed = docker.run(&["network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "back"])?;
    ensure!(listed.contains("web") == is_joined, "joined: {is_joined}, listed: {listed}");
    let inside = docker.run(&["exec", "web", "ip", "-4", "-oneline", "address"])?;
    ensure!(inside.contains("eth1") == is_joined, "joined: {is_joined}, inside: {inside}");
    let expected = links_before + usize::from(is_joined);
    wait_until("the links that there should be", || (links(host).ok()? == expected).then_some(()))?;
    let found = docker.try_run(&["exec", "peer", "nslookup", "-type=a", "web"])?;
    ensure!((found.code == 0) == is_joined, "joined: {is_joined}, found: {}", found.stdout);
    // Its published port leads to the network with the way out.
    let pid: u32 = docker.run(&["inspect", "-f", "{{.State.Pid}}", "web"])?.parse()?;
    let server = Server::start(Some(pid), 80)?;
    let to = (Ipv4Addr::LOCALHOST.into(), 8080);
    let probe = Probe { from: World::Host, to, protocol: Protocol::Tcp, is_expected: true };
    let reached = Probe::all(vec![probe]);
    server.end()?;
    ensure!(reached? == [true], "the published port does not answer");
    Ok(())
}
