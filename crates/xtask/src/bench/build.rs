//! `docker build`: our engine beside Debian's classic builder and buildah, each with a cache of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Host};

use super::{Row, quietly, take_turns};

const ROUNDS: usize = 10;
/// Builds of many steps are long for the others.
const FEW_ROUNDS: usize = 3;
const FILES: usize = 1000;
const STEPS: usize = 20;
const LARGE_BYTES: usize = 1 << 30;
/// Files of the large context, of which one changes.
const LARGE_FILES: usize = 64;

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let ours = host.engine("ours")?;
    let theirs = host.docker_of_debian("theirs")?;
    let archive = testhost::busybox_archive(host)?;
    for docker in [&ours.docker, &theirs] {
        docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", "busybox"], &archive)?;
    }
    let all = Contenders { ours: ours.docker.clone(), theirs, buildah: Buildah::new(host, &archive)? };
    let mut rows = all.unchanged(host)?;
    rows.extend(all.steps(host)?);
    rows.push(all.beside(host)?);
    rows.extend(all.large(host)?);
    Ok(rows)
}

struct Contenders {
    ours: Docker,
    theirs: Docker,
    buildah: Buildah,
}

/// buildah on storage of its own.
struct Buildah {
    arguments: Vec<String>,
}

impl Buildah {
    fn new(host: &Host, archive: &[u8]) -> Result<Self> {
        let place = |name: &str| host.path(name).display().to_string();
        let storage = ["--root".to_owned(), place("buildah"), "--runroot".to_owned(), place("buildah-run")];
        let driver = ["--storage-driver".to_owned(), "overlay".to_owned()];
        let buildah = Self { arguments: [&storage[..], &driver[..]].concat() };
        let context = host.path("busybox-base");
        fs::create_dir_all(&context)?;
        fs::write(context.join("busybox.tar"), archive)?;
        fs::write(context.join("Dockerfile"), "FROM scratch\nADD busybox.tar /\nCMD [\"sh\"]\n")?;
        buildah.build(&["-t", "localhost/busybox"], &context)?;
        Ok(buildah)
    }

    /// `--layers` keeps and looks up each step, as the others do.
    fn build(&self, words: &[&str], context: &Path) -> Result<()> {
        let mut command = Command::new("buildah");
        command.args(&self.arguments).args(["bud", "-q", "--layers", "--isolation", "chroot", "--pull-never"]);
        command.args(["--build-arg", "BASE=localhost/busybox"]);
        quietly(command.args(words).arg(context))
    }
}

fn build(docker: &Docker, words: &[&str], context: &Path) -> Result<()> {
    let mut command = docker.command(&["build", "-q"]);
    quietly(command.args(words).arg(context).env("DOCKER_BUILDKIT", "0"))
}

fn row(name: &str, ours: f64, against: &str, theirs: f64, target: Option<f64>) -> Row {
    Row { name: name.into(), ours, against: against.into(), theirs, unit: "ms", target, more_is_better: false }
}

fn folder(host: &Host, name: &str, dockerfile: &str) -> Result<PathBuf> {
    let folder = host.path(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("Dockerfile"), dockerfile)?;
    Ok(folder)
}

impl Contenders {
    fn take_turns(&self, rounds: usize, words: &[&str], context: &Path) -> Result<Vec<f64>> {
        let mut our_build = || build(&self.ours, words, context);
        let mut their_build = || build(&self.theirs, words, context);
        let mut buildah = || self.buildah.build(words, context);
        let mut contenders: [(&str, &mut dyn FnMut() -> Result<()>); 3] =
            [("longshore", &mut our_build), ("docker", &mut their_build), ("buildah", &mut buildah)];
        take_turns(rounds, &mut contenders)
    }

    fn unchanged(&self, host: &Host) -> Result<Vec<Row>> {
        let file = "ARG BASE=busybox\nFROM $BASE\nCOPY . /src\nRUN ls /src > /list\nCMD [\"cat\", \"/list\"]\n";
        let context = folder(host, "thousand", file)?;
        for number in 0..FILES {
            let deep = context.join(format!("folder{}", number % 20));
            fs::create_dir_all(&deep)?;
            fs::write(deep.join(format!("file{number}")), format!("text of file {number}\n").repeat(50))?;
        }
        let times = self.take_turns(ROUNDS, &[], &context)?;
        let name = format!("docker build, nothing changed in {FILES} files");
        Ok(vec![
            row(&name, times[0], "Docker classic", times[1], Some(0.25)),
            row(&name, times[0], "buildah", times[2], None),
            row(&name, times[0], "100 ms", 100.0, Some(1.0)),
        ])
    }

