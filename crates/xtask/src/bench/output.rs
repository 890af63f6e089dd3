//! A container that prints: how fast json-file takes it, and that nothing is lost.

use std::time::Instant;

use anyhow::{Result, ensure};
use testhost::{Docker, Host};

use super::Row;

/// 300 MB in lines of 100 bytes, the last of which is the newline.
const LINES: usize = 3_000_000;
const LINE: &str =
    "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678";
/// The file that is printed again and again: whoever makes lines one by one is slower than who takes them.
const LINES_OF_FILE: usize = 100_000;

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let ours = host.engine("output")?;
    let theirs = host.docker_of_debian("output-theirs")?;
    let image = ours.import_busybox("busybox")?;
    let archive = testhost::busybox_archive(host)?;
    theirs.run_with(&["import", "--change", "CMD [\"sh\"]", "-", &image], &archive)?;
    Ok(vec![Row {
        name: format!("{} MB of output, {}-byte lines, json-file", bytes() / 1_000_000, LINE.len() + 1),
        ours: rate(&ours.docker, &image)?,
        against: "Docker Engine".into(),
        theirs: rate(&theirs, &image)?,
        unit: "MB/s",
        target: Some(5.0),
        more_is_better: true,
    }])
}

fn bytes() -> usize {
    LINES * (LINE.len() + 1)
}

/// Megabytes a second from the first line to the end of the container; an error if a line is missing.
fn rate(docker: &Docker, image: &str) -> Result<f64> {
    let times = LINES / LINES_OF_FILE;
    let script = format!(
        "yes {LINE} | head -n {LINES_OF_FILE} > /lines; until [ -e /go ]; do usleep 10000; done; \
         for i in $(seq {times}); do cat /lines; done"
    );
    let limits = ["--log-opt", "max-size=200m", "--log-opt", "max-file=5"];
    let id = docker.run(&[&["run", "-d"], &limits[..], &[image, "sh", "-c", &script]].concat())?;
    let started = Instant::now();
    docker.run(&["exec", &id, "touch", "/go"])?;
    docker.run(&["wait", &id])?;
    let seconds = started.elapsed().as_secs_f64();
    let lines = docker.run(&["logs", &id])?.lines().filter(|line| *line == LINE).count();
    ensure!(lines == LINES, "{lines} of {LINES} lines are in the log");
    docker.run(&["rm", "-f", &id])?;
    Ok(bytes() as f64 / 1e6 / seconds)
}
