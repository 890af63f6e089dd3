//! Images that take a while: a registry that dies on the way, daemons that die, and what memory it all takes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ids::{Digest, Hasher};
use testhost::{Engine, Host, PlacedLayer, Registry, Running, wait_until};

use crate::images_hostile::{Store, peak_kb};

/// Megabytes of the image that is pulled while its registry dies; a figure of its own for who has the time.
const SIZE: &str = "LONGSHORE_IMAGE_MB";
const SIZE_MB: u64 = 240;
const LAYERS: u64 = 3;
const DEATHS: u64 = 5;
/// For a whole image of any size.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// What a pull may take, whatever the image.
const MAX_PEAK_KB: u64 = 64 << 10;
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Writes a layer with one file of so many bytes that do not get smaller; the layer's digest.
fn write_layer(path: &Path, bytes: u64, seed: u64) -> Result<Digest> {
    let mut head =
        crate::images_archives::tar(&[crate::images_archives::Member::File(&format!("noise-{seed}"), Vec::new())]);
    head.truncate(512);
    head[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut hasher = Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    put(&head)?;
    let (mut state, mut left) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, bytes);
    let mut block = vec![0; 64 << 10];
    while left > 0 {
        for piece in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            piece.copy_from_slice(&state.to_le_bytes());
        }
        let length = left.min(block.len() as u64);
        put(&block[..usize::try_from(length)?])?;
        left -= length;
    }
    let padding = bytes.wrapping_neg() % 512 + 1024;
    put(&vec![0; usize::try_from(padding)?])?;
    file.flush()?;
    Ok(hasher.finish())
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut hasher = Hasher::new();
    for piece in fs::read(path)?.chunks(1 << 20) {
        hasher.update(piece);
    }
    Ok(hasher.finish())
}

/// Bytes of blobs and writes in the engine's store.
fn stored(engine: &Engine) -> u64 {
    let content = engine.data_root().join("containerd/io.containerd.content.v1.content");
    let sizes = |folder: PathBuf, below: &str| -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::metadata(entry.path().join(below)).ok()).map(|found| found.len()).sum()
    };
    let blobs = fs::read_dir(content.join("blobs/sha256")).into_iter().flatten().flatten();
    let blobs: u64 = blobs.filter_map(|blob| blob.metadata().ok()).map(|found| found.len()).sum();
    blobs + sizes(content.join("ingest"), "data")
}

