//! The same requests and command lines at Docker's own engine and client and at ours, and what differs.
//!
//! Cases are text files: a case is a few steps, each a request or a line of the shell. [`run`] plays every case on
//! Debian's Docker Engine (API 1.41) and on ours, both on roots and in a network namespace of their own with the same
//! image, cleans up after each, and compares the answers member by member and line by line once ids, times and roots are
//! masked. Command lines are played by our client on both engines, and by Docker's newest client on ours. For the versions
//! that Debian's engine does not know every answer of ours is held against the facts of Docker's API reference.
//! What may differ stands in a table with its reason; a row that explains nothing fails a run of all cases.

mod case;
mod compare;
mod engines;
mod exchange;
mod known;
mod mask;
mod play;
mod report;
mod schema;
mod tar_listing;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use case::{Case, Step};
use compare::{Difference, Pair};
use engines::Place;
use known::Known;
use play::{Player, Transcript};
use schema::Reference;

/// Docker's newest client, which Debian does not have.
pub const NEWEST_CLIENT: &str = "/usr/local/bin/docker";
/// The version that Debian's engine speaks.
const SHARED_VERSION: &str = "1.41";
/// The versions that are held against the reference.
const REFERENCE_VERSIONS: std::ops::RangeInclusive<u16> = 42..=51;

/// Which part is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Requests at Docker's engine and at ours.
    Requests,
    /// Command lines: our client on both engines, Docker's newest on ours.
    Commands,
    /// Our answers against the reference, in the newest version or in all of them.
    Newest,
    Versions,
}

/// Which cases, and where they and the table lie.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The folder of `cases/`, `known.toml` and `reference.json`.
    pub folder: PathBuf,
    pub parts: Vec<Part>,
    /// Only cases that are marked as quick.
    pub quick: bool,
    /// Only cases whose name contains one of these.
    pub words: Vec<String>,
    /// Show also what the table explains, row by row.
    pub explained: bool,
}

impl Selection {
    /// Everything below the crate's own folder.
    pub fn whole() -> Self {
        Self {
            folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differ"),
            parts: vec![Part::Requests, Part::Commands, Part::Versions],
            quick: false,
            words: Vec::new(),
            explained: false,
        }
    }

    fn takes(&self, case: &Case) -> bool {
        (!self.quick || case.quick)
            && (self.words.is_empty() || self.words.iter().any(|word| case.name.contains(word.as_str())))
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    fn is_whole(&self) -> bool {
        !self.quick && self.words.is_empty()
    }
}

/// Plays the selection; an error shows every difference that the table does not explain.
pub fn run(host: &Host, selection: &Selection) -> Result<()> {
    let known = Known::read(&selection.folder.join("known.toml"))?;
    let reference = Reference::read(&selection.folder.join("reference.json"))?;
    let cases: Vec<Case> =
        case::read_all(&selection.folder.join("cases"))?.into_iter().filter(|case| selection.takes(case)).collect();
    ensure!(!cases.is_empty(), "no case has such a name");
    let requests: Vec<&Case> = cases.iter().filter(|case| case.has_requests()).collect();
    let commands: Vec<&Case> = cases.iter().filter(|case| !case.has_requests()).collect();
    let count = |cases: &[&Case]| cases.iter().flat_map(|case| &case.steps).filter(|step| step.is_counted()).count();
    println!(
        "{} requests in {} cases, {} command lines in {} cases",
        count(&requests),
        requests.len(),
        count(&commands),
        commands.len()
    );

    let mut differences = Vec::new();
    let ours = engines::ours(host)?;
    if selection.has(Part::Requests) || selection.has(Part::Commands) {
        let docker = engines::debian(host)?;
        differences = compare_engines(selection, &ours, &docker.place, &requests, &commands)?;
        docker.end()?;
    }
    let versions: Vec<u16> = match () {
        () if selection.has(Part::Versions) => REFERENCE_VERSIONS.collect(),
        () if selection.has(Part::Newest) => vec![*REFERENCE_VERSIONS.end()],
        () => Vec::new(),
    };
    for minor in versions {
        let played = Player::requests(&ours, &format!("1.{minor}")).play_all(&requests)?;
        differences.extend(played.iter().flat_map(|transcript| reference.judge(transcript)));
    }
    compare::unite(&mut differences);
    let judged = known.judge(differences);
    if selection.explained {
        report::print_explained(&known.explained());
    }
    report::print(&judged);
    let stale = if selection.is_whole() { known.stale(&selection.parts) } else { Vec::new() };
    let unexplained = judged.unexplained.len();
    ensure!(
        unexplained == 0 && stale.is_empty(),
        "{unexplained} differences that known.toml does not explain, and {} rows that explain nothing\n{}",
        stale.len(),
        stale.join("\n")
    );
    Ok(())
}

/// Both engines are asked at the same time, each in a thread of its own.
fn compare_engines(
    selection: &Selection,
    ours: &Place,
    docker: &Place,
    requests: &[&Case],
    commands: &[&Case],
) -> Result<Vec<Difference>> {
    let newest = Path::new(NEWEST_CLIENT);
    let asks = selection.has(Part::Requests);
    let types = selection.has(Part::Commands);
    let requests = if asks { requests } else { &[] };
    let commands = if types { commands } else { &[] };
    let of = |place: &Place| -> Result<(Vec<Transcript>, Vec<Transcript>)> {
        let asked = Player::requests(place, SHARED_VERSION).play_all(requests)?;
        Ok((asked, Player::commands(place, &ours.client).play_all(commands)?))
    };
    let (of_ours, by_newest, of_docker) = thread::scope(|scope| {
        let other = scope.spawn(|| of(docker));
        let of_ours = of(ours);
        let has_newest = newest.exists() && types;
        let by_newest = has_newest.then(|| Player::commands(ours, newest).play_all(commands)).transpose();
        (of_ours, by_newest, other.join())
    });
    let of_docker = of_docker.map_err(|_| anyhow::anyhow!("panicked")).and_then(|played| played);
    let of_docker = of_docker.context("Debian's engine")?;
    let of_ours = of_ours.context("our engine")?;
    let mut differences = compare::transcripts(Pair::Engine, &of_ours.0, &of_docker.0)?;
    differences.extend(compare::transcripts(Pair::Engine, &of_ours.1, &of_docker.1)?);
    match by_newest.context("Docker's client on our engine")? {
        Some(by_newest) => differences.extend(compare::transcripts(Pair::Client, &of_ours.1, &by_newest)?),
        None if types => println!("not compared with Docker's newest client: there is no {NEWEST_CLIENT}"),
        None => {}
    }
    Ok(differences)
}

impl Step {
    /// Whether it is one of the requests or command lines, not a pause between them.
    fn is_counted(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Shell(_) | Self::Events)
    }
}
