//! `make bench-trace`: where the time of one `docker run` goes, hop by hop.
//!
//! Nothing in the programs is changed for it: the kernel's own trace (Documentation/trace/events.rst) tells when a process
//! is forked, executes a program and ends, and these moments are the borders between the programs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};
use testhost::Host;

const ROUNDS: usize = 21;
const WARM_UP: usize = 3;
/// Until what a run leaves to be cleared away in the background is gone.
const PAUSE: Duration = Duration::from_millis(250);
const EVENTS: [&str; 3] = ["sched_process_fork", "sched_process_exec", "sched_process_exit"];

/// What happens between one border and the next.
const HOPS: [&str; 9] = [
    "docker, dockerd, docker-containerd: create, network, snapshot, bundle",
    "docker-containerd-shim: its serving process, the root file system, the pump",
    "runtime, create: the specification becomes a plan",
    "runtime, create: the plan is carried out",
    "up to dockerd, clients are attached, down again, the program is let through",
    "the container's own program",
    "the exit goes up, Delete comes down",
    "runtime, delete",
    "shim, containerd and dockerd remove, docker ends",
];

pub fn trace() -> Result<()> {
    let programs = crate::programs("release")?;
    ensure!(programs.join("dockerd").is_file(), "build the release programs first: make bench-trace does");
    let host = Host::enter_with(programs.clone())?;
    let measured = measure(&host, &programs);
    host.end()?;
    print(&measured?);
    Ok(())
}

/// Of each round, the borders in microseconds. Others of this machine may run containers of theirs meanwhile.
fn measure(host: &Host, programs: &Path) -> Result<Vec<Vec<f64>>> {
    let engine = host.engine("traced")?;
    let image = engine.import_busybox("busybox")?;
    let run = || engine.docker.run(&["run", "--rm", &image, "true"]);
    for _ in 0..WARM_UP {
        run()?;
    }
    let server = fork_server(programs)?;
    let kernel = Trace::begin(host)?;
    for _ in 0..ROUNDS {
        run()?;
        std::thread::sleep(PAUSE);
    }
    // Looking into the buffer or emptying it holds up whoever runs meanwhile: once, at the end.
    let events = kernel.read()?;
    let docker = programs.join("docker");
    let is_begin = |event: &Event| matches!(&event.what, What::Executed(path) if Path::new(path) == docker);
    let begins: Vec<usize> = (0..events.len()).filter(|&at| is_begin(&events[at])).collect();
    ensure!(begins.len() == ROUNDS, "{} of {ROUNDS} runs are in the trace", begins.len());
    let ends = begins.iter().skip(1).copied().chain([events.len()]);
    begins.iter().zip(ends).map(|(&begin, end)| borders(programs, server, &events[begin..end])).collect()
}

/// The process that shims are copied from.
fn fork_server(programs: &Path) -> Result<u32> {
    let program = programs.join("docker-containerd-shim");
    let is_it = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        line.starts_with(&*program.to_string_lossy()) && line.trim_end_matches('\0').ends_with("fork-server")
    };
    let processes = fs::read_dir("/proc")?.flatten();
    let mut found = processes.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_it(&line)));
    let process = found.next().context("no fork server of shims runs")?;
    ensure!(found.next().is_none(), "another engine of these programs runs");
    Ok(process.file_name().to_string_lossy().parse()?)
}

/// A buffer of our own among the kernel's traces.
struct Trace(PathBuf);

impl Trace {
    fn begin(host: &Host) -> Result<Self> {
        let place = host.path("tracing");
        fs::create_dir(&place)?;
        mount("tracefs", &place, "tracefs", MountFlags::empty(), None)
            .context("this kernel has no tracefs (CONFIG_FTRACE)")?;
        let buffer = place.join("instances").join(format!("longshore-{}", std::process::id()));
        fs::create_dir(&buffer)?;
        let trace = Self(buffer);
        fs::write(trace.0.join("trace_clock"), "mono")?;
        for event in EVENTS {
            fs::write(trace.0.join("events/sched").join(event).join("enable"), "1").context(event)?;
        }
        Ok(trace)
    }

    fn read(&self) -> Result<Vec<Event>> {
        let text = fs::read_to_string(self.0.join("trace"))?;
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(Event::parse).collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // The buffer ends with the mount at the latest.
        let _ = fs::remove_dir(&self.0);
    }
}

