//! Images out of an engine and into another one: save, load, what other tools make of it, and what is no image at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhost::{Docker, Engine, Host, wait_until};

use crate::clients;

/// A file of a test's own.
pub fn path(host: &Host, name: &str) -> String {
    host.path(name).display().to_string()
}

fn ids(docker: &Docker) -> Result<String> {
    let listed = docker.run(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"])?;
    let mut lines: Vec<&str> = listed.split('\n').collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

pub fn saved_and_loaded(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    for (at, docker) in clients(&engine).iter().enumerate() {
        engine.import_busybox("busybox")?;
        docker.run(&["tag", "busybox", "team/app:2"])?;
        let before = ids(docker)?;
        let (first, second) = (path(host, &format!("first-{at}.tar")), path(host, &format!("second-{at}.tar")));
        docker.run(&["save", "-o", &first, "busybox", "team/app:2"])?;
        docker.run(&["save", "-o", &second, "busybox", "team/app:2"])?;
        assert!(fs::read(&first)? == fs::read(&second)?, "two runs give the same bytes");
        docker.run(&["rmi", "busybox", "team/app:2"])?;
        let loaded = docker.run(&["load", "-i", &first])?;
        assert_eq!(loaded, "Loaded image: busybox:latest\nLoaded image: team/app:2");
        assert_eq!(ids(docker)?, before, "ids are kept");
        docker.run(&["save", "-o", &second, "busybox", "team/app:2"])?;
        assert!(fs::read(&first)? == fs::read(&second)?, "and so are all bytes");
        assert_eq!(docker.run(&["run", "--rm", "team/app:2", "echo", "loaded"])?, "loaded");
        // By its id an image has no name.
        let id = docker.run(&["images", "-q", "--no-trunc", "busybox"])?;
        docker.run(&["save", "-o", &second, &id])?;
        docker.run(&["rmi", "-f", &id])?;
        assert_eq!(docker.run(&["load", "-i", &second])?, format!("Loaded image ID: {id}"));
        docker.run(&["rmi", &id])?;
    }
    for (words, expected) in
        [(&["save", "nothing"][..], "No such image: nothing"), (&["save", "nothing:1"], "reference does not exist")]
    {
        let ran = engine.docker.try_run(words)?;
        assert_eq!(ran.code, 1);
        assert_eq!(ran.stderr.trim(), format!("Error response from daemon: {expected}"));
    }
    Ok(())
}

pub fn two_engines(host: &Host) -> Result<()> {
    let (one, other) = (host.engine("e")?, host.engine("f")?);
    let registry = host.registry()?;
    let image = registry.image("box:1");
    one.import_busybox(&image)?;
    one.docker.run(&["push", &image])?;
    one.docker.run(&["rmi", &image])?;
    let mut archives = Vec::new();
    for (engine, name) in [(&one, "one.tar"), (&other, "other.tar")] {
        engine.docker.run(&["pull", "-q", &image])?;
        engine.docker.run(&["save", "-o", &path(host, name), &image])?;
        archives.push(fs::read(host.path(name))?);
    }
    assert!(archives[0] == archives[1], "two engines save the same image alike");
    // The digest that the registry knows goes through the archive.
    let digest = |docker: &Docker| docker.run(&["image", "inspect", "--format", "{{.Descriptor.Digest}}", &image]);
    let before = digest(&other.docker)?;
    other.docker.run(&["rmi", &image])?;
    other.docker.run(&["load", "-i", &path(host, "one.tar")])?;
    assert_eq!(digest(&other.docker)?, before);
    let pulled = other.docker.run(&["pull", &image])?;
    assert!(pulled.contains("Image is up to date"), "{pulled}");
    Ok(())
}

pub fn compressed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let (plain, id) = (path(host, "plain.tar"), ids(&engine.docker)?);
    engine.docker.run(&["save", "-o", &plain, "busybox"])?;
    for program in ["gzip", "zstd", "bzip2", "xz"] {
        engine.docker.run(&["rmi", "busybox"])?;
        let packed = Command::new(program).args(["-q", "-c", &plain]).output().context(program)?.stdout;
        assert_eq!(engine.docker.run_with(&["load"], &packed)?, "Loaded image: busybox:latest", "{program}");
        assert_eq!(ids(&engine.docker)?, id, "{program}");
        let ran = engine.docker.try_run_with(&["load"], &packed[..packed.len() / 2])?;
        assert_eq!(ran.code, 1, "{program}: {}", ran.stdout);
    }
    Ok(())
}

pub fn other_tools(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox:1")?;
    let id = engine.docker.run(&["images", "-q", "--no-trunc", "busybox:1"])?;
    let (saved, back) = (path(host, "saved.tar"), path(host, "back.tar"));
    engine.docker.run(&["save", "-o", &saved, "busybox:1"])?;
    let skopeo = |from: &str, to: &str| host.command("skopeo", &["copy", "--quiet", "--insecure-policy", from, to]);
    let layout = path(host, "layout");
    skopeo(&format!("docker-archive:{saved}:busybox:1"), &format!("oci:{layout}:x"))?;
    skopeo(&format!("oci-archive:{saved}:1"), &format!("docker-archive:{back}:other:2"))?;
    // What umoci unpacks is what is in the image.
    fs::create_dir(host.path("unpacked"))?;
    host.command("tar", &["-C", &path(host, "unpacked"), "-xf", &saved])?;
    host.command("umoci", &["unpack", "--image", &format!("{}:1", path(host, "unpacked")), &path(host, "bundle")])?;
    assert!(host.path("bundle/rootfs/bin/busybox").exists());
    // umoci makes an image of its own of it, and skopeo's archive comes back as it went.
    host.command("umoci", &["config", "--image", &format!("{layout}:x"), "--config.cmd", "date"])?;
    host.command("tar", &["-C", &layout, "-cf", &path(host, "umoci.tar"), "."])?;
    engine.docker.run(&["rmi", "busybox:1"])?;
    assert_eq!(engine.docker.run(&["load", "-i", &back])?, "Loaded image: other:2");
    assert_eq!(engine.docker.run(&["images", "-q", "--no-trunc", "other:2"])?, id, "the configuration is the same");
    assert_eq!(engine.docker.run(&["run", "--rm", "other:2", "echo", "back"])?, "back");
    let loaded = engine.docker.run(&["load", "-i", &path(host, "umoci.tar")])?;
    let made = loaded.strip_prefix("Loaded image ID: ").context(loaded.clone())?;
    assert_eq!(engine.docker.run(&["image", "inspect", "--format", "{{.Config.Cmd}}", made])?, "[date]");
    Ok(())
}

/// A member of an archive: its path and its content, or where it leads.
pub enum Member<'a> {
    File(&'a str, Vec<u8>),
    Link(&'a str, &'a str),
    /// Without content: what kind it is, its path, and where it leads.
    Other(u8, &'a str, &'a str),
}

/// A tar of the oldest kind (POSIX.1-1988), whatever the names say.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for member in members {
        let (name, link, content, flag) = match member {
            Member::File(name, content) => (*name, "", content.as_slice(), b'0'),
            Member::Link(name, target) => (*name, *target, &[][..], b'2'),
            Member::Other(flag, name, target) => (*name, *target, &[][..], *flag),
        };
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000644\0");
        head[108..116].copy_from_slice(b"0000000\0");
        head[116..124].copy_from_slice(b"0000000\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        head[136..148].copy_from_slice(b"00000000000\0");
        head[156] = flag;
        head[157..157 + link.len()].copy_from_slice(link.as_bytes());
        head[257..265].copy_from_slice(b"ustar\x0000");
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&head);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// An image of one layer, in parts that a test may spoil.
struct Parts {
    layer: Vec<u8>,
    config: Vec<u8>,
}

impl Parts {
    fn new() -> Self {
        let layer = tar(&[Member::File("file", b"content".to_vec())]);
        let config = Self::config_of(&ids::Digest::of(&layer).to_string());
        Self { layer, config }
    }

    fn config_of(diff_id: &str) -> Vec<u8> {
        json!({
            "architecture": "amd64", "os": "linux", "config": {}, "history": [{}],
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        })
        .to_string()
        .into_bytes()
    }

    fn file<'a>(&self, name: &'a str) -> Member<'a> {
        Member::File(name, if name.ends_with(".json") { self.config.clone() } else { self.layer.clone() })
    }
}

