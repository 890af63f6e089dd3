//! Client libraries from PyPI and npm on our dockerd, as `scripts/clients` installs them below `target/clients`.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use testhost::{Engine, Host, Running, busybox_archive};

use crate::images;

macro_rules! clients {
    ($place:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients/", $place)
    };
}
pub const PYTHON: &str = clients!("python/bin/python");
pub const DOCKER_PY: &str = clients!("python/docker.installed");
pub const TESTCONTAINERS_PY: &str = clients!("python/testcontainers.installed");
pub const NODE_MODULES: &str = clients!("node/node_modules");
pub const TESTCONTAINERS_JS: &str = clients!("node/node_modules/testcontainers/package.json");

fn on_engine(engine: &Engine<'_>, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DOCKER_HOST", &engine.docker.host).env("DOCKER_CONFIG", &engine.docker.config);
    command.env("TESTCONTAINERS_RYUK_DISABLED", "true").env("NODE_PATH", NODE_MODULES);
    for name in ["DOCKER_CONTEXT", "DOCKER_API_VERSION", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        command.env_remove(name);
    }
    command
}

fn expect_all(command: Command) -> Result<()> {
    let ran = Running::start(command)?.wait()?;
    ensure!(ran.code == 0 && ran.stdout.ends_with("all of it\n"), "{}\n{}", ran.stdout, ran.stderr);
    Ok(())
}

/// The steps that Debian's docker-py takes, too.
pub fn docker_py(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    let archive = host.path("busybox.tar");
    fs::write(&archive, busybox_archive(host)?)?;
    let mut command = on_engine(&engine, PYTHON);
    command.args(["-c", include_str!("docker_py.py"), &image, &registry.image("from-python:1")]).arg(archive);
    expect_all(command)
}

pub fn testcontainers_of_python(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let mut command = on_engine(&engine, PYTHON);
    command.args(["-W", "ignore", "-c", include_str!("testcontainers.py")]);
    expect_all(command)
}

pub fn testcontainers_of_node(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let mut command = on_engine(&engine, "node");
    command.args(["-e", include_str!("testcontainers.js")]);
    expect_all(command)
}
