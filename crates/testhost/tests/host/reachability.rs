//! Who reaches whom: what `docs/reachability.md` says, measured with our engine and with Debian's Docker Engine.
//!
//! The page is the expectation: a row a network, a column a way, and in each cell what TCP and UDP do over IPv4 and IPv6.
//! Servers and clients are threads in the network namespaces of containers, of the host, and of a machine outside.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use testhost::{Docker, Host, Outside, wait_until};

use crate::probes::{Probe, Protocol, Server, World};

const PAGE: &str = include_str!("../../../../docs/reachability.md");
/// What is published, and what is not.
const PUBLISHED: u16 = 80;
const OTHER: u16 = 81;
const OF_THE_WORLD: u16 = 9000;
const HOST4: &str = "192.0.2.1";
const WORLD4: &str = "192.0.2.2";
const HOST6: &str = "2001:db8::1";
const WORLD6: &str = "2001:db8::2";

/// The columns of the page, in its order.
const WAYS: [&str; 12] = [
    "host to container",
    "same network",
    "other network, published",
    "other network, other",
    "world, published",
    "world, other",
    "world to host port",
    "host to host port",
    "other network to host port",
    "same network to host port",
    "itself to host port",
    "container to world",
];

/// The four marks of a cell, in its order.
const KINDS: [(Protocol, bool); 4] =
    [(Protocol::Tcp, true), (Protocol::Udp, true), (Protocol::Tcp, false), (Protocol::Udp, false)];

/// Further options of `docker network create` for a row of the page.
const ROWS: [(&str, &[&str]); 7] = [
    ("nat", &[]),
    ("nat-unprotected", &[MODE4_UNPROTECTED, MODE6_UNPROTECTED]),
    (
        "routed",
        &["com.docker.network.bridge.gateway_mode_ipv4=routed", "com.docker.network.bridge.gateway_mode_ipv6=routed"],
    ),
    (
        "isolated",
        &[
            "--internal",
            "com.docker.network.bridge.gateway_mode_ipv4=isolated",
            "com.docker.network.bridge.gateway_mode_ipv6=isolated",
        ],
    ),
    ("internal", &["--internal"]),
    ("without icc", &["com.docker.network.bridge.enable_icc=false"]),
    ("without masquerade", &["com.docker.network.bridge.enable_ip_masquerade=false"]),
];
const MODE4_UNPROTECTED: &str = "com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected";
const MODE6_UNPROTECTED: &str = "com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected";

/// One engine's table: row, then a cell a column.
type Table = BTreeMap<String, Vec<String>>;

pub fn longshore(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    measure(host, "Longshore", &engine.docker, &image)
}

/// The columns beside ours are Docker's own behaviour, not what somebody remembers of it.
pub fn docker(host: &Host) -> Result<()> {
    for folder in ["/run/docker", "/run/containerd"] {
        host.cover(folder)?;
    }
    // A namespace begins with what the machine has; Docker closes what it forwards only where it switched that on itself.
    for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(format!("/proc/sys/net/{family}"), "0")?;
    }
    let docker = host.docker_of_debian_with("d", &["--experimental", "--ip6tables"])?;
    let archive = testhost::busybox_archive(host)?;
    docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", "busybox"], &archive)?;
    measure(host, "Docker 20.10", &docker, "busybox")?;
    // Its chains and its bridge stay when it ends.
    host.expect_traces()
}

fn measure(host: &Host, engine: &str, docker: &Docker, image: &str) -> Result<()> {
    let expected = expectations(engine)?;
    let outside = Outside::join(host)?;
    join_by_ipv6(host, &outside)?;
    let world = Server::start(Some(outside.pid()), OF_THE_WORLD)?;
    let places = Places { docker, image, outside: outside.pid() };
    places.create_network("far", &[], 99)?;
    let far = places.start("far", "far", &[])?;
    let mut wrong = Vec::new();
    for (number, (row, options)) in ROWS.iter().enumerate() {
        let Some(expected) = expected.get(*row) else { continue };
        let found = places.measure_row(row, options, number as u16, far.pid, expected)?;
        if found != *expected {
            wrong.push(format!("| {row} | {engine} | {} |", found.join(" | ")));
        }
    }
    docker.run(&["rm", "-f", "far"])?;
    docker.run(&["network", "rm", "far"])?;
    world.end()?;
    ensure!(wrong.is_empty(), "{engine} is otherwise than the page says:\n{}", wrong.join("\n"));
    Ok(())
}

/// The page's rows of one engine.
fn expectations(engine: &str) -> Result<Table> {
    let mut table = Table::new();
    let rows = PAGE.lines().filter(|line| line.starts_with('|'));
    for line in rows {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        if cells.get(1).is_some_and(|cell| cell == engine) {
            ensure!(cells.len() == WAYS.len() + 2, "{line}");
            table.insert(cells[0].clone(), cells[2..].to_vec());
        }
    }
    ensure!(!table.is_empty(), "the page says nothing of {engine}");
    Ok(table)
}

fn join_by_ipv6(host: &Host, outside: &Outside) -> Result<()> {
    host.command("ip", &["address", "add", &format!("{HOST6}/64"), "dev", "wire0", "nodad"])?;
    outside.command(&["ip", "address", "add", &format!("{WORLD6}/64"), "dev", "eth0", "nodad"])?;
    outside.command(&["ip", "route", "add", "default", "via", HOST6])?;
    Ok(())
}

