//! What cannot work is said when a container is created, as Docker says it; and what looks odd and works is taken.

use anyhow::{Result, ensure};
use testhost::Host;

use crate::clients;

pub fn mistakes(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let modes = |member: &str| format!(r#"{{"Image":"{image}","HostConfig":{{"{member}":"container:nobody"}}}}"#);
    for member in ["PidMode", "IpcMode"] {
        let answer = engine.request("POST", "/v1.51/containers/create", modes(member).as_bytes())?;
        ensure!((answer.status, answer.message().as_str()) == (400, "No such container: nobody"), "{answer:?}");
    }
    for docker in clients(&engine) {
        let refused = |words: &[&str]| docker.try_run(words).map(|ran| (ran.code, ran.stderr));
        for path in ["/bin/busybox", "/bin/sh", "/bin/busybox/below"] {
            let (code, words) = refused(&["create", "-w", path, &image, "true"])?;
            ensure!(code == 1 && words.contains(&format!("Cannot mkdir: {path} is not a directory")), "{code} {words}");
        }
        ensure!(docker.run(&["run", "--rm", "-w", "/new/one", &image, "pwd"])? == "/new/one");
    }
    Ok(())
}

pub fn relative_volumes(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["create", "--name", "seed", &image])?;
        docker.run(&["commit", "--change", r#"VOLUME ["data"]"#, "seed", "with-volume"])?;
        let shown = docker.run(&["run", "--rm", "with-volume", "grep", "-c", " /data ", "/proc/mounts"])?;
        ensure!(shown == "1", "{shown}");
        docker.run(&["rm", "seed"])?;
        docker.run(&["rmi", "with-volume"])?;
    }
    Ok(())
}
