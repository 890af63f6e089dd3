//! What a hostile registry sends: each gets one clear error, bounded memory, and leaves the store as it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ids::Digest;
use serde_json::json;
use testhost::{Engine, Host, wait_until};

use crate::hostile_registry::{HostileRegistry, Image, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Served, Site};
use crate::images_archives::{Member, tar};

const ADDRESS: &str = "127.0.0.1:5077";
/// Peak of a daemon's memory, whatever it was sent.
const MAX_PEAK_KB: u64 = 64 << 10;

/// What is sent, and what its error says.
struct Row {
    what: &'static str,
    site: Site,
    says: String,
}

fn row(what: &'static str, site: Site, says: impl Into<String>) -> Row {
    Row { what, site, says: says.into() }
}

fn layer(text: &str) -> Vec<u8> {
    tar(&[Member::File("file", text.as_bytes().to_vec())])
}

fn good() -> Image {
    Image::of("box", &[layer("one"), layer("two")])
}

/// A whole image with something else at this path.
fn spoiled(path: impl FnOnce(&Image) -> String, served: Served) -> Site {
    let image = good();
    let path = format!("/v2/box/{}", path(&image));
    let mut site = image.finish();
    site.insert(path, served);
    site
}

fn tagged(kind: &'static str, bytes: impl Into<Vec<u8>>) -> Site {
    let mut image = good();
    image.tag(kind, bytes.into());
    image.site
}

