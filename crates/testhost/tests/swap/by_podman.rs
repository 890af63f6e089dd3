//! podman and buildah with our runtime; skopeo, podman and umoci with our engine at one registry.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhost::{Host, Ran, Registry, Running, Terminal, busybox_archive, wait_until};

use crate::images;

/// podman or buildah on roots of its own.
struct Pod<'h> {
    host: &'h Host,
    program: &'static str,
    globals: Vec<String>,
}

impl<'h> Pod<'h> {
    fn new(host: &'h Host, program: &'static str) -> Result<Self> {
        for folder in ["/run/containers", "/run/libpod", "/var/lib/containers", "/run/netns"] {
            host.cover(folder)?;
        }
        let root = |name: &str| host.path(&format!("{program}-{name}")).to_string_lossy().into_owned();
        let mut globals = vec!["--root".into(), root("root"), "--runroot".into(), root("run")];
        globals.extend(["--storage-driver".into(), "vfs".into()]);
        if program == "podman" {
            globals.extend(["--tmpdir".into(), root("tmp"), "--network-config-dir".into(), root("networks")]);
            globals.extend(["--cgroup-manager", "cgroupfs", "--events-backend", "file"].map(str::to_owned));
            let runtime = host.programs().join("docker-runc").to_string_lossy().into_owned();
            globals.extend(["--runtime".into(), runtime]);
        }
        Ok(Self { host, program, globals })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.globals).args(words).env("HOME", self.host.path(""));
        command
    }

    fn try_run(&self, words: &[&str]) -> Result<Ran> {
        Running::start(self.command(words))?.wait()
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        let ran = self.try_run(words)?;
        ensure!(ran.code == 0, "{} {}: exit {}\n{}{}", self.program, words.join(" "), ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout.trim_end().to_owned())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // podman leaves the group of its monitors behind.
        let group = self.host.control_group();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(&group).join("conmon"));
        }
    }
}

/// In both of podman's formats.
pub fn archives_go_both_ways(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let podman = Pod::new(host, "podman")?;
    engine.import_busybox("docker.io/library/busybox:1")?;
    let id = engine.docker.run(&["images", "-q", "--no-trunc", "busybox:1"])?;
    let file = |name: &str| host.path(name).display().to_string();
    engine.docker.run(&["save", "-o", &file("ours.tar"), "busybox:1"])?;
    podman.run(&["load", "-q", "-i", &file("ours.tar")])?;
    let theirs = podman.run(&["image", "inspect", "--format", "{{.Id}}", "docker.io/library/busybox:1"])?;
    ensure!(id == format!("sha256:{theirs}"), "podman has {theirs}, we have {id}");
    for format in ["docker-archive", "oci-archive"] {
        let saved = file(&format!("{format}.tar"));
        podman.run(&["save", "-q", "--format", format, "-o", &saved, "docker.io/library/busybox:1"])?;
        engine.docker.run(&["rmi", "busybox:1"])?;
        let loaded = engine.docker.run(&["load", "-i", &saved])?;
        ensure!(loaded == "Loaded image: busybox:1", "{format}: {loaded}");
        ensure!(engine.docker.run(&["run", "--rm", "busybox:1", "echo", "back"])? == "back", "{format}");
    }
    Ok(())
}

