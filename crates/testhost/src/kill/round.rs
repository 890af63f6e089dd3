//! One round: what is under way, who dies, and what has to be true then and afterwards.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::cast::Cast;
use super::journal::Journal;
use crate::docker::Ran;
use crate::engine::{self, Engine};
use crate::host::{Host, wait_until};
use crate::random::Random;
use crate::running::Running;
use crate::traces::Traces;

/// A command lasts some tens of milliseconds: the kill falls before, within and behind it.
const MOMENT: Duration = Duration::from_millis(250);
/// An ender's life.
const LIFE: Duration = Duration::from_millis(1500);
/// Lines of a kilobyte that the flood prints, in bursts of two megabytes: about ten rounds.
const FLOOD_BURSTS: u64 = 24;
const FLOOD_LINES: u64 = 2000;

const SHIM_SOCKETS: &str = "/containerd/daemon/s/";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    Dockerd,
    Containerd,
    DockerdFirst,
    ContainerdFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Nothing,
    Run,
    RunAndRemove,
    Exec,
    Stop,
    Remove,
}

/// A container that ends by itself with a code that nobody else uses, or was meant to.
struct Ender {
    name: String,
    code: u8,
    /// Whether the command that made it succeeded; otherwise it may not exist, or never have started.
    sure: bool,
}

pub struct Stage<'s> {
    host: &'s Host,
    engine: &'s Engine<'s>,
    image: &'s str,
    cast: &'s Cast<'s>,
    random: Random,
    enders: Vec<Ender>,
    flood: Option<String>,
    made: u32,
    script: String,
}

impl<'s> Stage<'s> {
    pub fn new(host: &'s Host, engine: &'s Engine<'s>, image: &'s str, cast: &'s Cast<'s>, random: Random) -> Self {
        Self { host, engine, image, cast, random, enders: Vec::new(), flood: None, made: 0, script: String::new() }
    }

    /// What this round does, in words.
    pub fn script(&self) -> &str {
        &self.script
    }

    pub fn play(&mut self) -> Result<()> {
        let victims = self.random.one_of(&[
            Victims::Dockerd,
            Victims::Containerd,
            Victims::DockerdFirst,
            Victims::ContainerdFirst,
        ]);
        let work =
            self.random.one_of(&[Work::Nothing, Work::Run, Work::RunAndRemove, Work::Exec, Work::Stop, Work::Remove]);
        let moment = self.random.moment(MOMENT);
        self.script = format!("{work:?} for {moment:?}, then death of {victims:?}");
        self.flood()?;
        self.ender()?;
        let target = self.target(work)?;
        let command = self.begin(work, &target)?;
        // The random moment of the kill: nothing is waited for.
        sleep(moment);
        self.kill(victims)?;
        self.cast.expect_life()?;
        if victims != Victims::Containerd {
            self.engine.start_again().context("dockerd's next start")?;
        }
        let docker = &self.engine.docker;
        wait_until("the engine's answer after the kill", || docker.run(&["version"]).ok())?;
        let ran = command.map(Running::wait).transpose().context("the command that was cut off does not end")?;
        self.finish(work, &target, ran)?;
        self.cast.expect_unharmed()?;
        self.expect_codes(false)?;
        self.expect_nothing_astray()
    }

    /// A shim dies, with the daemons alive or dead: its container has ended with 137, and nothing of it stays.
    pub fn kill_a_shim(&mut self) -> Result<()> {
        let dead = self.random.one_of(&[false, true]);
        self.script = format!("a shim dies with the daemons {}", if dead { "dead" } else { "alive" });
        let docker = &self.engine.docker;
        let id = docker.run(&["run", "-d", "--name", "orphan", self.image, "sleep", "1000"])?;
        let shim = shim_of(&id)?;
        let init: u32 = docker.run(&["inspect", "--format", "{{.State.Pid}}", "orphan"])?.parse()?;
        if dead {
            self.engine.kill_dockerd()?;
            self.engine.kill_containerd()?;
        }
        engine::kill(shim)?;
        if dead {
            self.engine.start_again()?;
        }
        let code = docker.run(&["wait", "orphan"])?;
        ensure!(code == "137", "exit code 137 was expected, {code} is reported");
        wait_until("the end of the container's process", || {
            (!std::path::Path::new("/proc").join(init.to_string()).exists()).then_some(())
        })?;
        docker.run(&["rm", "orphan"])?;
        self.expect_nothing_astray()
    }

