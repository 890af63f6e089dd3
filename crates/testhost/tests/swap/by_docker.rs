//! Docker's programs around ours: Debian's dockerd on our runtime and our containerd, our client on Debian's dockerd, and
//! Docker's clients on our dockerd.

use anyhow::{Result, ensure};
use testhost::{Docker, Host};

use crate::containerd::{Containerd, ShimOf};
use crate::dockerd::{CLIENT, Dockerd};
use crate::images;
use crate::life::Life;

/// `--add-runtime longshore=…` and `--runtime longshore`.
pub fn our_runtime_is_added(host: &Host) -> Result<()> {
    let added = format!("longshore={}", host.programs().join("docker-runc").display());
    let dockerd = Dockerd::start(host, &["--add-runtime", &added])?;
    let image = dockerd.import()?;
    ensure!(dockerd.docker.run(&["info", "--format", "{{json .Runtimes}}"])?.contains("docker-runc"));
    let life = Life { docker: &dockerd.docker, image, flags: &["--runtime", "longshore"] };
    ensure!(life.output(&["--init"], &["cat", "/proc/1/comm"])? == "docker-init");
    life.live()
}

/// Without a word from the user.
pub fn our_runtime_is_the_default(host: &Host) -> Result<()> {
    let added = format!("longshore={}", host.programs().join("docker-runc").display());
    let dockerd = Dockerd::start(host, &["--add-runtime", &added, "--default-runtime", "longshore"])?;
    let image = dockerd.import()?;
    ensure!(dockerd.docker.run(&["info", "--format", "{{.DefaultRuntime}}"])? == "longshore");
    Life { docker: &dockerd.docker, image, flags: &[] }.live()
}

/// `--containerd` names ours, with our shim or Debian's behind it.
pub fn debian_runs_on_our_containerd(host: &Host, shim: ShimOf) -> Result<()> {
    let containerd = Containerd::ours(host, shim)?;
    let dockerd = Dockerd::start(host, &["--containerd", &containerd.socket().to_string_lossy()])?;
    let image = dockerd.import()?;
    Life { docker: &dockerd.docker, image, flags: &[] }.live()?;
    let registry = host.registry()?;
    let pulled = images::push(host, &registry)?;
    dockerd.docker.run(&["pull", &pulled])?;
    ensure!(dockerd.docker.run(&["run", "--rm", &pulled, "sh", "-c", "echo $COLOUR"])? == "red");
    dockerd.docker.run(&["rmi", &pulled])?;
    Ok(())
}

/// Our client speaks the older version of the API that Debian's dockerd has.
pub fn our_client_drives_debian(host: &Host) -> Result<()> {
    let dockerd = Dockerd::start(host, &[])?;
    let docker = Docker { program: host.programs().join("docker"), ..dockerd.docker.clone() };
    let version = docker.run(&["version", "--format", "{{.Client.APIVersion}} {{.Server.Version}}"])?;
    ensure!(version.starts_with("1.41 20.10."), "{version}");
    ensure!(docker.run(&["info"])?.contains("Server Version: 20.10."));
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    let pulled = docker.run(&["pull", &image])?;
    ensure!(pulled.contains("Digest: sha256:") && pulled.contains("Status: Downloaded newer image"), "{pulled}");
    ensure!(docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"])? == image);
    Life { docker: &docker, image: &image, flags: &[] }.live()?;
    let removed = docker.run(&["rmi", &image])?;
    ensure!(removed.contains(&format!("Untagged: {image}")) && removed.contains("Deleted: sha256:"), "{removed}");
    ensure!(docker.run(&["images", "--quiet"])?.is_empty());
    Ok(())
}

/// Docker's client on our dockerd.
pub fn docker_drives_ours(host: &Host, client: &str) -> Result<()> {
    let engine = host.engine("e")?;
    let docker = Docker { program: client.into(), ..engine.docker.clone() };
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    let version = docker.run(&["version", "--format", "{{.Client.APIVersion}}"])?;
    let expected = if client == CLIENT { "1.41" } else { "1." };
    ensure!(version.starts_with(expected), "{version}");
    docker.run(&["info"])?;
    let pulled = docker.run(&["pull", &image])?;
    ensure!(pulled.contains("Digest: sha256:") && pulled.contains("Status: Downloaded newer image"), "{pulled}");
    Life { docker: &docker, image: &image, flags: &[] }.live()?;
    ensure!(docker.run(&["run", "--rm", "--init", &image, "cat", "/proc/1/comm"])? == "docker-init");
    let other = registry.image("pushed-by-docker:1");
    docker.run(&["tag", &image, &other])?;
    let pushed = docker.run(&["push", &other])?;
    let digest = ids::Digest::of(images::raw_manifest(host, &other)?.as_bytes()).to_string();
    ensure!(pushed.contains(&digest), "{digest} in {pushed}");
    docker.run(&["rmi", &other, &image])?;
    ensure!(docker.run(&["images", "--quiet"])?.is_empty());
    Ok(())
}