/// Waits until so many bytes are there; an error if the command ends before.
fn until_stored(engine: &Engine, pulling: &mut Running, bytes: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while stored(engine) < bytes {
        ensure!(pulling.runs()?, "it ended with {} of {bytes} bytes: {}", stored(engine), pulling.printed());
        ensure!(Instant::now() < deadline, "only {} bytes of {bytes}", stored(engine));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn wait_for_end(mut running: Running) -> Result<testhost::Ran> {
    let deadline = Instant::now() + PATIENCE;
    while running.runs()? {
        if Instant::now() > deadline {
            bail!("it does not end: {}", running.printed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    running.wait()
}

/// The registry dies five times while an image comes, and the pull goes on each time.
pub fn registry_dies(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let total = std::env::var(SIZE).map_or(Ok(SIZE_MB), |text| text.parse())? << 20;
    let files: Vec<PathBuf> = (0..LAYERS).map(|at| host.path(&format!("layer-{at}"))).collect();
    let layers = files.iter().zip(1..).map(|(file, seed)| {
        let digest = write_layer(file, total / LAYERS, seed)?;
        Ok(PlacedLayer { file, media_type: PLAIN, digest, diff_id: digest })
    });
    registry.place("large", "1", &layers.collect::<Result<Vec<_>>>()?)?;
    let image = registry.image("large:1");
    let empty = Store::of(&engine);
    let mut pulling = engine.docker.start(&["pull", &image])?;
    for death in 1..=DEATHS {
        until_stored(&engine, &mut pulling, total * death / (DEATHS + 1))?;
        registry.kill()?;
        registry.start_again(host)?;
    }
    let pulled = wait_for_end(pulling)?;
    ensure!(pulled.code == 0, "{}{}", pulled.stdout, pulled.stderr);
    ensure!(pulled.stdout.contains(&format!("Status: Downloaded newer image for {image}")), "{}", pulled.stdout);
    ensure!(pulled.stdout.contains(": Retrying in 2 seconds"), "{}", pulled.stdout);
    let said = pulled.stdout.matches("Download complete").count() as u64;
    ensure!(said == LAYERS, "{}", pulled.stdout);
    engine.docker.run(&["rmi", &image])?;
    empty.is_as_it_was(&engine)
}

/// Daemons and registry die while an image is pushed; the next push sends it whole, and nothing stays half-done.
pub fn killed_while_pushing(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let (name, file) = (registry.image("noise:1"), host.path("noise"));
    let empty = Store::of(&engine);
    write_layer(&file, 48 << 20, 7)?;
    engine.docker.run(&["import", &file.to_string_lossy(), &name])?;
    engine.docker.run(&["push", "-q", &name])?;
    // Pulled back, it has its layer as it is sent and nothing else.
    engine.docker.run(&["rmi", &name])?;
    empty.is_as_it_was(&engine)?;
    engine.docker.run(&["pull", "-q", &name])?;
    let whole = Store::of(&engine);
    for (at, victim) in ["dockerd", "docker-containerd", "the registry"].into_iter().enumerate() {
        let other = registry.image(&format!("noise-{at}:1"));
        engine.docker.run(&["tag", &name, &other])?;
        // The registry has nothing to mount from.
        fs::remove_dir_all(host.path("registry/docker/registry/v2"))?;
        let mut pushing = engine.docker.start(&["push", &other])?;
        let uploads = host.path(&format!("registry/docker/registry/v2/repositories/noise-{at}/_uploads"));
        until_uploading(&uploads, &mut pushing)?;
        match victim {
            "dockerd" => {
                engine.kill_dockerd()?;
                ensure!(wait_for_end(pushing)?.code != 0);
                engine.start_again()?;
                ensure!(!is_tagged(host, at), "{victim}: a tag without its image");
            }
            "docker-containerd" => {
                engine.kill_containerd()?;
                let _ = wait_for_end(pushing)?;
                wait_until("an answer", || engine.docker.run(&["images", "-aq"]).ok())?;
            }
            _ => {
                registry.kill()?;
                registry.start_again(host)?;
                let pushed = wait_for_end(pushing)?;
                ensure!(pushed.code == 0, "a registry that comes back: {}{}", pushed.stdout, pushed.stderr);
            }
        }
        let pushed = engine.docker.run(&["push", &other]).context(victim)?;
        ensure!(pushed.contains("digest: sha256:"), "{victim}: {pushed}");
        engine.docker.run(&["rmi", &other])?;
        whole.is_as_it_was(&engine).context(victim)?;
        engine.docker.run(&["pull", "-q", &other])?;
        engine.docker.run(&["rmi", &other])?;
        whole.is_as_it_was(&engine).context(victim)?;
    }
    Ok(())
}

fn is_tagged(host: &Host, at: usize) -> bool {
    host.path(&format!("registry/docker/registry/v2/repositories/noise-{at}/_manifests/tags/1")).exists()
}

/// Waits until some of an upload has arrived.
fn until_uploading(uploads: &Path, pushing: &mut Running) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sessions = fs::read_dir(uploads).into_iter().flatten().flatten();
        let arrived = sessions.filter_map(|session| fs::metadata(session.path().join("data")).ok());
        if arrived.map(|found| found.len()).sum::<u64>() > 4 << 20 {
            return Ok(());
        }
        ensure!(pushing.runs()?, "the push ended at once: {}", pushing.printed());
        ensure!(Instant::now() < deadline, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Big layers of every kind, and many small ones: the daemons' memory stays within its bounds.
pub fn memory(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    place_packed(host, &registry, "gzip", GZIP, &["-1", "-n"])?;
    place_packed(host, &registry, "zstd", ZSTD, &["-q", "-3"])?;
    let files: Vec<PathBuf> = (0..80).map(|at| host.path(&format!("small-{at}"))).collect();
    let layers = files.iter().zip(100..).map(|(file, seed)| {
        let digest = write_layer(file, 1 << 20, seed)?;
        Ok(PlacedLayer { file, media_type: PLAIN, digest, diff_id: digest })
    });
    registry.place("many", "1", &layers.collect::<Result<Vec<_>>>()?)?;
    for repository in ["gzip", "zstd", "many"] {
        engine.docker.run(&["pull", "-q", &registry.image(&format!("{repository}:1"))])?;
        for (daemon, pid) in [("dockerd", engine.dockerd_pid()), ("docker-containerd", engine.containerd_pid()?)] {
            let peak = peak_kb(pid)?;
            println!("{repository}: {daemon} {peak} kB at its peak");
            ensure!(peak <= MAX_PEAK_KB, "{repository}: {daemon} took {peak} kB");
        }
    }
    Ok(())
}

/// Three layers of 40 MB, packed by this program.
fn place_packed(host: &Host, registry: &Registry, program: &str, kind: &'static str, options: &[&str]) -> Result<()> {
    let mut packed = Vec::new();
    for at in 0..3 {
        let plain = host.path(&format!("plain-{at}"));
        let diff_id = write_layer(&plain, 40 << 20, 40 + at)?;
        let file = host.path(&format!("{program}-{at}"));
        let status = Command::new(program).args(options).arg("-c").arg(&plain).stdout(File::create(&file)?).status()?;
        ensure!(status.success(), "{program}: {status}");
        packed.push((digest_of(&file)?, diff_id, file));
    }
    let layers: Vec<PlacedLayer> = packed
        .iter()
        .map(|(digest, diff_id, file)| PlacedLayer { file, media_type: kind, digest: *digest, diff_id: *diff_id })
        .collect();
    registry.place(program, "1", &layers)
}
