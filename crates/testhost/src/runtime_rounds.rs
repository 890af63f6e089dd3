//! Thousands of containers through docker-runc itself: create, start, kill, delete, some at once; what the host holds at the
//! end is what it held at the beginning.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::host::Host;

const AT_ONCE: u32 = 8;
/// Rounds that may leave something behind: the kernel's caches fill.
const WARM_UP: u32 = 40;
/// How long the kernel may need to let the last namespaces and cgroups go.
const SETTLE: Duration = Duration::from_secs(20);

/// What a host without containers holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holding {
    mounts: usize,
    groups: usize,
    processes: usize,
    files: usize,
    /// Of the whole machine, with all that runs on it: told, and not compared.
    memory_kib: u64,
}

/// Sends so many containers through; an error says what has grown.
pub fn run(host: &Host, rounds: u32) -> Result<()> {
    let runtime = Runtime::new(host)?;
    runtime.send_through("warm", WARM_UP)?;
    let before = runtime.settled(None)?;
    println!("before:  {before}");
    let begin = Instant::now();
    runtime.send_through("round", rounds)?;
    let took = begin.elapsed();
    let after = runtime.settled(Some(before))?;
    println!("after:   {after}");
    println!(
        "{rounds} rounds, {AT_ONCE} at a time, in {:.1} s: {:.0} a second",
        took.as_secs_f64(),
        f64::from(rounds) / took.as_secs_f64()
    );
    before.compare(after)
}

struct Runtime {
    program: PathBuf,
    bundle: PathBuf,
    root: PathBuf,
    group: String,
}

impl Runtime {
    /// Docker's kind of container: all namespaces, limits, a read-only root, masks, a filter.
    fn new(host: &Host) -> Result<Self> {
        let (bundle, program) = (host.path("bundle"), host.programs().join("docker-runc"));
        let rootfs = bundle.join("rootfs");
        fs::create_dir_all(&rootfs)?;
        let archive = host.path("busybox.tar");
        fs::write(&archive, crate::busybox_archive(host)?)?;
        host.command("tar", &["-C", &rootfs.to_string_lossy(), "-xf", &archive.to_string_lossy()])?;
        let spec =
            Command::new(&program).args(["spec", "--bundle"]).arg(&bundle).status().context("docker-runc spec")?;
        ensure!(spec.success(), "docker-runc spec: {spec}");
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 20 });
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mount", "ptrace", "reboot"], "action": "SCMP_ACT_ERRNO" }],
        });
        fs::write(&file, serde_json::to_vec(&config)?)?;
        Ok(Self { program, bundle, root: host.path("runtime-root"), group: host.control_group() })
    }

    /// Some at once.
    fn send_through(&self, name: &str, count: u32) -> Result<()> {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE)
                .map(|worker| {
                    let rounds = (worker..count).step_by(AT_ONCE as usize);
                    scope.spawn(move || {
                        rounds.into_iter().try_for_each(|number| self.round(&format!("{name}-{number}")))
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn round(&self, id: &str) -> Result<()> {
        let bundle = self.bundle.to_string_lossy();
        self.runc(&["create", "--bundle", &bundle, id])?;
        self.runc(&["start", id])?;
        self.runc(&["kill", id, "KILL"])?;
        // Killed is not ended: delete without force wants it stopped.
        let deadline = Instant::now() + SETTLE;
        while self.runc(&["delete", id]).is_err() {
            ensure!(Instant::now() < deadline, "{id} does not stop");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn runc(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).arg("--log").arg("/dev/null").args(words);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "docker-runc {}: {status}", words.join(" "));
        Ok(())
    }

    /// What is held when nothing goes any more, or when all is as it was before.
    fn settled(&self, before: Option<Holding>) -> Result<Holding> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let (first, pause) = (self.held()?, Duration::from_millis(200));
            thread::sleep(pause);
            let second = self.held()?;
            let still = Holding { memory_kib: first.memory_kib, ..second } == first;
            if still && before.is_none_or(|before| before.compare(second).is_ok()) || Instant::now() > deadline {
                return Ok(second);
            }
        }
    }

    fn held(&self) -> Result<Holding> {
        Ok(Holding {
            mounts: fs::read_to_string("/proc/self/mountinfo")?.lines().count(),
            groups: groups(&self.group)?,
            processes: processes()?,
            files: entries(&self.root)? + entries(&self.bundle)?,
            memory_kib: memory_in_use_kib()?,
        })
    }
}

/// Folders of cgroups that this machine has, whoever made them, but those that are other tests' own.
fn groups(own: &str) -> Result<usize> {
    let mount = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(mount)?.flatten().map(|entry| entry.path()).chain([mount.to_path_buf()]);
    let mut count = 0;
    for hierarchy in hierarchies.filter(|path| path.is_dir()) {
        let names = fs::read_dir(&hierarchy)?.flatten().filter(|entry| entry.path().is_dir());
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        count += names.filter(|name| name.starts_with("round-") || name.starts_with("warm-") || name == own).count();
    }
    Ok(count)
}

/// Those of this process namespace.
fn processes() -> Result<usize> {
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    Ok(names.filter(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())).count())
}

fn entries(folder: &Path) -> Result<usize> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.with_context(|| folder.display().to_string())?,
    };
    let mut count = 0;
    for entry in listed.flatten() {
        count += 1;
        if entry.file_type()?.is_dir() {
            count += entries(&entry.path())?;
        }
    }
    Ok(count)
}

/// What the machine could not give to a new program.
fn memory_in_use_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let value = |key: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok(value("MemTotal:")? - value("MemAvailable:")?)
}

impl Holding {
    fn compare(self, later: Self) -> Result<()> {
        let exact = [
            ("mounts", self.mounts, later.mounts),
            ("cgroups", self.groups, later.groups),
            ("processes", self.processes, later.processes),
            ("files", self.files, later.files),
        ];
        for (what, before, after) in exact {
            ensure!(after <= before, "{before} {what} became {after}");
        }
        Ok(())
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mounts, groups, processes, files, memory_kib } = self;
        let memory = memory_kib >> 10;
        write!(
            formatter,
            "{mounts} mounts, {groups} cgroups, {processes} processes, {files} files, {memory} MiB in use"
        )
    }
}
