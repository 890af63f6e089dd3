//! Pull, push, save and load of large images: our engine beside Debian's Docker Engine, over Debian's registry on loopback.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Host, Registry};

use super::{Row, quietly};

/// Bytes of an image before it is compressed; about half of it gets no smaller.
const IMAGE_BYTES: usize = 1_400_000_000;
const LAYERS: usize = 10;
const ROUNDS: usize = 3;

pub fn rows(host: &Host) -> Result<Vec<Row>> {
    let ours = host.engine("ours")?.docker.clone();
    let theirs = host.docker_of_debian("theirs")?;
    let registry = host.registry()?;
    let mut rows = Vec::new();
    for (layers, name) in [(1, "one layer"), (LAYERS, "ten layers")] {
        let image = registry.image(&format!("large:{layers}"));
        let context = context(host, layers)?;
        theirs.run(&["build", "-q", "-t", &image, &context.display().to_string()])?;
        theirs.run(&["push", &image])?;
        theirs.run(&["rmi", &image])?;
        rows.push(pull(&format!("docker pull of 1.4 GB in {name}"), &ours, &theirs, &image)?);
        rows.push(save(&format!("docker save of 1.4 GB in {name}"), &ours, &theirs, &image)?);
        for docker in [&ours, &theirs] {
            docker.run(&["rmi", &image])?;
        }
        rows.push(push(&format!("docker push of 1.4 GB in {name}"), &registry, &ours, &theirs, &context)?);
        fs::remove_dir_all(&context)?;
    }
    Ok(rows)
}

/// A folder to build from: so many files, and a Dockerfile with a layer for each.
fn context(host: &Host, layers: usize) -> Result<std::path::PathBuf> {
    let folder = host.path(&format!("large-{layers}"));
    fs::create_dir_all(&folder)?;
    let mut lines = String::from("FROM scratch\n");
    for layer in 0..layers {
        fill(&folder.join(format!("file{layer}")), IMAGE_BYTES / layers, layer as u64 + 1)?;
        lines += &format!("COPY file{layer} /\n");
    }
    fs::write(folder.join("Dockerfile"), lines + "CMD [\"/none\"]\n")?;
    Ok(folder)
}

/// Blocks of noise and of text in turns.
fn fill(path: &Path, bytes: usize, seed: u64) -> Result<()> {
    const BLOCK: usize = 64 << 10;
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

fn seconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn row(name: &str, ours: Vec<f64>, theirs: Vec<f64>, target: Option<f64>) -> Row {
    let (ours, theirs) = (median(ours), median(theirs));
    Row { name: name.into(), ours, against: "Docker Engine".into(), theirs, unit: "s", target, more_is_better: false }
}

/// Each time from nothing; the image stays after the last one.
fn pull(name: &str, ours: &Docker, theirs: &Docker, image: &str) -> Result<Row> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (times, docker) in times.iter_mut().zip([ours, theirs]) {
            if round > 0 {
                docker.run(&["rmi", image])?;
            }
            times.push(seconds(|| quietly(&mut docker.command(&["pull", "-q", image])))?);
        }
    }
    let [our_times, their_times] = times;
    Ok(row(name, our_times, their_times, Some(0.25)))
}

fn save(name: &str, ours: &Docker, theirs: &Docker, image: &str) -> Result<Row> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, docker) in times.iter_mut().zip([ours, theirs]) {
            let mut command = docker.command(&["save", image]);
            // A pipe that somebody reads, as `docker save | …` has it.
            command.stdout(Stdio::piped());
            times.push(seconds(|| {
                let mut child = command.spawn().context("docker save")?;
                let mut output = child.stdout.take().context("stdout")?;
                std::io::copy(&mut output, &mut std::io::sink())?;
                ensure!(child.wait()?.success(), "docker save");
                Ok(())
            })?);
        }
    }
    let [our_times, their_times] = times;
    Ok(row(name, our_times, their_times, None))
}

/// Each time of an image that no registry has, built anew for each engine.
fn push(name: &str, registry: &Registry, ours: &Docker, theirs: &Docker, context: &Path) -> Result<Row> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (at, (times, docker)) in times.iter_mut().zip([ours, theirs]).enumerate() {
            // The first file decides: what lies on it has another chain, what it is itself other bytes.
            for layer in 0.. {
                let file = context.join(format!("file{layer}"));
                if !file.exists() {
                    break;
                }
                let bytes = usize::try_from(fs::metadata(&file)?.len())?;
                fill(&file, bytes, (round * 100 + at * 50 + layer) as u64 + 1000)?;
            }
            let image = registry.image(&format!("pushed-{round}-{at}:1"));
            docker.run(&["build", "-q", "-t", &image, &context.display().to_string()])?;
            times.push(seconds(|| quietly(&mut docker.command(&["push", "-q", &image])))?);
            docker.run(&["rmi", &image])?;
        }
    }
    let [our_times, their_times] = times;
    Ok(row(name, our_times, their_times, Some(0.3)))
}
