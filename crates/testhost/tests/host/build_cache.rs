//! A build's cache on its way between two engines that have nothing in common: by a registry, by the image itself.

use std::fs;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host, Ran, Registry, Running};

use crate::build::{context, shown};
use crate::build_client;

/// Steps whose results are never the same twice, so that only a cache can make the equal image.
const FILE: &str = "\
ARG BASE
FROM $BASE AS made
WORKDIR /made
COPY source .
RUN --mount=type=cache,target=/kept cat /proc/sys/kernel/random/uuid > id && cp id /kept/id
RUN true
FROM $BASE AS beside
RUN cat /proc/sys/kernel/random/uuid > /beside
FROM $BASE
ENV STEP=last
COPY --from=made /made /made
COPY --from=beside /beside /made/
CMD [\"cat\", \"/made/id\", \"/made/beside\"]
";

/// Where an image's configuration lists its steps.
const LIST: &[u8] = b"moby.buildkit.cache.v0";

struct Machines<'h> {
    registry: Registry,
    one: Engine<'h>,
    other: Engine<'h>,
    base: String,
    folder: String,
}

/// Two engines, and a base image that both can pull.
fn machines(host: &Host) -> Result<Machines<'_>> {
    let registry = host.registry()?;
    let (one, other) = (host.engine("one")?, host.engine("other")?);
    let base = registry.image("base:1");
    one.import_busybox(&base)?;
    one.docker.run(&["push", "-q", &base])?;
    let folder = shown(&context(host, "cached", &[("Dockerfile", FILE), ("source", "text\n")])?);
    Ok(Machines { registry, one, other, base, folder })
}

impl Machines<'_> {
    fn build(&self, docker: &Docker, words: &[&str]) -> Result<String> {
        let base = format!("BASE={}", self.base);
        let mut all = vec!["build", "-t", "app", "--build-arg", &base];
        all.extend(words);
        all.push(&self.folder);
        classic(docker, &all, "")
    }
}

/// By the classic door, whose lines tell what was run.
fn try_classic(docker: &Docker, words: &[&str], input: &str) -> Result<Ran> {
    let mut command = docker.command(words);
    command.env("DOCKER_BUILDKIT", "0");
    let mut running = Running::start(command)?;
    running.write_and_close(input.as_bytes())?;
    running.wait()
}

fn classic(docker: &Docker, words: &[&str], input: &str) -> Result<String> {
    let ran = try_classic(docker, words, input)?;
    ensure!(ran.code == 0, "docker {}: exit {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
    Ok(ran.stdout)
}

fn id(docker: &Docker, image: &str) -> Result<String> {
    docker.run(&["inspect", "--format", "{{.Id}}", image])
}

fn nothing_ran(told: &str) -> Result<()> {
    ensure!(!told.contains("Running in") && !told.contains("[Warning]"), "something was run again:\n{told}");
    Ok(())
}

/// Everything that one engine has made the other takes, cache mounts too, and its image is the same to the bit.
pub fn registry(host: &Host) -> Result<()> {
    let all = machines(host)?;
    let (one, other) = (&all.one.docker, &all.other.docker);
    let place = all.registry.image("cache:app");
    let target = format!("type=registry,ref={place},mode=max");
    let told = all.build(one, &["--cache-to", &target])?;
    assert!(told.contains("exporting cache to registry"), "{told}");
    let source = format!("type=registry,ref={place}");
    let told = all.build(other, &["--cache-from", &source])?;
    nothing_ran(&told)?;
    assert!(told.contains(&format!("importing cache manifest from {place}")), "{told}");
    assert_eq!(id(one, "app")?, id(other, "app")?);
    assert_eq!(one.run(&["run", "--rm", "app"])?, other.run(&["run", "--rm", "app"])?);
    let history = other.run(&["history", "--no-trunc", "app"])?;
    assert_eq!(history, one.run(&["history", "--no-trunc", "app"])?);

    let step =
        format!("FROM {}\nRUN --mount=type=cache,target=/kept cp /kept/id /id\nCMD [\"cat\", \"/id\"]\n", all.base);
    classic(other, &["build", "-t", "kept", "--cache-from", &source, "-"], &step)?;
    let made = one.run(&["run", "--rm", "app", "cat", "/made/id"])?;
    assert_eq!(other.run(&["run", "--rm", "kept"])?, made, "what the cache mount held came along");

    // A changed file: what lies below it still comes from there.
    fs::write(host.path("cached").join("source"), "other\n")?;
    other.run(&["builder", "prune", "-af"])?;
    let told = all.build(other, &["--cache-from", &source])?;
    ensure!(told.contains(" ---> Using cache") && told.contains("Running in"), "{told}");
    Ok(())
}

/// The same by a folder that the client lends to one engine and then to the other; a tag of it is one cache.
pub fn folder(host: &Host) -> Result<()> {
    let all = machines(host)?;
    let base = format!("BASE={}", all.base);
    let built = |engine: &Engine<'_>, words: &[&str]| {
        let common = ["-t", "app", "--progress=plain", "--build-arg", &base];
        build_client::build(engine, &[&common[..], words, &[&all.folder]].concat())
    };
    let folder = shown(&host.path("lent"));
    let told = built(&all.one, &["--cache-to", &format!("type=local,dest={folder},tag=a,mode=max")])?;
    assert!(told.contains("exporting cache to client directory"), "{told}");
    let told = built(&all.other, &["--cache-from", &format!("type=local,src={folder},tag=b")])?;
    assert!(told.contains("WARNING: local cache import") && told.contains("no tag b"), "{told}");
    all.other.docker.run(&["builder", "prune", "-af"])?;
    let told = built(&all.other, &["--cache-from", &format!("type=local,src={folder},tag=a")])?;
    let steps =
        FILE.lines().filter(|line| ["WORKDIR", "COPY", "RUN"].iter().any(|word| line.starts_with(word))).count();
    let bases = told.matches("] FROM ").count();
    assert_eq!(told.matches("CACHED").count(), steps + bases, "something was run again: {told}");
    assert_eq!(id(&all.one.docker, "app")?, id(&all.other.docker, "app")?);

    // What has changed in the folder is not taken.
    let index: serde_json::Value = serde_json::from_slice(&fs::read(host.path("lent").join("index.json"))?)?;
    let digest = index["manifests"][0]["digest"].as_str().context("a manifest")?;
    let blob = host.path("lent").join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    fs::write(blob, "{}")?;
    all.other.docker.run(&["builder", "prune", "-af"])?;
    let told = built(&all.other, &["--cache-from", &format!("type=local,src={folder},tag=a")])?;
    assert!(told.contains("the manifest of the cache is not"), "{told}");
    Ok(())
}

