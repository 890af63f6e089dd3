//! What a registry or a caller may send that is broken, too large or not there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testhost::{Engine, Host, raw_request};

pub fn broken_images(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let image = registry.image("box:1");
    engine.import_busybox(&image)?;
    engine.docker.run(&["push", &image])?;
    let inspected = engine.docker.run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &image])?;
    let manifest = blob(host, inspected.split('@').nth(1).context("digest")?);
    let layers: serde_json::Value = serde_json::from_slice(&fs::read(&manifest)?)?;
    let layer = blob(host, layers["layers"][0]["digest"].as_str().context("layer")?);
    engine.docker.run(&["rmi", &image])?;

    let whole = fs::read(&layer)?;
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&layer, &changed)?;
    refuse(&engine, &image, "a changed layer")?;
    fs::write(&layer, &whole[..middle])?;
    refuse(&engine, &image, "a shortened layer")?;
    fs::write(&layer, &whole)?;

    let good = fs::read(&manifest)?;
    for (broken, what) in [(&b"{\"schemaVersion\":2"[..], "half a manifest"), (b"[]", "no manifest")] {
        fs::write(&manifest, broken)?;
        refuse(&engine, &image, what)?;
    }
    fs::write(&manifest, good)?;
    // What is whole again comes as if nothing had been.
    engine.docker.run(&["pull", &image])?;
    assert_eq!(engine.docker.run(&["run", "--rm", &image, "echo", "whole"])?, "whole");
    Ok(())
}

/// Fails with a word, and no image, blob or snapshot stays.
fn refuse(engine: &Engine, image: &str, what: &str) -> Result<()> {
    let ran = engine.docker.try_run(&["pull", image])?;
    assert_eq!(ran.code, 1, "{what}: {}", ran.stdout);
    assert!(!ran.stderr.trim().is_empty(), "{what}");
    assert_eq!(engine.docker.run(&["images", "-aq"])?, "", "{what}");
    let store = engine.data_root().join("containerd");
    let places = [
        store.join("io.containerd.content.v1.content/ingest"),
        store.join("io.containerd.content.v1.content/blobs/sha256"),
        store.join("io.containerd.snapshotter.v1.overlayfs/snapshots"),
    ];
    let mut left = Vec::new();
    let emptied = testhost::wait_until("an empty store", || {
        left = places.iter().flat_map(|place| entries(place)).collect();
        left.is_empty().then_some(())
    });
    emptied.with_context(|| format!("{what} leaves {left:?}"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// A blob's file in the registry's storage.
fn blob(host: &Host, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    host.path("registry").join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

pub fn requests(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let ask = |method: &str, path: &str, body: &[u8]| engine.request(method, path, body);
    for path in ["/v1.51/nothing", "/nothing", "/v1.51/containers/a/b/c", "/v1.51/"] {
        let reply = ask("GET", path, b"")?;
        assert_eq!((reply.status, reply.message().as_str()), (404, "page not found"), "{path}");
    }
    let reply = ask("GET", "/v1.99/info", b"")?;
    let message = "client version 1.99 is too new. Maximum supported API version is 1.51";
    assert_eq!((reply.status, reply.message().as_str()), (400, message));
    let reply = ask("GET", "/v1.10/info", b"")?;
    let message = "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
    assert_eq!((reply.status, reply.message().as_str()), (400, message));

    let create = "/v1.51/containers/create";
    for body in [&b"{"[..], b"[]", b"{\"Image\":7}", b"{} {}", b"\xff\xfe"] {
        let reply = ask("POST", create, body)?;
        assert_eq!(reply.status, 400, "{body:?}: {}", reply.body);
        assert!(!reply.message().is_empty());
    }
    let deep = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
    assert_eq!(ask("POST", create, &deep)?.status, 400, "a million brackets");
    let huge = [b"{\"Image\":\"".as_slice(), &vec![b'x'; 64 << 20], b"\"}"].concat();
    let reply = ask("POST", create, &huge)?;
    assert!(matches!(reply.status, 400 | 413), "64 MB: {}", reply.status);
    let reply = ask("POST", create, b"{\"Image\":\"UPPER/case:!\"}")?;
    assert_eq!(reply.status, 400, "{}", reply.body);
    let reply = ask("POST", create, b"{\"Image\":\"none\"}")?;
    assert_eq!((reply.status, reply.message().as_str()), (404, "No such image: none:latest"));
    let reply = ask("POST", "/v1.51/containers/none/start", b"")?;
    assert_eq!((reply.status, reply.message().as_str()), (404, "No such container: none"));
    let reply = ask("GET", "/v1.51/containers/..%2f..%2fetc/json", b"")?;
    assert_eq!(reply.status, 404, "{}", reply.body);
    let reply = ask("GET", "/v1.51/containers/json?filters=nonsense", b"")?;
    assert_eq!(reply.status, 400, "{}", reply.body);

    let long = format!("GET /{} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", "x".repeat(1 << 20));
    let reply = raw_request(&engine.socket(), long.as_bytes())?;
    assert!((400..500).contains(&reply.status), "a megabyte of path: {}", reply.status);
    assert_eq!(ask("GET", "/_ping", b"")?.body, "OK", "and the engine goes on");
    Ok(())
}
