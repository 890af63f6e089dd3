//! Debian's Docker Engine on roots of its own.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use testhost::{Docker, Host, busybox_archive, wait_until};

pub const DOCKERD: &str = "/usr/sbin/dockerd";
/// Docker's client of Debian's package.
pub const CLIENT: &str = "/usr/bin/docker";
/// The bridge that dockerd makes and leaves.
const BRIDGE: &str = "docker0";

pub struct Dockerd<'h> {
    host: &'h Host,
    pid: u32,
    roots: [PathBuf; 2],
    /// Debian's own client on it.
    pub docker: Docker,
}

impl<'h> Dockerd<'h> {
    pub fn start(host: &'h Host, arguments: &[&str]) -> Result<Self> {
        host.cover(crate::containerd::THEIR_FOLDER)?;
        host.cover("/run/docker")?;
        let (socket, config) = (host.path("d.sock"), host.path("client"));
        let roots = [host.path("d-data"), host.path("d-run")];
        fs::create_dir_all(&config)?;
        let address = format!("unix://{}", socket.display());
        let mut command = Command::new(DOCKERD);
        command.arg("--data-root").arg(&roots[0]).arg("--exec-root").arg(&roots[1]);
        command.arg("--pidfile").arg(host.path("d.pid")).arg("--host").arg(&address);
        command.arg("--config-file").arg(empty_configuration(host)?);
        command.arg("--cgroup-parent").arg(host.control_group()).args(arguments);
        let pid = host.spawn("dockerd-debian", &mut command)?;
        let docker = Docker { program: CLIENT.into(), host: address, config };
        wait_until("Debian's dockerd", || UnixStream::connect(&socket).ok())?;
        wait_until("an answer of Debian's dockerd", || docker.run(&["version"]).ok())?;
        Ok(Self { host, pid, roots, docker })
    }

    /// The busybox image; its name.
    pub fn import(&self) -> Result<&'static str> {
        self.docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", "busybox"], &busybox_archive(self.host)?)?;
        Ok("busybox")
    }

    pub fn data_root(&self) -> PathBuf {
        self.roots[0].clone()
    }

    /// Ends it and takes down what Docker leaves on a host: mounts of its roots, its bridge, its firewall rules.
    fn end(&self) -> Result<()> {
        self.host.end_early(self.pid)?;
        for root in &self.roots {
            self.host.unmount_below(root)?;
        }
        if fs::exists(format!("/proc/sys/net/ipv4/conf/{BRIDGE}"))? {
            self.host.command("ip", &["link", "del", BRIDGE])?;
        }
        // The test host's network namespace is this test's own.
        self.host.command("nft", &["flush", "ruleset"])?;
        Ok(())
    }
}

impl Drop for Dockerd<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            // The comparison at the end of the test fails on what is left.
            eprintln!("Debian's dockerd: {error:#}");
        }
    }
}

fn empty_configuration(host: &Host) -> Result<PathBuf> {
    let file = host.path("daemon.json");
    fs::write(&file, "{}")?;
    Ok(file)
}