/// The least that is sent are the steps of the result; the older form of the manifest is read as well.
pub fn least(host: &Host) -> Result<()> {
    let all = machines(host)?;
    let (one, other) = (&all.one.docker, &all.other.docker);
    let place = all.registry.image("cache:least");
    all.build(one, &["--cache-to", &format!("type=registry,ref={place},image-manifest=false")])?;
    let told = all.build(other, &["--cache-from", &place])?;
    let cached = told.matches(" ---> Using cache").count();
    assert!(cached >= 1, "the last stage's own first step is known: {told}");
    assert!(told.contains("Running in"), "the stages beside are made here: {told}");
    let manifest = host.command(
        "curl",
        &[
            "-s",
            "-H",
            "Accept: application/vnd.oci.image.index.v1+json",
            &format!("http://{}/v2/cache/manifests/least", all.registry.address),
        ],
    )?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let kinds = manifest["manifests"].as_array().context("an index")?;
    assert_eq!(kinds.last().context("blobs")?["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
    Ok(())
}

/// The image carries the list of its steps, and an image made of it does not.
pub fn inline(host: &Host) -> Result<()> {
    let all = machines(host)?;
    let (one, other) = (&all.one.docker, &all.other.docker);
    let name = all.registry.image("app:1");
    let file =
        format!("FROM {}\nRUN cat /proc/sys/kernel/random/uuid > /id\nENV A=b\nCMD [\"cat\", \"/id\"]\n", all.base);
    classic(one, &["build", "-t", &name, "--cache-to", "type=inline", "-"], &file)?;
    one.run(&["push", "-q", &name])?;
    for how in ["from the registry", "pulled before"] {
        let argument = "BUILDKIT_INLINE_CACHE=1";
        let words = ["build", "-t", "again", "--build-arg", argument, "--cache-from", &name, "-"];
        let told = classic(other, &words, &file)?;
        nothing_ran(&told).context(how)?;
        assert_eq!(id(one, &name)?, id(other, "again")?, "{how}");
        other.run(&["rmi", "again"])?;
        other.run(&["builder", "prune", "-af"])?;
        other.run(&["pull", "-q", &name])?;
    }
    let child = format!("FROM {name}\nENV C=d\n");
    classic(one, &["build", "-t", "child", "-"], &child)?;
    for (image, lists) in [(name.as_str(), true), ("child", false)] {
        let archive = host.path("image.tar");
        one.run(&["save", "-o", &shown(&archive), image])?;
        let bytes = fs::read(&archive)?;
        let found = bytes.windows(LIST.len()).any(|window| window == LIST);
        assert_eq!(found, lists, "{image}: a child lists nothing of its base");
    }
    Ok(())
}

/// A cache that is not there, is none or lies costs a line, and an export that fails the build.
pub fn broken(host: &Host) -> Result<()> {
    let all = machines(host)?;
    let one = &all.one.docker;
    for source in ["127.0.0.1:9/none", &all.registry.image("none:1"), &all.base] {
        let told = all.build(one, &["--no-cache-filter", "beside", "--cache-from", source])?;
        assert!(told.contains("[Warning] failed to import the cache"), "{source}: {told}");
    }
    for (target, words) in [
        ("type=registry,ref=127.0.0.1:9/none", "127.0.0.1:9"),
        ("type=registry,ref=a,compression=zstd", "compression=zstd of a cache of type registry is not supported"),
        ("type=gha", "unknown cache target"),
        ("type=local,dest=somewhere", "lends no folder for the cache \"somewhere\""),
    ] {
        let base = format!("BASE={}", all.base);
        let ran = try_classic(one, &["build", "--build-arg", &base, "--cache-to", target, &all.folder], "")?;
        assert!(ran.code != 0 && ran.stderr.contains(words), "{target}: {}", ran.stderr);
    }
    all.build(one, &["--cache-to", "type=registry,ref=127.0.0.1:9/none,ignore-error=true"])?;
    Ok(())
}