fn manifest(layer: &str, tags: &Value) -> Member<'static> {
    let text = json!([{"Config": "c.json", "RepoTags": tags, "Layers": [layer]}]);
    Member::File("manifest.json", text.to_string().into_bytes())
}

pub fn hostile(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let parts = Parts::new();
    let tags = json!(["box:1"]);
    let whole = |name: &str, tags: &Value| vec![parts.file("c.json"), parts.file("l/layer.tar"), manifest(name, tags)];
    let with = |more: Member<'static>, layer: &str| {
        let mut members = whole(layer, &tags);
        members.push(more);
        tar(&members)
    };
    let other = Parts { config: Parts::config_of(&format!("sha256:{}", "0".repeat(64))), layer: parts.layer.clone() };
    let claimed = format!("blobs/sha256/{}", "a".repeat(64));
    let bad: &[(&str, Vec<u8>, &str)] = &[
        ("no archive", b"junk".repeat(500), "archive/tar: "),
        ("nothing", Vec::new(), "unrecognized image format"),
        ("other files", tar(&[parts.file("x")]), "unrecognized image format"),
        ("half", tar(&whole("l/layer.tar", &tags))[..2000].to_vec(), "unexpected EOF"),
        ("no layer", tar(&[parts.file("c.json"), manifest("l/layer.tar", &tags)]), "missing from the archive"),
        (
            "no configuration",
            tar(&[parts.file("l/layer.tar"), manifest("l/layer.tar", &tags)]),
            "missing from the archive",
        ),
        (
            "another layer",
            tar(&[other.file("c.json"), other.file("l/layer.tar"), manifest("l/layer.tar", &tags)]),
            "wrong diff id",
        ),
        (
            "a name upwards",
            with(Member::File("../../evil", b"x".to_vec()), "l/layer.tar"),
            "invalid path \"../../evil\"",
        ),
        ("a link out", with(Member::Link("m", "../../../etc/passwd"), "m"), "invalid path"),
        ("a link to the host", with(Member::Link("m", "/etc/passwd"), "m"), "\"m\" is missing from the archive"),
        ("a link to itself", with(Member::Link("m", "m"), "m"), "\"m\" is missing from the archive"),
        ("a name that is none", tar(&whole("l/layer.tar", &json!(["BOX:1"]))), "invalid tag \"BOX:1\""),
        ("a long manifest", tar(&[Member::File("manifest.json", vec![b' '; 5 << 20])]), "larger than 4194304 bytes"),
        ("a false digest", tar(&[Member::File(&claimed, b"x".to_vec())]), "verification failed for digest sha256:aaa"),
    ];
    for (what, archive, expected) in bad {
        let ran = engine.docker.try_run_with(&["load"], archive)?;
        assert_eq!(ran.code, 1, "{what}: {}", ran.stdout);
        assert!(ran.stderr.contains(expected), "{what}: {}", ran.stderr);
        assert_eq!(ran.stderr.trim().lines().count(), 1, "{what}: {}", ran.stderr);
        assert_eq!(engine.docker.run(&["images", "-aq"])?, "", "{what}");
    }
    empty(&engine)?;
    // Through a link inside the archive, as older Dockers wrote layers that images share.
    let linked = with(Member::Link("m", "l/layer.tar"), "m");
    assert_eq!(engine.docker.run_with(&["load"], &linked)?, "Loaded image: box:1");
    Ok(())
}