pub fn refused(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = HostileRegistry::start(ADDRESS)?;
    engine.import_busybox("kept")?;
    let kept = Store::of(&engine);
    let rows = [blobs(), manifests(), indexes(), layers(), servers()].into_iter().flatten();
    let mut wrong = Vec::new();
    for row in rows {
        if let Err(error) = is_refused(&engine, &registry, &kept, &row) {
            eprintln!("{}: {error:#}", row.what);
            wrong.push(row.what);
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join(", "));
    ensure!(engine.docker.run(&["run", "--rm", "kept", "echo", "whole"])? == "whole");
    for pid in [engine.dockerd_pid(), engine.containerd_pid()?] {
        let peak = peak_kb(pid)?;
        ensure!(peak < MAX_PEAK_KB, "{peak} kB at its peak: {}", fs::read_to_string(format!("/proc/{pid}/comm"))?);
    }
    // What looks odd and is right.
    for (what, site) in odd() {
        registry.show(site);
        engine.docker.run(&["pull", "-q", &format!("{ADDRESS}/box:1")]).context(what)?;
        engine.docker.run(&["rmi", &format!("{ADDRESS}/box:1")])?;
        kept.is_as_it_was(&engine).context(what)?;
    }
    ensure!(!Path::new("/tmp/longshore-escaped").exists());
    Ok(())
}

fn is_refused(engine: &Engine, registry: &HostileRegistry, kept: &Store, row: &Row) -> Result<()> {
    registry.show(row.site.clone());
    let ran = engine.docker.try_run(&["pull", &format!("{ADDRESS}/box:1")])?;
    ensure!(ran.code == 1, "{}\n{}", ran.stdout, ran.stderr);
    let said = ran.stderr.trim();
    ensure!(said.contains(&row.says), "{:?} is not in {said:?}", row.says);
    ensure!(said.lines().count() == 1 && said.len() < 1000, "{said}");
    ensure!(!said.chars().any(char::is_control), "{said:?}");
    ensure!(registry.asked().len() < 60, "asked {} times", registry.asked().len());
    kept.is_as_it_was(engine)
}

/// `VmHWM` of a process.
pub fn peak_kb(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The files of an engine's image store.
pub struct Store(Vec<PathBuf>);

impl Store {
    pub fn of(engine: &Engine) -> Self {
        let store = engine.data_root().join("containerd");
        let places = [
            store.join("io.containerd.content.v1.content/ingest"),
            store.join("io.containerd.content.v1.content/blobs/sha256"),
            store.join("io.containerd.snapshotter.v1.overlayfs/snapshots"),
        ];
        let entries = |place: PathBuf| fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = places.into_iter().flat_map(entries).collect();
        files.sort();
        Self(files)
    }

    /// What was let go of is gone a moment later.
    pub fn is_as_it_was(&self, engine: &Engine) -> Result<()> {
        let mut now = Self(Vec::new());
        let same = wait_until("the store as it was", || {
            now = Self::of(engine);
            (now.0 == self.0).then_some(())
        });
        let left: Vec<&PathBuf> = now.0.iter().filter(|file| !self.0.contains(file)).collect();
        same.with_context(|| format!("left: {left:?}; {} files before, {} now", self.0.len(), now.0.len()))
    }
}

fn blobs() -> Vec<Row> {
    let first = |image: &Image| image.layer_path(0);
    let digest = Digest::of(layer("one"));
    let octets = "application/octet-stream";
    let other = layer("ONE");
    let size = layer("one").len();
    let sized = |size: serde_json::Value| {
        let mut image = good();
        image.manifest["layers"][0]["size"] = size;
        image.finish()
    };
    let config = |served: fn(Vec<u8>) -> Served| {
        let image = good();
        let bytes = image.config.to_string().into_bytes();
        let path = format!("blobs/{}", Digest::of(&bytes));
        let mut site = image.finish();
        site.insert(format!("/v2/box/{path}"), served(bytes));
        site
    };
    vec![
        row(
            "a layer with other bytes",
            spoiled(first, Served::Body(octets, other)),
            format!("filesystem layer verification failed for digest {digest}"),
        ),
        row(
            "a layer that is too short",
            spoiled(first, Served::Body(octets, layer("one")[..700].to_vec())),
            "unexpected EOF",
        ),
        row(
            "a layer that is too long",
            spoiled(first, Served::Body(octets, layer("one").repeat(2))),
            "blob is larger than",
        ),
        row("a layer that never ends", spoiled(first, Served::Endless(octets)), "blob is larger than"),
        row("no layer", spoiled(first, Served::Answer(404, String::new(), String::new())), "404"),
        row(
            "a page in a layer's place",
            spoiled(first, Served::Body("text/html", vec![b'<'; size])),
            "verification failed",
        ),
        row("a layer of another size", sized(json!(size - 1)), "blob is larger than"),
        row("a layer of a negative size", sized(json!(-1)), "invalid manifest"),
        row("a layer of a size beyond all", sized(json!(u64::MAX)), "EOF"),
        row(
            "a configuration with other bytes",
            config(|bytes| Served::Body("", bytes.to_ascii_uppercase())),
            "image config verification failed for digest sha256:",
        ),
        row("a configuration that never ends", config(|_| Served::Endless("")), "blob is larger than"),
        row("half a configuration", config(Served::Half), "EOF"),
    ]
}

fn manifests() -> Vec<Row> {
    let with = |change: fn(&mut Image)| {
        let mut image = good();
        change(&mut image);
        image.finish()
    };
    let mut of_digest = good();
    let claimed = Digest::of("x");
    of_digest.put("manifests/1", Served::Answer(200, format!("Docker-Content-Digest: {claimed}"), "{}".into()));
    of_digest.put(&format!("manifests/{claimed}"), Served::Body(OCI_MANIFEST, b"{}".to_vec()));
    vec![
        row(
            "a page for a manifest",
            tagged("text/html", "<html>"),
            "unsupported manifest media type and no default available: text/html",
        ),
        row("a page that says it is a manifest", tagged(OCI_MANIFEST, "<html>"), "invalid manifest"),
        row("half a manifest", tagged(OCI_MANIFEST, "{\"schemaVersion\":2"), "invalid manifest"),
        row(
            "a manifest that never ends",
            spoiled(|_| "manifests/1".into(), Served::Endless(OCI_MANIFEST)),
            "manifest is larger than 4194304 bytes",
        ),
        row("a manifest of 5 MB", tagged(OCI_MANIFEST, vec![b' '; 5 << 20]), "manifest is larger than 4194304 bytes"),
        row("a manifest that is not its digest's", of_digest.site, "verification failed for digest"),
        row("a manifest of a million brackets", tagged(OCI_MANIFEST, vec![b'['; 1 << 20]), "invalid manifest"),
        row(
            "schema 1",
            tagged("application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1,"fsLayers":[]}"#),
            "schema 1 support has been removed",
        ),
        row("schema 3", with(|image| image.manifest["schemaVersion"] = json!(3)), "unsupported schema version 3"),
        row("a manifest with two readings", with(|image| image.manifest["manifests"] = json!([])), "invalid manifest"),
        row(
            "another manifest's media type",
            with(|image| image.manifest["mediaType"] = json!(OCI_INDEX)),
            "invalid manifest",
        ),
        row(
            "layers of an unknown type",
            with(|image| image.manifest["layers"][0]["mediaType"] = json!("text/x-\u{1b}[2J")),
            "unsupported manifest media type",
        ),
        row(
            "a chart in an image's place",
            with(|image| {
                let chart = image.blob("application/vnd.cncf.helm.config.v1+json", b"{\"name\":\"chart\"}".to_vec());
                image.manifest["config"] = chart;
            }),
            "Encountered remote \"application/vnd.cncf.helm.config.v1+json\"(unknown) when fetching",
        ),
        row(
            "a digest that is none",
            with(|image| image.manifest["layers"][0]["digest"] = json!("sha256:../../x")),
            "invalid manifest",
        ),
        row(
            "a digest of another algorithm",
            with(|image| image.manifest["layers"][0]["digest"] = json!("md5:00")),
            "invalid manifest",
        ),
        row(
            "more layers than the configuration knows",
            with(|image| {
                let again = image.manifest["layers"][0].clone();
                if let Some(layers) = image.manifest["layers"].as_array_mut() {
                    layers.push(again);
                }
            }),
            "number of layers and diffIDs don't match: 3 != 2",
        ),
        row(
            "ten thousand layers",
            with(|image| {
                let first = image.manifest["layers"][0].clone();
                let id = image.config["rootfs"]["diff_ids"][0].clone();
                image.manifest["layers"] = json!(vec![first; 10_000]);
                image.config["rootfs"]["diff_ids"] = json!(vec![id; 10_000]);
            }),
            "invalid image config",
        ),
        row("a configuration that is none", with(|image| image.config = json!(["x"])), "invalid image config"),
        row(
            "a configuration with control characters",
            with(|image| image.config["os"] = json!("\u{1b}[2Jlinux")),
            "operating system",
        ),
        row(
            "layers that are not the configuration's",
            with(|image| {
                image.config["rootfs"]["diff_ids"][0] = json!(Digest::of("another").to_string());
            }),
            "wrong diff id calculated on extraction",
        ),
    ]
}

fn indexes() -> Vec<Row> {
    let platform =
        json!({"os": "linux", "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }});
    let index = |entry: &serde_json::Value| {
        let mut entry = entry.clone();
        entry["platform"] = platform.clone();
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string().into_bytes()
    };
    // No index can name its own digest: it names one under which the registry gives it again.
    let mut cyclic = good();
    let claimed = Digest::of("claimed");
    let bytes = index(&json!({"mediaType": OCI_INDEX, "digest": claimed.to_string(), "size": 300}));
    cyclic.put(&format!("manifests/{claimed}"), Served::Body(OCI_INDEX, bytes.clone()));
    cyclic.tag(OCI_INDEX, bytes);
    let mut deep = good();
    let mut entry = deep.document(OCI_MANIFEST, b"{}".to_vec());
    for _ in 0..50 {
        let bytes = index(&entry);
        deep.put("manifests/1", Served::Body(OCI_INDEX, bytes.clone()));
        entry = deep.document(OCI_INDEX, bytes);
    }
    let mut missing = good();
    missing.tag(
        OCI_INDEX,
        index(&json!({"mediaType": OCI_MANIFEST, "digest": Digest::of("none").to_string(), "size": 9})),
    );
    let mut foreign = good();
    let elsewhere = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": Digest::of("x").to_string(), "size": 1, "platform": {"os": "windows", "architecture": "amd64"}},
    ]});
    foreign.tag(OCI_INDEX, elsewhere.to_string().into_bytes());
    vec![
        row("an index that contains itself", cyclic.site, format!("verification failed for digest {claimed}")),
        row("indexes within indexes", deep.site, "too many indexes within indexes"),
        row("an index of what is not there", missing.site, "not found"),
        row("an index without this platform", foreign.site, "no matching manifest for linux/"),
    ]
}

fn layers() -> Vec<Row> {
    let of = |archive: Vec<u8>| Image::of("box", &[archive]).finish();
    let packed = |bytes: Vec<u8>, kind: &str| {
        let mut image = good();
        image.manifest["layers"][0] = image.blob(kind, bytes);
        image.finish()
    };
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let mut long = tar(&[Member::Other(b'L', "././@LongLink", "")]);
    // The size of the name that follows: eight gigabytes.
    long[124..136].copy_from_slice(b"77777777777\0");
    long[148..156].fill(b' ');
    let sum: u32 = long[..512].iter().map(|byte| u32::from(*byte)).sum();
    long[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    vec![
        row("a layer that is no archive", of(b"junk".repeat(500)), "archive/tar"),
        row("a layer of an unknown compression", packed(b"\x04\x22\x4d\x18lz4".repeat(200), gzip), "archive/tar"),
        row(
            "a gzip layer that is none",
            packed(b"\x1f\x8b\x08\0\0\0\0\0\0\0junk".repeat(100), gzip),
            "cannot read the archive",
        ),
        row(
            "a zstd layer that is none",
            packed(b"\x28\xb5\x2f\xfdjunkjunk".repeat(100), "application/vnd.oci.image.layer.v1.tar+zstd"),
            "cannot read the archive",
        ),
        row("half an archive", of(layer("one")[..514].to_vec()), "unexpected EOF"),
        row(
            "a path upwards",
            of(tar(&[Member::File("../../../../tmp/longshore-escaped", b"x".to_vec())])),
            "invalid path",
        ),
        row("a hard link out", of(tar(&[Member::Other(b'1', "passwd", "../../../../etc/passwd")])), "invalid path"),
        row("a hard link to nothing", of(tar(&[Member::Other(b'1', "a", "b")])), "cannot link"),
        row(
            "a path upwards with an escape sequence",
            of(tar(&[Member::File("../\x1b[2J", b"x".to_vec())])),
            "invalid path",
        ),
        row("a whiteout of the root", of(tar(&[Member::File(".wh...", Vec::new())])), "invalid path"),
        row("an entry of an unknown kind", of(tar(&[Member::Other(b'Q', "a", "")])), "unhandled tar header type"),
        row("a name of gigabytes", of(long), "archive/tar"),
    ]
}

fn servers() -> Vec<Row> {
    let at = |path: &str, status: u16, head: &str, body: &str| {
        let mut image = good();
        image.put(path, Served::Answer(status, head.to_owned(), body.to_owned()));
        image
    };
    let lost = at("manifests/1", 302, "Location: /v2/box/manifests/1", "").site;
    let elsewhere = at("manifests/1", 302, "Location: file:///etc/passwd", "").site;
    let nowhere = at("manifests/1", 302, "", "").site;
    let basic = at("manifests/1", 401, "WWW-Authenticate: Basic realm=\"x\"", "").site;
    let bearer = |token: Served| {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{ADDRESS}/token\",service=\"s\"");
        let mut site =
            at("manifests/1", 401, &challenge, r#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#).site;
        site.insert("/token".to_owned(), token);
        site
    };
    let token = |text: &str| Served::Answer(200, String::new(), text.to_owned());
    let denied = r#"{"errors":[{"code":"DENIED","message":"\u001b]0;owned\u0007 no\nStatus: Downloaded"}]}"#;
    vec![
        row("redirects in a ring", lost, "stopped after 10 redirects"),
        row("a redirect to a file", elsewhere, "invalid location"),
        row("a redirect without a place", nowhere, "no location"),
        row("basic authentication without end", basic, "no basic auth credentials"),
        row("tokens without end", bearer(token(r#"{"token":"t"}"#)), "unauthorized: no"),
        row("no token", bearer(token("{}")), "authorization server did not include a token in the response"),
        row("a page for a token", bearer(token("<html>")), "unable to decode token response"),
        row("a token that never ends", bearer(Served::Endless("")), "token is larger than 1048576 bytes"),
        row("a token with line ends", bearer(token(r#"{"token":"a\r\nHost: evil"}"#)), "control characters"),
        row(
            "a refusal with control characters",
            at("manifests/1", 403, "", denied).site,
            r"\x1b]0;owned\x07 no\nStatus: Downloaded",
        ),
        row(
            "a refusal that never ends",
            spoiled(|_| "manifests/1".into(), Served::Answer(500, "X: y".into(), "x".repeat(1 << 20))),
            "500",
        ),
    ]
}

/// Pulled, whatever it looks like.
fn odd() -> Vec<(&'static str, Site)> {
    let twice = Image::of("box", &[layer("one"), layer("one"), layer("two"), layer("one")]);
    let inside = [
        Member::Other(b'5', "tmp", ""),
        Member::Link("out", "/tmp"),
        Member::File("out/longshore-escaped", b"x".to_vec()),
        Member::Link("up", "../../../../../../tmp"),
        Member::File("up/longshore-escaped", b"x".to_vec()),
        Member::File("a name with \x1b[2J", b"x".to_vec()),
    ];
    let mut plain = good();
    plain.manifest["layers"][0]["mediaType"] = json!(format!("{OCI_LAYER}+gzip"));
    vec![
        ("one layer several times", twice.finish()),
        ("links that lead out", Image::of("box", &[tar(&inside)]).finish()),
        ("a plain layer that says it is packed", plain.finish()),
        ("an image without layers", Image::of("box", &[]).finish()),
    ]
}
