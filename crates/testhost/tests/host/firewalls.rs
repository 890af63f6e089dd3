//! The daemon's packet filter beside those of the host: nobody's rules are touched, and ours come back.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testhost::{Docker, Engine, HOST_ADDRESS, Host, Outside, wait_until};

use crate::clients;
use crate::probes::{Probe, Protocol, Server, World};

const PORT: u16 = 8080;

/// A container with a published port, and what serves it.
fn serve(docker: &Docker, image: &str) -> Result<(Server, String)> {
    docker.run(&["run", "-d", "--name", "web", "-p", "8080:80", image, "sleep", "1000"])?;
    let pid = docker.run(&["inspect", "-f", "{{.State.Pid}}", "web"])?.parse()?;
    let address = docker.run(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"])?;
    Ok((Server::start(Some(pid), 80)?, address))
}

/// Whether the world outside is answered at an address and port as is expected.
fn is_as_expected(outside: &Outside<'_>, to: (&str, u16), is_expected: bool) -> Result<bool> {
    let (from, to) = (World::Of(outside.pid()), (to.0.parse()?, to.1));
    Ok(Probe::all(vec![Probe { from, to, protocol: Protocol::Tcp, is_expected }])? == [is_expected])
}

fn is_reached(outside: &Outside<'_>) -> Result<bool> {
    is_as_expected(outside, (HOST_ADDRESS, PORT), true)
}

fn is_unreachable(outside: &Outside<'_>) -> Result<bool> {
    is_as_expected(outside, (HOST_ADDRESS, PORT), false)
}

fn nft(host: &Host, rules: &str) -> Result<()> {
    let path = host.path("rules.nft");
    fs::write(&path, rules)?;
    host.command("nft", &["-f", &path.display().to_string()]).map(drop)
}

const DROPS: &str = "table inet own {\n chain passing { type filter hook forward priority 5; policy drop; }\n}";
/// What the rule for marks is for: the host's own firewall says which packets of others may enter.
const MARKS: &str = "table inet marks {
    chain early { type filter hook prerouting priority -200; iifname \"wire0\" meta mark set 7; }
}";

/// What the host drops stays dropped; `docker info` says so, and by which option packets may be marked.
pub fn policy(host: &Host) -> Result<()> {
    let engine = host.engine_with("e", &["--bridge-accept-fwmark", "7"])?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    let docker = &engine.docker;
    let (server, own) = serve(docker, &image)?;
    ensure!(is_reached(&outside)?);
    ensure!(is_as_expected(&outside, (&own, 80), false)?, "a container is reached at its own address");
    nft(host, MARKS)?;
    ensure!(is_as_expected(&outside, (&own, 80), true)?, "a marked packet does not pass");
    nft(host, DROPS)?;
    for docker in clients(&engine) {
        let told = docker.try_run(&["info"])?;
        let told = [told.stdout, told.stderr].concat();
        ensure!(told.contains("WARNING: the host's firewall drops forwarded packets (inet own passing)"), "{told}");
        ensure!(told.contains("--bridge-accept-fwmark"), "{told}");
    }
    ensure!(is_unreachable(&outside)? && is_as_expected(&outside, (&own, 80), false)?, "the policy is passed by");
    host.command("nft", &["delete", "table", "inet", "own"])?;
    ensure!(!docker.run(&["info", "-f", "{{json .Warnings}}"])?.contains("drops forwarded packets"));
    ensure!(is_reached(&outside)?);
    host.command("nft", &["delete", "table", "inet", "marks"])?;
    server.end()?;
    engine.docker.run(&["rm", "-f", "web"]).map(drop)
}

/// `nft flush ruleset` by hand; and as Debian's nftables.service does it when it starts again, with rules behind it.
pub fn restarted(host: &Host) -> Result<()> {
    const SECOND: Duration = Duration::from_secs(1);
    let mut waited = Vec::new();
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    let (server, _) = serve(&engine.docker, &image)?;
    for rules in [
        "flush ruleset",
        "flush ruleset\ntable inet filter {\n chain input { type filter hook input priority 0; tcp dport 22 accept; }\n}",
        "flush ruleset\ntable inet filter {\n chain forward { type filter hook forward priority 0; }\n}",
    ] {
        nft(host, rules)?;
        let flushed = Instant::now();
        wait_until("our table is back", || {
            host.command("nft", &["list", "ruleset"]).ok().filter(|rules| rules.contains("map published4"))
        })?;
        waited.push(flushed.elapsed());
        ensure!(is_reached(&outside)?, "{rules:?}");
        let others = host.command("nft", &["list", "tables"])?.contains("table inet filter");
        ensure!(others == rules.contains("inet filter"), "{rules:?}: the host's own rules are not as it made them");
    }
    // A busy machine may be late with one of them.
    ensure!(waited.iter().any(|waited| *waited < SECOND), "{waited:?}");
    host.command("nft", &["delete", "table", "inet", "filter"])?;
    server.end()?;
    engine.docker.run(&["rm", "-f", "web"]).map(drop)
}

/// Docker's chains in the tables of iptables: the administrator's first, over the daemon's restart too.
pub fn chains(host: &Host) -> Result<()> {
    let file = host.path("daemon.json");
    fs::write(&file, r#"{"firewall-backend": "iptables"}"#)?;
    host.command("iptables", &["-P", "FORWARD", "DROP"])?;
    let engine: Engine<'_> = host.engine_with("e", &["--config-file", &file.display().to_string()])?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    let docker = &engine.docker;
    let (server, own) = serve(docker, &image)?;
    ensure!(docker.run(&["info", "-f", "{{.FirewallBackend.Driver}}"])? == "iptables");
    ensure!(is_reached(&outside)?);
    let rule = ["DOCKER-USER", "-p", "tcp", "-d", &own, "--dport", "80", "-j", "DROP"];
    let change = |how: &str| host.command("iptables", &[&[how], &rule[..]].concat()).map(drop);
    change("-A")?;
    ensure!(is_unreachable(&outside)?, "the administrator's rule is not heard first");
    engine.kill_dockerd()?;
    engine.start_again()?;
    change("-C")?;
    let order = host.command("iptables", &["-S", "FORWARD"])?;
    let jumps: Vec<&str> = order.lines().filter_map(|line| line.strip_prefix("-A FORWARD -j ")).collect();
    ensure!(jumps == ["DOCKER-USER", "DOCKER-FORWARD"], "{order}");
    ensure!(is_unreachable(&outside)?);
    change("-D")?;
    ensure!(is_reached(&outside)?);
    // A network that comes is accepted, one that is gone is not.
    docker.run(&["network", "create", "-o", "com.docker.network.bridge.name=br-own", "own"])?;
    ensure!(host.command("iptables", &["-S", "DOCKER-FORWARD"])?.contains("-o br-own -j ACCEPT"));
    docker.run(&["network", "rm", "own"])?;
    ensure!(!host.command("iptables", &["-S", "DOCKER-FORWARD"])?.contains("br-own"));
    server.end()?;
    engine.docker.run(&["rm", "-f", "web"]).map(drop)
}
