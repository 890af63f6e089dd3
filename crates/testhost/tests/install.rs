//! The ways onto a machine: the Debian package on a fresh Debian, `make install`, the units; and the way down at poweroff.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use testhost::{Engine, Host, Needs, Test, busybox_archive, run, test, wait_until};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Made by scripts/debian.
const DEBIAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian.tar");

const FRESH_DEBIAN: &[Needs] = &[
    Needs::Path("/bin/busybox"),
    Needs::Path(DEBIAN),
    Needs::Program("dpkg-deb", "dpkg"),
    Needs::Program("strip", "binutils"),
    Needs::Program("nft", "nftables"),
];
const SYSTEMD: &[Needs] = &[Needs::Program("systemd-analyze", "systemd"), Needs::Program("man", "man-db")];
const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];
const BASH: &[Needs] = &[Needs::Path("/bin/bash"), Needs::Program("man", "man-db")];

const TESTS: &[Test] = &[
    test("the_package_serves_on_a_fresh_debian_and_goes_without_a_trace", FRESH_DEBIAN, package),
    test("systemd_finds_nothing_wrong_with_the_units", SYSTEMD, units),
    test("make_install_brings_programs_manual_pages_and_completions", BASH, make_install),
    test("at_poweroff_containers_end_with_their_own_signal_and_in_their_own_time", BUSYBOX, poweroff),
];

fn main() -> ExitCode {
    run(TESTS)
}

fn script(name: &str) -> String {
    format!("{PROJECT}/scripts/{name}")
}

fn package(host: &Host) -> Result<()> {
    let debian = Debian::unpack(host)?;
    let programs = host.programs().display().to_string();
    let folder = debian.root.join("root").display().to_string();
    let made = Command::new(script("deb"))
        .args([&programs, &folder])
        .env("STRIP", "strip")
        .env("COMPRESSION", "none")
        .output()?;
    ensure!(made.status.success(), "scripts/deb: {}", String::from_utf8_lossy(&made.stderr));
    let package = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let package = package.strip_prefix(&debian.root.display().to_string()).context("the package's place")?.to_owned();
    // A control group of the test's own.
    let group = host.control_group();
    fs::create_dir_all(debian.root.join("etc/docker"))?;
    fs::write(debian.root.join("etc/docker/daemon.json"), format!("{{\"cgroup-parent\": \"/{group}\"}}\n"))?;

    // The script finds the package beside it.
    fs::copy(script("install.sh"), debian.root.join("root/install.sh"))?;
    let told = debian.run(&["sh", "/root/install.sh"])?;
    ensure!(told.contains("# Installing /root/longshore_") && told.contains("Server: Longshore"), "{told}");
    ensure!(told.contains("usermod -aG docker USER"), "{told}");
    let version = debian.run(&["docker", "version"])?;
    ensure!(version.contains("Client:") && version.contains("\nServer: Longshore\n"), "{version}");
    for component in [" Engine:", " docker-containerd:", " docker-runc:", " docker-init:"] {
        ensure!(version.contains(component), "{component} in {version}");
    }
    ensure!(debian.run(&["service", "docker", "status"])?.contains("docker is running"));
    let socket = debian.run(&["stat", "-c", "%a %U:%G", "/var/run/docker.sock"])?;
    ensure!(socket.trim() == "660 root:docker", "{socket}");
    fs::write(debian.root.join("root/busybox.tar"), busybox_archive(host)?)?;
    debian.run(&["docker", "import", "/root/busybox.tar", "busybox"])?;
    ensure!(debian.run(&["docker", "run", "--rm", "--init", "busybox", "echo", "from Debian"])? == "from Debian\n");
    debian.run(&["docker", "run", "-d", "--name", "runs", "--stop-timeout", "1", "busybox", "sleep", "1000"])?;
    // Containers do not notice that the daemon is another; an upgrade is the same.
    let pid = debian.run(&["docker", "inspect", "-f", "{{.State.Pid}}", "runs"])?;
    debian.run(&["dpkg", "--install", &package])?;
    ensure!(debian.run(&["docker", "inspect", "-f", "{{.State.Pid}}", "runs"])? == pid);
    for page in ["man1/docker.1.gz", "man1/docker-container-run.1.gz", "man8/dockerd.8.gz"] {
        ensure!(debian.root.join("usr/share/man").join(page).exists(), "{page}");
    }

    debian.run(&["dpkg", "--remove", "longshore"])?;
    ensure!(
        !Path::new(&format!("/proc/{}", pid.trim())).exists(),
        "a container runs without a program that could end it"
    );
    ensure!(!debian.root.join("usr/bin/docker").exists() && debian.root.join("var/lib/docker").exists());
    debian.run(&["dpkg", "--purge", "longshore"])?;
    ensure!(!debian.root.join("etc/init.d/docker").exists());
    // The default bridge and its rules stay until the machine goes down, as Docker's do.
    host.command("ip", &["link", "delete", "docker0"])?;
    host.command("nft", &["delete", "table", "inet", "longshore"])?;
    debian.leave(host)
}

