//! Debian's dockerd on our docker-containerd.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use testhost::{Host, busybox_archive, wait_until};

use crate::daemon::Daemon;

pub struct Dockerd<'a> {
    host: &'a Host,
    pid: Pid,
    socket: PathBuf,
    data: PathBuf,
}

impl<'a> Dockerd<'a> {
    /// Without networks of its own: those are not what is tested.
    pub fn start(host: &'a Host, daemon: &Daemon<'_>) -> Result<Self> {
        let (socket, data) = (host.path("d.sock"), host.path("dockerd"));
        let mut command = Command::new("/usr/sbin/dockerd");
        command.arg("--containerd").arg(daemon.path("c.sock")).arg("--data-root").arg(&data);
        command.arg("--exec-root").arg(host.path("dockerd-run")).arg("--pidfile").arg(host.path("d.pid"));
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        command.arg("--cgroup-parent").arg(daemon.namespace());
        command.args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"]);
        let pid = Pid::from_raw(i32::try_from(host.spawn("dockerd", &mut command)?)?).context("a process id")?;
        wait_until("Debian's dockerd", || UnixStream::connect(&socket).ok())?;
        Ok(Self { host, pid, socket, data })
    }

    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let address = format!("unix://{}", self.socket.display());
        let mut all = vec!["30", "docker", "--host", &address];
        all.extend(arguments);
        self.host.command("timeout", &all)
    }

    /// An image `busybox` of dockerd's own.
    pub fn import(&self) -> Result<()> {
        let file = self.host.path("busybox.tar");
        std::fs::write(&file, busybox_archive(self.host)?)?;
        self.docker(&["import", &file.to_string_lossy(), "busybox:latest"]).map(drop)
    }

    /// Ends it, and the mount that it makes of its data folder.
    pub fn end(self) -> Result<()> {
        kill_process(self.pid, Signal::TERM)?;
        waitpid(Some(self.pid), WaitOptions::empty())?;
        // Newer ones take it down themselves.
        let _ = unmount(&self.data, UnmountFlags::DETACH);
        Ok(())
    }
}
