//! Thousands of containers through one engine: what the daemons hold at the end is what they held at the beginning.
//!
//! [`run`] sends containers through in portions, of every kind in turn, and weighs the engine between them, when no
//! container is there: memory, descriptors and threads of each daemon, inodes and bytes on disk. The first portions
//! warm up; from then on nothing may grow by more than [`Weight::allowance`] says.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::docker::Docker;
use crate::engine::Engine;
use crate::host::{Host, wait_until};

const AT_ONCE: u32 = 8;
/// Portions that may leave something behind: caches fill, stores find their size.
const WARM_UP: u32 = 2;

const NETWORK: &str = "soaked";

/// How many containers, in how many portions.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    pub containers: u32,
    pub portions: u32,
}

/// What an engine without containers weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weight {
    memory_kib: u64,
    descriptors: u64,
    threads: u64,
    disk_kib: u64,
    inodes: u64,
}

/// Sends the containers through; an error says what has grown.
pub fn run(host: &Host, soak: Soak) -> Result<()> {
    ensure!(soak.portions > WARM_UP, "at least {} portions", WARM_UP + 1);
    let engine = host.engine("soak")?;
    let image = engine.import_busybox("busybox")?;
    engine.docker.run(&["network", "create", NETWORK])?;
    let mut first = None;
    for portion in 1..=soak.portions {
        send_through(&engine.docker, &image, soak.containers / soak.portions)?;
        let weight = weigh(host, &engine)?;
        println!("{:>6} containers: {weight}", soak.containers / soak.portions * portion);
        if portion == WARM_UP {
            first = Some(weight);
        }
        if let Some(first) = first {
            first.allowance(weight).with_context(|| format!("after portion {portion}, which began at {first}"))?;
        }
    }
    engine.docker.run(&["network", "rm", NETWORK])?;
    engine.docker.run(&["rmi", &image])?;
    Ok(())
}

/// Some at once, each of another kind than the one before it.
fn send_through(docker: &Docker, image: &str, count: u32) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..count).step_by(AT_ONCE as usize).try_for_each(|number| one(docker, image, number))
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn one(docker: &Docker, image: &str, number: u32) -> Result<()> {
    match number % 5 {
        0 => docker.run(&["run", "--rm", "--network", "none", image, "true"]).map(drop),
        1 => {
            let printed = docker.run(&["run", "--rm", image, "seq", "2000"])?;
            ensure!(printed.lines().count() == 2000, "lines are missing: {}", printed.len());
            Ok(())
        }
        2 => {
            let ran = docker.try_run(&["run", "--rm", "-v", "/data", image, "sh", "-c", "echo x >/data/x; exit 7"])?;
            ensure!(ran.code == 7, "exit {}: {}", ran.code, ran.stderr);
            Ok(())
        }
        3 => {
            let id = docker.run(&["run", "-d", "--network", NETWORK, "-p", "80", image, "sleep", "1000"])?;
            docker.run(&["exec", &id, "nslookup", &id[..12]])?;
            docker.run(&["port", &id])?;
            docker.run(&["rm", "-f", &id]).map(drop)
        }
        _ => {
            let id = docker.run(&["create", image, "echo", "hello"])?;
            docker.run(&["start", "--attach", &id])?;
            ensure!(docker.run(&["logs", &id])? == "hello", "the log of {id}");
            docker.run(&["rm", "-v", &id]).map(drop)
        }
    }
}

/// With the last container gone and what it had given back.
fn weigh(host: &Host, engine: &Engine) -> Result<Weight> {
    let listed = engine.docker.run(&["ps", "-aq"])?;
    ensure!(listed.is_empty(), "containers stay: {listed}");
    host.expect_no_container_left()?;
    let trash = engine.data_root().join("containerd/io.containerd.snapshotter.v1.overlayfs/snapshots");
    wait_until("the end of what is being deleted", || {
        let names = fs::read_dir(&trash).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        (!names.into_iter().any(|name| name.starts_with("rm-"))).then_some(())
    })?;
    let mut weight = Weight { memory_kib: 0, descriptors: 0, threads: 0, disk_kib: 0, inodes: 0 };
    for pid in [engine.dockerd_pid(), engine.containerd_pid()?, engine.netd_pid()?] {
        let process = Path::new("/proc").join(pid.to_string());
        weight.memory_kib += kib(&process.join("smaps_rollup"), "Pss_Anon:")?;
        weight.descriptors += fs::read_dir(process.join("fd"))?.count() as u64;
        weight.threads += fs::read_dir(process.join("task"))?.count() as u64;
    }
    for root in [engine.data_root(), engine.exec_root()] {
        weight.disk_kib += du(&root, "--block-size=1024")?;
        weight.inodes += du(&root, "--inodes")?;
    }
    Ok(weight)
}

/// A line of a file of `/proc`, in KiB.
pub(crate) fn kib(file: &Path, key: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn du(root: &Path, unit: &str) -> Result<u64> {
    let output = Command::new("du").args(["--summarize", "--one-file-system", unit]).arg(root).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split('\t').next().and_then(|number| number.parse().ok()).with_context(|| format!("du: {text}"))
}

impl Weight {
    /// An error when the later weight is more than noise above this one. The allocator and the databases have room that
    /// they fill by turns; a leak of one descriptor, thread or file a container is far beyond.
    fn allowance(self, later: Self) -> Result<()> {
        let limits = [
            ("KiB of memory", self.memory_kib, later.memory_kib, self.memory_kib / 2 + 4096),
            ("descriptors", self.descriptors, later.descriptors, 16),
            ("threads", self.threads, later.threads, 24),
            ("KiB on disk", self.disk_kib, later.disk_kib, 24 << 10),
            ("inodes", self.inodes, later.inodes, 16),
        ];
        for (what, before, after, room) in limits {
            ensure!(after <= before + room, "{before} {what} became {after}");
        }
        Ok(())
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} KiB of memory, {} descriptors, {} threads, {} KiB and {} inodes on disk",
            self.memory_kib, self.descriptors, self.threads, self.disk_kib, self.inodes
        )
    }
}
