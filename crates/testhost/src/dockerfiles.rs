//! The same Dockerfiles at Docker's own builder and at ours: generated from a seed, within what Docker 20.10 knows.
//!
//! [`run`] builds each at both engines from one context. Both must fail, or both make an image with the equal configuration and
//! the equal files. Times, ids and the words of failures are each engine's own.

mod generate;
mod image;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ids::Digest;

use crate::docker::{Docker, Ran};
use crate::host::Host;
use crate::random::Random;
use generate::Generator;

/// How many, by which choices.
#[derive(Debug, Clone, Copy)]
pub struct Dockerfiles {
    pub count: u32,
    pub seed: u64,
}

/// Images are removed after so many builds.
const CLEAR_AFTER: u32 = 50;
/// What is in the context; `tools.tar` is made beside them.
const FILES: [(&str, &str, u32); 6] = [
    ("one", "1\n", 0o644),
    ("two.txt", "two\n", 0o600),
    ("folder/deep/three", "three\n", 0o755),
    ("folder/four.txt", "four\n", 0o644),
    ("a name with blanks", "blank\n", 0o644),
    ("data.json", "{\"a\": [1, 2]}\n", 0o640),
];

/// Builds them all; an error tells of the Dockerfiles that differ.
pub fn run(host: &Host, wanted: Dockerfiles) -> Result<()> {
    let ours = host.engine("ours")?;
    let theirs = host.docker_of_debian("theirs")?;
    let ours = Docker { program: theirs.program.clone(), ..ours.docker.clone() };
    let archive = crate::busybox::archive(host)?;
    for docker in [&ours, &theirs] {
        docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", "busybox"], &archive)?;
    }
    let context = context(host)?;
    let (mut differing, mut failing) = (Vec::new(), 0);
    // How often which words of ours stood beside which of Docker's.
    let mut words: BTreeMap<(String, String), u32> = BTreeMap::new();
    for number in 0..wanted.count {
        // Each by its number, so that one alone can be made again.
        let seed = wanted.seed.wrapping_add(u64::from(number));
        let text = Generator::new(Random::new(seed)).dockerfile();
        fs::write(context.join("Dockerfile"), &text)?;
        let compared = compare(&ours, &theirs, &context)?;
        match compared {
            Compared::Same => {}
            Compared::BothFail(ours, theirs) => {
                failing += 1;
                *words.entry((ours, theirs)).or_default() += 1;
            }
            Compared::Differ(how) => {
                println!("seed {seed}: {how}\n--------\n{text}--------");
                differing.push(seed);
            }
        }
        if (number + 1) % CLEAR_AFTER == 0 {
            println!(
                "{} of {}, {failing} of them refused by both, {} differ",
                number + 1,
                wanted.count,
                differing.len()
            );
            for docker in [&ours, &theirs] {
                docker.try_run(&["image", "prune", "-af"])?;
                docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", "busybox"], &archive)?;
            }
        }
    }
    for ((ours, theirs), count) in words {
        println!("refused {count} times: {ours}");
        if ours != theirs {
            println!("    by Docker: {theirs}");
        }
    }
    let is_telling = wanted.count >= CLEAR_AFTER;
    ensure!(!is_telling || failing < wanted.count / 2, "most Dockerfiles are refused: {failing} of {}", wanted.count);
    ensure!(
        differing.is_empty(),
        "{} of {} Dockerfiles differ, of the seeds {differing:?}",
        differing.len(),
        wanted.count
    );
    // The mount of Docker's root stays when it ends.
    host.expect_traces()
}

fn context(host: &Host) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let folder = host.path("generated");
    for (name, text, mode) in FILES {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    std::os::unix::fs::symlink("one", folder.join("link"))?;
    let place = folder.display().to_string();
    host.command("tar", &["-C", &place, "--numeric-owner", "-cf", &format!("{place}/tools.tar"), "one", "folder"])?;
    host.command("gzip", &["-kn", &format!("{place}/tools.tar")])?;
    Ok(folder)
}

#[derive(Debug, PartialEq, Eq)]
enum Compared {
    Same,
    /// In whose words: ours, Docker's.
    BothFail(String, String),
    Differ(String),
}

fn compare(ours: &Docker, theirs: &Docker, context: &Path) -> Result<Compared> {
    // Docker's cache knows files by their content alone: `ADD link .` would be what `ADD one .` was before it.
    let (our_id, their_id) = (build(ours, context, &[])?, build(theirs, context, &["--no-cache"])?);
    let (our_id, their_id) = match (our_id, their_id) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(ours), Err(theirs)) => return Ok(Compared::BothFail(last_line(&ours), last_line(&theirs))),
        (Err(ran), Ok(_)) => return Ok(Compared::Differ(format!("only ours refuses it: {}", ran.stderr))),
        (Ok(_), Err(ran)) => return Ok(Compared::Differ(format!("only Docker refuses it: {}", ran.stderr))),
    };
    let (our_image, their_image) = (image::look(ours, &our_id)?, image::look(theirs, &their_id)?);
    Ok(match image::difference(&our_image, &their_image) {
        Some(difference) => Compared::Differ(difference),
        None => Compared::Same,
    })
}

/// The image's id, or how it was refused.
fn build(docker: &Docker, context: &Path, options: &[&str]) -> Result<Result<String, Ran>> {
    let mut command = docker.command(&["build", "-q", "--force-rm"]);
    command.args(options).arg(context).env("DOCKER_BUILDKIT", "0");
    let ran = crate::running::Running::start(command)?.wait()?;
    Ok(match ran.code {
        0 => Ok(ran.stdout.trim().to_owned()),
        _ => Err(ran),
    })
}

fn last_line(ran: &Ran) -> String {
    ran.stderr.lines().last().unwrap_or_default().to_owned()
}

/// Bytes in few.
fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()[..16].to_owned()
}
