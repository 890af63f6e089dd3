//! A container that prints: how fast json-file takes it, and that nothing is lost.

use std::time::Instant;

use anyhow::{Result, ensure};
use testhost::{Docker, Host};

use super::Row;

const LINES: usize = 1_000_000;
const LINE: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let ours = host.engine("output")?;
    let theirs = host.docker_of_debian("output-theirs")?;
    let image = ours.import_busybox("busybox")?;
    let archive = testhost::busybox_archive(host)?;
    theirs.run_with(&["import", "--change", "CMD [\"sh\"]", "-", &image], &archive)?;
    Ok(vec![Row {
        name: format!("{} MB of output, 100-byte lines, json-file", LINES * (LINE.len() + 1) / 1_000_000),
        ours: rate(&ours.docker, &image)?,
        against: "Docker Engine".into(),
        theirs: rate(&theirs, &image)?,
        unit: "MB/s",
        target: Some(5.0),
        more_is_better: true,
    }])
}

/// Megabytes a second from the start to the end of the container; an error if a line is missing.
fn rate(docker: &Docker, image: &str) -> Result<f64> {
    let script = format!("yes {LINE} | head -n {LINES}");
    let started = Instant::now();
    let limits = ["--log-opt", "max-size=200m", "--log-opt", "max-file=5"];
    let id = docker.run(&[&["run", "-d"], &limits[..], &[image, "sh", "-c", &script]].concat())?;
    docker.run(&["wait", &id])?;
    let seconds = started.elapsed().as_secs_f64();
    let lines = docker.run(&["logs", &id])?.lines().filter(|line| *line == LINE).count();
    ensure!(lines == LINES, "{lines} of {LINES} lines are in the log");
    docker.run(&["rm", "-f", &id])?;
    Ok((LINES * (LINE.len() + 1)) as f64 / 1e6 / seconds)
}