    /// Ends what rounds have left running, and reads the last flood.
    pub fn end(&mut self) -> Result<()> {
        self.expect_codes(true)?;
        if let Some(flood) = self.flood.take() {
            self.check_flood(&flood)?;
        }
        self.expect_nothing_astray()
    }

    /// The one that prints megabytes at a time; a new one when the last has printed everything.
    fn flood(&mut self) -> Result<()> {
        let docker = &self.engine.docker;
        if let Some(id) = &self.flood {
            if docker.run(&["inspect", "--format", "{{.State.Running}}", id])? == "true" {
                return Ok(());
            }
            self.check_flood(&id.clone())?;
        }
        let script = format!(
            "p=$(head -c 1000 /dev/zero | tr '\\0' x); n=0; while [ $n -lt {FLOOD_BURSTS} ]; do \
             awk -v n=$n -v p=$p 'BEGIN {{ for (i = 1; i <= {FLOOD_LINES}; i++) print n * {FLOOD_LINES} + i, p }}'; \
             n=$((n+1)); usleep 250000; done; exit 9"
        );
        self.flood = Some(docker.run(&["run", "-d", self.image, "sh", "-c", &script])?);
        Ok(())
    }

    fn check_flood(&self, id: &str) -> Result<()> {
        let docker = &self.engine.docker;
        let code = docker.run(&["wait", id])?;
        ensure!(code == "9", "the flood ends with 9, {code} is reported");
        let folder = self.engine.data_root().join("containers").join(id);
        let lines = Journal::new(folder.join(format!("{id}-json.log"))).check_counter().context("the flood's log")?;
        let expected = FLOOD_BURSTS * FLOOD_LINES;
        ensure!(lines == expected, "the flood printed {expected} lines, the log has {lines}");
        docker.run(&["rm", id])?;
        Ok(())
    }

    /// One that ends during this round or the next.
    fn ender(&mut self) -> Result<()> {
        let (name, code, life) = self.next_ender();
        let script = format!("usleep {}; exit {code}", life.as_micros());
        self.engine.docker.run(&["run", "-d", "--name", &name, self.image, "sh", "-c", &script])?;
        self.enders.push(Ender { name, code, sure: true });
        Ok(())
    }

    fn next_ender(&mut self) -> (String, u8, Duration) {
        self.made += 1;
        let code = u8::try_from(10 + self.made % 100).unwrap_or(10);
        (format!("ender-{}", self.made), code, self.random.moment(LIFE))
    }

    /// A container that the round's work needs.
    fn target(&mut self, work: Work) -> Result<String> {
        self.made += 1;
        let name = format!("target-{}", self.made);
        if matches!(work, Work::Exec | Work::Stop | Work::Remove) {
            let script = "trap 'exit 3' TERM; while :; do usleep 10000; done";
            self.engine.docker.run(&["run", "-d", "--name", &name, self.image, "sh", "-c", script])?;
        }
        Ok(name)
    }

    fn begin(&mut self, work: Work, target: &str) -> Result<Option<Running>> {
        let docker = &self.engine.docker;
        let words: Vec<&str> = match work {
            Work::Nothing => return Ok(None),
            Work::Run => vec!["run", "-d", "--name", target, self.image, "sh", "-c", "usleep 100000; exit 5"],
            Work::RunAndRemove => vec!["run", "--rm", "--name", target, self.image, "sh", "-c", "exit 5"],
            Work::Exec => vec!["exec", target, "sh", "-c", "usleep 50000; exit 4"],
            Work::Stop => vec!["stop", "-t", "5", target],
            Work::Remove => vec!["rm", "-f", target],
        };
        docker.start(&words).map(Some)
    }

