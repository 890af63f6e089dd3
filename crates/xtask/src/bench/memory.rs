//! Proportional set sizes: the daemons idle, and what a running container adds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use testhost::{Docker, Host};

use super::Row;

const CONTAINERS: usize = 100;
/// Until a daemon is idle: collectors have run, and what is given back has been given back.
const UNTIL_IDLE: Duration = Duration::from_secs(15);

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let ours = host.engine("ours")?;
    let theirs = host.docker_of_debian("memory-theirs")?;
    let image = ours.import_busybox("busybox")?;
    let archive = testhost::busybox_archive(host)?;
    theirs.run_with(&["import", "--change", "CMD [\"sh\"]", "-", &image], &archive)?;
    let (our_idle, our_share) = measure(&ours.docker, &image, &ours.data_root())?;
    let (their_idle, their_share) = measure(&theirs, &image, &host.path("memory-theirs-data"))?;
    let row = |name: String, ours: f64, theirs: f64, target: f64| Row {
        name,
        ours,
        against: "Docker Engine".into(),
        theirs,
        unit: "MB",
        target: Some(target),
        more_is_better: false,
    };
    Ok(vec![
        row("memory (PSS) of the daemons, idle".into(), our_idle, their_idle, 20.0 / 166.0),
        row(format!("memory (PSS) per running container of {CONTAINERS}"), our_share, their_share, 0.3 / 3.4),
    ])
}

/// Of the daemons alone, and the growth per container: its shim and its share of the daemons.
fn measure(docker: &Docker, image: &str, data_root: &Path) -> Result<(f64, f64)> {
    let idle = pss_at_rest(data_root)?;
    let mut ids = Vec::with_capacity(CONTAINERS);
    for _ in 0..CONTAINERS {
        ids.push(docker.run(&["run", "-d", image, "sleep", "1000"])?);
    }
    let running = pss_at_rest(data_root)?;
    for id in &ids {
        docker.run(&["rm", "-f", id])?;
    }
    Ok((idle, (running - idle) / CONTAINERS as f64))
}

fn pss_at_rest(data_root: &Path) -> Result<f64> {
    std::thread::sleep(UNTIL_IDLE);
    pss_of_engine(data_root)
}

/// The daemon on this root, and everything below it and its neighbours but the containers' own processes.
fn pss_of_engine(data_root: &Path) -> Result<f64> {
    const PROGRAMS: [&str; 7] = [
        "dockerd",
        "docker-containerd",
        "containerd",
        "docker-netd",
        "docker-proxy",
        "docker-containerd-shim",
        "containerd-shim",
    ];
    let mark = data_root.to_string_lossy().replace("-data", "");
    let mut total = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let is_ours = PROGRAMS.iter().any(|name| program.starts_with(name))
            && (line.contains(mark.as_ref() as &str) || program == "docker-proxy");
        if is_ours {
            total += pss_kib(&entry.path());
        }
    }
    Ok(f64::from(total) / 1024.0)
}

fn pss_kib(process: &Path) -> u32 {
    let text = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
