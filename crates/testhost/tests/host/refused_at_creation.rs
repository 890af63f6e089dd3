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

pub fn endpoints(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["network", "create", "plain"])?;
        docker.run(&["network", "create", "--subnet", "10.77.0.0/24", "town"])?;
        let refused = |words: &[&str], why: &str| -> Result<()> {
            let ran = docker.try_run(words)?;
            ensure!(ran.code == 1 && ran.stderr.contains("invalid endpoint settings:"), "{words:?}: {}", ran.stderr);
            ensure!(ran.stderr.contains(why), "{words:?}: {}", ran.stderr);
            Ok(())
        };
        docker.run(&["create", "--name", "web", &image, "sleep", "1000"])?;
        let elsewhere = "no configured subnet or ip-range contain the IP address 10.78.0.9";
        refused(&["network", "connect", "--ip", "10.78.0.9", "town", "web"], elsewhere)?;
        refused(&["network", "connect", "--ip", "10.78.0.9", "plain", "web"], "no configured subnet")?;
        refused(&["network", "connect", "--link-local-ip", "10.77.0.9", "town", "web"], "invalid link-local IP")?;
        refused(&["create", "--network", "town", "--ip", "10.78.0.9", &image], elsewhere)?;
        refused(&["create", "--ip", "172.17.0.9", &image], "supported on user defined networks only")?;
        docker.run(&["network", "connect", "--ip", "10.77.0.9", "town", "web"])?;
        docker.run(&["start", "web"])?;
        ensure!(docker.run(&["exec", "web", "ip", "-4", "-o", "address"])?.contains("inet 10.77.0.9/24"));
        docker.run(&["rm", "-f", "web"])?;
        // Who is not there yet may be there at the start.
        docker.run(&["create", "--name", "early", "--network", "later", "--network-alias", "x", &image, "true"])?;
        docker.run(&["rm", "early"])?;
        docker.run(&["network", "rm", "plain", "town"])?;
    }
    Ok(())
}
