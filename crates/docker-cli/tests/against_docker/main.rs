//! What this client sends and says, line by line, and Docker's own client 28 beside it.
//!
//! Both run the same command lines, in the same folder, against a daemon that is a table of answers ([`daemon`]): compared
//! are the requests with their bodies, standard output, standard error, the exit status and the files left behind. Ours
//! is kept as a snapshot too, so that a change shows where client 28 is missing.

mod case;
mod client;
mod completions;
mod containers;
mod contexts;
mod create;
mod daemon;
mod disk;
mod images;
mod networks;
mod outcome;
mod pages;
mod system;
mod terminal;
mod usage;
mod volumes;

use std::process::{ExitCode, exit};

use case::Case;
use libtest_mimic::{Arguments, Failed, Trial};

/// Tells a process of this file that it is the client.
const AS_CLIENT: &str = "LONGSHORE_AS_CLIENT";
/// Docker's client, of a version whose behaviour this one has.
const DOCKER: &str = "docker";
const DOCKER_VERSION: &str = "Docker version 28.";

const TABLES: &[(&str, &[Case])] = &[
    ("completions", completions::CASES),
    ("containers", containers::CASES),
    ("contexts", contexts::CASES),
    ("create", create::CASES),
    ("disk", disk::CASES),
    ("images", images::CASES),
    ("networks", networks::CASES),
    ("pages", pages::CASES),
    ("system", system::CASES),
    ("terminal", terminal::CASES),
    ("usage", usage::CASES),
    ("volumes", volumes::CASES),
];

fn main() -> ExitCode {
    if std::env::var_os(AS_CLIENT).is_some() {
        exit(i32::from(docker_cli::main(std::env::args().skip(1))));
    }
    let arguments = Arguments::from_args();
    let missing = client::missing();
    if let (Some(reason), false) = (&missing, arguments.list) {
        eprintln!("skipped: the comparisons with Docker's client: {reason}");
    }
    let mut trials = Vec::new();
    for (name, cases) in TABLES {
        trials.push(Trial::test(format!("{name}_are_as_before"), move || snapshot(name, cases)));
        let compared = Trial::test(format!("{name}_are_docker_s"), move || compare(cases));
        trials.push(compared.with_ignored_flag(missing.is_some()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn snapshot(name: &str, cases: &[Case]) -> Result<(), Failed> {
    let mut text = String::new();
    for case in selected(cases) {
        let outcome = without_global_options(&client::run_ours(case).masked());
        text.push_str(&format!("$ docker {}\n{outcome}\n", case.line));
    }
    if !is_narrowed() {
        insta::assert_snapshot!(name, text);
    }
    Ok(())
}

/// The defaults of these options are paths of the run, which decide where the lines break.
fn without_global_options(text: &str) -> String {
    let end = |from: usize| text[from..].find("\nRun '").map(|at| from + at);
    match text.find("Global Options:").and_then(|start| Some((start, end(start)?))) {
        Some((start, end)) => format!("{}{}", &text[..start], &text[end..]),
        None => text.to_owned(),
    }
}

fn compare(cases: &[Case]) -> Result<(), Failed> {
    let mut different = String::new();
    for case in selected(cases) {
        let (ours, theirs) = (client::run_ours(case), client::run_theirs(case));
        let difference = ours.difference(&theirs);
        match (difference, case.reason) {
            (Some(difference), "") => different.push_str(&format!("$ docker {}\n{difference}\n", case.line)),
            (None, reason) if !reason.is_empty() && !case.by_chance => {
                different.push_str(&format!("$ docker {}\nno difference any more: {reason}\n", case.line));
            }
            _ => {}
        }
    }
    if different.is_empty() { Ok(()) } else { Err(different.into()) }
}

/// `ONLY=words` narrows a run to the lines that contain them.
fn selected(cases: &[Case]) -> impl Iterator<Item = &Case> {
    let only = std::env::var("ONLY").unwrap_or_default();
    cases.iter().filter(move |case| case.line.contains(&only))
}

fn is_narrowed() -> bool {
    std::env::var_os("ONLY").is_some()
}
