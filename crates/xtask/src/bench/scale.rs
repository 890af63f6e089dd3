//! Many containers: what a list of 10,000 takes, and a daemon's restart with 1,000 that run.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use testhost::{Engine, Host};

use super::{Row, quietly, take_turns};

const LISTED: usize = 10_000;
const RUNNING: usize = 1_000;
const AT_ONCE: usize = 8;
const ROUNDS: usize = 20;
const RESTARTS: usize = 3;

/// Budgets of our own: Docker has no figure to stand beside.
pub fn rows(host: &Host) -> Result<Vec<Row>> {
    Ok(vec![list(host)?, restart(host)?])
}

fn row(name: String, ours: f64, budget: f64) -> Row {
    let against = "the budget".into();
    Row { name, ours, against, theirs: budget, unit: "ms", target: Some(1.0), more_is_better: false }
}

fn list(host: &Host) -> Result<Row> {
    let engine = host.engine("listed")?;
    let image = engine.import_busybox("busybox")?;
    let body = format!(r#"{{"Image":"{image}","Cmd":["true"],"HostConfig":{{"NetworkMode":"none"}}}}"#);
    let socket = engine.socket();
    at_once(LISTED, |_| {
        let reply = testhost::request(&socket, "POST", "/containers/create", body.as_bytes())?;
        ensure!(reply.status == 201, "{} {}", reply.status, reply.message());
        Ok(())
    })?;
    let mut ask = || {
        let reply = engine.request("GET", "/containers/json?all=1", b"")?;
        ensure!(reply.status == 200 && reply.body.matches("\"Id\":").count() == LISTED, "{}", reply.status);
        Ok(())
    };
    let times = take_turns(ROUNDS, &mut [("list", &mut ask)])?;
    Ok(row(format!("GET /containers/json with {LISTED} containers"), times[0], 50.0))
}

fn restart(host: &Host) -> Result<Row> {
    let engine = host.engine("restarted")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    at_once(RUNNING, |_| quietly(&mut docker.command(&["run", "-d", &image, "sleep", "10000"])))?;
    let before = pids(&engine)?;
    ensure!(before.len() == RUNNING, "{} run", before.len());
    let mut best = f64::INFINITY;
    for _ in 0..RESTARTS {
        engine.kill_dockerd()?;
        let started = Instant::now();
        engine.start_again()?;
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
        ensure!(pids(&engine)? == before, "a container was touched");
    }
    let ids = engine.docker.run(&["ps", "--quiet"])?;
    let words: Vec<&str> = ["rm", "--force"].into_iter().chain(ids.lines()).collect();
    engine.docker.run(&words)?;
    Ok(row(format!("restart of the daemon with {RUNNING} running containers"), best, 1000.0))
}

/// The processes of all containers that run.
fn pids(engine: &Engine) -> Result<BTreeSet<String>> {
    let ids = engine.docker.run(&["ps", "--quiet"])?;
    let words: Vec<&str> = ["inspect", "--format", "{{.Id}} {{.State.Pid}}"].into_iter().chain(ids.lines()).collect();
    Ok(engine.docker.run(&words)?.lines().map(str::to_owned).collect())
}

/// Does the work so many times, some at once; the first error ends it.
fn at_once(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let work = &work;
                scope.spawn(move || (worker..count).step_by(AT_ONCE).try_for_each(work))
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
