//! From create to remove: what `ps`, `stop`, `exec` and restart policies do.

use std::time::Instant;

use anyhow::Result;
use testhost::{Host, wait_until};

use crate::clients;

pub fn listed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["create", "--name", "made", &image])?;
        docker.run(&["run", "--name", "ended", &image, "true"])?;
        let failed = docker.try_run(&["run", "--name", "failed", &image, "sh", "-c", "exit 3"])?;
        assert_eq!(failed.code, 3);
        docker.run(&["run", "-d", "--name", "running", &image, "sleep", "1000"])?;
        let format = ["--format", "{{.Names}}\t{{.Image}}\t{{.Command}}\t{{.Status}}"];
        assert!(docker.run(&[&["ps"][..], &format].concat())?.starts_with("running\tbusybox\t\"sleep 1000\"\tUp "));
        let all = docker.run(&[&["ps", "-a"][..], &format].concat())?;
        let rows: Vec<&str> = all.lines().collect();
        assert_eq!(rows.len(), 4, "{all}");
        assert!(rows[1].starts_with("failed\t") && rows[1].contains("\tExited (3) "), "{all}");
        assert!(rows[2].starts_with("ended\t") && rows[2].contains("\tExited (0) "), "{all}");
        assert!(rows[3].starts_with("made\t") && rows[3].ends_with("\tCreated"), "{all}");
        let header = docker.run(&["ps", "-a"])?;
        let titles: Vec<&str> =
            header.lines().next().unwrap_or_default().split("  ").filter(|t| !t.is_empty()).collect();
        let titles: Vec<&str> = titles.iter().map(|title| title.trim()).collect();
        assert_eq!(titles, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
        assert_eq!(docker.run(&["ps", "-aq", "--filter", "status=exited"])?.lines().count(), 2);
        let refused = docker.try_run(&["rm", "running"])?;
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("container is running"), "{}", refused.stderr);
        docker.run(&["rm", "-f", "made", "ended", "failed", "running"])?;
        assert_eq!(docker.run(&["ps", "-aq"])?, "");
    }
    Ok(())
}

pub fn stopped(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let code = |name: &str| docker.run(&["inspect", "--format", "{{.State.ExitCode}}", name]);
        let polite = "trap 'echo asked; exit 7' TERM; echo ready; while :; do usleep 10000; done";
        let deaf = "trap '' TERM; echo ready; while :; do usleep 10000; done";
        for (name, script) in [("polite", polite), ("deaf", deaf)] {
            docker.run(&["run", "-d", "--name", name, &image, "sh", "-c", script])?;
            wait_until("the container's first line", || docker.run(&["logs", name]).ok().filter(|log| log == "ready"))?;
        }
        docker.run(&["stop", "polite"])?;
        assert_eq!(code("polite")?, "7");
        assert_eq!(docker.run(&["logs", "polite"])?, "ready\nasked");
        let begun = Instant::now();
        docker.run(&["stop", "-t", "1", "deaf"])?;
        assert!(begun.elapsed().as_millis() >= 1000, "it has a second");
        assert_eq!(code("deaf")?, "137");
        docker.run(&["rm", "polite", "deaf"])?;
    }
    Ok(())
}

pub fn restarted(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&[
            "run",
            "-d",
            "--name",
            "thrice",
            "--restart",
            "on-failure:2",
            &image,
            "sh",
            "-c",
            "echo try; exit 4",
        ])?;
        let state = ["inspect", "--format", "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "thrice"];
        wait_until("two restarts", || docker.run(&state).ok().filter(|state| state == "exited 2 4"))?;
        assert_eq!(docker.run(&["logs", "thrice"])?, "try\ntry\ntry");
        // One that should always run is started by the daemon's next start, one that was stopped is not.
        docker.run(&["run", "-d", "--name", "always", "--restart", "always", &image, "sleep", "1000"])?;
        docker.run(&["run", "-d", "--name", "unless", "--restart", "unless-stopped", &image, "sleep", "1000"])?;
        docker.run(&["stop", "-t", "0", "always", "unless"])?;
        engine.kill_dockerd()?;
        engine.start_again()?;
        let status = |name: &str| docker.run(&["inspect", "--format", "{{.State.Status}}", name]);
        wait_until("the restart of what always runs", || status("always").ok().filter(|status| status == "running"))?;
        assert_eq!(status("unless")?, "exited");
        docker.run(&["rm", "-f", "thrice", "always", "unless"])?;
    }
    Ok(())
}

pub fn exec(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["run", "-d", "--name", "box", "-e", "OWN=container", &image, "sleep", "1000"])?;
        let ran = docker.try_run(&["exec", "box", "sh", "-c", "echo $OWN; echo err >&2; exit 9"])?;
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (9, "container\n", "err\n"));
        let ran = docker.run(&[
            "exec",
            "-e",
            "OWN=exec",
            "-w",
            "/tmp",
            "-u",
            "nobody",
            "box",
            "sh",
            "-c",
            "echo $OWN $PWD $(id -u)",
        ])?;
        assert_eq!(ran, "exec /tmp 65534");
        assert_eq!(docker.run_with(&["exec", "-i", "box", "wc", "-c"], &[b'x'; 100_000])?.trim(), "100000");
        let ran = docker.try_run(&["exec", "box", "no-such-program"])?;
        assert_eq!(ran.code, 127, "{}", ran.stderr);
        docker.run(&["exec", "-d", "box", "touch", "/made"])?;
        wait_until("the detached exec's file", || docker.run(&["exec", "box", "test", "-e", "/made"]).ok())?;
        docker.run(&["rm", "-f", "box"])?;
        let ran = docker.try_run(&["exec", "box", "true"])?;
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("No such container: box"), "{}", ran.stderr);
    }
    Ok(())
}
