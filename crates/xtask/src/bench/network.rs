//! Networks: throughput of a bridge and of a published port beside links and rules made by hand, connections beside a
//! thousand published ports, what a container's network takes to be made, and answers of the embedded name server.

mod by_hand;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use testhost::{Docker, HOST_ADDRESS, Host, Outside};

use super::{Row, quietly, take_turns};
use by_hand::ByHand;
use traffic::{Net, connect_ms, look_up_ms, throughput};

/// Ports published beside the one that is measured.
const PORTS: usize = 1000;
const SERVED: u16 = 7000;
const HOST_PORT: u16 = 8080;
const ROUNDS: usize = 31;
const STARTS: usize = 30;
const LOOK_UPS: usize = 2000;
const CONNECTIONS: usize = 2000;

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let engine = host.engine("network")?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    let by_hand = ByHand::make(host)?;
    let ours = Side::start(&engine.docker, &image, &outside)?;
    let mut rows = vec![
        against_hand("network: TCP between containers of a bridge", &ours.bridge(), &by_hand.bridge())?,
        against_hand("network: TCP to a published port", &ours.published(), &by_hand.published())?,
        ports(&engine.docker, &image, &ours)?,
        acquire(&engine.docker, &image)?,
    ];
    let our_answer = look_up_ms(ours.near, "served", LOOK_UPS)?;
    rows.push(budget("network: an answer of the name server", our_answer, 0.2));
    ours.end(&engine.docker)?;

    // Docker Engine's in the same run, on the same host.
    let theirs = host.docker_of_debian("network-theirs")?;
    theirs.run_with(&["import", "--change", "CMD [\"sh\"]", "-", &image], &testhost::busybox_archive(host)?)?;
    let docker = Side::start(&theirs, &image, &outside)?;
    let their_rates = [throughput(&docker.bridge())?, throughput(&docker.published())?];
    let their_answer = look_up_ms(docker.near, "served", LOOK_UPS)?;
    docker.end(&theirs)?;
    let ours = Side::start(&engine.docker, &image, &outside)?;
    let our_rates = [throughput(&ours.bridge())?, throughput(&ours.published())?];
    ours.end(&engine.docker)?;
    for (at, name) in
        ["network: TCP between containers of a bridge", "network: TCP to a published port"].iter().enumerate()
    {
        rows.push(rate(name, our_rates[at], "Docker Engine", their_rates[at], None));
    }
    rows.push(Row {
        against: "Docker Engine".into(),
        theirs: their_answer,
        target: None,
        ..budget("network: an answer of the name server", our_answer, 0.2)
    });
    Ok(rows)
}

fn rate(name: &str, ours: f64, against: &str, theirs: f64, target: Option<f64>) -> Row {
    Row { name: name.into(), ours, against: against.into(), theirs, unit: "Gb/s", target, more_is_better: true }
}

/// A budget of our own.
fn budget(name: &str, ours: f64, budget: f64) -> Row {
    let against = "the budget".into();
    Row { name: name.into(), ours, against, theirs: budget, unit: "ms", target: Some(1.0), more_is_better: false }
}

/// In turns, each first as often as second: a busy machine slows both.
fn against_hand(name: &str, ours: &Net, by_hand: &Net) -> Result<Row> {
    let nets = [ours, by_hand];
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for at in [round % 2, (round + 1) % 2] {
            rates[at].push(throughput(nets[at])?);
        }
    }
    let [ours, theirs] = rates.map(median);
    Ok(rate(name, ours, "by hand", theirs, Some(0.95)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A connection to the published port, alone and with a thousand others beside it.
fn ports(docker: &Docker, image: &str, side: &Side) -> Result<Row> {
    let published = side.published();
    let alone = connect_ms(&published, CONNECTIONS)?;
    let range = format!("20000-{}:20000-{}", 20000 + PORTS - 1, 20000 + PORTS - 1);
    docker.run(&["run", "-d", "--name", "crowd", "-p", &range, image, "sleep", "1000"])?;
    let crowded = connect_ms(&published, CONNECTIONS);
    docker.run(&["rm", "-f", "crowd"])?;
    let name = format!("network: a connection beside {PORTS} published ports");
    Ok(Row {
        name,
        ours: crowded?,
        against: "alone".into(),
        theirs: alone,
        unit: "ms",
        target: Some(1.05),
        more_is_better: false,
    })
}

/// What a run with a network takes longer than one without.
fn acquire(docker: &Docker, image: &str) -> Result<Row> {
    docker.run(&["network", "create", "acquired"])?;
    let mut with = || quietly(&mut docker.command(&["run", "--rm", "--network", "acquired", image, "true"]));
    let mut without = || quietly(&mut docker.command(&["run", "--rm", "--network", "none", image, "true"]));
    let times = take_turns(STARTS, &mut [("with", &mut with), ("without", &mut without)])?;
    docker.run(&["network", "rm", "acquired"])?;
    Ok(budget("network: made and taken down in a run, above none", times[0] - times[1], 3.0))
}

/// Two containers of one engine on a network, one of them with a published port, and the machine outside.
struct Side {
    served: u32,
    near: u32,
    address: Ipv4Addr,
    outside: u32,
}

impl Side {
    fn start(docker: &Docker, image: &str, outside: &Outside) -> Result<Self> {
        docker.run(&["network", "create", "measured"])?;
        let publish = format!("{HOST_PORT}:{SERVED}");
        let words = ["run", "-d", "--name", "served", "--network", "measured", "-p", &publish, image, "sleep", "10000"];
        docker.run(&words)?;
        docker.run(&["run", "-d", "--name", "near", "--network", "measured", image, "sleep", "10000"])?;
        let pid = |name: &str| -> Result<u32> { Ok(docker.run(&["inspect", "-f", "{{.State.Pid}}", name])?.parse()?) };
        let format = "{{.NetworkSettings.Networks.measured.IPAddress}}";
        let address = docker.run(&["inspect", "-f", format, "served"])?.parse().context("an address")?;
        Ok(Self { served: pid("served")?, near: pid("near")?, address, outside: outside.pid() })
    }

    fn bridge(&self) -> Net {
        Net { server: self.served, client: self.near, listen: SERVED, to: SocketAddr::new(self.address.into(), SERVED) }
    }

    fn published(&self) -> Net {
        let host: IpAddr = HOST_ADDRESS.parse().unwrap_or(Ipv4Addr::LOCALHOST.into());
        Net { server: self.served, client: self.outside, listen: SERVED, to: SocketAddr::new(host, HOST_PORT) }
    }

    fn end(&self, docker: &Docker) -> Result<()> {
        docker.run(&["rm", "-f", "served", "near"])?;
        docker.run(&["network", "rm", "measured"]).map(drop)
    }
}