#[derive(Debug, PartialEq)]
struct Event {
    at_us: f64,
    pid: u32,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Forked(u32),
    Executed(String),
    Ended,
}

impl Event {
    /// ` comm-PID [CPU] flags SECONDS: name: key=value …`
    fn parse(line: &str) -> Option<Self> {
        let at = EVENTS.iter().find_map(|name| line.find(&format!(": {name}: ")))?;
        let (before, after) = line.split_at(at);
        let at_us = before.rsplit(' ').next()?.parse::<f64>().ok()? * 1e6;
        let value = |key: &str| after.split(' ').find_map(|word| word.strip_prefix(key));
        let number = |key: &str| value(key)?.parse::<u32>().ok();
        let what = match after {
            _ if after.starts_with(": sched_process_fork") => What::Forked(number("child_pid=")?),
            _ if after.starts_with(": sched_process_exec") => What::Executed(value("filename=")?.to_owned()),
            _ => What::Ended,
        };
        Some(Self { at_us, pid: number("pid=")?, what })
    }
}

/// Finds the processes of one run by who forked whom.
fn borders(programs: &Path, server: u32, events: &[Event]) -> Result<Vec<f64>> {
    let executed = |name: &str| {
        let program = programs.join(name);
        events.iter().find(|event| matches!(&event.what, What::Executed(path) if Path::new(path) == program))
    };
    let mut children: HashMap<u32, Vec<(u32, f64)>> = HashMap::new();
    for event in events {
        if let What::Forked(child) = event.what {
            children.entry(event.pid).or_default().push((child, event.at_us));
        }
    }
    let child = |parent: u32, nth: usize| children.get(&parent).and_then(|list| list.get(nth)).copied();
    let exec_of = |pid: u32| {
        events
            .iter()
            .rfind(|event| event.pid == pid && matches!(event.what, What::Executed(_)))
            .map(|event| event.at_us)
    };
    let end_of =
        |pid: u32| events.iter().rfind(|event| event.pid == pid && event.what == What::Ended).map(|event| event.at_us);
    let found = || {
        let docker = executed("docker")?;
        let (shim, started) = child(server, 0)?;
        let [(create, created), (delete, deleted)] = [child(shim, 0)?, child(shim, 1)?];
        let (container, forked) = *children.get(&create)?.last()?;
        Some(vec![
            docker.at_us,
            started,
            created,
            forked,
            end_of(create)?,
            exec_of(container)?,
            end_of(container)?,
            deleted,
            end_of(delete)?,
            end_of(docker.pid)?,
        ])
    };
    found().context("the trace of a run lacks one of its processes")
}

fn print(rounds: &[Vec<f64>]) {
    let whole = median(rounds.iter().map(|round| round[HOPS.len()] - round[0]));
    println!("docker run --rm busybox true, medians of {} runs\n", rounds.len());
    for (number, what) in HOPS.iter().enumerate() {
        let us = median(rounds.iter().map(|round| round[number + 1] - round[number]));
        println!("{:>7.2} ms {:>4.0} %  {what}", us / 1e3, 100.0 * us / whole);
    }
    println!("{:>7.2} ms         in all", whole / 1e3);
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_trace_become_events() {
        let fork =
            " a b-c-61 [000] ..... 12.000250: sched_process_fork: comm=a b-c pid=61 child_comm=a b-c child_pid=62";
        assert_eq!(Event::parse(fork), Some(Event { at_us: 12_000_250.0, pid: 61, what: What::Forked(62) }));
        let exec = " x-62 [001] ..... 12.5: sched_process_exec: filename=/proc/self/fd/14 pid=62 old_pid=62";
        let what = What::Executed("/proc/self/fd/14".to_owned());
        assert_eq!(Event::parse(exec), Some(Event { at_us: 12_500_000.0, pid: 62, what }));
        let end = " x-62 [001] ..... 13.0: sched_process_exit: comm=x pid=62 prio=120 group_dead=true";
        assert_eq!(Event::parse(end), Some(Event { at_us: 13_000_000.0, pid: 62, what: What::Ended }));
        assert_eq!(Event::parse("CPU:0 [LOST 12 EVENTS]"), None);
    }

    #[test]
    fn a_run_without_its_processes_is_no_measurement() {
        let event = Event { at_us: 1.0, pid: 5, what: What::Executed("/bin/docker".to_owned()) };
        assert!(borders(Path::new("/bin"), 1, &[event]).is_err());
    }
}
