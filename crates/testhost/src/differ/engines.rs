//! The two engines: each in a network namespace of its own, with the same images.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::docker::Docker;
use crate::host::{Host, wait_until};

const DOCKERD: &str = "/usr/sbin/dockerd";
/// Debian's containerd and dockerd keep sockets there whatever roots they are given.
const THEIR_FOLDERS: [&str; 2] = ["/run/containerd", "/run/docker"];
/// The images that every case may use; they stay.
pub const IMAGES: [&str; 2] = ["busybox:latest", "labelled:1"];
/// An image whose configuration has one of everything.
const LABELLED: [&str; 8] = [
    "CMD [\"-c\",\"echo from the image\"]",
    "ENTRYPOINT [\"sh\"]",
    "ENV COLOUR=red PATH=/bin",
    "EXPOSE 80 443/udp",
    "LABEL made=here kind=test",
    "USER nobody",
    "WORKDIR /tmp",
    "VOLUME /data",
];

/// Where an engine is, and what of its own must not be seen in a comparison.
#[derive(Debug, Clone)]
pub struct Place {
    pub socket: PathBuf,
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    /// Our own client.
    pub client: PathBuf,
    /// For the folders of cases and for `config.json`.
    pub scratch: PathBuf,
}

impl Place {
    pub fn docker(&self, program: &Path) -> Result<Docker> {
        let config = self.scratch.join("config");
        fs::create_dir_all(&config)?;
        Ok(Docker { program: program.to_owned(), host: format!("unix://{}", self.socket.display()), config })
    }

    fn import(&self, host: &Host) -> Result<()> {
        let archive = crate::busybox::archive(host)?;
        let docker = self.docker(&self.client)?;
        docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", IMAGES[0]], &archive)?;
        // Lists are ordered by time of creation, in seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let changes = LABELLED.iter().flat_map(|change| ["--change", change]);
        let words: Vec<&str> = ["import"].into_iter().chain(changes).chain(["-", IMAGES[1]]).collect();
        docker.run_with(&words, &archive)?;
        Ok(())
    }
}

/// Ours, in the test host's own network namespace.
pub fn ours(host: &Host) -> Result<Place> {
    let engine = host.engine("ours")?;
    let place = Place {
        socket: engine.socket(),
        data_root: engine.data_root(),
        exec_root: engine.exec_root(),
        client: host.programs().join("docker"),
        scratch: host.path("ours-scratch"),
    };
    place.import(host).context("our engine")?;
    Ok(place)
}

/// Debian's, in namespaces that end with it.
pub struct Debian<'h> {
    host: &'h Host,
    pid: u32,
    pub place: Place,
}

pub fn debian(host: &Host) -> Result<Debian<'_>> {
    for folder in THEIR_FOLDERS {
        fs::create_dir_all(folder)?;
    }
    let configuration = host.path("docker-daemon.json");
    fs::write(&configuration, "{}")?;
    let place = Place {
        socket: host.path("docker.sock"),
        data_root: host.path("docker-data"),
        exec_root: host.path("docker-run"),
        client: host.programs().join("docker"),
        scratch: host.path("docker-scratch"),
    };
    let covered: String = THEIR_FOLDERS.iter().map(|folder| format!("mount -t tmpfs differ {folder} && ")).collect();
    let script = format!("ip link set lo up && {covered} exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", &script, "sh", DOCKERD]);
    command.arg("--data-root").arg(&place.data_root).arg("--exec-root").arg(&place.exec_root);
    command.arg("--pidfile").arg(host.path("docker.pid")).arg("--config-file").arg(&configuration);
    command.arg("--host").arg(format!("unix://{}", place.socket.display()));
    command.arg("--cgroup-parent").arg(host.control_group());
    let pid = host.spawn("dockerd-debian", &mut command)?;
    wait_until("Debian's dockerd", || UnixStream::connect(&place.socket).ok())?;
    let docker = place.docker(&place.client)?;
    wait_until("an answer of Debian's dockerd", || docker.run(&["version"]).ok())?;
    place.import(host).context("Debian's engine")?;
    Ok(Debian { host, pid, place })
}

impl Debian<'_> {
    pub fn end(&self) -> Result<()> {
        self.host.end_early(self.pid)
    }
}
