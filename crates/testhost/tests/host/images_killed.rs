//! `kill -9` of each program while images are loaded, saved, imported, committed, pulled, pushed, pruned and removed: the store
//! stays whole, nothing is half there, and the space comes back.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use testhost::{Engine, Host, Registry, Running, busybox_archive, kill_process, wait_until};

use crate::images_archives::{Member, path, tar};

/// Where within an operation the kill falls, in hundredths of the time that it took undisturbed.
const MOMENTS: [u32; 3] = [15, 50, 85];
/// With names that docker-netd answers for.
const NETWORK: &str = "named";
/// What is not the images': folders themselves.
const SLACK: u64 = 64 << 10;
/// Megabytes of an image, so that an operation lasts long enough to be hit.
const NOISE_MB: u64 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Dockerd,
    Containerd,
    Client,
    Netd,
    /// Of a container of the base.
    Shim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Load,
    Save,
    Import,
    Commit,
    Pull,
    Push,
    Prune,
    Remove,
}

/// An engine with an image that nobody touches, and files to make others of.
struct Stage<'h> {
    host: &'h Host,
    engine: Engine<'h>,
    noise: Vec<u8>,
    saved: String,
    /// Bytes that the store took with the base alone.
    before: u64,
    /// Has the image, too, where images are pulled and pushed.
    registry: Option<Registry>,
}

pub fn at_any_moment(host: &Host) -> Result<()> {
    let stage = Stage::new(host, None)?;
    for work in [Work::Load, Work::Save, Work::Import, Work::Commit, Work::Prune, Work::Remove] {
        stage.rounds(work, &[Victim::Dockerd, Victim::Containerd], &MOMENTS)?;
    }
    Ok(())
}

pub fn client_netd_and_shim(host: &Host) -> Result<()> {
    let stage = Stage::new(host, Some(host.registry()?))?;
    let works = [Work::Load, Work::Save, Work::Import, Work::Commit, Work::Pull, Work::Push, Work::Prune, Work::Remove];
    for work in works {
        stage.rounds(work, &[Victim::Client, Victim::Netd, Victim::Shim], &[50])?;
    }
    stage.engine.docker.run(&["network", "rm", NETWORK]).map(drop)
}

impl<'h> Stage<'h> {
    fn new(host: &'h Host, registry: Option<Registry>) -> Result<Self> {
        let engine = host.engine("e")?;
        let labelled = ["import", "--change", "LABEL keep=1", "-", "base"];
        engine.docker.run_with(&labelled, &busybox_archive(host)?)?;
        let word = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let noise = tar(&[Member::File("noise", (0..(NOISE_MB << 20) / 8).flat_map(word).collect())]);
        let mut stage = Self { host, engine, noise, saved: path(host, "saved.tar"), before: 0, registry };
        stage.before = stage.taken()?;
        stage.begin(Work::Import)?.wait()?;
        stage.engine.docker.run(&["save", "-o", &stage.saved, "noise"])?;
        if stage.registry.is_some() {
            stage.engine.docker.run(&["tag", "noise", &stage.name(Work::Pull)])?;
            stage.engine.docker.run(&["push", &stage.name(Work::Pull)])?;
            stage.engine.docker.run(&["network", "create", NETWORK])?;
        }
        stage.clear()?;
        Ok(stage)
    }

    /// How the image is called that the work is about.
    fn name(&self, work: Work) -> String {
        match (work, &self.registry) {
            (Work::Pull, Some(registry)) => registry.image("noise"),
            (Work::Push, Some(registry)) => registry.image("pushed"),
            _ => "noise".to_owned(),
        }
    }

    /// The work undisturbed, and with each victim killed at each moment of it.
    fn rounds(&self, work: Work, victims: &[Victim], moments: &[u32]) -> Result<()> {
        self.prepare(work)?;
        let began = Instant::now();
        let ran = self.begin(work)?.wait()?;
        ensure!(ran.code == 0, "{work:?}: {}", ran.stderr);
        let whole = began.elapsed();
        self.clear()?;
        for (victim, moment) in victims.iter().flat_map(|victim| moments.iter().map(|moment| (*victim, *moment))) {
            let round = self.round(work, victim, whole * moment / 100);
            round.with_context(|| format!("{victim:?} killed after {moment} % of a {work:?} of {whole:?}"))?;
        }
        Ok(())
    }

    /// What the work is done on.
    fn prepare(&self, work: Work) -> Result<()> {
        let docker = &self.engine.docker;
        match work {
            Work::Load | Work::Import | Work::Pull => {}
            Work::Push => {
                docker.run(&["load", "-i", &self.saved])?;
                docker.run(&["tag", "noise", &self.name(work)])?;
            }
            Work::Save | Work::Prune | Work::Remove => drop(docker.run(&["load", "-i", &self.saved])?),
            Work::Commit => {
                let write = format!("dd if=/dev/urandom of=/noise bs=1M count={NOISE_MB}");
                docker.run(&["run", "--name", "writer", "--network", "none", "base", "sh", "-c", &write])?;
            }
        }
        Ok(())
    }

    fn begin(&self, work: Work) -> Result<Running> {
        let docker = &self.engine.docker;
        match work {
            Work::Load => docker.start(&["load", "-i", &self.saved]),
            Work::Save => {
                // Of the run before.
                let _ = fs::remove_file(self.host.path("again.tar"));
                docker.start(&["save", "-o", &path(self.host, "again.tar"), "noise"])
            }
            Work::Import => {
                let mut running = docker.start(&["import", "-", "noise"])?;
                running.write_and_close(&self.noise)?;
                Ok(running)
            }
            Work::Commit => docker.start(&["commit", "writer", "noise"]),
            Work::Pull => docker.start(&["pull", &self.name(work)]),
            Work::Push => docker.start(&["push", &self.name(work)]),
            Work::Prune => docker.start(&["image", "prune", "-a", "-f", "--filter", "label!=keep"]),
            Work::Remove => docker.start(&["rmi", "noise"]),
        }
    }

