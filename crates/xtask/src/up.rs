//! `make run`: an engine on roots of its own under the working tree, and a first container from a real registry.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
const BUSYBOX: &str = "/bin/busybox";

/// Everything of this engine lies in `.longshore/`.
struct Site {
    root: PathBuf,
    programs: PathBuf,
}

impl Site {
    fn new(workspace: &Path) -> Result<Self> {
        Ok(Self { root: workspace.join(".longshore"), programs: crate::programs("release")? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    fn docker(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("docker"));
        command.args(words).env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_API_VERSION");
        command
    }

    /// Runs `docker …`, shown as typed; an error unless it succeeds.
    fn show(&self, words: &[&str]) -> Result<()> {
        println!("$ docker {}", words.join(" "));
        let status = self.docker(words).stdin(Stdio::null()).status().context("docker")?;
        ensure!(status.success(), "docker {}: {status}", words.join(" "));
        Ok(())
    }
}

/// Starts what does not run yet and runs the first container.
pub fn up(workspace: &Path) -> Result<()> {
    become_root()?;
    let site = Site::new(workspace)?;
    fs::create_dir_all(&site.root)?;
    start_engine(&site)?;
    let registry = start_registry(&site)?;
    let image = format!("{registry}/busybox:latest");
    if !has_image(&site, &image)? {
        import(&site, &image)?;
        site.show(&["image", "push", &image])?;
        site.show(&["image", "rm", &image])?;
        site.show(&["image", "pull", &image])?;
    }
    site.show(&["container", "run", "--rm", &image, "echo", "Hello from a container that Longshore started"])?;
    println!(
        "\nThe engine runs. To go on with it in this shell:\n\n  eval \"$(cargo xtask env)\"\n  docker container run -it {image} sh\n\n\
         To stop it and everything in it:\n\n  make stop\n"
    );
    Ok(())
}

/// Prints what a shell has to export.
pub fn print_environment(workspace: &Path) -> Result<()> {
    let site = Site::new(workspace)?;
    println!("export DOCKER_HOST=unix://{}", site.socket().display());
    println!("export PATH={}:$PATH", site.programs.display());
    Ok(())
}

/// Ends the containers, the engine and the registry. What was stored stays for the next start.
pub fn down(workspace: &Path) -> Result<()> {
    become_root()?;
    let site = Site::new(workspace)?;
    if UnixStream::connect(site.socket()).is_ok() {
        let listed = site.docker(&["container", "ls", "-q"]).output()?;
        let ids = String::from_utf8(listed.stdout)?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            site.show(&[&["container", "stop"], ids.as_slice()].concat())?;
        }
    }
    for pid_file in ["dockerd.pid", "registry.pid", "run/netd.pid"] {
        end(&site.path(pid_file))?;
    }
    println!("stopped");
    Ok(())
}

/// The engine needs root; sudo asks for it where we are not.
fn become_root() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    if uid.split_whitespace().nth(1) == Some("0") {
        return Ok(());
    }
    println!("containers need root: asking sudo");
    let error = Command::new("sudo").arg(std::env::current_exe()?).args(std::env::args().skip(1)).exec();
    Err(error).context("sudo")
}

fn start_engine(site: &Site) -> Result<()> {
    if UnixStream::connect(site.socket()).is_ok() {
        println!("the engine runs already");
        return Ok(());
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(site.path("dockerd.log"))?;
    let started = Instant::now();
    Command::new(site.programs.join("dockerd"))
        .arg("--data-root")
        .arg(site.path("data"))
        .arg("--exec-root")
        .arg(site.path("run"))
        .arg("--pidfile")
        .arg(site.path("dockerd.pid"))
        .arg("--host")
        .arg(format!("unix://{}", site.socket().display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("dockerd")?;
    wait_for("the engine", || UnixStream::connect(site.socket()).is_ok())
        .with_context(|| format!("see {}", site.path("dockerd.log").display()))?;
    println!("started the engine in {} ms", started.elapsed().as_millis());
    Ok(())
}

/// Debian's docker-registry on a loopback port of its own; answers `127.0.0.1:PORT`.
fn start_registry(site: &Site) -> Result<String> {
    let address_file = site.path("registry.address");
    if let Ok(address) = fs::read_to_string(&address_file)
        && std::net::TcpStream::connect(&address).is_ok()
    {
        return Ok(address);
    }
    let address = match fs::read_to_string(&address_file) {
        Ok(address) => address,
        // The kernel picks a port that is free now; images are named after it, so it is kept.
        Err(_) => TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string(),
    };
    let config = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
        site.path("registry").display()
    );
    fs::write(site.path("registry.yml"), config)?;
    let log = fs::OpenOptions::new().create(true).append(true).open(site.path("registry.log"))?;
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(site.path("registry.yml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("docker-registry")?;
    fs::write(site.path("registry.pid"), child.id().to_string())?;
    wait_for("the registry", || std::net::TcpStream::connect(&address).is_ok())?;
    fs::write(&address_file, &address)?;
    println!("started Debian's docker-registry on {address}");
    Ok(address)
}

fn has_image(site: &Site, image: &str) -> Result<bool> {
    Ok(site.docker(&["image", "inspect", image]).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
}

/// Makes an image of Debian's static busybox and the names it answers to.
fn import(site: &Site, image: &str) -> Result<()> {
    let folder = site.path("busybox");
    for name in ["bin", "etc", "root", "tmp"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy(BUSYBOX, folder.join("bin/busybox")).context(BUSYBOX)?;
    let applets = Command::new(BUSYBOX).arg("--list").output()?;
    for applet in String::from_utf8(applets.stdout)?.lines().filter(|applet| *applet != "busybox") {
        let link = folder.join("bin").join(applet);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
    fs::write(folder.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    println!("$ tar -c busybox | docker image import --change 'CMD [\"sh\"]' - {image}");
    let archive = Command::new("tar").arg("-C").arg(&folder).args(["--owner=0", "--group=0", "-c", "."]).output()?;
    ensure!(archive.status.success(), "tar: {}", String::from_utf8_lossy(&archive.stderr));
    let mut child =
        site.docker(&["image", "import", "--change", "CMD [\"sh\"]", "-", image]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("docker import takes no input")?.write_all(&archive.stdout)?;
    ensure!(child.wait()?.success(), "docker image import failed");
    Ok(())
}

fn wait_for(what: &str, ready: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while !ready() {
        if Instant::now() > deadline {
            bail!("{what} did not answer within {} s", START_LIMIT.as_secs());
        }
        sleep(POLL);
    }
    Ok(())
}

/// Asks the process of a pid file to end, and waits until it has.
fn end(pid_file: &Path) -> Result<()> {
    let Ok(pid) = fs::read_to_string(pid_file) else { return Ok(()) };
    let pid = pid.trim();
    let process = PathBuf::from("/proc").join(pid);
    if process.exists() {
        // The process may end between the look and the signal.
        let _ = Command::new("kill").arg(pid).stderr(Stdio::null()).status()?;
        wait_for(&format!("the end of process {pid}"), || !process.exists())?;
    }
    fs::remove_file(pid_file)
        .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    Ok(())
}