    /// Dead when this returns.
    fn kill(&self, victims: Victims) -> Result<()> {
        match victims {
            Victims::Dockerd => self.engine.kill_dockerd(),
            Victims::Containerd => self.engine.kill_containerd(),
            Victims::DockerdFirst => self.engine.kill_dockerd().and_then(|()| self.engine.kill_containerd()),
            // dockerd starts another one as soon as it sees that: both have to be gone.
            Victims::ContainerdFirst => {
                self.engine.kill_containerd()?;
                self.engine.kill_dockerd()?;
                if self.engine.containerd_runs() { self.engine.kill_containerd() } else { Ok(()) }
            }
        }
    }

    /// The cut-off command may have failed; what it worked on is in a state that there is, and can be removed.
    fn finish(&mut self, work: Work, target: &str, ran: Option<Ran>) -> Result<()> {
        let docker = &self.engine.docker;
        let Some(ran) = ran else { return Ok(()) };
        let state = self.state(target)?;
        let fits = match (work, state.as_deref()) {
            // 128 is what Docker notes of a start that failed.
            (Work::Run, None | Some("created 0" | "created 128")) => ran.code != 0,
            (Work::Run, Some("running 0")) => true,
            (Work::Run, Some(state)) => state == "exited 5",
            // `--rm` is a wish that outlives the daemon: at most a moment, then it is gone.
            (Work::RunAndRemove, _) => self.wait_gone(target).map(|()| true)?,
            (Work::Exec, state) => state == Some("running 0") && matches!(ran.code, 4 | 1 | 125 | 126 | 137),
            (Work::Stop, Some("exited 3")) => true,
            // The signal may have been cut off with the command, and the time limit with the daemon.
            (Work::Stop, state) => state == Some("running 0") && ran.code != 0,
            (Work::Remove, None) => true,
            (Work::Remove, Some(_)) => ran.code != 0,
            (Work::Nothing, _) => true,
        };
        ensure!(
            fits,
            "{work:?} ended with {} and {:?}; {target} is {state:?}, which does not go together",
            ran.code,
            ran.stderr.trim()
        );
        if work == Work::Run && state.is_some() {
            self.enders.push(Ender { name: target.to_owned(), code: 5, sure: ran.code == 0 });
        } else if work != Work::RunAndRemove && state.is_some() {
            let removed = docker.try_run(&["rm", "-f", target])?;
            ensure!(removed.code == 0, "{target} in state {state:?} cannot be removed: {}", removed.stderr);
        }
        Ok(())
    }

    /// Its status and exit code; none where there is no such container.
    fn state(&self, name: &str) -> Result<Option<String>> {
        let words = ["container", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name];
        let ran = self.engine.docker.try_run(&words)?;
        match ran.code {
            0 => Ok(Some(ran.stdout.trim().to_owned())),
            _ if ran.stderr.contains("No such container") => Ok(None),
            _ => bail!("inspect {name}: {}", ran.stderr),
        }
    }

    fn wait_gone(&self, name: &str) -> Result<()> {
        wait_until(&format!("{name} to be gone by its --rm"), || self.state(name).ok()?.is_none().then_some(()))
    }

    /// What has ended is reported with its own code. `all` waits for those that have not ended yet.
    fn expect_codes(&mut self, all: bool) -> Result<()> {
        for ender in std::mem::take(&mut self.enders) {
            let docker = &self.engine.docker;
            let mut state = self.state(&ender.name)?;
            if all && state.as_deref() == Some("running 0") {
                docker.run(&["wait", &ender.name])?;
                state = self.state(&ender.name)?;
            }
            match state.as_deref() {
                Some("running 0") => {
                    self.enders.push(ender);
                    continue;
                }
                Some("created 0" | "created 128") if !ender.sure => {}
                Some(state) if state == format!("exited {}", ender.code) => {}
                state => bail!("{} ends with {}, and is {state:?}", ender.name, ender.code),
            }
            docker.run(&["rm", &ender.name])?;
        }
        Ok(())
    }

