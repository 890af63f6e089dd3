//! Builds whose result is more than one manifest: several platforms, and what is said of an image.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhost::{Host, Registry};

use crate::build::{context, shown};
use crate::build_client::{build, try_build};

const FILE: &str = "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY file /file\n";
const BOTH: &str = "linux/amd64,linux/arm64";

/// A document of the registry: `reference` is a tag or a digest.
fn manifest(registry: &Registry, repository: &str, reference: &str) -> Result<Value> {
    let accept = ["index.v1", "manifest.v1"].map(|kind| format!("application/vnd.oci.image.{kind}+json"));
    let address = registry.image("");
    let address = format!("http://{}/v2/{repository}/manifests/{reference}", address.trim_end_matches('/'));
    let output =
        Command::new("curl").args(["-sf", "-H"]).arg(format!("Accept: {}", accept.join(", "))).arg(address).output()?;
    ensure!(output.status.success(), "no manifest {repository}:{reference}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `amd64`, `arm64`: of the index's entries that are images.
fn architectures(index: &Value) -> Vec<&str> {
    let entries = index["manifests"].as_array().into_iter().flatten();
    let found = entries.filter_map(|entry| entry["platform"]["architecture"].as_str());
    found.filter(|architecture| *architecture != "unknown").collect()
}

/// Two platforms in one build: steps are told of each, the index is pushed whole, files have a folder of each.
pub fn platforms(host: &Host) -> Result<()> {
    let registry = host.registry()?;
    let engine = host.engine("e")?;
    let folder = shown(&context(host, "platforms", &[("Dockerfile", FILE), ("file", "text\n")])?);
    let name = registry.image("two:1");
    let told = build(&engine, &["--platform", BOTH, "-t", &name, "--push", "--progress=plain", &folder])?;
    for step in ["[linux/amd64 1/1] COPY file /file", "[linux/arm64 1/1] COPY file /file"] {
        assert!(told.contains(step), "{told}");
    }
    assert_eq!(architectures(&manifest(&registry, "two", "1")?), ["amd64", "arm64"]);
    // Another engine takes the one that it is asked for.
    let other = host.engine("other")?;
    for architecture in ["arm64", "amd64"] {
        other.docker.run(&["pull", "-q", "--platform", &format!("linux/{architecture}"), &name])?;
        let platform = format!("linux/{architecture}");
        let said =
            other.docker.run(&["image", "inspect", "--platform", &platform, "-f", "{{.Config.Labels.arch}}", &name])?;
        assert_eq!(said, architecture);
    }
    let out = host.path("out");
    build(&engine, &["-q", "--platform", BOTH, "-o", &shown(&out), &folder])?;
    for platform in ["linux_amd64", "linux_arm64"] {
        assert_eq!(fs::read_to_string(out.join(platform).join("file"))?, "text\n");
    }
    let archive = host.path("two.tar");
    build(&engine, &["-q", "--platform", BOTH, "-o", &format!("type=oci,dest={}", shown(&archive)), &folder])?;
    other.docker.run(&["rmi", &name])?;
    other.docker.run(&["load", "-q", "-i", &shown(&archive)])?;
    let refused = try_build(&engine, &["--platform", "linux/amd64,moon", &folder])?;
    assert!(refused.stderr.contains("failed to parse target platform moon"), "{}", refused.stderr);
    Ok(())
}

/// Base images of another platform come from their registry; the cache of both goes there and comes back.
pub fn bases(host: &Host) -> Result<()> {
    let registry = host.registry()?;
    let engine = host.engine("e")?;
    let (base, cache) = (registry.image("base:1"), registry.image("cache:1"));
    let folder = shown(&context(host, "base", &[("Dockerfile", FILE), ("file", "base\n")])?);
    build(&engine, &["-q", "--platform", BOTH, "-t", &base, "--push", &folder])?;
    let file = format!("FROM {base}\nARG TARGETPLATFORM\nENV OF=$TARGETPLATFORM\nCOPY file /own\n");
    let folder = shown(&context(host, "on", &[("Dockerfile", &file), ("file", "own\n")])?);
    let words = ["--platform", BOTH, "-t", "on", "--progress=plain"];
    let other = host.engine("other")?;
    let to = format!("type=registry,ref={cache}");
    build(&other, &[&words[..], &["--cache-to", &to, &folder]].concat())?;
    for platform in ["linux/amd64", "linux/arm64"] {
        let words =
            ["image", "inspect", "--platform", platform, "-f", "{{index .Config.Env 1}} {{.Config.Labels.arch}}", "on"];
        let architecture = platform.trim_start_matches("linux/");
        assert_eq!(other.docker.run(&words)?, format!("OF={platform} {architecture}"));
    }
    let third = host.engine("third")?;
    let told = build(&third, &[&words[..], &["--cache-from", &to, &folder]].concat())?;
    assert_eq!(told.matches("CACHED").count(), 2, "the COPY of either platform: {told}");
    Ok(())
}

/// A program that only an emulator could run: the error says what it is for.
pub fn foreign(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let folder = context(host, "foreign", &[("Dockerfile", "FROM scratch\nCOPY sh /bin/sh\nRUN true\n")])?;
    // The head of an ELF file for s390x (elf(5)), which nothing here executes.
    let mut program = vec![0_u8; 4096];
    program[..20].copy_from_slice(b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16");
    fs::write(folder.join("sh"), program)?;
    make_executable(&folder.join("sh"))?;
    let told = try_build(&engine, &["--platform", "linux/s390x", &shown(&folder)])?;
    assert_ne!(told.code, 0);
    for words in ["exec /bin/sh: exec format error", "the step is for linux/s390x", "binfmt_misc"] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    Ok(())
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n";
const SAID: &str = "FROM busybox\nARG SECRET\nCOPY status /var/lib/dpkg/status\n";

/// Provenance and a list of packages beside an image, and beside files; annotations on what they are for.
pub fn attestations(host: &Host) -> Result<()> {
    let registry = host.registry()?;
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let folder = shown(&context(host, "said", &[("Dockerfile", SAID), ("status", STATUS)])?);
    let name = registry.image("said:1");
    let common = ["-q", "--build-arg", "SECRET=hidden", "--sbom=true"];
    let annotated = ["--annotation", "index:i=1", "--annotation", "manifest[linux/amd64]:m=2"];
    let named = ["--provenance=mode=max", "-t", &name, "--push", &folder];
    build(&engine, &[&common[..], &annotated, &named].concat())?;
    let index = manifest(&registry, "said", "1")?;
    assert_eq!(index["annotations"]["i"], "1");
    let [image, about] = &index["manifests"].as_array().context("manifests")?[..] else { panic!("{index}") };
    assert_eq!(about["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(about["annotations"]["vnd.docker.reference.digest"], image["digest"]);
    let by_digest = |entry: &Value| manifest(&registry, "said", entry["digest"].as_str().unwrap_or_default());
    assert_eq!(by_digest(image)?["annotations"]["m"], "2");
    let statements = by_digest(about)?;
    let kinds: Vec<_> =
        statements["layers"].as_array().into_iter().flatten().map(|layer| &layer["annotations"]).collect();
    let kinds: Vec<_> = kinds.iter().filter_map(|all| all["in-toto.io/predicate-type"].as_str()).collect();
    assert_eq!(kinds, ["https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"]);
    // It is an image as any other.
    assert_eq!(docker.run(&["run", "--rm", &name, "cat", "/var/lib/dpkg/status"])?, STATUS.trim_end());

    let out = host.path("out");
    build(&engine, &[&common[..], &["--provenance=mode=min,version=v1", "-o", &shown(&out), &folder]].concat())?;
    let read = |name: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(out.join(name))?)?) };
    let provenance = read("provenance.json")?;
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    let definition = &provenance["predicate"]["buildDefinition"];
    let base = definition["resolvedDependencies"][0]["uri"].as_str().context("a base image")?;
    assert_eq!(base, "pkg:docker/busybox@latest?platform=linux%2Famd64");
    assert!(!provenance.to_string().contains("hidden"), "an argument is told: {provenance}");
    let package = &read("sbom.spdx.json")?["predicate"]["packages"][0];
    assert_eq!((&package["name"], &package["versionInfo"]), (&"bash".into(), &"5.2-1".into()));
    for (words, told) in [
        (["--annotation", "index:a=b"], "index annotations not supported for single platform export"),
        (["--attest", "type=sbom,generator=x"], "the SBOM generator x"),
        (["--attest", "type=moon"], "unknown attestation type"),
    ] {
        let refused = try_build(&engine, &[&["-q"][..], &words, &[&folder]].concat())?;
        assert!(refused.code != 0 && refused.stderr.contains(told), "{words:?}: {}", refused.stderr);
    }
    Ok(())
}

/// A folder as what a stage begins on.
pub fn folders(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let folder = shown(&context(host, "own", &[("Dockerfile", "FROM base\nCOPY file /own\n"), ("file", "own\n")])?);
    let base =
        shown(&context(host, "base", &[("deep/below", "base\n"), ("hidden", ""), (".dockerignore", "hidden\n.*\n")])?);
    let (out, named) = (host.path("out"), format!("base={base}"));
    build(&engine, &["-q", "--build-context", &named, "-o", &shown(&out), &folder])?;
    assert_eq!(fs::read_to_string(out.join("deep/below"))?, "base\n");
    assert_eq!(fs::read_to_string(out.join("own"))?, "own\n");
    assert!(!out.join("hidden").exists());
    let again = build(&engine, &["--progress=plain", "--build-context", &named, &folder])?;
    assert_eq!(again.matches("CACHED").count(), 2, "{again}");
    Ok(())
}

/// An image in a folder of the client's, an OCI layout, as what a stage begins on: for either platform.
pub fn layouts(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let base = shown(&context(host, "base", &[("Dockerfile", FILE), ("file", "base\n")])?);
    let archive = host.path("layout.tar");
    let words =
        ["-q", "--platform", BOTH, "-t", "layout:x", "-o", &format!("type=oci,dest={}", shown(&archive)), &base];
    build(&engine, &words)?;
    let layout = host.path("layout");
    fs::create_dir(&layout)?;
    host.command("tar", &["-C", &shown(&layout), "-xf", &shown(&archive)])?;
    // Another engine has nothing of it.
    let other = host.engine("other")?;
    let file = "FROM base\nARG TARGETARCH\nCOPY own /own\n";
    let folder = shown(&context(host, "on", &[("Dockerfile", file), ("own", "own\n")])?);
    for (number, place) in ["", ":x"].into_iter().enumerate() {
        let out = host.path(&format!("out{number}"));
        let named = format!("base=oci-layout://{}{place}", shown(&layout));
        build(&other, &["-q", "--platform", BOTH, "--build-context", &named, "-o", &shown(&out), &folder])?;
        for platform in ["linux_amd64", "linux_arm64"] {
            assert_eq!(fs::read_to_string(out.join(platform).join("file"))?, "base\n");
            assert_eq!(fs::read_to_string(out.join(platform).join("own"))?, "own\n");
        }
    }
    let named = format!("base=oci-layout://{}:y", shown(&layout));
    let refused = try_build(&other, &["-q", "--build-context", &named, &folder])?;
    assert!(refused.code != 0 && refused.stderr.contains("has no tag y"), "{}", refused.stderr);
    Ok(())
}

/// Keys are lent by an agent of their own, which is gone with the build.
pub fn keys(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = "FROM busybox\nRUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK\n";
    let folder = context(host, "keys", &[("Dockerfile", file), ("nothing", "")])?;
    let key = shown(&host.path("key"));
    host.command("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key])?;
    build(&engine, &["-q", "--ssh", &format!("default={key}"), &shown(&folder)])?;
    let nothing = folder.join("nothing");
    let refused = try_build(&engine, &["-q", "--ssh", &format!("default={}", shown(&nothing)), &shown(&folder)])?;
    assert!(refused.code != 0 && refused.stderr.contains("failed to parse"), "{}", refused.stderr);
    let left = fs::read_dir(std::env::temp_dir())?.flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("docker-build-ssh-")), "{left:?}");
    Ok(())
}
