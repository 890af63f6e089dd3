//! `docker run`, `docker exec` and many starts at once: our engine beside Debian's Docker Engine.

use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use testhost::{Docker, Host};

use super::{Row, quietly, take_turns};

const ROUNDS: usize = 20;
const MANY: usize = 100;
const AT_ONCE: usize = 8;

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    for name in ["ours", "theirs"] {
        run_in_memory(host, name)?;
    }
    let ours = host.engine("ours")?;
    let theirs = host.docker_of_debian("theirs")?;
    let image = ours.import_busybox("busybox")?;
    let archive = testhost::busybox_archive(host)?;
    theirs.run_with(&["import", "--change", "CMD [\"sh\"]", "-", &image], &archive)?;
    let mut rows = vec![
        compare("docker run --rm busybox true", 0.05, &ours.docker, &theirs, &["run", "--rm", &image, "true"])?,
        compare(
            "docker run --rm --network none busybox true",
            0.05,
            &ours.docker,
            &theirs,
            &["run", "--rm", "--network", "none", &image, "true"],
        )?,
        exec(&ours.docker, &theirs, &image)?,
    ];
    rows.extend(many(&ours.docker, &theirs, &image)?);
    Ok(rows)
}

/// What is gone after a reboot lies on a tmpfs, as on a host.
fn run_in_memory(host: &Host, engine: &str) -> Result<()> {
    host.cover(&host.path(&format!("{engine}-run")).to_string_lossy())
}

fn compare(name: &str, target: f64, ours: &Docker, theirs: &Docker, words: &[&str]) -> Result<Row> {
    let mut our_run = || quietly(&mut ours.command(words));
    let mut their_run = || quietly(&mut theirs.command(words));
    let times = take_turns(ROUNDS, &mut [("longshore", &mut our_run), ("docker", &mut their_run)])?;
    Ok(row(name, times[0], times[1], target))
}

fn row(name: &str, ours: f64, theirs: f64, target: f64) -> Row {
    let against = "Docker Engine".into();
    Row { name: name.into(), ours, against, theirs, unit: "ms", target: Some(target), more_is_better: false }
}

fn exec(ours: &Docker, theirs: &Docker, image: &str) -> Result<Row> {
    for docker in [ours, theirs] {
        docker.run(&["run", "-d", "--name", "exec-target", image, "sleep", "1000"])?;
    }
    let measured = compare("docker exec of true", 0.06, ours, theirs, &["exec", "exec-target", "true"]);
    for docker in [ours, theirs] {
        docker.run(&["rm", "-f", "exec-target"])?;
    }
    measured
}

/// A hundred detached containers, eight at a time; then all of them removed by force.
fn many(ours: &Docker, theirs: &Docker, image: &str) -> Result<Vec<Row>> {
    let (our_start, our_remove) = start_and_remove(ours, image)?;
    let (their_start, their_remove) = start_and_remove(theirs, image)?;
    let rate = |seconds: f64| MANY as f64 / seconds;
    let starts = Row {
        name: format!("{MANY} starts, {AT_ONCE} at a time"),
        ours: rate(our_start),
        against: "Docker Engine".into(),
        theirs: rate(their_start),
        unit: "/s",
        target: Some(20.0),
        more_is_better: true,
    };
    Ok(vec![starts, row(&format!("rm -f of {MANY}"), our_remove * 1e3, their_remove * 1e3, 0.1)])
}

/// Seconds for both.
fn start_and_remove(docker: &Docker, image: &str) -> Result<(f64, f64)> {
    let started = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                scope.spawn(move || -> Result<()> {
                    for number in (worker..MANY).step_by(AT_ONCE) {
                        docker.run(&["run", "-d", "--name", &format!("many-{number}"), image, "sleep", "1000"])?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))))
    })?;
    let start = started.elapsed().as_secs_f64();
    let names: Vec<String> = (0..MANY).map(|number| format!("many-{number}")).collect();
    let started = Instant::now();
    let mut command: Command = docker.command(&["rm", "-f"]);
    quietly(command.args(&names))?;
    Ok((start, started.elapsed().as_secs_f64()))
}
