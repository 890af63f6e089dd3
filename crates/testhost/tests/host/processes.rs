//! What `ps` on the host shows of a run.

use std::fs;

use anyhow::{Context, Result};
use testhost::{Host, wait_until};

pub fn tree(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let id = docker.run(&["run", "-d", "--name", "seen", "-p", "8080:80", &image, "sleep", "1000"])?;
    let init = docker.run(&["inspect", "--format", "{{.State.Pid}}", "seen"])?;
    let rows = wait_until("the runtime's end", || {
        let shown = host.command("ps", &["-eww", "-o", "pid=,ppid=,args="]).ok()?;
        (!shown.contains("docker-runc")).then_some(shown)
    })?;
    let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split_whitespace().collect()).collect();
    let find = |program: &str| {
        let row = rows.iter().find(|row| row.get(2).is_some_and(|name| name.rsplit('/').next() == Some(program)));
        row.with_context(|| format!("{program} among {rows:?}"))
    };
    let (dockerd, containerd) = (find("dockerd")?, find("docker-containerd")?);
    let shims = || rows.iter().filter(|row| row.get(2).is_some_and(|name| name.ends_with("/docker-containerd-shim")));
    let shim = shims().find(|row| row.contains(&id.as_str())).with_context(|| format!("the shim of {id}: {rows:?}"))?;
    let server = shims().find(|row| row.last() == Some(&"fork-server")).context("the fork server of the shims")?;
    find("docker-netd")?;
    assert_eq!(dockerd[0], engine.dockerd_pid().to_string());
    assert_eq!(containerd[0], engine.containerd_pid()?.to_string());
    assert_eq!([server[1], shim[1]], [containerd[0], server[0]]);
    let process = rows.iter().find(|row| row[0] == init).context("the container's process")?;
    assert_eq!(process[1..], [shim[0], "sleep", "1000"]);
    // Each of them is in a session of its own: what ends a terminal ends none of them.
    for row in [containerd, shim] {
        let stat = fs::read_to_string(format!("/proc/{}/stat", row[0]))?;
        let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).unwrap_or_default();
        assert_eq!(session, row[0], "{row:?}");
    }
    // What a shim is copied from is nothing that it needs.
    let number: i32 = server[0].parse()?;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(number).context("a number")?,
        rustix::process::Signal::KILL,
    )?;
    assert_eq!(docker.run(&["exec", "seen", "echo", "there"])?, "there");
    let again = docker.run(&["run", "-d", &image, "sleep", "1000"])?;
    docker.run(&["rm", "-f", "seen", &again])?;
    Ok(())
}