/// podman's containers by our runtime.
pub fn podman_runs_our_runtime(host: &Host) -> Result<()> {
    let podman = Pod::new(host, "podman")?;
    let group = format!("/{}", host.control_group());
    let pushed = images::push(host, &host.registry()?)?;
    let image = podman.run(&["pull", "--quiet", "--tls-verify=false", &pushed])?;
    ensure!(podman.run(&["info", "--format", "{{.Host.OCIRuntime.Path}}"])?.ends_with("/docker-runc"));
    let run = ["run", "--cgroup-parent", &group, "--network", "none"];
    let words = |options: &[&'static str], rest: &[&'static str]| -> Vec<String> {
        let all = [&run[..], options, &[&image], rest].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let try_run = |options: &[&'static str], rest: &[&'static str]| {
        let words = words(options, rest);
        podman.try_run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let ran = try_run(&["--rm"], &["sh", "-c", "echo $COLOUR; echo err >&2; exit 7"])?;
    ensure!(ran == Ran { code: 7, stdout: "red\n".into(), stderr: "err\n".into() }, "{ran:?}");
    let ran = try_run(&["--rm"], &["no-such-program"])?;
    ensure!(ran.code == 127 && ran.stderr.contains("executable file"), "{ran:?}");
    // podman's own scratch folders of --read-only want tmpcopyup, an option of runc's that is no mount option.
    let ran = try_run(&["--rm", "--read-only"], &["sh", "-c", "echo x > /tmp/x && cat /tmp/x; touch /y"])?;
    ensure!(ran.stdout == "x\n" && ran.stderr.contains("Read-only file system"), "{ran:?}");
    let mapped = ["--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    let ran = try_run(&mapped, &["sh", "-c", "id -u; cat /proc/self/uid_map; touch /made && stat -c %u /made"])?;
    let said: Vec<&str> = ran.stdout.split_whitespace().collect();
    ensure!(said == ["0", "0", "100000", "65536", "0"], "{ran:?}");
    let read_only = ["--rm", "--user", "1000:1001", "--read-only", "--read-only-tmpfs=false"];
    let ran = try_run(&read_only, &["sh", "-c", "id -u; id -g; touch /x"])?;
    ensure!(ran.stdout == "1000\n1001\n" && ran.stderr.contains("Read-only file system"), "{ran:?}");
    let ran = try_run(&["--rm", "--memory", "64m"], &["cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])?;
    ensure!(ran.stdout == "67108864\n", "{ran:?}");
    let interactive = words(&["--rm", "-it"], &["sh"]);
    let interactive: Vec<&str> = interactive.iter().map(String::as_str).collect();
    let mut terminal = Terminal::start(&podman.command(&interactive))?;
    terminal.type_keys("test -t 1 && echo ter'minal'; exit 5\n")?;
    terminal.expect("terminal\r\n")?;
    ensure!(terminal.wait()? == 5);
    let script = "trap 'echo trapped; exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    let started = try_run(&["-d", "--name", "long"], &["sh", "-c", script])?;
    ensure!(started.code == 0, "{started:?}");
    wait_until("the first line", || podman.run(&["logs", "long"]).ok().filter(|log| log == "ready"))?;
    ensure!(podman.run(&["ps", "--format", "{{.Names}}"])? == "long");
    ensure!(podman.try_run(&["exec", "long", "sh", "-c", "exit 3"])?.code == 3);
    ensure!(podman.run(&["exec", "--user", "1000", "long", "id", "-u"])? == "1000");
    let mut terminal = Terminal::start(&podman.command(&["exec", "-it", "long", "sh"]))?;
    terminal.type_keys("test -t 1 && echo in'side'; exit 6\n")?;
    terminal.expect("inside\r\n")?;
    ensure!(terminal.wait()? == 6);
    podman.run(&["pause", "long"])?;
    ensure!(podman.run(&["inspect", "--format", "{{.State.Status}}", "long"])? == "paused");
    podman.run(&["unpause", "long"])?;
    ensure!(podman.run(&["top", "long", "comm"])?.contains("sh"));
    podman.run(&["stop", "long"])?;
    ensure!(podman.run(&["inspect", "--format", "{{.State.ExitCode}}", "long"])? == "9");
    podman.run(&["rm", "long"])?;
    Ok(())
}

/// Limits and signals of podman's by our runtime.
pub fn podman_updates_and_kills(host: &Host) -> Result<()> {
    let podman = Pod::new(host, "podman")?;
    let group = format!("/{}", host.control_group());
    let pushed = images::push(host, &host.registry()?)?;
    let image = podman.run(&["pull", "--quiet", "--tls-verify=false", &pushed])?;
    let run = ["run", "-d", "--cgroup-parent", &group, "--network", "none", "--name", "limited", &image];
    podman.run(&[&run[..], &["sleep", "1000"]].concat())?;
    podman.run(&["update", "--memory", "128m", "limited"])?;
    // The limit that podman 4.3's stats show is the one that the container began with (its pull request 18630).
    let limit = podman.run(&["exec", "limited", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])?;
    ensure!(limit == "134217728", "{limit}");
    let stats = podman.run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "limited"])?;
    ensure!(stats == "limited 1", "{stats}");
    podman.run(&["kill", "limited"])?;
    ensure!(podman.run(&["wait", "limited"])? == "137");
    podman.run(&["rm", "limited"])?;
    Ok(())
}

/// A step of a build by our runtime.
pub fn buildah_runs_our_runtime(host: &Host) -> Result<()> {
    let buildah = Pod::new(host, "buildah")?;
    let registry = host.registry()?;
    let base = images::push(host, &registry)?;
    let container = buildah.run(&["from", "--quiet", "--tls-verify=false", &base])?;
    let runtime = host.programs().join("docker-runc");
    let run = ["run", "--isolation", "oci", "--network", "none", "--runtime", &runtime.to_string_lossy(), &container];
    ensure!(buildah.run(&[&run[..], &["sh", "-c", "echo $COLOUR | tee /made"]].concat())? == "red");
    let failed = buildah.try_run(&[&run[..], &["sh", "-c", "exit 3"]].concat())?;
    ensure!(failed.code == 3, "{failed:?}");
    let on_terminal = [&run[..1], &["--tty"], &run[1..], &["sh"]].concat();
    let mut terminal = Terminal::start(&buildah.command(&on_terminal))?;
    terminal.type_keys("test -t 1 && echo ter'minal'; exit 5\n")?;
    terminal.expect("terminal\r\n")?;
    ensure!(terminal.wait()? == 5);
    // What the step wrote is in the image that is made of it, and our engine runs it.
    let image = registry.image("built:1");
    let committed = buildah.run(&["commit", "--quiet", "--rm", &container, "built"])?;
    buildah.run(&["push", "--quiet", "--tls-verify=false", &committed, &format!("docker://{image}")])?;
    let engine = host.engine("e")?;
    engine.docker.run(&["pull", &image])?;
    ensure!(engine.docker.run(&["run", "--rm", &image, "cat", "/made"])? == "red");
    Ok(())
}

/// How others write an image.
struct Written {
    repository: &'static str,
    options: &'static [&'static str],
    manifest: &'static str,
    layer: &'static str,
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const WRITTEN: &[Written] = &[
    Written { repository: "oci", options: &["--format", "oci"], manifest: OCI, layer: "layer.v1.tar+gzip" },
    Written {
        repository: "schema2",
        options: &["--format", "v2s2"],
        manifest: "application/vnd.docker.distribution.manifest.v2+json",
        layer: "image.rootfs.diff.tar.gzip",
    },
];

/// We pull what skopeo and podman push: OCI, Docker's schema 2, layers of gzip and of zstd.
pub fn we_read_what_others_push(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    for written in WRITTEN {
        let image = images::push_with(host, &registry, written.repository, written.options)?;
        pulls_and_runs(host, &engine.docker, &image, written.manifest, written.layer)?;
    }
    let podman = Pod::new(host, "podman")?;
    // Of a layer that it knows compressed already podman would push that one.
    let archive = host.path("busybox.tar");
    fs::write(&archive, busybox_archive(host)?)?;
    let id = podman.run(&["import", "--quiet", "--change", "ENV COLOUR=red", &archive.to_string_lossy()])?;
    let image = registry.image("zstd:latest");
    let push = ["push", "--quiet", "--tls-verify=false", "--format", "oci", "--compression-format", "zstd"];
    podman.run(&[&push[..], &[&id, &format!("docker://{image}")]].concat())?;
    pulls_and_runs(host, &engine.docker, &image, "application/vnd.oci.image.config.v1+json", "layer.v1.tar+zstd")
}

fn pulls_and_runs(host: &Host, docker: &testhost::Docker, image: &str, manifest: &str, layer: &str) -> Result<()> {
    let raw = images::raw_manifest(host, image)?;
    ensure!(raw.contains(manifest) && raw.contains(layer), "{raw}");
    let digest = ids::Digest::of(raw.as_bytes()).to_string();
    let pulled = docker.run(&["pull", image])?;
    ensure!(pulled.contains(&format!("Digest: {digest}")), "{digest} in {pulled}");
    let parsed: Value = serde_json::from_str(&raw)?;
    ensure!(
        docker.run(&["inspect", "--format", "{{.Id}}", image])? == parsed["config"]["digest"],
        "the id is the configuration's digest"
    );
    let digests = docker.run(&["inspect", "--format", "{{json .RepoDigests}}", image])?;
    ensure!(digests.contains(&format!("@{digest}")), "{digests}");
    ensure!(docker.run(&["run", "--rm", image, "sh", "-c", "echo $COLOUR"])? == "red");
    docker.run(&["rmi", image])?;
    Ok(())
}

/// skopeo, podman and umoci read what we push, and it is what we said it is.
pub fn others_read_what_we_push(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let image = registry.image("ours:1");
    engine.import_busybox(&image)?;
    let pushed = engine.docker.run(&["push", &image])?;
    let raw = images::raw_manifest(host, &image)?;
    let digest = ids::Digest::of(raw.as_bytes()).to_string();
    ensure!(pushed.contains(&format!("digest: {digest} size: {}", raw.len())), "{digest} {} in {pushed}", raw.len());
    let parsed: Value = serde_json::from_str(&raw)?;
    ensure!(engine.docker.run(&["inspect", "--format", "{{.Id}}", &image])? == parsed["config"]["digest"]);
    let inspected = host.command("skopeo", &["inspect", "--tls-verify=false", &format!("docker://{image}")])?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    ensure!(inspected["Digest"] == digest.as_str() && inspected["Os"] == "linux", "{inspected}");
    ensure!(inspected["Layers"].as_array().map(Vec::len) == Some(1), "{inspected}");
    unpacks(host, &image)?;
    podman_runs(host, &registry, &image)
}

/// umoci unpacks it from the layout to which skopeo copies it, digests checked on the way.
fn unpacks(host: &Host, image: &str) -> Result<()> {
    let (layout, bundle): (PathBuf, PathBuf) = (host.path("copied"), host.path("bundle"));
    let target = format!("oci:{}:1", layout.display());
    host.command("skopeo", &["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{image}"), &target])?;
    let source = format!("{}:1", layout.display());
    host.command("umoci", &["unpack", "--image", &source, &bundle.to_string_lossy()])?;
    let unpacked = fs::read(bundle.join("rootfs/bin/busybox")).context("the unpacked busybox")?;
    ensure!(unpacked == fs::read("/bin/busybox")?);
    Ok(())
}

fn podman_runs(host: &Host, registry: &Registry, image: &str) -> Result<()> {
    let podman = Pod::new(host, "podman")?;
    let id = podman.run(&["pull", "--quiet", "--tls-verify=false", &registry.image("ours:1")])?;
    let group = format!("/{}", host.control_group());
    let run = ["run", "--rm", "--network", "none", "--cgroup-parent", &group, &id, "echo", "hello"];
    ensure!(podman.run(&run)? == "hello", "{image}");
    Ok(())
}
