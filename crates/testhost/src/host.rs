//! One test's host: namespaces, a folder, and everything that was started in it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::apart::Apart;
use crate::docker::Docker;
use crate::engine::Engine;
use crate::registry::{Registry, RegistrySettings};
use crate::traces::{Traces, groups_below};

/// Nothing in a test takes longer, unless it says so.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
const LOG_LINES: usize = 60;
/// The process namespace in which the runner is.
pub(crate) const OUTER_NAMESPACE: &str = "TESTHOST_OUTER_NAMESPACE";

/// Lives as long as the test.
pub struct Host {
    folder: TempDir,
    programs: PathBuf,
    /// Logs of what was started, shown when the test fails.
    logs: RefCell<Vec<PathBuf>>,
    /// Process ids to end with the test.
    started: RefCell<Vec<u32>>,
    engines: RefCell<Vec<Roots>>,
    /// What other people's programs got to themselves.
    pub(crate) apart: Apart,
    /// What counts as having been there before the test.
    before: RefCell<Traces>,
}

/// The two roots of one daemon; everything it names derives from them.
pub(crate) struct Roots {
    pub data: PathBuf,
    pub exec: PathBuf,
}

impl Host {
    /// Leaves the machine's namespaces for fresh ones. The process must have one thread. The programs under test are those
    /// that were built with the test, or the folder that `LONGSHORE_PROGRAMS` names.
    pub fn enter() -> Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.ancestors().nth(2).context("the folder of the programs")?.to_path_buf();
        Self::enter_with(std::env::var_os("LONGSHORE_PROGRAMS").map_or(beside, Into::into))
    }

    /// The same for programs in this folder.
    pub fn enter_with(programs: PathBuf) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context("unshare")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .context("private mounts")?;
        if !in_own_process_namespace() {
            // What is orphaned becomes a child of this process and is seen at the end.
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("subreaper")?;
        }
        let folder = tempfile::Builder::new().prefix("lsh-").tempdir_in("/tmp")?;
        let host = Self {
            folder,
            programs,
            logs: RefCell::default(),
            started: RefCell::default(),
            engines: RefCell::default(),
            apart: Apart::default(),
            before: RefCell::default(),
        };
        host.command("ip", &["link", "set", "lo", "up"])?;
        host.expect_traces()?;
        Ok(host)
    }

    /// The test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A daemon on roots of its own. `name` tells several on one host apart.
    pub fn engine(&self, name: &str) -> Result<Engine<'_>> {
        Engine::start(self, name, &[])
    }

    /// The same with further arguments.
    pub fn engine_with(&self, name: &str, arguments: &[&str]) -> Result<Engine<'_>> {
        Engine::start(self, name, arguments)
    }

    /// Debian's docker-registry on loopback.
    pub fn registry(&self) -> Result<Registry> {
        Registry::start(self, &RegistrySettings::default())
    }

    /// The same, spoken to in another way.
    pub fn registry_with(&self, settings: &RegistrySettings) -> Result<Registry> {
        Registry::start(self, settings)
    }

    /// The same, for who knows [`crate::PASSWORD`].
    pub fn closed_registry(&self) -> Result<Registry> {
        Registry::start(self, &RegistrySettings::for_user(self)?)
    }

    /// Runs a program to its end; its output, or an error that shows it.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
        ensure!(
            output.status.success(),
            "{program} {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a program that is ended with the test; its output goes to a log of this name.
    pub fn spawn(&self, log: &str, command: &mut Command) -> Result<u32> {
        let path = self.path(&format!("{log}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        self.logs.borrow_mut().push(path);
        self.started.borrow_mut().push(child.id());
        Ok(child.id())
    }

    /// The folder in which the programs under test lie.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Debian's Docker Engine on roots of its own, as Docker's own client reaches it.
    pub fn docker_of_debian(&self, name: &str) -> Result<Docker> {
        self.docker_of_debian_with(name, &[])
    }

    /// The same with further arguments.
    pub fn docker_of_debian_with(&self, name: &str, arguments: &[&str]) -> Result<Docker> {
        let socket = self.path(&format!("{name}.sock"));
        let mut command = Command::new("/usr/sbin/dockerd");
        command
            .arg("--data-root")
            .arg(self.path(&format!("{name}-data")))
            .arg("--exec-root")
            .arg(self.path(&format!("{name}-run")));
        command
            .arg("--pidfile")
            .arg(self.path(&format!("{name}.pid")))
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .args(arguments);
        self.spawn(&format!("dockerd-{name}"), &mut command)?;
        wait_until("Debian's dockerd", || std::os::unix::net::UnixStream::connect(&socket).ok())?;
        let config = self.path("client");
        fs::create_dir_all(&config)?;
        let host = format!("unix://{}", socket.display());
        let docker = Docker { program: "/usr/bin/docker".into(), host, config };
        wait_until("an answer of Debian's dockerd", || docker.run(&["version"]).ok())?;
        Ok(docker)
    }

    pub(crate) fn remember_engine(&self, roots: Roots) {
        self.engines.borrow_mut().push(roots);
    }

    /// What is here now is no leak.
    pub fn expect_traces(&self) -> Result<()> {
        self.before.borrow_mut().add(Traces::take(self)?.without_processes());
        Ok(())
    }

    /// What counts as having been there.
    pub(crate) fn traces_before(&self) -> std::cell::Ref<'_, Traces> {
        self.before.borrow()
    }

    /// Folders with an entry for each container, of every daemon that this test had.
    pub(crate) fn container_folders(&self) -> Vec<PathBuf> {
        self.engines.borrow().iter().flat_map(Roots::container_folders).collect()
    }

    /// Control groups of containers, of every daemon that this test had.
    pub(crate) fn container_groups(&self) -> Vec<PathBuf> {
        self.parent_groups().iter().flat_map(|parent| groups_below(parent)).collect()
    }

    /// With the last container gone, nothing of any container may stay while the daemons run.
    pub fn expect_no_container_left(&self) -> Result<()> {
        let mut left = Vec::new();
        let gone = wait_until("the end of what containers had", || {
            left = Traces::of_containers(self).ok()?.beyond(&self.before.borrow());
            left.is_empty().then_some(())
        });
        gone.with_context(|| format!("still there:\n  {}", left.join("\n  ")))
    }

    /// What the test left behind, with its daemons ended.
    pub(crate) fn leaked(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        // A link goes a moment after its namespace. What stays is the answer, not an error.
        let _ = wait_until("the end of everything", || {
            left = Traces::take(self).ok()?.beyond(&self.before.borrow());
            left.is_empty().then_some(())
        });
        Ok(left)
    }

    /// Ends every process of this process namespace and removes the groups that they were in: a failed test leaves
    /// nothing on the machine.
    pub(crate) fn sweep(&self) {
        if !in_own_process_namespace() {
            return;
        }
        // Reaches every process of the namespace but its first, which reaps, and this one.
        let everyone = nix::unistd::Pid::from_raw(-1);
        let _ = nix::sys::signal::kill(everyone, nix::sys::signal::Signal::SIGKILL);
        let _ = wait_until("the end of the processes that were left", || {
            Traces::take(self).ok()?.no_process().then_some(())
        });
        for group in self.container_groups() {
            let _ = fs::remove_dir(group);
        }
        for parent in self.parent_groups() {
            let _ = remove_parent_group(&parent);
        }
    }

    /// The parent control group of every daemon that this test had.
    pub(crate) fn parent_groups(&self) -> Vec<String> {
        let engines = self.engines.borrow();
        engines.iter().map(Roots::parent_group).chain(self.apart.groups()).collect()
    }

    pub(crate) fn print_logs(&self) {
        for path in self.logs.borrow().iter() {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {} (last {LOG_LINES} lines)", path.display());
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                eprintln!("{line}");
            }
        }
    }

    /// Ends what was started, the newest first, then the neighbours that the daemons left running.
    pub fn end(&self) -> Result<()> {
        for pid in self.started.borrow_mut().drain(..).rev() {
            end_process(pid)?;
        }
        for roots in self.engines.borrow().iter() {
            for pid_file in ["containerd/containerd.pid", "netd.pid"] {
                if let Some(pid) = read_pid(&roots.exec.join(pid_file)) {
                    end_process(pid)?;
                }
            }
            remove_parent_group(&roots.parent_group())?;
        }
        self.apart.end()
    }
}

