//! The project's own chores. `cargo xtask` lists them.

mod bench;
mod crowd;
mod differ;
mod dockerfiles;
mod kill;
mod options;
mod rounds;
mod soak;
mod tidy;
mod tiers;
mod trace;
mod up;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask CHORE

  up         start an engine below .longshore/ and run a first container (make run)
  down       stop it (make stop)
  env        print what a shell exports to use it
  bench [W]  measure the budgets beside the originals (W: runtime, engine, build, images, memory, network, output, scale)
  trace      show where the time of one docker run goes, hop by hop (make bench-trace)
  vm [P [G]] Debian's stock kernel under emulation, with the programs of profile P: the engine, its networks
             and volumes, and the runtime's tests (G: engine, networks or runtime alone)
  host [F]   T2: each test on a host of its own (those that are called F)
  swap [F]   T3: our programs with the originals of Debian's packages on the other side
  differ [F] the same requests and command lines at Docker's engine and ours (those cases that are called F)
  dockerfiles [--count N] [--seed S] [--profile P]: generated Dockerfiles built by Docker's builder and by ours
  kill       --rounds N [--seed S] [--profile P]: kill -9 of the daemons at random moments while containers run
  rounds     [--rounds N] [--profile P]: 10,000 containers through docker-runc alone, which are to leave nothing
  soak       [--containers N] [--profile P]: 20,000 containers through one engine, which is to stay as it was
  crowd      [--containers N] [--profile P]: 2,000 containers on one network of one engine at once
  tidy       compare the crates with docs/arrows.toml, and the sources with the limits in CONTRIBUTING.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match perform(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(words: &[&str]) -> Result<()> {
    match words {
        ["up"] => up::up(&workspace_root()),
        ["down"] => up::down(&workspace_root()),
        ["env"] => up::print_environment(&workspace_root()),
        ["bench"] => bench::bench(&workspace_root(), None),
        ["bench", word] => bench::bench(&workspace_root(), Some(word)),
        ["trace"] => trace::trace(),
        ["vm"] => vm::vm(&workspace_root(), "debug", None),
        ["vm", profile] => vm::vm(&workspace_root(), profile, None),
        ["vm", profile, guest] => vm::vm(&workspace_root(), profile, Some(guest)),
        ["differ", words @ ..] => differ::differ(words),
        ["dockerfiles", options @ ..] => dockerfiles::dockerfiles(options),
        ["kill", options @ ..] => kill::kill(options),
        ["rounds", options @ ..] => rounds::rounds(options),
        ["crowd", options @ ..] => crowd::crowd(options),
        ["soak", options @ ..] => soak::soak(options),
        ["host", filter @ ..] => tiers::host(&workspace_root(), filter),
        ["swap", filter @ ..] => tiers::swap(&workspace_root(), filter),
        ["tidy"] => tidy::check(&workspace_root()),
        ["tidy", "--write-ratchet"] => tidy::write_ratchet(&workspace_root()),
        _ => bail!("no such chore\n{USAGE}"),
    }
}

/// The folder above `crates/xtask`.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo puts the programs of a profile: beside our own folder. `LONGSHORE_PROGRAMS` names another one.
fn programs(profile: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("LONGSHORE_PROGRAMS") {
        return Ok(folder.into());
    }
    let own = std::env::current_exe()?;
    let triple = own.ancestors().nth(2).context("the folder of the programs")?;
    Ok(triple.join(profile))
}