    /// Shims without a container that runs, and sockets without a shim.
    fn shims_astray(&self) -> Result<Vec<String>> {
        let running = self.engine.docker.run(&["ps", "-q", "--no-trunc"])?;
        let shims = shims()?;
        let without = shims.iter().filter(|(_, id)| !running.contains(id.as_str()));
        let mut astray: Vec<String> = without.map(|(pid, id)| format!("shim {pid} of {id}")).collect();
        // That of a docker-containerd which was killed ends with it.
        let servers = fork_servers()?;
        if servers.len() > 1 {
            astray.push(format!("the fork servers {servers:?} of one docker-containerd"));
        }
        let sockets = Traces::of_containers(self.host)?.beyond(&self.host.traces_before());
        let sockets: Vec<String> = sockets.into_iter().filter(|trace| trace.contains(SHIM_SOCKETS)).collect();
        if sockets.len() > shims.len() {
            astray.push(format!("{} shims with these sockets: {}", shims.len(), sockets.join(", ")));
        }
        Ok(astray)
    }

    /// The daemon lists the containers that are known here, and only these have anything on the host.
    fn expect_nothing_astray(&self) -> Result<()> {
        let docker = &self.engine.docker;
        let listed = docker.run(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}"])?;
        let mut known: Vec<&str> = self.cast.ids().collect();
        known.extend(self.flood.as_deref());
        for line in listed.lines() {
            let (id, name) = line.split_once(' ').unwrap_or((line, ""));
            if self.enders.iter().any(|ender| ender.name == name) {
                known.push(id);
            }
            ensure!(known.contains(&id), "{name} is listed, and should be gone");
        }
        let mut astray = Vec::new();
        let gone = wait_until("the end of what no container has", || {
            let traces = Traces::of_containers(self.host).ok()?.beyond(&self.host.traces_before());
            let short = |id: &&str| id[..12].to_owned();
            let known: Vec<String> = known.iter().map(short).collect();
            astray = traces.into_iter().filter(|trace| !known.iter().any(|id| trace.contains(id))).collect();
            // Sockets of shims are named after a hash.
            astray.retain(|trace| !trace.contains(SHIM_SOCKETS));
            astray.extend(self.shims_astray().ok()?);
            astray.is_empty().then_some(())
        });
        gone.with_context(|| format!("astray:\n  {}", astray.join("\n  ")))
    }
}

/// Every shim with the id of its container.
fn shims() -> Result<Vec<(u32, String)>> {
    let shims = shim_processes()?.into_iter().filter(|(_, words)| !is_fork_server(words));
    let of = |words: &[String]| words.iter().skip_while(|word| *word != "-id").nth(1).cloned();
    Ok(shims.filter_map(|(pid, words)| Some((pid, of(&words)?))).collect())
}

/// What shims are copied from.
fn fork_servers() -> Result<Vec<u32>> {
    let servers = shim_processes()?.into_iter().filter(|(_, words)| is_fork_server(words));
    Ok(servers.map(|(pid, _)| pid).collect())
}

fn is_fork_server(words: &[String]) -> bool {
    words.iter().any(|word| word == "fork-server")
}

/// Processes of the shim's program, with their command lines.
fn shim_processes() -> Result<Vec<(u32, Vec<String>)>> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<String> = command.split('\0').map(str::to_owned).collect();
        if words[0].ends_with("-shim") {
            processes.push((pid, words));
        }
    }
    Ok(processes)
}

/// The shim of a container, found by its arguments.
fn shim_of(id: &str) -> Result<u32> {
    let shim = shims()?.into_iter().find(|(_, of)| of == id);
    shim.map(|(pid, _)| pid).with_context(|| format!("no shim of {id}"))
}
