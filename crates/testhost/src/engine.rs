//! A dockerd of ours on roots of its own, and the means to kill it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::docker::Docker;
use crate::host::{Host, Roots, wait_until};
use crate::http::{self, Reply};

pub struct Engine<'h> {
    host: &'h Host,
    name: String,
    arguments: Vec<String>,
    pid: Cell<u32>,
    /// Our own client.
    pub docker: Docker,
}

impl<'h> Engine<'h> {
    pub(crate) fn start(host: &'h Host, name: &str, arguments: &[&str]) -> Result<Self> {
        let config = host.path("client");
        fs::create_dir_all(&config)?;
        let socket = host.path(&format!("{name}.sock"));
        let docker =
            Docker { program: host.programs().join("docker"), host: format!("unix://{}", socket.display()), config };
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let engine = Self { host, name: name.to_owned(), arguments, pid: Cell::new(0), docker };
        host.remember_engine(Roots { data: engine.data_root(), exec: engine.exec_root() });
        engine.start_again()?;
        // The static rules stay when a daemon stops, and the default bridge where containers run on.
        host.expect_traces()?;
        Ok(engine)
    }

    pub fn data_root(&self) -> PathBuf {
        self.host.path(&format!("{}-data", self.name))
    }

    pub fn exec_root(&self) -> PathBuf {
        self.host.path(&format!("{}-run", self.name))
    }

    pub fn socket(&self) -> PathBuf {
        self.host.path(&format!("{}.sock", self.name))
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.exec_root().join("containerd/containerd.sock")
    }

    /// Docker's own client on this engine: the newest that the machine has.
    pub fn docker_of_docker(&self) -> Docker {
        let newest = ["/usr/local/bin/docker", "/usr/bin/docker"].into_iter().find(|path| Path::new(path).exists());
        Docker { program: newest.unwrap_or("docker").into(), ..self.docker.clone() }
    }

    /// Starts dockerd and waits until it answers.
    pub fn start_again(&self) -> Result<()> {
        let mut command = Command::new(self.host.programs().join("dockerd"));
        command.arg("--data-root").arg(self.data_root()).arg("--exec-root").arg(self.exec_root());
        command
            .arg("--host")
            .arg(&self.docker.host)
            .arg("--pidfile")
            .arg(self.host.path(&format!("{}.pid", self.name)));
        command.arg("--debug").args(&self.arguments);
        let pid = self.host.spawn(&format!("dockerd-{}", self.name), &mut command)?;
        self.pid.set(pid);
        // The socket is there early; an answer comes when everything is up.
        let ready = || match self.request("GET", "/_ping", b"") {
            Ok(reply) if reply.status == 200 => Some(true),
            _ => has_ended(pid).then_some(false),
        };
        ensure!(wait_until("dockerd", ready)?, "dockerd ended at its start, see its log");
        Ok(())
    }

    /// An image of Debian's static busybox under this name.
    pub fn import_busybox(&self, name: &str) -> Result<String> {
        let archive = crate::busybox::archive(self.host)?;
        self.docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", name], &archive)?;
        Ok(name.to_owned())
    }

    pub fn dockerd_pid(&self) -> u32 {
        self.pid.get()
    }

    pub fn containerd_pid(&self) -> Result<u32> {
        let text = fs::read_to_string(self.exec_root().join("containerd/containerd.pid")).context("containerd.pid")?;
        Ok(text.trim().parse()?)
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Result<Reply> {
        http::request(&self.socket(), method, path, body)
    }

    /// Whether the process of the pid file is there and not only not yet reaped.
    pub fn containerd_runs(&self) -> bool {
        self.containerd_pid().is_ok_and(|pid| !has_ended(pid))
    }

    pub fn netd_pid(&self) -> Result<u32> {
        Ok(fs::read_to_string(self.exec_root().join("netd.pid")).context("netd.pid")?.trim().parse()?)
    }

    /// `kill -9`; returns when it is gone.
    pub fn kill_dockerd(&self) -> Result<()> {
        kill(self.dockerd_pid())
    }

    pub fn kill_containerd(&self) -> Result<()> {
        kill(self.containerd_pid()?)
    }
}

fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name in brackets: the state, Z for what is not yet reaped.
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

/// SIGKILL, and waits until the process is reaped by us or by its parent.
pub fn kill(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no such process id")?;
    rustix::process::kill_process(pid, Signal::KILL)?;
    wait_until("the end of a killed process", || {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        rustix::process::test_kill_process(pid).is_err().then_some(())
    })
}
