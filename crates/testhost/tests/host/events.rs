//! `docker events`.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testhost::{Host, wait_until};

use crate::clients;

pub fn life(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
        let words = [
            "events",
            "--since",
            "0s",
            "--filter",
            "type=container",
            "--filter",
            "container=actor",
            "--format",
            format,
        ];
        let mut events = docker.start(&words)?;
        docker.run(&["run", "-d", "--name", "actor", &image, "sleep", "1000"])?;
        docker.run(&["exec", "actor", "true"])?;
        docker.run(&["kill", "actor"])?;
        docker.run(&["wait", "actor"])?;
        docker.run(&["rm", "actor"])?;
        for action in
            ["create", "start", "exec_create: true ", "exec_start: true ", "exec_die", "kill", "die", "destroy"]
        {
            events.expect(&format!("container {action} actor\n"))?;
        }
        events.signal(Signal::INT)?;
        events.wait()?;
    }
    Ok(())
}

/// A probe's exec is over before anybody hears what the health came to.
pub fn of_health(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let probe = ["--health-cmd", "true", "--health-interval", "50ms"];
    for round in 0..5 {
        let name = format!("probed{round}");
        docker.run(&[&["run", "-d", "--name", &name], &probe[..], &[&image, "sleep", "1000"]].concat())?;
        let is_healthy = || docker.run(&["inspect", "-f", "{{.State.Health.Status}}", &name]).ok();
        wait_until("a healthy container", || is_healthy().filter(|status| status == "healthy"))?;
        docker.run(&["rm", "-f", &name])?;
        let container = format!("container={name}");
        let words = ["events", "--since", "1", "--until", "0s", "--filter", &container, "--format", "{{.Action}}"];
        let told = docker.run(&words)?;
        let at = |wanted: &str| told.lines().position(|line| line.starts_with(wanted));
        let order = [at("exec_create"), at("exec_start"), at("exec_die"), at("health_status: healthy")];
        ensure!(order.is_sorted() && order[0].is_some(), "{told}");
    }
    Ok(())
}
