//! A containerd, ours or Debian's, on roots of its own, with `ctr` speaking to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testhost::{Host, LAYOUT_TAG, Ran, Running, Terminal, oci_layout, wait_until};

/// Debian's shim.
pub const SHIM: &str = "/usr/bin/containerd-shim-runc-v2";
/// Where programs around containerd put what they do not let us choose.
pub const THEIR_FOLDER: &str = "/run/containerd";

/// Whose shim our docker-containerd starts for `io.containerd.runc.v2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShimOf {
    Debian,
    Ours,
}

pub struct Containerd<'h> {
    host: &'h Host,
    socket: PathBuf,
    state: PathBuf,
    /// The namespace of ctr's containers: also the parent of their control groups.
    namespace: String,
}

impl<'h> Containerd<'h> {
    pub fn ours(host: &'h Host, shim: ShimOf) -> Result<Self> {
        let containerd = Self::prepare(host, "c")?;
        let shims = match shim {
            ShimOf::Debian => format!("[longshore.shims]\n\"io.containerd.runc.v2\" = \"{SHIM}\"\n"),
            ShimOf::Ours => String::new(),
        };
        let config = host.path("c.toml");
        fs::write(&config, format!("version = 2\n{shims}"))?;
        let mut command = Command::new(host.programs().join("docker-containerd"));
        command.arg("--config").arg(config).arg("--address").arg(&containerd.socket);
        command.arg("--root").arg(host.path("c-root")).arg("--state").arg(&containerd.state);
        host.spawn("docker-containerd", command.args(["--log-level", "debug"]))?;
        containerd.wait_until_it_answers()
    }

    /// Debian's. `links` are names under which our shim lies on its PATH.
    pub fn debian(host: &'h Host, links: &[&str]) -> Result<Self> {
        let containerd = Self::prepare(host, "c")?;
        let folder = host.path("c-links");
        fs::create_dir_all(&folder)?;
        for link in links {
            std::os::unix::fs::symlink(host.programs().join("docker-containerd-shim"), folder.join(link))?;
        }
        let config = host.path("c.toml");
        fs::write(&config, containerd.config_of_debian())?;
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("containerd");
        command.arg("--config").arg(config).env("PATH", path);
        host.spawn("containerd", &mut command)?;
        containerd.wait_until_it_answers()
    }

    fn prepare(host: &'h Host, name: &str) -> Result<Self> {
        host.cover(THEIR_FOLDER)?;
        let (socket, state) = (host.path(&format!("{name}.sock")), host.path(&format!("{name}-state")));
        Ok(Self { host, socket, state, namespace: host.control_group() })
    }

    fn config_of_debian(&self) -> String {
        let ttrpc = format!("{}.ttrpc", self.socket.display());
        format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {ttrpc:?}\n",
            self.host.path("c-root"),
            self.state,
            self.socket
        )
    }

    fn wait_until_it_answers(self) -> Result<Self> {
        wait_until("containerd", || self.try_ctr(&["version"]).ok().filter(|ran| ran.code == 0))?;
        Ok(self)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.args(["--connect-timeout", "1s", "--address"]).arg(&self.socket);
        command.args(["--namespace", &self.namespace]).args(words);
        command
    }

    /// Runs to the end, whatever the exit code.
    pub fn try_ctr(&self, words: &[&str]) -> Result<Ran> {
        Running::start(self.command(words))?.wait()
    }

    /// Runs to the end, must succeed; its standard output.
    pub fn ctr(&self, words: &[&str]) -> Result<String> {
        let ran = self.try_ctr(words)?;
        ensure!(ran.code == 0, "ctr {}: exit {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout)
    }

    pub fn terminal(&self, words: &[&str]) -> Result<Terminal> {
        Terminal::start(&self.command(words))
    }

    /// The busybox image from an archive; its name.
    pub fn import(&self) -> Result<String> {
        let layout = oci_layout(self.host)?;
        let archive = self.host.path("image.tar");
        self.host.command("tar", &["-C", &layout.to_string_lossy(), "-cf", &archive.to_string_lossy(), "."])?;
        self.ctr(&["images", "import", "--base-name", "test/busybox", &archive.to_string_lossy()])?;
        Ok(format!("test/busybox:{LAYOUT_TAG}"))
    }

    /// Process id and status of a task, as `ctr tasks ls` shows them.
    pub fn task(&self, id: &str) -> Result<(u32, String)> {
        let listed = self.ctr(&["tasks", "ls"])?;
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(id));
        let mut words = line.with_context(|| format!("no task {id} in\n{listed}"))?.split_whitespace().skip(1);
        let pid = words.next().context("a pid")?.parse()?;
        Ok((pid, words.next().context("a status")?.to_owned()))
    }

    pub fn wait_for_status(&self, id: &str, wanted: &str) -> Result<()> {
        wait_until(&format!("{id} to be {wanted}"), || {
            self.task(id).is_ok_and(|(_, status)| status == wanted).then_some(())
        })
    }

    /// Bundles that are there now: one a task.
    pub fn bundles(&self) -> Vec<String> {
        let folder = self.state.join("io.containerd.runtime.v2.task").join(&self.namespace);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The program behind a task's shim: the one that works in the task's bundle.
    pub fn shim_program(&self, id: &str) -> Result<PathBuf> {
        let bundle = self.state.join("io.containerd.runtime.v2.task").join(&self.namespace).join(id);
        let works_there = |process: &Path| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == bundle);
        let mut processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path());
        let shim = processes.find(|process| works_there(process)).with_context(|| format!("no shim of {id}"))?;
        Ok(shim.join("exe"))
    }
}