/// Waits until neither image nor blob nor layer is left.
fn empty(engine: &Engine) -> Result<()> {
    let store = engine.data_root().join("containerd");
    let places = [
        store.join("io.containerd.content.v1.content/ingest"),
        store.join("io.containerd.content.v1.content/blobs/sha256"),
        store.join("io.containerd.snapshotter.v1.overlayfs/snapshots"),
    ];
    let mut left = Vec::new();
    let emptied = wait_until("an empty store", || {
        left = places.iter().flat_map(|place| entries(place)).collect();
        left.is_empty().then_some(())
    });
    emptied.with_context(|| format!("{left:?} is left"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

pub fn killed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let saved = path(host, "saved.tar");
    engine.docker.run(&["save", "-o", &saved, "busybox"])?;
    engine.docker.run(&["rmi", "busybox"])?;
    let archive = fs::read(&saved)?;
    for victim in ["dockerd", "docker-containerd"] {
        empty(&engine)?;
        let mut loading = engine.docker.start(&["load"])?;
        // Half of it is there when the daemon dies.
        loading.write(&archive[..archive.len() / 2])?;
        let ingest = engine.data_root().join("containerd/io.containerd.content.v1.content/ingest");
        wait_until("a half-stored layer", || (!entries(&ingest).is_empty()).then_some(()))?;
        if victim == "dockerd" {
            engine.kill_dockerd()?;
            engine.start_again()?;
        } else {
            engine.kill_containerd()?;
        }
        let _ = loading.write_and_close(&archive[archive.len() / 2..]);
        assert_ne!(loading.wait()?.code, 0, "{victim}");
        let listed = wait_until("an answer", || engine.docker.run(&["images", "-aq"]).ok())?;
        assert_eq!(listed, "", "{victim}");
        assert_eq!(engine.docker.run(&["load", "-i", &saved])?, "Loaded image: busybox:latest", "{victim}");
        assert_eq!(engine.docker.run(&["run", "--rm", "busybox", "echo", "whole"])?, "whole");
        engine.docker.run(&["rmi", "busybox"])?;
    }
    // What the one that is left knows of nothing is let go of at the next start.
    engine.kill_dockerd()?;
    engine.start_again()?;
    empty(&engine)
}

pub fn pruned(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    for docker in clients(&engine) {
        engine.import_busybox("used")?;
        let noise: Vec<u8> = (0_u32..500_000).flat_map(u32::to_le_bytes).collect();
        engine.docker.run_with(&["import", "-", "unused"], &tar(&[Member::File("noise", noise)]))?;
        // The second one takes the first one's name.
        docker.run(&["tag", "unused", "moved"])?;
        docker.run(&["tag", "used", "moved"])?;
        docker.run(&["run", "-d", "--name", "user", "used", "sleep", "1000"])?;
        let nameless = engine.docker.run_with(&["import", "--change", "LABEL keep=1", "-"], &tar(&[]))?;
        let kept = docker.run(&["image", "prune", "-f", "--filter", "label!=keep"])?;
        assert_eq!(kept, "Total reclaimed space: 0B", "what has the label stays");
        let removed = docker.run(&["image", "prune", "-f"])?;
        assert!(removed.starts_with(&format!("Deleted Images:\ndeleted: {nameless}\n")), "{removed}");
        assert!(docker.run(&["image", "prune", "-f", "-a", "--filter", "until=1h"])?.ends_with("space: 0B"));
        let removed = docker.run(&["image", "prune", "-f", "-a"])?;
        assert!(removed.contains("untagged: unused:latest\ndeleted: sha256:"), "{removed}");
        assert!(removed.contains("MB") && !removed.contains("untagged: used"), "{removed}");
        let listed = docker.run(&["images", "--format", "{{.Repository}}"])?;
        assert_eq!(listed.split('\n').collect::<std::collections::BTreeSet<_>>(), ["moved", "used"].into());
        let ran = docker.try_run(&["image", "prune", "-f", "--filter", "nonsense=1"])?;
        assert!(ran.stderr.contains("invalid filter 'nonsense'"), "{}", ran.stderr);
        docker.run(&["rm", "-f", "user"])?;
        docker.run(&["image", "prune", "-f", "-a"])?;
        empty(&engine)?;
    }
    Ok(())
}

pub fn measured(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    // Three megabytes, so that what every store has does not count.
    let noise: Vec<u8> = (0_u64..400_000).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let archive = tar(&[Member::File("noise", noise)]);
    engine.docker.run_with(&["import", "-", "noise"], &archive)?;
    engine.import_busybox("busybox")?;
    let reply = engine.request("GET", "/v1.51/system/df?type=image", b"")?;
    let told: Value = serde_json::from_str(&reply.body)?;
    let told = told["LayersSize"].as_f64().context("LayersSize")?;
    let store = engine.data_root().join("containerd");
    let folders = ["io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs"];
    let mut found = 0.0;
    for folder in folders {
        let du = host.command("du", &["-sB1", &store.join(folder).display().to_string()])?;
        found += du.split_whitespace().next().context("du")?.parse::<f64>()?;
    }
    ensure!((told - found).abs() < found * 0.01, "{told} told, {found} found by du");
    Ok(())
}

pub fn mirrored(host: &Host) -> Result<()> {
    let registry = host.registry()?;
    // The mirror that is not there is passed over.
    let engine = host
        .engine_with("e", &["--registry-mirror", "http://127.0.0.1:9", "--registry-mirror", "http://127.0.0.1:5000"])?;
    let image = registry.image("library/box:1");
    engine.import_busybox(&image)?;
    engine.docker.run(&["push", &image])?;
    engine.docker.run(&["rmi", &image])?;
    let pulled = engine.docker.run(&["pull", "box:1"])?;
    assert!(pulled.ends_with("Status: Downloaded newer image for box:1\ndocker.io/library/box:1"), "{pulled}");
    assert_eq!(engine.docker.run(&["run", "--rm", "box:1", "echo", "mirrored"])?, "mirrored");
    let info = engine.docker.run(&["info", "--format", "{{.RegistryConfig.Mirrors}}"])?;
    assert!(info.contains("http://127.0.0.1:5000"), "{info}");
    Ok(())
}

pub fn platforms(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    for (docker, insecure) in clients(&engine).iter().zip([&[][..], &["--insecure"]]) {
        let (list, here, there) = (registry.image("app:1"), registry.image("app:here"), registry.image("parts:there"));
        engine.import_busybox(&here)?;
        engine.docker.run_with(&["import", "--platform", "linux/arm64", "-", &there], &tar(&[]))?;
        for image in [&here, &there] {
            engine.docker.run(&["push", "-q", image])?;
            engine.docker.run(&["rmi", image])?;
        }
        let manifest =
            |words: &[&str], more: &[&str]| docker.run(&[&["manifest", words[0]], more, &words[1..]].concat());
        let created = manifest(&["create", &list, &here, &there], insecure)?;
        assert_eq!(created, format!("Created manifest list {list}"));
        manifest(&["annotate", &list, &there, "--variant", "v8"], &[])?;
        let pushed = manifest(&["push", "--purge", &list], insecure)?;
        assert!(pushed.lines().last().is_some_and(|line| line.starts_with("sha256:")), "{pushed}");
        let inspected: Value = serde_json::from_str(&manifest(&["inspect", &list], insecure)?)?;
        assert_eq!(
            inspected["manifests"][1]["platform"],
            json!({"architecture": "arm64", "os": "linux", "variant": "v8"})
        );
        // The engine takes what fits, and knows of the rest.
        docker.run(&["pull", "-q", &list])?;
        assert_eq!(docker.run(&["run", "--rm", &list, "echo", "fits"])?, "fits");
        let asked = engine.request("GET", &format!("/v1.51/images/{list}/json?manifests=1"), b"")?;
        let asked: Value = serde_json::from_str(&asked.body)?;
        let available: Vec<_> =
            asked["Manifests"].as_array().into_iter().flatten().map(|m| m["Available"].clone()).collect();
        assert_eq!(available, [json!(true), json!(false)]);
        let tree = docker.run(&["image", "ls", "--tree"])?;
        assert!(tree.contains("linux/amd64") && tree.contains("linux/arm64/v8"), "{tree}");
        let ran = docker.try_run(&["save", "--platform", "linux/arm64/v8", "-o", &path(host, "x.tar"), &list])?;
        assert!(ran.stderr.contains("does not provide the specified platform (linux/arm64)"), "{}", ran.stderr);
        docker.run(&["rmi", &list])?;
        let shown = engine.docker.run(&["buildx", "imagetools", "inspect", &list])?;
        for word in ["Manifests:", "MediaType: application/vnd.oci.image.index.v1+json", "linux/arm64/v8", &list] {
            assert!(shown.contains(word), "{word} in {shown}");
        }
        let remote = engine.request("GET", &format!("/v1.51/distribution/{list}/json"), b"")?;
        let remote: Value = serde_json::from_str(&remote.body)?;
        assert_eq!(remote["Platforms"].as_array().map(Vec::len), Some(2));
        let ran = docker.try_run(&["search", &registry.image("app")])?;
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("offers no search: Unexpected status code 404"), "{}", ran.stderr);
    }
    Ok(())
}

pub fn from_a_url(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let folder = host.path("served");
    fs::create_dir(&folder)?;
    fs::write(folder.join("root.tar"), tar(&[Member::File("file", b"content".to_vec())]))?;
    let mut server = Command::new("/bin/busybox");
    server.args(["httpd", "-f", "-p", "127.0.0.1:8099", "-h"]).arg(&folder);
    host.spawn("httpd", &mut server)?;
    wait_until("httpd", || std::net::TcpStream::connect("127.0.0.1:8099").ok())?;
    for docker in clients(&engine) {
        let told = docker.run(&["import", "http://127.0.0.1:8099/root.tar", "fetched"])?;
        assert!(told.starts_with("Downloading from http://127.0.0.1:8099/root.tar\n"), "{told}");
        let comment = docker.run(&["history", "--format", "{{.Comment}}", "fetched"])?;
        assert_eq!(comment, "Imported from http://127.0.0.1:8099/root.tar");
        let ran = docker.try_run(&["import", "http://127.0.0.1:8099/nothing"])?;
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("404"), "{}", ran.stderr);
        docker.run(&["rmi", "fetched"])?;
    }
    Ok(())
}
