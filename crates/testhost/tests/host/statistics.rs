//! `docker stats`: figures of what runs, once and as a stream that ends when its reader wants it to.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use testhost::{Docker, Host};

use crate::clients;

pub fn shown(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let limits = ["--memory", "64m", "--pids-limit", "20"];
        let loops = "sleep 1000 & while :; do :; done";
        docker.run(&[&["run", "-d", "--name", "busy"][..], &limits, &[&image, "sh", "-c", loops]].concat())?;
        docker.run(&["create", "--name", "idle", &image, "true"])?;
        let row: Value = serde_json::from_str(&docker.run(&["stats", "--no-stream", "--format", "json", "busy"])?)?;
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let percent: f64 = text("CPUPerc").trim_end_matches('%').parse().context("CPUPerc")?;
        assert!(percent > 5.0, "{row}");
        assert!(text("MemUsage").ends_with("iB / 64MiB") && text("PIDs") == "2" && text("Name") == "busy", "{row}");
        // What runs; with --all what does not as well, without figures.
        let names = |words: &[&str]| -> Result<String> {
            let listed = docker.run(&[words, &["--no-stream", "--format", "{{.Name}} {{.PIDs}}"]].concat())?;
            let mut lines: Vec<&str> = listed.lines().collect();
            lines.sort_unstable();
            Ok(lines.join("\n"))
        };
        assert_eq!(names(&["stats"])?, "busy 2");
        assert_eq!(names(&["stats", "--all"])?, "busy 2\nidle 0");
        let missing = docker.try_run(&["stats", "--no-stream", "nobody"])?;
        assert_eq!((missing.code, missing.stderr.trim()), (1, "Error response from daemon: No such container: nobody"));
        interrupted(&docker)?;
        docker.run(&["rm", "-f", "busy", "idle"])?;
    }
    named(&engine.docker, &image)
}

/// The live table ends with Ctrl-C.
fn interrupted(docker: &Docker) -> Result<()> {
    let mut table = docker.start(&["stats"])?;
    table.expect("busy")?;
    table.expect("busy")?;
    table.signal(Signal::INT)?;
    let ended = table.wait()?;
    ensure!(ended.code != 0 && ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}

/// With names, too. Docker's client 28.2 does not end here, on its own daemon either, before the third signal.
fn named(docker: &Docker, image: &str) -> Result<()> {
    docker.run(&["run", "-d", "--name", "busy", image, "sleep", "1000"])?;
    let mut table = docker.start(&["stats", "busy"])?;
    table.expect("busy")?;
    table.signal(Signal::INT)?;
    let ended = table.wait()?;
    ensure!(ended.code != 0 && ended.stderr.is_empty(), "{ended:?}");
    docker.run(&["rm", "-f", "busy"])?;
    Ok(())
}