    fn round(&self, work: Work, victim: Victim, moment: Duration) -> Result<()> {
        self.prepare(work)?;
        let docker = &self.engine.docker;
        if matches!(victim, Victim::Netd | Victim::Shim) {
            docker.run(&["run", "-d", "--name", "sleeper", "--network", NETWORK, "base", "sleep", "1000"])?;
        }
        let running = self.begin(work)?;
        sleep(moment);
        self.kill(victim, &running)?;
        let ran = running.wait()?;
        wait_until("an engine that answers again", || docker.run(&["images", "-q"]).ok())?;
        let done = ran.code == 0;
        if let Work::Save = work {
            let archive = self.host.path("again.tar");
            ensure!(archive.exists() == done || victim == Victim::Client, "an archive after: {}", ran.stderr);
            ensure!(
                !archive.exists() || fs::read(&archive)? == fs::read(&self.saved)?,
                "half an archive as a whole one"
            );
        }
        if matches!(victim, Victim::Netd | Victim::Shim) {
            ensure!(done, "who has nothing to do with images was killed: {}", ran.stderr);
        }
        match victim {
            Victim::Shim => ensure!(docker.run(&["wait", "sleeper"])? == "137"),
            Victim::Netd => drop(wait_until("another docker-netd", || self.engine.netd_pid().ok())?),
            _ => {}
        }
        docker.try_run(&["rm", "-f", "sleeper"])?;
        let removes = matches!(work, Work::Prune | Work::Remove);
        self.check(work, done.then_some(!removes))?;
        // Whatever has happened, it can be done now.
        if matches!(work, Work::Load | Work::Import | Work::Pull | Work::Push) {
            // What was done and not answered any more: an import has its time, and the next one would take the name of it.
            if work != Work::Push {
                docker.try_run(&["rmi", "-f", &self.name(work)])?;
            }
            ensure!(self.begin(work)?.wait()?.code == 0, "it cannot be repeated");
            self.check(work, Some(true))?;
        }
        self.clear()
    }

    fn kill(&self, victim: Victim, client: &Running) -> Result<()> {
        match victim {
            Victim::Dockerd => {
                self.engine.kill_dockerd()?;
                self.engine.start_again()
            }
            Victim::Containerd => self.engine.kill_containerd(),
            // It may have come to its end already.
            Victim::Client => client.signal(Signal::KILL).or(Ok(())),
            Victim::Netd => kill_process(self.engine.netd_pid()?),
            Victim::Shim => {
                let pid = self.engine.docker.run(&["inspect", "--format", "{{.State.Pid}}", "sleeper"])?;
                let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
                let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("a parent")?;
                kill_process(parent.trim().parse()?)
            }
        }
    }

    /// Every image that is listed is whole, and the one that was not touched runs. `there`: what was told of the other.
    fn check(&self, work: Work, there: Option<bool>) -> Result<()> {
        let docker = &self.engine.docker;
        let listed = docker.run(&["images", "--format", "{{.Repository}}"])?;
        ensure!(listed.lines().any(|name| name == "base"), "{listed}");
        let found = listed.lines().any(|name| name == self.name(work));
        ensure!(there.is_none_or(|there| there == found), "it was told to be done: {listed}");
        ensure!(!listed.contains("<none>"), "an image without a name: {listed}");
        for name in listed.lines() {
            docker.run(&["save", "-o", &path(self.host, "whole.tar"), name])?;
        }
        ensure!(docker.run(&["run", "--rm", "--network", "none", "base", "echo", "runs"])? == "runs");
        Ok(())
    }

    /// Away with everything but the base; then only the base takes space, and nobody's bytes are left.
    fn clear(&self) -> Result<()> {
        let docker = &self.engine.docker;
        // Either may not be there.
        docker.try_run(&["rm", "-f", "writer"])?;
        for work in [Work::Load, Work::Pull, Work::Push] {
            docker.try_run(&["rmi", "-f", &self.name(work)])?;
        }
        let mut left = None;
        let cleared = wait_until("the space", || {
            left = self.left().err();
            left.is_none().then_some(())
        });
        left.map_or(Ok(()), Err).and(cleared)
    }

    fn left(&self) -> Result<()> {
        let (taken, before) = (self.taken()?, self.before);
        ensure!(taken <= before + SLACK, "{taken} bytes are taken, {before} were");
        let stored = self.engine.request("GET", "/v1.51/system/df?why=1", b"")?.body;
        let stored: serde_json::Value = serde_json::from_str(&stored)?;
        for one in stored["Stored"].as_array().context("no list of what is stored")? {
            let holders = one["HeldBy"].as_array().context("no holders")?;
            let is_image = |holder: &serde_json::Value| holder == "image base:latest";
            ensure!(!holders.is_empty() && holders.iter().all(is_image), "left: {one}");
        }
        let ingests = self.store().join("io.containerd.content.v1.content/ingest");
        let left: Vec<_> = fs::read_dir(&ingests)?.flatten().map(|entry| entry.path()).collect();
        ensure!(left.is_empty(), "{left:?} is left");
        Ok(())
    }

    fn store(&self) -> PathBuf {
        self.engine.data_root().join("containerd")
    }

    /// Bytes of the store on the disk, by du.
    fn taken(&self) -> Result<u64> {
        let mut taken = 0;
        for folder in ["io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs"] {
            let du = self.host.command("du", &["-sB1", &self.store().join(folder).display().to_string()])?;
            taken += du.split_whitespace().next().context("du")?.parse::<u64>()?;
        }
        Ok(taken)
    }
}