/// A root file system with what a service needs to be seen in it.
struct Debian {
    root: PathBuf,
}

impl Debian {
    fn unpack(host: &Host) -> Result<Self> {
        let root = host.path("debian");
        fs::create_dir_all(&root)?;
        let place = root.display().to_string();
        host.command("tar", &["-C", &place, "--numeric-owner", "-xf", DEBIAN])?;
        // A container's root is pivoted to, which wants the one before to be a mount.
        host.command("mount", &["--bind", &place, &place])?;
        host.command("mount", &["-t", "proc", "proc", &format!("{place}/proc")])?;
        host.command("mount", &["--rbind", "/sys", &format!("{place}/sys")])?;
        host.command("mount", &["--rbind", "/dev", &format!("{place}/dev")])?;
        // Where nothing is process 1's, services are started only if a policy says so.
        let policy = root.join("usr/sbin/policy-rc.d");
        fs::write(&policy, "#!/bin/sh\nexit 0\n")?;
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self { root })
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        let output = Command::new("chroot")
            .arg(&self.root)
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = || fs::read_to_string(self.root.join("var/log/docker.log")).unwrap_or_default();
        ensure!(
            output.status.success(),
            "{words:?}: {}\n{text}{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            log()
        );
        Ok(text)
    }

    fn leave(&self, host: &Host) -> Result<()> {
        host.unmount_below(&self.root)
    }
}

fn stage(host: &Host, prefix: &str) -> Result<PathBuf> {
    let folder = host.path("stage");
    let made = Command::new(script("stage"))
        .env("PROGRAMS", host.programs())
        .env("PREFIX", prefix)
        .env("DESTDIR", &folder)
        .output()?;
    ensure!(made.status.success(), "scripts/stage: {}", String::from_utf8_lossy(&made.stderr));
    Ok(folder)
}

fn units(host: &Host) -> Result<()> {
    let folder = stage(host, "/usr/local")?;
    let units = folder.join("etc/systemd/system");
    let service = units.join("docker.service");
    // Where the programs are in this test.
    let text = fs::read_to_string(&service)?.replace("=/usr/local/", &format!("={}/usr/local/", folder.display()));
    fs::write(&service, text)?;
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=yes"])
        .args([&service, &units.join("docker.socket")])
        .env("MANPATH", folder.join("usr/local/share/man"))
        .output()?;
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    ensure!(verified.status.success() && !words.contains("docker."), "{words}");
    Ok(())
}

