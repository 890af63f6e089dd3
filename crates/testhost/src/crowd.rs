//! Thousands of containers on one network of one engine, all at once: started, found by name, reached, and gone again.
//!
//! A Linux bridge takes 1,024 ports, so that a crowd of more stands on several bridges joined by trunks; the first and
//! the last container of [`run`] are on different ones.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::docker::Docker;
use crate::engine::Engine;
use crate::host::{Host, wait_until};
use crate::soak::kib;

const AT_ONCE: usize = 8;
const NETWORK: &str = "crowd";
const SUBNET: &str = "10.60.0.0/16";
const SERVE: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];
/// Containers that one command removes.
const PORTION: usize = 100;
/// Look-ups of one measurement, each by a process of its own.
const LOOK_UPS: u32 = 50;

/// Starts so many, looks from one end to the other, and takes them away; prints times and memory.
pub fn run(host: &Host, containers: usize) -> Result<()> {
    ensure!(containers > 1, "a crowd is two at least");
    let engine = host.engine("crowd")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let links_before = links(host)?;
    docker.run(&["network", "create", "--subnet", SUBNET, NETWORK])?;

    let begun = Instant::now();
    start_all(docker, &image, containers)?;
    report("started", containers, begun.elapsed());
    let listed = docker.run(&["network", "inspect", "-f", "{{len .Containers}}", NETWORK])?;
    ensure!(listed == containers.to_string(), "{listed} of {containers} are on the network");
    weigh(&engine, containers)?;

    let (first, last) = ("c0".to_owned(), format!("c{}", containers - 1));
    for (from, to) in [(&first, &last), (&last, &first), (&first, &format!("c{}", containers / 2))] {
        meet(docker, from, to)?;
    }
    let begun = Instant::now();
    let look_up = format!("for i in $(seq {LOOK_UPS}); do nslookup -type=a {last} >/dev/null || exit 1; done");
    docker.run(&["exec", &first, "sh", "-c", &look_up])?;
    println!("a look-up of the last by the first, its process with it: {:?}", begun.elapsed() / LOOK_UPS);

    let names: Vec<String> = (0..containers).map(|number| format!("c{number}")).collect();
    let begun = Instant::now();
    for portion in names.chunks(PORTION) {
        docker.run(&["rm", "-f"].into_iter().chain(portion.iter().map(String::as_str)).collect::<Vec<_>>())?;
    }
    report("removed", containers, begun.elapsed());
    docker.run(&["network", "rm", NETWORK])?;
    let links = wait_until("the links to be those of before", || links(host).ok().filter(|now| *now == links_before));
    links.with_context(|| format!("links before: {links_before}"))?;
    docker.run(&["rmi", &image]).map(drop)
}

fn start_all(docker: &Docker, image: &str, containers: usize) -> Result<()> {
    let start = |number: usize| {
        let name = format!("c{number}");
        // The two ends and the middle are served from; the others only stand there.
        let serves = [0, containers / 2, containers - 1].contains(&number);
        let words: &[&str] = if serves { &SERVE } else { &["sleep", "100000"] };
        docker.run(&[&["run", "-d", "--name", &name, "--network", NETWORK, image], words].concat()).map(drop)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| scope.spawn(move || (worker..containers).step_by(AT_ONCE).try_for_each(start)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// By name, over however many bridges there are between them.
fn meet(docker: &Docker, from: &str, to: &str) -> Result<()> {
    let url = format!("http://{to}/group");
    let page = docker.run(&["exec", from, "timeout", "10", "wget", "-q", "-O", "-", &url]);
    let page = page.with_context(|| format!("{from} asks {to}"))?;
    ensure!(page.contains("root:x:0:"), "{to} told {from} {page:?}");
    Ok(())
}

fn report(what: &str, count: usize, time: Duration) {
    println!("{count} containers {what} in {time:.1?}, {:.1} a second", count as f64 / time.as_secs_f64());
}

/// What the daemons take of memory; of it, the part for each container.
fn weigh(engine: &Engine, containers: usize) -> Result<()> {
    let daemons = [
        ("dockerd", engine.dockerd_pid()),
        ("docker-containerd", engine.containerd_pid()?),
        ("docker-netd", engine.netd_pid()?),
    ];
    let mut sum = 0;
    for (name, pid) in daemons {
        let taken = kib(&Path::new("/proc").join(pid.to_string()).join("smaps_rollup"), "Pss:")?;
        println!("{name}: {taken} KiB");
        sum += taken;
    }
    println!("{} KiB of the daemons for each container", sum / containers as u64);
    Ok(())
}

fn links(host: &Host) -> Result<usize> {
    Ok(host.command("ip", &["-oneline", "link"])?.lines().count())
}
