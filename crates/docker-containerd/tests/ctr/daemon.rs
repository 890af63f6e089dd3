//! One docker-containerd on roots of its own, and `ctr` speaking to it.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use testhost::{Host, wait_until};

use crate::image;

/// Debian's shim.
pub const SHIM: &str = "/usr/bin/containerd-shim-runc-v2";
/// The name under which the image is imported.
pub const IMAGE: &str = "test/busybox:latest";

/// Whose shim stands behind the name io.containerd.runc.v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShimOf {
    Debian,
    /// Ours, and our docker-runc behind it: what stands beside docker-containerd.
    Ours,
}

/// Where Debian's ctr, shim and runc put what they do not let us choose.
const THEIR_FOLDER: &str = "/run/containerd";

pub struct Daemon<'a> {
    host: &'a Host,
    pid: RefCell<u32>,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Nothing below is missed when it is gone already; what stays fails the test's comparison.
        let _ = rustix::mount::unmount(THEIR_FOLDER, rustix::mount::UnmountFlags::DETACH);
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(self.namespace()));
        }
    }
}

impl<'a> Daemon<'a> {
    pub fn start(host: &'a Host, shim: ShimOf) -> Result<Self> {
        let daemon = Self { host, pid: RefCell::new(0) };
        let config = match shim {
            ShimOf::Debian => format!("version = 2\n[longshore.shims]\n\"io.containerd.runc.v2\" = \"{SHIM}\"\n"),
            ShimOf::Ours => "version = 2\n".to_owned(),
        };
        fs::write(daemon.path("config.toml"), config)?;
        fs::create_dir_all(THEIR_FOLDER)?;
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tests", THEIR_FOLDER, "tmpfs", flags, None)?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// With the busybox image imported.
    pub fn with_image(host: &'a Host, shim: ShimOf) -> Result<Self> {
        let daemon = Self::start(host, shim)?;
        let archive = image::archive(host)?;
        daemon.ctr(&["images", "import", "--base-name", "test/busybox", &archive.to_string_lossy()])?;
        Ok(daemon)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.host.path(name)
    }

    /// The namespace of ctr's containers, which is also the name of their parent control group.
    pub fn namespace(&self) -> String {
        let folder = self.path("");
        folder.components().next_back().map(|name| name.as_os_str().to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The folder with the bundles of that namespace.
    pub fn state(&self) -> PathBuf {
        self.path("state/io.containerd.runtime.v2.task").join(self.namespace())
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(self.host.programs().join("docker-containerd"));
        command.arg("--config").arg(self.path("config.toml")).arg("--address").arg(self.path("c.sock"));
        command.arg("--root").arg(self.path("root")).arg("--state").arg(self.path("state"));
        command.arg("--log-level").arg("debug");
        command
    }

    fn launch(&self) -> Result<()> {
        *self.pid.borrow_mut() = self.host.spawn("docker-containerd", &mut self.command())?;
        wait_until("the daemon", || {
            let answered = self.run_ctr(&["version"]).ok()?;
            answered.status.success().then_some(())
        })
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) -> Result<()> {
        let pid = pid(*self.pid.borrow())?;
        kill_process(pid, Signal::KILL)?;
        waitpid(Some(pid), WaitOptions::empty())?;
        Ok(())
    }

    pub fn restart(&mut self) -> Result<()> {
        self.launch()
    }

    pub fn run_ctr(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.args(["30", "ctr", "--connect-timeout", "1s", "--address"]).arg(self.path("c.sock"));
        command.arg("--namespace").arg(self.namespace());
        Ok(command.args(arguments).stdin(Stdio::null()).output()?)
    }

    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run_ctr(arguments)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "ctr {}: {}\n{out}{err}", arguments.join(" "), output.status);
        Ok(out.into_owned())
    }

    /// A container that waits to be killed.
    pub fn run_sleeper(&self, id: &str) -> Result<()> {
        self.ctr(&["run", "--detach", IMAGE, id, "sleep", "100000"]).map(drop)
    }

    /// Adds a process and sees from outside that it ran inside. (ctr may cut off the output of a short one: it cancels the
    /// FIFOs at the exit.)
    pub fn exec_in(&self, id: &str, exec: &str) -> Result<()> {
        let script = format!("echo {exec} > /{exec}");
        self.ctr(&["tasks", "exec", "--exec-id", exec, id, "sh", "-c", &script])?;
        let written = fs::read_to_string(format!("/proc/{}/root/{exec}", self.pid_of(id)?))?;
        ensure!(written.trim() == exec, "{written}");
        Ok(())
    }

    /// Begins to run one, and does not wait for it.
    pub fn start_run(&self, id: &str) -> Result<std::process::Child> {
        let mut command = Command::new("timeout");
        command.args(["30", "ctr", "--connect-timeout", "1s", "--address"]).arg(self.path("c.sock"));
        command.arg("--namespace").arg(self.namespace()).args(["run", "--detach", IMAGE, id, "sleep", "100000"]);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Processes that work below the state folder: shims.
    pub fn count_in_state(&self) -> usize {
        let state = self.state();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&state)))
            .count()
    }

    pub fn remove_sleeper(&self, id: &str) -> Result<()> {
        self.ctr(&["tasks", "kill", "-s", "SIGKILL", id])?;
        self.wait_for_status(id, "STOPPED")?;
        self.ctr(&["tasks", "rm", id])?;
        self.ctr(&["containers", "rm", id]).map(drop)
    }

    /// A line of `ctr tasks ls`: pid and status.
    fn task(&self, id: &str) -> Result<(u32, String)> {
        let listed = self.ctr(&["tasks", "ls"])?;
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(id));
        let mut words = line.with_context(|| format!("no task {id} in\n{listed}"))?.split_whitespace().skip(1);
        let pid = words.next().context("a pid")?.parse()?;
        Ok((pid, words.next().context("a status")?.to_owned()))
    }

    pub fn status_of(&self, id: &str) -> Result<String> {
        self.task(id).map(|(_, status)| status)
    }

    pub fn pid_of(&self, id: &str) -> Result<u32> {
        self.task(id).map(|(pid, _)| pid)
    }

    pub fn wait_for_status(&self, id: &str, wanted: &str) -> Result<()> {
        wait_until(&format!("{id} to be {wanted}"), || {
            self.status_of(id).is_ok_and(|status| status == wanted).then_some(())
        })
    }

    /// Removes an ended task; the exit code that ctr tells.
    pub fn exit_code_of_rm(&self, id: &str) -> Result<u32> {
        let output = self.run_ctr(&["tasks", "rm", id])?;
        ensure!(output.status.success(), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        match words.split("non-zero exit code ").nth(1) {
            Some(code) => Ok(code.trim_matches(|c: char| !c.is_ascii_digit()).parse()?),
            None => Ok(0),
        }
    }

    /// Sends SIGUSR1 to a container's first process until it has ended, whether it is ready for it yet or not.
    pub fn end_by_signal(&self, id: &str, first: u32) -> Result<()> {
        wait_until(&format!("{id} to end"), || kill_process(pid(first).ok()?, Signal::USR1).err())?;
        Ok(())
    }

    fn shim_of(&self, id: &str) -> Result<Pid> {
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let bundle = self.state().join(id);
            if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == bundle) {
                return pid(number);
            }
        }
        anyhow::bail!("no shim of {id}")
    }

    pub fn kill_shim(&self, id: &str) -> Result<()> {
        Ok(kill_process(self.shim_of(id)?, Signal::KILL)?)
    }

    pub fn stop_shim(&self, id: &str) -> Result<()> {
        Ok(kill_process(self.shim_of(id)?, Signal::STOP)?)
    }

    pub fn continue_shim(&self, id: &str) -> Result<()> {
        Ok(kill_process(self.shim_of(id)?, Signal::CONT)?)
    }

    /// Names in a folder below the test's.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }

    pub fn bundles(&self) -> Vec<String> {
        names(&self.state())
    }

    /// Starts `ctr events`; the file that they are written to.
    pub fn follow_events(&self) -> Result<PathBuf> {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.path("c.sock")).arg("events");
        self.host.spawn("events", &mut command)?;
        Ok(self.path("events.log"))
    }

    /// Publishes an event as a shim does that runs our program for it.
    pub fn publish(&self, namespace: &str, topic: &str) -> Result<()> {
        let mut command = Command::new(self.host.programs().join("docker-containerd"));
        command.arg("--address").arg(self.path("c.sock"));
        command.args(["publish", "--topic", topic, "--namespace", namespace]);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        // An Any (field 1: its type, field 2: its bytes) with an empty TaskOOM.
        let name = b"containerd.events.TaskOOM";
        let mut event = vec![10, u8::try_from(name.len())?];
        event.extend_from_slice(name);
        child.stdin.take().context("stdin")?.write_all(&event)?;
        ensure!(child.wait()?.success());
        Ok(())
    }
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn pid(number: u32) -> Result<Pid> {
    Pid::from_raw(i32::try_from(number)?).context("a process id")
}