    fn steps(&self, host: &Host) -> Result<Vec<Row>> {
        let steps: String = (0..STEPS).map(|number| format!("RUN echo {number} > /file{number}\n")).collect();
        let context = folder(host, "steps", &format!("ARG BASE=busybox\nFROM $BASE\n{steps}"))?;
        let times = self.take_turns(FEW_ROUNDS, &["--no-cache"], &context)?;
        let name = format!("docker build of {STEPS} short RUN steps");
        Ok(vec![
            row(&name, times[0], "Docker classic", times[1], Some(0.1)),
            row(&name, times[0], "buildah", times[2], None),
        ])
    }

    /// Two stages that read nothing of each other, beside the longer one alone.
    fn beside(&self, host: &Host) -> Result<Row> {
        let stage =
            |name: &str, seconds: &str| format!("FROM busybox AS {name}\nRUN sleep {seconds}; echo {name} > /{name}\n");
        let last = "FROM busybox\nCOPY --from=long /long /\n";
        let alone = folder(host, "alone", &format!("{}{last}", stage("long", "1")))?;
        let both = format!("{}{}{last}COPY --from=short /short /\n", stage("long", "1"), stage("short", "0.9"));
        let both = folder(host, "both", &both)?;
        let mut one = || build(&self.ours, &["--no-cache"], &alone);
        let mut two = || build(&self.ours, &["--no-cache"], &both);
        let times = take_turns(FEW_ROUNDS, &mut [("two stages", &mut two), ("the longer", &mut one)])?;
        Ok(row("docker build of two independent stages", times[0], "the longer alone", times[1], Some(1.2)))
    }

    /// A context of a gigabyte in which one small file has changed: what travels, and how long it takes.
    fn large(&self, host: &Host) -> Result<Vec<Row>> {
        let context = folder(host, "large", "FROM busybox\nCOPY changing /changing\n")?;
        let block = vec![0xa5_u8; LARGE_BYTES / LARGE_FILES];
        for number in 0..LARGE_FILES {
            let mut file = File::create(context.join(format!("large{number}")))?;
            file.write_all(&number.to_le_bytes())?;
            file.write_all(&block)?;
        }
        // Everything has to have travelled once: COPY takes all of it.
        fs::write(context.join("changing"), "first\n")?;
        let whole = folder(host, "whole", "")?;
        fs::write(whole.join("Dockerfile"), "FROM busybox\nCOPY . /all\n")?;
        let whole = whole.join("Dockerfile").display().to_string();
        let sessions = Docker { program: "/usr/bin/docker".into(), ..self.ours.clone() };
        session_build(&sessions, &["-f", &whole], &context)?;
        let (mut ours, mut theirs, mut sent) = (Vec::new(), Vec::new(), 0.0_f64);
        for round in 0..FEW_ROUNDS {
            fs::write(context.join("changing"), format!("round {round}\n"))?;
            let started = Instant::now();
            let told = session_build(&sessions, &["-f", &whole], &context)?;
            ours.push(started.elapsed());
            sent = sent.max(transferred(&told)?);
        }
        // Everything travels and is written anew: half a minute, and not measured more than once.
        let started = Instant::now();
        let mut command = self.theirs.command(&["build", "-q", "-f", &whole]);
        quietly(command.arg(&context).env("DOCKER_BUILDKIT", "0"))?;
        theirs.push(started.elapsed());
        fs::remove_dir_all(&context)?;
        let name = "docker build, one file of 1 GB changed";
        let kilobytes = |bytes: f64| bytes / 1e3;
        let travelled = Row {
            name: format!("{name}: what travels"),
            ours: kilobytes(sent),
            against: "1 MB".into(),
            theirs: 1e3,
            unit: "kB",
            target: Some(1.0),
            more_is_better: false,
        };
        Ok(vec![row(name, super::median_ms(ours), "Docker classic", super::median_ms(theirs), None), travelled])
    }
}

/// By BuildKit's session protocol, with which only what changed is sent; what was told.
fn session_build(docker: &Docker, words: &[&str], context: &Path) -> Result<String> {
    let mut command = docker.command(&["build", "--progress=plain"]);
    let output = command.args(words).arg(context).env("DOCKER_BUILDKIT", "1").output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{told}");
    Ok(told)
}

/// Bytes of the context that were sent: of the last `transferring context: 1.05kB` that is one.
fn transferred(told: &str) -> Result<f64> {
    let sizes = told.lines().filter_map(|line| line.split("transferring context: ").nth(1));
    let size =
        sizes.last().and_then(|rest| rest.split_whitespace().next()).context("nothing is told of the context")?;
    let number: String = size.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let unit = match size[number.len()..].trim_end_matches("done") {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => anyhow::bail!("no unit of bytes: {other:?} in {size:?}"),
    };
    Ok(number.parse::<f64>()? * unit)
}
