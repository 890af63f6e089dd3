//! What a daemon leaves behind when it ends, and who comes after it.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testhost::{Engine, Host, wait_until};

fn signal(engine: &Engine, signal: Signal) -> Result<()> {
    let pid = i32::try_from(engine.dockerd_pid()).ok().and_then(Pid::from_raw).context("no process")?;
    Ok(kill_process(pid, signal)?)
}

/// The kernel still holds a killed daemon's socket and locks when the next one comes.
pub fn followed_at_once(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    engine.docker.run(&["run", "-d", "--name", "runs", &image, "sleep", "1000"])?;
    for _ in 0..10 {
        signal(&engine, Signal::KILL)?;
        engine.start_again()?;
    }
    assert_eq!(engine.docker.run(&["ps", "--format", "{{.Names}}"])?, "runs");
    engine.docker.run(&["rm", "-f", "runs"])?;
    Ok(())
}

/// Daemons of other roots than Docker's have bridges of their own, whose addresses nobody else could have.
pub fn takes_its_bridge_along(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let bridge = engine.docker.run(&[
        "network",
        "inspect",
        "-f",
        "{{index .Options \"com.docker.network.bridge.name\"}}",
        "bridge",
    ])?;
    let is_there = || host.command("ip", &["link", "show", &bridge]).is_ok();
    let restart = |left: bool| -> Result<()> {
        let status = format!("/proc/{}/status", engine.dockerd_pid());
        signal(&engine, Signal::TERM)?;
        let runs = || fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
        wait_until("the daemon's end", || (!runs()).then_some(()))?;
        ensure!(is_there() == left, "whether the bridge is there: {}", is_there());
        engine.start_again()
    };
    engine.docker.run(&["run", "-d", "--name", "runs", &image, "sleep", "1000"])?;
    restart(true)?;
    engine.docker.run(&["rm", "-f", "runs"])?;
    restart(false)?;
    let address = engine.docker.run(&["run", "--rm", &image, "ip", "addr", "show", "eth0"])?;
    ensure!(is_there() && address.contains("inet 172."), "{address}");
    Ok(())
}

/// `--bridge none`: who asks for nothing has nothing but the loopback.
pub fn without_a_bridge(host: &Host) -> Result<()> {
    let engine = host.engine_with("e", &["--bridge", "none"])?;
    let image = engine.import_busybox("busybox")?;
    for options in [&[][..], &["--network", "bridge"]] {
        let links = engine.docker.run(&[&["run", "--rm"], options, &[&image, "ls", "/sys/class/net"]].concat())?;
        assert_eq!(links, "lo", "{options:?}");
    }
    engine.docker.run(&["network", "create", "made"])?;
    let links = engine.docker.run(&["run", "--rm", "--network", "made", &image, "ls", "/sys/class/net"])?;
    assert_eq!(links, "eth0\nlo");
    engine.docker.run(&["network", "rm", "made"])?;
    Ok(())
}