/// Whether the runner put this process into a process namespace; it says which one it came from.
fn in_own_process_namespace() -> bool {
    let own = fs::read_link("/proc/self/ns/pid").ok();
    let outer = std::env::var_os(OUTER_NAMESPACE).map(PathBuf::from);
    own.is_some() && outer.is_some() && own != outer && std::os::unix::process::parent_id() == 1
}

/// A daemon leaves the empty parent of its containers' groups behind, as Docker does.
pub(crate) fn remove_parent_group(group: &str) -> Result<()> {
    for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
        // Where it never was, or still holds a group, the comparison has the last word.
        let _ = fs::remove_dir(hierarchy.path().join(group));
    }
    Ok(())
}

impl Roots {
    fn container_folders(&self) -> Vec<PathBuf> {
        let tasks = "io.containerd.runtime.v2.task";
        [
            self.data.join("containers"),
            self.data.join("containerd").join(tasks).join("moby"),
            self.exec.join("containerd/daemon").join(tasks).join("moby"),
            self.exec.join("containerd/daemon/s"),
            self.exec.join("runtime-runc/moby"),
            self.exec.join("netns"),
            self.exec.join("attach"),
        ]
        .into()
    }

    /// The parent of the containers' control groups, as the daemon names it.
    pub(crate) fn parent_group(&self) -> String {
        let digest = ids::Digest::of(format!("{}\n{}", self.data.display(), self.exec.display()));
        format!("docker-{}", &digest.hex()[..8])
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// SIGTERM, and after half the patience SIGKILL; returns when the process is reaped.
pub(crate) fn end_process(pid: u32) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    // It may be gone already, and it may be a child of another.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    loop {
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        if rustix::process::test_kill_process(pid).is_err() {
            return Ok(());
        }
        if Instant::now() > deadline - PATIENCE / 2 {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        if Instant::now() > deadline {
            bail!("process {pid:?} does not end");
        }
        sleep(POLL);
    }
}

/// Returns the value as soon as there is one; an error that says what did not come.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited in vain for {what}");
        }
        sleep(POLL);
    }
}
