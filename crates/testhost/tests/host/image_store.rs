//! The image store: its limit, its figures, and who holds what.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhost::{Engine, Host, busybox_archive, wait_until};

use crate::images_archives::{Member, tar};

/// Bytes of an image of [`import`]; it takes them twice, as a blob and unpacked.
const NOISE: u64 = 3 << 20;

/// An image without programs whose bytes no other has.
fn import(engine: &Engine<'_>, name: &str, seed: u64) -> Result<()> {
    let word = |n: u64| (n + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let noise: Vec<u8> = (0..NOISE / 8).flat_map(word).collect();
    engine.docker.run_with(&["import", "--change", "CMD [\"x\"]", "-", name], &tar(&[Member::File("noise", noise)]))?;
    Ok(())
}

fn names(engine: &Engine<'_>) -> Result<BTreeSet<String>> {
    Ok(engine.docker.run(&["images", "--format", "{{.Repository}}"])?.lines().map(str::to_owned).collect())
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Three images fit. The one that a container was made of stays, and of the others the one that was used last.
pub fn limited(host: &Host) -> Result<()> {
    let engine = host.engine_with("e", &["--image-store-limit", "20m"])?;
    for (seed, name) in ["one", "two", "three", "four"].into_iter().enumerate() {
        import(&engine, name, seed as u64)?;
    }
    engine.docker.run(&["create", "--name", "user", "one"])?;
    wait_until("an eviction", || names(&engine).ok().filter(|left| left.len() == 3))?;
    ensure!(names(&engine)? == set(&["one", "three", "four"]), "{:?}", names(&engine)?);
    let events = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "type=image",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ];
    let told = wait_until("the events", || engine.docker.run(&events).ok().filter(|told| told.contains("delete ")))?;
    let gone: Vec<&str> = told.lines().filter(|line| !line.starts_with("import ")).collect();
    ensure!(gone.len() == 2 && gone[0] == "untag two:latest" && gone[1].starts_with("delete sha256:"), "{told}");

    // What was used is known to the next daemon.
    let container = engine.docker.run(&["create", "three"])?;
    engine.docker.run(&["rm", &container])?;
    engine.kill_dockerd()?;
    engine.start_again()?;
    ensure!(names(&engine)?.len() == 3);
    import(&engine, "five", 5)?;
    wait_until("a second eviction", || names(&engine).ok().filter(|left| left.len() == 3))?;
    ensure!(names(&engine)? == set(&["one", "three", "five"]), "{:?}", names(&engine)?);
    let log = fs::read_to_string(host.path("dockerd-e.log")).unwrap_or_default();
    ensure!(log.contains("image evicted: the store is over its limit"), "{log}");
    engine.docker.run(&["rm", "user"])?;
    Ok(())
}

pub fn mistakes(host: &Host) -> Result<()> {
    let file = host.path("daemon.json");
    let dockerd = host.programs().join("dockerd");
    let validate = |text: &str| -> Result<(i32, String)> {
        fs::write(&file, text)?;
        let output = std::process::Command::new(&dockerd).arg("--validate").arg("--config-file").arg(&file).output()?;
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, said) = validate(r#"{"image-store-limit": "20GB"}"#)?;
    ensure!(code == 0, "{said}");
    let (code, said) = validate(r#"{"image-store-limit": "plenty"}"#)?;
    ensure!(code == 1 && said.contains("invalid size: 'plenty'"), "{said}");
    let (code, said) = validate(r#"{"image-store-limit": -1}"#)?;
    ensure!(code == 1 && said.contains("invalid image store limit: -1"), "{said}");
    Ok(())
}

/// Bytes below the folders that images, containers and builds fill.
fn found_by_du(host: &Host, engine: &Engine<'_>) -> Result<f64> {
    let store = engine.data_root().join("containerd");
    let folders =
        ["io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs"].map(|name| store.join(name));
    let mut found = 0.0;
    for folder in folders.iter().chain([&engine.data_root().join("volumes")]) {
        let du = host.command("du", &["-sB1", &folder.display().to_string()])?;
        found += du.split_whitespace().next().context("du")?.parse::<f64>()?;
    }
    Ok(found)
}

fn usage(engine: &Engine<'_>) -> Result<Value> {
    Ok(serde_json::from_str(&engine.request("GET", "/v1.51/system/df?why=1", b"")?.body)?)
}

fn sum(usage: &Value, list: &str, size: impl Fn(&Value) -> f64) -> f64 {
    usage[list].as_array().into_iter().flatten().map(size).sum()
}

/// What `system df` tells in all, each byte once.
fn told(usage: &Value) -> f64 {
    let bytes = |value: &Value| value.as_f64().unwrap_or_default();
    bytes(&usage["LayersSize"])
        + sum(usage, "Containers", |one| bytes(&one["SizeRw"]))
        + sum(usage, "Volumes", |one| bytes(&one["UsageData"]["Size"]))
        + sum(usage, "BuildCache", |one| if one["Shared"] == true { 0.0 } else { bytes(&one["Size"]) })
}

/// What `system df` tells and explains, which both are within one percent of what du finds.
fn compare(host: &Host, engine: &Engine, when: &str) -> Result<Value> {
    let (usage, found) = (usage(engine)?, found_by_du(host, engine)?);
    let told = told(&usage);
    ensure!((told - found).abs() < found * 0.01, "{when}: {told} told, {found} found by du\n{usage:#}");
    let explained = sum(&usage, "Stored", |one| one["Size"].as_f64().unwrap_or_default());
    ensure!((explained - found).abs() < found * 0.01, "{when}: {explained} explained, {found} found by du\n{usage:#}");
    Ok(usage)
}

/// After pulls, loads, writes and builds the figures are du's, and after all is deleted the space is back.
pub fn measured(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let empty = found_by_du(host, &engine)?;
    let compare = |when: &str| compare(host, &engine, when);
    import(&engine, "noise", 1)?;
    compare("imported")?;
    let image = registry.image("noise:1");
    engine.docker.run(&["tag", "noise", &image])?;
    engine.docker.run(&["push", "-q", &image])?;
    engine.docker.run(&["rmi", "noise", &image])?;
    engine.docker.run(&["pull", "-q", &image])?;
    compare("pulled")?;
    let saved = host.path("saved.tar").display().to_string();
    engine.docker.run(&["save", "-o", &saved, &image])?;
    engine.docker.run(&["rmi", &image])?;
    engine.docker.run(&["load", "-q", "-i", &saved])?;
    compare("loaded")?;
    engine.docker.run_with(&["import", "--change", "CMD [\"sh\"]", "-", "busybox"], &busybox_archive(host)?)?;
    let write = "dd if=/dev/urandom of=/own bs=64k count=64; dd if=/dev/urandom of=/data/own bs=64k count=48";
    engine.docker.run(&["run", "--name", "writer", "-v", "data:/data", "busybox", "sh", "-c", write])?;
    let usage = compare("written")?;
    let held_by = |kind: &str, id: &str| -> Vec<String> {
        let all = usage["Stored"].as_array().into_iter().flatten();
        let one =
            all.filter(|one| one["Kind"] == kind).find(|one| one["ID"].as_str().is_some_and(|own| own.contains(id)));
        let holders = one.map(|one| one["HeldBy"].as_array().cloned().unwrap_or_default()).unwrap_or_default();
        holders.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    ensure!(held_by("volume", "data") == ["container writer"], "{usage:#}");
    let id = engine.docker.run(&["inspect", "--format", "{{.Id}}", "writer"])?;
    ensure!(held_by("snapshot", &id) == ["container writer"], "{usage:#}");
    let layer = engine.docker.run(&["image", "inspect", "--format", "{{index .RootFS.Layers 0}}", "busybox"])?;
    ensure!(held_by("snapshot", &layer) == ["image busybox:latest", "container writer"], "{usage:#}");
    ensure!(held_by("blob", &layer) == ["image busybox:latest"], "{usage:#}");

    let dockerfile = "FROM busybox\nRUN dd if=/dev/urandom of=/built bs=64k count=64\n";
    engine.docker.run_with(&["build", "-q", "-t", "built", "-"], dockerfile.as_bytes())?;
    compare("built")?;
    let shown = engine.docker.run(&["system", "df", "-v", "--why"])?;
    ensure!(
        shown.contains("Held bytes: ") && shown.contains("container writer") && shown.contains("build cache"),
        "{shown}"
    );

    engine.docker.run(&["rm", "writer"])?;
    engine.docker.run(&["system", "prune", "--all", "--force", "--volumes"])?;
    engine.docker.run(&["volume", "prune", "--all", "--force"])?;
    let left = found_by_du(host, &engine)?;
    ensure!(left < empty + 64.0 * 1024.0, "{left} left, {empty} at the beginning");
    Ok(())
}

/// A layer of noise on busybox, and two images on that: what they share is counted once, whoever is killed or goes first.
pub fn shared(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let docker = &engine.docker;
    let empty = found_by_du(host, &engine)?;
    engine.import_busybox("busybox")?;
    let noise = |path: &str| format!("dd if=/dev/urandom of={path} bs=64k count=64");
    let build = |name: &str, text: &str| docker.run_with(&["build", "-q", "-t", name, "-"], text.as_bytes());
    build("base", &format!("FROM busybox\nRUN {}\n", noise("/base")))?;
    for name in ["one", "two"] {
        build(name, &format!("FROM base\nRUN {}\nRUN rm /base\n", noise(&format!("/{name}"))))?;
    }
    compare(host, &engine, "three images on one layer")?;
    // Of each kind of content a container may have: changes, links, holes, a volume of a name and one without.
    let fill =
        format!("{}; {}; {}; ln /own /again; truncate -s 1G /hole", noise("/own"), noise("/data/own"), noise("/v/own"));
    docker.run(&[
        "run",
        "-d",
        "--name",
        "runs",
        "-v",
        "data:/data",
        "-v",
        "/v",
        "one",
        "sh",
        "-c",
        &format!("{fill}; echo done; sleep 1000"),
    ])?;
    wait_until("the container's files", || docker.run(&["logs", "runs"]).ok().filter(|log| log.contains("done")))?;
    docker.run(&["run", "--name", "ended", "one", "sh", "-c", &noise("/own")])?;
    docker.run(&["commit", "ended", "committed"])?;
    compare(host, &engine, "containers and volumes")?;
    engine.kill_containerd()?;
    wait_until("an engine that answers", || docker.run(&["images", "-q"]).ok())?;
    compare(host, &engine, "docker-containerd killed")?;
    engine.kill_dockerd()?;
    engine.start_again()?;
    compare(host, &engine, "dockerd killed")?;
    // Away with one after the other: names first, so that others hold what was theirs.
    let before = found_by_du(host, &engine)?;
    docker.run(&["rmi", "base", "two"])?;
    compare(host, &engine, "images gone whose layers the cache has")?;
    docker.run(&["builder", "prune", "-a", "-f"])?;
    compare(host, &engine, "the cache gone")?;
    let after = found_by_du(host, &engine)?;
    ensure!(before - after > 2.0 * 64.0 * 65536.0, "only {} bytes came back", before - after);
    docker.run(&["rm", "-f", "-v", "runs"])?;
    docker.run(&["rm", "ended"])?;
    compare(host, &engine, "containers gone")?;
    docker.run(&["rmi", "one"])?;
    compare(host, &engine, "an image gone that another one lies on")?;
    docker.run(&["rmi", "committed", "busybox"])?;
    docker.run(&["volume", "rm", "data"])?;
    let left = found_by_du(host, &engine)?;
    ensure!(left < empty + 64.0 * 1024.0, "{left} left, {empty} at the beginning");
    Ok(())
}
