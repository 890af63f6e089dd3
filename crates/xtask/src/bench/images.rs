//! Pull, push, save and load of large images: our engine beside Debian's Docker Engine, over Debian's registry on loopback.
//!
//! One image at a time is on the disk, in one engine at a time, and goes as soon as it was measured: 6 GB are enough. What
//! is waiting to be written is written before a clock starts.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ids::{Digest, Hasher};
use testhost::{Docker, Host, PlacedLayer, Registry};

use super::{Row, quietly};

/// Bytes of an image before it is compressed; about half of it gets no smaller. Another figure in megabytes is for who
/// wants to see that everything works.
const IMAGE_BYTES: usize = 1_400_000_000;
const SIZE: &str = "LONGSHORE_IMAGE_MB";
const LAYERS: usize = 10;
/// Times that each thing is done; another figure is for who has little time.
const ROUNDS: usize = 3;
const ROUNDS_NAME: &str = "LONGSHORE_IMAGE_ROUNDS";
const BLOCK: usize = 64 << 10;
/// Of the disk, before anything begins.
const NEEDED_BYTES: u64 = 8 << 30;
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let free = rustix::fs::statvfs(host.path("").as_path())?;
    ensure!(free.f_bavail * free.f_frsize >= NEEDED_BYTES, "the images of this need {} GB of disk", NEEDED_BYTES >> 30);
    let registry = host.registry()?;
    let bytes = figure(SIZE)?.map_or(IMAGE_BYTES, |megabytes| megabytes * 1_000_000);
    let rounds = figure(ROUNDS_NAME)?.unwrap_or(ROUNDS);
    let (ours, theirs) = (host.engine("ours")?.docker.clone(), host.docker_of_debian("theirs")?);
    let engines = Engines { ours, theirs, rounds };
    let mut rows = Vec::new();
    for (layers, form) in [(1, "one layer"), (LAYERS, "ten layers")] {
        let name = format!("of {:.1} GB in {form}", bytes as f64 / 1e9);
        let stages = place(host, &registry, layers, bytes)?;
        rows.extend(engines.pull_save_and_load(host, &name, &registry.image("large:1"), &stages)?);
        forget(host)?;
        let context = context(host, layers, bytes)?;
        rows.push(engines.push(host, &name, &registry, &context)?);
        fs::remove_dir_all(&context)?;
    }
    Ok(rows)
}

/// The seconds that programs of Debian's take for a part of a pull alone.
struct Stages {
    inflate: f64,
    untar: f64,
}

struct Engines {
    ours: Docker,
    theirs: Docker,
    rounds: usize,
}

fn figure(name: &str) -> Result<Option<usize>> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text.parse().with_context(|| format!("{name} is no figure"))?)),
        Err(_) => Ok(None),
    }
}

/// Puts `large:1` into the registry, and measures on the way what each stage takes by itself.
fn place(host: &Host, registry: &Registry, layers: usize, bytes: usize) -> Result<Stages> {
    let mut stages = Stages { inflate: 0.0, untar: 0.0 };
    let mut packed = Vec::new();
    for layer in 0..layers {
        let (file, diff_id) = pack(host, layer, bytes / layers)?;
        let plain = host.path("plain.tar");
        stages.inflate += seconds(|| run(Command::new("gzip").arg("-dc").arg(&file).stdout(Stdio::null())))?;
        run(Command::new("gzip").arg("-dc").arg(&file).stdout(File::create(&plain)?))?;
        let tree = host.path("plain");
        fs::create_dir(&tree)?;
        stages.untar += seconds(|| run(Command::new("tar").arg("-C").arg(&tree).arg("-xf").arg(&plain)))?;
        fs::remove_dir_all(&tree)?;
        fs::remove_file(&plain)?;
        packed.push((file, diff_id));
    }
    let digests: Vec<Digest> = packed.iter().map(|(file, _)| digest_of(file)).collect::<Result<_>>()?;
    let placed = packed.iter().zip(digests);
    let placed: Vec<PlacedLayer> = placed
        .map(|((file, diff_id), digest)| PlacedLayer { file, media_type: GZIP, digest, diff_id: *diff_id })
        .collect();
    registry.place("large", "1", &placed)?;
    Ok(stages)
}

/// A layer with one file, packed; and the digest of its plain bytes.
fn pack(host: &Host, layer: usize, bytes: usize) -> Result<(PathBuf, Digest)> {
    let content = host.path("content");
    fs::create_dir_all(&content)?;
    let name = format!("file{layer}");
    fill(&content.join(&name), bytes, layer as u64 + 1)?;
    let target = host.path(&format!("layer{layer}.gz"));
    let mut tar = Command::new("tar");
    let mut tar = tar.arg("-C").arg(&content).args(["-c", &name]).stdout(Stdio::piped()).spawn().context("tar")?;
    let mut gzip = Command::new("gzip");
    let mut gzip = gzip.arg("-n").stdin(Stdio::piped()).stdout(File::create(&target)?).spawn().context("gzip")?;
    let (mut from, mut to) = (tar.stdout.take().context("stdout")?, gzip.stdin.take().context("stdin")?);
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 20]);
    loop {
        let length = io::Read::read(&mut from, &mut buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
    }
    drop(to);
    ensure!(tar.wait()?.success() && gzip.wait()?.success(), "tar and gzip");
    fs::remove_dir_all(&content)?;
    Ok((target, hasher.finish()))
}

