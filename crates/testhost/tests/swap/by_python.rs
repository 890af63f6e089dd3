//! docker-py and docker-compose of Debian on our dockerd.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use testhost::{Engine, Host, Ran, Running, busybox_archive, wait_until};

use crate::images;

/// Debian's interpreter: the one that has docker-py.
pub const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = include_str!("docker_py.py");

fn with_engine(engine: &Engine<'_>, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DOCKER_HOST", &engine.docker.host).env("DOCKER_CONFIG", &engine.docker.config);
    command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_API_VERSION");
    command
}

pub fn docker_py(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    let archive = host.path("busybox.tar");
    fs::write(&archive, busybox_archive(host)?)?;
    let mut command = with_engine(&engine, PYTHON);
    command.args(["-c", SCRIPT, &image, &registry.image("from-python:1")]).arg(archive);
    let ran = Running::start(command)?.wait()?;
    ensure!(ran.code == 0 && ran.stdout == "all of it\n", "{}\n{}", ran.stdout, ran.stderr);
    Ok(())
}

const PROJECT: &str = r#"
version: "3.8"
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo hello > /index.html; echo serving; exec httpd -f -p 80 -h /"]
    ports: ["127.0.0.1:8080:80"]
    environment: {COLOUR: red}
    stop_grace_period: 0s
  client:
    image: busybox
    command: ["sleep", "100000"]
    depends_on: [web]
    stop_grace_period: 0s
"#;

/// A project of two services that find each other by name.
pub fn compose(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = host.path("docker-compose.yml");
    fs::write(&file, PROJECT)?;
    let try_compose = |words: &[&str]| -> Result<Ran> {
        let mut command = with_engine(&engine, "docker-compose");
        command.arg("--file").arg(&file).args(["--project-name", "ship"]).args(words);
        Running::start(command)?.wait()
    };
    let compose = |words: &[&str]| -> Result<String> {
        let ran = try_compose(words)?;
        ensure!(ran.code == 0, "docker-compose {}: {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout)
    };
    compose(&["up", "-d"])?;
    let listed = compose(&["ps"])?;
    ensure!(listed.contains("ship_web_1") && listed.contains("ship_client_1"), "{listed}");
    ensure!(listed.matches(" Up ").count() == 2 && listed.contains("127.0.0.1:8080->80/tcp"), "{listed}");
    wait_until("the server", || compose(&["logs", "web"]).ok().filter(|log| log.contains("serving")))?;
    let found = compose(&["exec", "-T", "client", "nslookup", "-type=a", "web"])?;
    ensure!(found.contains("172."), "{found}");
    let address = engine.docker.run(&[
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        "ship_web_1",
    ])?;
    ensure!(found.contains(&address), "{address} in {found}");
    let fetch = format!("http://{address}/index.html");
    ensure!(compose(&["exec", "-T", "client", "wget", "-q", "-O", "-", &fetch])? == "hello\n");
    ensure!(host.command("/bin/busybox", &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/index.html"])? == "hello\n");
    ensure!(try_compose(&["exec", "-T", "web", "sh", "-c", "exit 3"])?.code == 3);
    // Nothing has changed: nothing is made again.
    let before = compose(&["ps", "-q"])?;
    compose(&["up", "-d"])?;
    ensure!(compose(&["ps", "-q"])? == before);
    compose(&["restart", "client"])?;
    compose(&["down"])?;
    ensure!(engine.docker.run(&["ps", "--all", "--quiet"])?.is_empty());
    let networks = engine.docker.run(&["network", "ls", "--format", "{{.Name}}"])?;
    ensure!(!networks.contains("ship"), "{networks}");
    Ok(())
}