struct Places<'p> {
    docker: &'p Docker,
    image: &'p str,
    outside: u32,
}

/// A container that runs.
struct Container {
    pid: u32,
    ipv4: IpAddr,
    ipv6: IpAddr,
}

impl Container {
    fn address(&self, is_ipv4: bool) -> IpAddr {
        if is_ipv4 { self.ipv4 } else { self.ipv6 }
    }
}

impl Places<'_> {
    fn create_network(&self, name: &str, options: &[&str], number: u16) -> Result<()> {
        let subnets = [format!("10.60.{number}.0/24"), format!("fd60:{number}::/64")];
        let mut words = vec!["network", "create", "--ipv6", "--subnet", &subnets[0], "--subnet", &subnets[1]];
        for option in options {
            words.extend(if option.starts_with("--") { vec![*option] } else { vec!["--opt", *option] });
        }
        words.push(name);
        self.docker.run(&words).map(drop)
    }

    fn start(&self, name: &str, network: &str, publish: &[&str]) -> Result<Container> {
        let head = ["run", "-d", "--name", name, "--network", network];
        self.docker.run(&[&head[..], publish, &[self.image, "sleep", "10000"]].concat())?;
        let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}";
        let text = self.docker.run(&["inspect", "--format", format, name])?;
        let [pid, ipv4, ipv6] = text.split(' ').collect::<Vec<_>>()[..] else { bail!("{name} is {text:?}") };
        Ok(Container { pid: pid.parse()?, ipv4: ipv4.parse()?, ipv6: ipv6.parse()? })
    }

    fn measure_row(
        &self,
        row: &str,
        options: &[&str],
        number: u16,
        far: u32,
        expected: &[String],
    ) -> Result<Vec<String>> {
        let network = format!("net{number}");
        let host_port = 8000 + number;
        self.create_network(&network, options, number)?;
        let ports = [format!("{host_port}:{PUBLISHED}/tcp"), format!("{host_port}:{PUBLISHED}/udp")];
        let served = self.start("served", &network, &["-p", &ports[0], "-p", &ports[1]])?;
        let near = self.start("near", &network, &[])?;
        let servers = [Server::start(Some(served.pid), PUBLISHED)?, Server::start(Some(served.pid), OTHER)?];
        for pid in [served.pid, near.pid, far] {
            settled(pid)?;
        }
        let way = |way: &str, is_ipv4: bool| -> Result<(World, (IpAddr, u16))> {
            let own = served.address(is_ipv4);
            let host = if is_ipv4 { HOST4 } else { HOST6 }.parse::<IpAddr>()?;
            let loopback = if is_ipv4 { "127.0.0.1" } else { "::1" }.parse::<IpAddr>()?;
            let world = if is_ipv4 { WORLD4 } else { WORLD6 }.parse::<IpAddr>()?;
            let inside = |pid: u32| World::Of(pid);
            Ok(match way {
                "host to container" => (World::Host, (own, PUBLISHED)),
                "same network" => (inside(near.pid), (own, OTHER)),
                "other network, published" => (inside(far), (own, PUBLISHED)),
                "other network, other" => (inside(far), (own, OTHER)),
                "world, published" => (inside(self.outside), (own, PUBLISHED)),
                "world, other" => (inside(self.outside), (own, OTHER)),
                "world to host port" => (inside(self.outside), (host, host_port)),
                "host to host port" => (World::Host, (loopback, host_port)),
                "other network to host port" => (inside(far), (host, host_port)),
                "same network to host port" => (inside(near.pid), (host, host_port)),
                "itself to host port" => (inside(served.pid), (host, host_port)),
                "container to world" => (inside(served.pid), (world, OF_THE_WORLD)),
                other => bail!("no such way: {other}"),
            })
        };
        // All at once: what is not reached costs its patience only once.
        let mut probes = Vec::new();
        for (column, cell) in WAYS.iter().zip(expected) {
            for (at, (protocol, is_ipv4)) in KINDS.iter().enumerate() {
                let (from, to) = way(column, *is_ipv4)?;
                let is_expected = cell.as_bytes().get(at) == Some(&b'+');
                probes.push(Probe { from, to, protocol: *protocol, is_expected });
            }
        }
        let reached = Probe::all(probes).with_context(|| row.to_owned())?;
        servers.into_iter().try_for_each(Server::end)?;
        self.docker.run(&["rm", "-f", "served", "near"])?;
        self.docker.run(&["network", "rm", &network])?;
        let mark = |is_reached: &bool| if *is_reached { '+' } else { '-' };
        Ok(reached.chunks(KINDS.len()).map(|cell| cell.iter().map(mark).collect()).collect())
    }
}

/// No address of the namespace is still being looked for elsewhere.
fn settled(pid: u32) -> Result<()> {
    let tentative = || {
        let pid = pid.to_string();
        let words = ["--net", "--target", &pid, "ip", "-6", "-o", "address", "show", "tentative"];
        std::process::Command::new("nsenter").args(words).output().ok()
    };
    wait_until("addresses that are settled", || tentative()?.stdout.is_empty().then_some(()))
}