fn digest_of(file: &Path) -> Result<Digest> {
    let (mut hasher, mut buffer, mut file) = (Hasher::new(), vec![0; 1 << 20], File::open(file)?);
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Empties the registry.
fn forget(host: &Host) -> Result<()> {
    Ok(fs::remove_dir_all(host.path("registry/docker/registry/v2"))?)
}

impl Engines {
    fn both(&self) -> [&Docker; 2] {
        [&self.ours, &self.theirs]
    }

    /// Each time from nothing, and to nothing. Each loads what it has saved itself.
    fn pull_save_and_load(&self, host: &Host, name: &str, image: &str, stages: &Stages) -> Result<Vec<Row>> {
        let [mut pulls, mut saves, mut loads] = [const { [const { Vec::new() }; 2] }; 3];
        let archive = host.path("saved.tar");
        for _ in 0..self.rounds {
            for (at, docker) in self.both().into_iter().enumerate() {
                pulls[at].push(seconds(|| quietly(&mut docker.command(&["pull", "-q", image])))?);
                saves[at].push(seconds(|| save(docker, image))?);
                quietly(docker.command(&["save", "-o"]).arg(&archive).arg(image))?;
                empty(docker)?;
                loads[at].push(seconds(|| quietly(docker.command(&["load", "-q", "-i"]).arg(&archive)))?);
                fs::remove_file(&archive)?;
                empty(docker)?;
            }
        }
        let [our_loads, their_loads] = loads;
        let [our_pulls, their_pulls] = pulls;
        let slowest = if stages.inflate > stages.untar { "gzip -dc alone" } else { "tar -x alone" };
        let alone = Row {
            name: format!("docker pull {name}"),
            ours: median(our_pulls.clone()),
            against: slowest.into(),
            theirs: stages.inflate.max(stages.untar),
            unit: "s",
            target: Some(1.25),
            more_is_better: false,
        };
        let [our_saves, their_saves] = saves;
        Ok(vec![
            row(format!("docker pull {name}"), our_pulls, their_pulls, Some(0.25)),
            alone,
            row(format!("docker save {name}"), our_saves, their_saves, None),
            row(format!("docker load {name}"), our_loads, their_loads, None),
        ])
    }

    /// Each time of an image that no registry has, built anew for each engine.
    fn push(&self, host: &Host, name: &str, registry: &Registry, context: &Path) -> Result<Row> {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..self.rounds {
            for (at, docker) in self.both().into_iter().enumerate() {
                // Other bytes each time: nobody has them packed already.
                refill(context, (round * 100 + at * 50 + 1000) as u64)?;
                let image = registry.image("pushed:1");
                docker.run(&["build", "-q", "-t", &image, &context.display().to_string()])?;
                times[at].push(seconds(|| quietly(&mut docker.command(&["push", "-q", &image])))?);
                empty(docker)?;
                forget(host)?;
            }
        }
        let [ours, theirs] = times;
        Ok(row(format!("docker push {name}"), ours, theirs, Some(0.3)))
    }
}

/// To a pipe that somebody reads, as `docker save | …` has it.
fn save(docker: &Docker, image: &str) -> Result<()> {
    let mut child = docker.command(&["save", image]).stdout(Stdio::piped()).spawn().context("docker save")?;
    io::copy(&mut child.stdout.take().context("stdout")?, &mut io::sink())?;
    ensure!(child.wait()?.success(), "docker save");
    Ok(())
}

/// Takes the image and what was built from the engine.
fn empty(docker: &Docker) -> Result<()> {
    docker.run(&["system", "prune", "-a", "-f"]).map(drop)
}

/// A folder to build from: so many files, and a Dockerfile with a layer for each.
fn context(host: &Host, layers: usize, bytes: usize) -> Result<PathBuf> {
    let folder = host.path(&format!("large-{layers}"));
    fs::create_dir_all(&folder)?;
    let mut lines = String::from("FROM scratch\n");
    for layer in 0..layers {
        fill(&folder.join(format!("file{layer}")), bytes / layers, layer as u64 + 1)?;
        lines += &format!("COPY file{layer} /\n");
    }
    fs::write(folder.join("Dockerfile"), lines + "CMD [\"/none\"]\n")?;
    Ok(folder)
}

/// Other bytes in every file of the folder.
fn refill(context: &Path, seed: u64) -> Result<()> {
    for layer in 0.. {
        let file = context.join(format!("file{layer}"));
        let Ok(found) = fs::metadata(&file) else { break };
        fill(&file, usize::try_from(found.len())?, seed + layer)?;
    }
    Ok(())
}

/// Blocks of noise and of text in turns.
fn fill(path: &Path, bytes: usize, seed: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let text = b"what a program has many times over, in one form or another\n".repeat(BLOCK / 59 + 1);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = vec![0_u8; BLOCK];
    for block in 0..bytes / BLOCK {
        if block % 2 == 0 {
            for piece in noise.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                piece.copy_from_slice(&state.to_le_bytes());
            }
            file.write_all(&noise)?;
        } else {
            file.write_all(&text[..BLOCK])?;
        }
    }
    Ok(file.flush()?)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// How long this takes on a disk that has nothing else to do.
fn seconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    rustix::fs::sync();
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn row(name: String, ours: Vec<f64>, theirs: Vec<f64>, target: Option<f64>) -> Row {
    let (ours, theirs) = (median(ours), median(theirs));
    Row { name, ours, against: "Docker Engine".into(), theirs, unit: "s", target, more_is_better: false }
}
