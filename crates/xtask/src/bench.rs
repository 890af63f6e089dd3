//! `make bench`: the budgets, each as a ratio to the original in the same run.
//!
//! Contenders take turns, so that a busy machine slows all of them; medians are compared. Everything runs in namespaces
//! and on roots of its own, as a test does.

mod build;
mod engines;
mod images;
mod memory;
mod network;
mod output;
mod runtimes;
mod scale;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testhost::Host;

/// One measured figure beside another's.
pub struct Row {
    pub name: String,
    pub ours: f64,
    pub against: String,
    pub theirs: f64,
    pub unit: &'static str,
    /// The budget for ours ÷ theirs; `None` where there is none.
    pub target: Option<f64>,
    /// A rate: more is better.
    pub more_is_better: bool,
}

/// Runs the rows whose name contains the word (all of them for none) and prints them.
pub fn bench(workspace: &Path, wanted: Option<&str>) -> Result<()> {
    // The programs under test are the optimised ones, or those that are named.
    let named = std::env::var_os("LONGSHORE_PROGRAMS").map(std::path::PathBuf::from);
    let programs = named.map_or_else(|| crate::programs("release"), Ok)?;
    ensure!(programs.join("dockerd").is_file(), "build the release programs first: make bench does");
    let host = Host::enter_with(programs)?;
    let measured = measure(&host, workspace, wanted);
    host.end()?;
    print(&measured?);
    Ok(())
}

fn measure(host: &Host, workspace: &Path, wanted: Option<&str>) -> Result<Vec<Row>> {
    let is_wanted = |name: &str| wanted.is_none_or(|word| name.contains(word));
    let mut rows = Vec::new();
    if is_wanted("runtime") {
        rows.extend(runtimes::rows(host, workspace)?);
    }
    if is_wanted("engine") {
        rows.extend(engines::rows(host)?);
    }
    if is_wanted("build") {
        rows.extend(build::rows(host)?);
    }
    if is_wanted("images") {
        rows.extend(images::rows(host)?);
    }
    if is_wanted("memory") {
        rows.extend(memory::rows(host)?);
    }
    if is_wanted("network") {
        rows.extend(network::rows(host)?);
    }
    if is_wanted("output") {
        rows.extend(output::rows(host)?);
    }
    if is_wanted("scale") {
        rows.extend(scale::rows(host)?);
    }
    Ok(rows)
}

fn print(rows: &[Row]) {
    println!("{:<58} {:>12} {:>12}  {:<16} {:>8} {:>8}", "row", "longshore", "original", "", "ratio", "target");
    for row in rows {
        let ratio = row.ours / row.theirs;
        let target = row
            .target
            .map(|target| if row.more_is_better { format!("≥ {target:.2}") } else { format!("≤ {target:.2}") });
        let met = row.target.is_none_or(|target| if row.more_is_better { ratio >= target } else { ratio <= target });
        println!(
            "{:<58} {:>12} {:>12}  {:<16} {:>8.3} {:>8} {}",
            row.name,
            format!("{:.2} {}", row.ours, row.unit),
            format!("{:.2} {}", row.theirs, row.unit),
            row.against,
            ratio,
            target.unwrap_or_default(),
            if met { "" } else { "short" },
        );
    }
}

/// Runs each contender in turn, so many rounds, after a few to warm up; the median of each in milliseconds. Where few
/// rounds are enough one warms up.
pub fn take_turns(rounds: usize, contenders: &mut [(&str, &mut dyn FnMut() -> Result<()>)]) -> Result<Vec<f64>> {
    const MOST_WARM_UP: usize = 3;
    let warm_up = MOST_WARM_UP.min(rounds.div_ceil(3));
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..warm_up + rounds {
        for (index, (name, run)) in contenders.iter_mut().enumerate() {
            let started = Instant::now();
            run().with_context(|| (*name).to_owned())?;
            if round >= warm_up {
                times[index].push(started.elapsed());
            }
        }
    }
    Ok(times.into_iter().map(median_ms).collect())
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Runs a command that must succeed, without its output.
pub fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}
