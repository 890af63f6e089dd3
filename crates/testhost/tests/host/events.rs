//! `docker events`.

use anyhow::Result;
use rustix::process::Signal;
use testhost::Host;

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