fn make_install(host: &Host) -> Result<()> {
    let folder = stage(host, "/usr/local")?;
    let share = folder.join("usr/local/share");
    let daemons = ["dockerd", "docker-containerd", "docker-containerd-shim", "docker-runc", "docker-netd"];
    for name in daemons.into_iter().chain(["docker", "docker-credential-longshore"]) {
        ensure!(folder.join("usr/local/bin").join(name).exists(), "{name}");
    }
    let page = |name: &str| -> Result<String> {
        let path = share.join("man").join(name).display().to_string();
        let shown = Command::new("man").args(["--warnings", "-l", &path]).env("MANWIDTH", "80").output()?;
        let words = String::from_utf8_lossy(&shown.stderr).into_owned();
        ensure!(shown.status.success() && words.is_empty(), "{name}: {words}");
        Ok(String::from_utf8_lossy(&shown.stdout).into_owned())
    };
    for entry in fs::read_dir(share.join("man/man1"))?.flatten() {
        page(&format!("man1/{}", entry.file_name().to_string_lossy()))?;
    }
    ensure!(page("man1/docker-container-run.1.gz")?.contains("Create and run a new container from an image"));
    ensure!(page("man8/dockerd.8.gz")?.contains("--live-restore"));
    let completion = share.join("bash-completion/completions/docker").display().to_string();
    let line = "docker container ren";
    let bash = format!(
        "source {completion}; COMP_LINE='{line}' COMP_POINT={}; __docker_complete; echo \"${{COMPREPLY[@]}}\"",
        line.len()
    );
    let path = format!("{}:/usr/bin:/bin", folder.join("usr/local/bin").display());
    let completed = Command::new("bash").args(["-c", &bash]).env("PATH", path).output()?;
    ensure!(completed.stdout == b"rename\n", "{completed:?}");
    for (file, start) in
        [("zsh/site-functions/_docker", "#compdef docker\n"), ("fish/vendor_completions.d/docker.fish", "# fish")]
    {
        ensure!(fs::read_to_string(share.join(file))?.starts_with(start), "{file}");
    }
    Ok(())
}

fn poweroff(host: &Host) -> Result<()> {
    let stop = stage(host, "/usr/local")?.join("usr/local/libexec/docker/stop-daemon");
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let trap = "trap 'echo got it; exit 7' USR1; while :; do sleep 0.1; done";
    docker.run(&["run", "-d", "--name", "own", "--stop-signal", "USR1", &image, "sh", "-c", trap])?;
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    docker.run(&["run", "-d", "--name", "deaf", "--stop-timeout", "1", &image, "sh", "-c", deaf])?;
    let wanted = ["run", "-d", "--name", "wanted", "--restart", "always", "--stop-timeout", "1"];
    docker.run(&[&wanted[..], &[&image, "sh", "-c", deaf]].concat())?;
    wait_until("the trap", || (docker.run(&["top", "own"]).ok()?.lines().count() > 2).then_some(()))?;
    // Stopped as a service on a machine that goes on, containers run on.
    let pid = docker.run(&["inspect", "-f", "{{.State.Pid}}", "own"])?;
    stop_daemon(&stop, &engine, "2")?;
    ensure!(Path::new(&format!("/proc/{pid}")).exists(), "the container ended with the daemon");
    engine.start_again()?;
    // Runlevel 0 is the way down.
    stop_daemon(&stop, &engine, "0")?;
    ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "the container runs on without a daemon");
    engine.start_again()?;
    let state = |name: &str| docker.run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]);
    ensure!(state("own")? == "exited 7" && docker.run(&["logs", "own"])? == "got it", "{}", state("own")?);
    ensure!(state("deaf")? == "exited 137", "{}", state("deaf")?);
    // The machine is back.
    wait_until("the restart policy", || state("wanted").ok()?.starts_with("running").then_some(()))?;
    docker.run(&["rm", "-f", "own", "deaf", "wanted"])?;
    Ok(())
}

/// As the init script does it, on the way to this runlevel; returns when the daemon is gone.
fn stop_daemon(stop: &Path, engine: &Engine, runlevel: &str) -> Result<()> {
    let pid = engine.dockerd_pid().to_string();
    let mut stopping = Command::new(stop).arg(&pid).env("RUNLEVEL", runlevel).spawn()?;
    let ended = wait_until("the end of stop-daemon", || stopping.try_wait().transpose())??;
    ensure!(ended.success(), "{ended}");
    Ok(())
}
