//! What is asked of HostConfig and must be seen inside a container.

use anyhow::Result;
use testhost::{Host, wait_until};

pub fn health(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let probe = ["--health-cmd", "test -f /ok", "--health-interval", "200ms", "--health-retries", "2"];
    docker.run(&[&["run", "-d", "--name", "probed"], &probe[..], &[&image, "sleep", "1000"]].concat())?;
    let status = || docker.run(&["inspect", "-f", "{{.State.Health.Status}}", "probed"]).ok();
    wait_until("an unhealthy container", || status().filter(|status| status == "unhealthy"))?;
    assert!(docker.run(&["ps", "--filter", "health=unhealthy"])?.contains("(unhealthy)"));
    engine.kill_dockerd()?;
    engine.start_again()?;
    assert_eq!(status().as_deref(), Some("unhealthy"));
    docker.run(&["exec", "probed", "touch", "/ok"])?;
    wait_until("a healthy container", || status().filter(|status| status == "healthy"))?;
    docker.run(&["rm", "-f", "probed"])?;
    Ok(())
}

pub fn init(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let first = engine.docker.run(&["run", "--rm", "--init", &image, "sh", "-c", "cat /proc/1/cmdline; exit 0"])?;
    assert!(first.starts_with("/sbin/docker-init\0--\0sh"), "{first}");
    let ran = engine.docker.try_run(&["run", "--rm", "--init", &image, "sh", "-c", "exit 7"])?;
    assert_eq!(ran.code, 7);
    Ok(())
}

pub fn shared(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let script = "echo shared > /dev/shm/x; sleep 1000";
    docker.run(&["run", "-d", "--name", "donor", "--ipc", "shareable", &image, "sh", "-c", script])?;
    let read = ["run", "--rm", "--ipc", "container:donor", &image, "cat", "/dev/shm/x"];
    wait_until("shared memory", || docker.run(&read).ok().filter(|text| text == "shared"))?;
    docker.run(&["run", "-d", "--name", "private", &image, "sleep", "1000"])?;
    let refused = docker.try_run(&["run", "--rm", "--ipc", "container:private", &image, "true"])?;
    assert!(refused.stderr.contains("non-shareable IPC (hint: use IpcMode:shareable"), "{}", refused.stderr);
    let linked = docker.run(&["run", "--rm", "--link", "private:db", &image, "cat", "/etc/hosts"])?;
    assert!(linked.lines().any(|line| line.contains("\tdb ") && line.ends_with(" private")), "{linked}");
    docker.run(&["rm", "-f", "donor", "private"])?;
    Ok(())
}

pub fn mounts(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let whole = format!("type=image,source={image},target=/img");
    assert!(docker.run(&["run", "--rm", "--mount", &whole, &image, "ls", "/img"])?.contains("bin"));
    let write = docker.try_run(&["run", "--rm", "--mount", &whole, &image, "touch", "/img/x"])?;
    assert!(write.stderr.contains("Read-only file system"), "{}", write.stderr);
    docker.run(&["run", "--rm", "-v", "data:/d", &image, "sh", "-c", "mkdir /d/sub; echo hi > /d/sub/f"])?;
    let part =
        ["run", "--rm", "--mount", "type=volume,source=data,target=/d,volume-subpath=sub", &image, "cat", "/d/f"];
    assert_eq!(docker.run(&part)?, "hi");
    Ok(())
}
