//! A busybox image, by hand: an OCI layout that skopeo pushes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use ids::Digest;
use serde_json::json;
use testhost::{Host, Registry, busybox_archive};

/// Makes the image and pushes it; answers its name.
pub fn push(host: &Host, registry: &Registry) -> Result<String> {
    let layout = layout(host)?;
    let name = registry.image("busybox:latest");
    let source = format!("oci:{}:latest", layout.display());
    host.command("skopeo", &["copy", "-q", "--dest-tls-verify=false", &source, &format!("docker://{name}")])?;
    Ok(name)
}

/// The image as an archive that `ctr images import` reads.
pub fn archive(host: &Host) -> Result<std::path::PathBuf> {
    let layout = layout(host)?;
    let file = host.path("image.tar");
    host.command("tar", &["-C", &layout.to_string_lossy(), "-cf", &file.to_string_lossy(), "."])?;
    Ok(file)
}

/// A folder with the image, tagged `latest`.
pub fn layout(host: &Host) -> Result<std::path::PathBuf> {
    let layout = host.path("layout");
    if layout.exists() {
        return Ok(layout);
    }
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let plain = busybox_archive(host)?;
    let compressed = gzip(host, &plain)?;
    let config = serde_json::to_vec(&json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&plain).to_string()]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(&layout, "application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [blob(&layout, "application/vnd.oci.image.layer.v1.tar+gzip", &compressed)?],
    }))?;
    let mut entry = blob(&layout, "application/vnd.oci.image.manifest.v1+json", &manifest)?;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(layout.join("index.json"), serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]}))?)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(layout)
}

fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<serde_json::Value> {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()}))
}

fn gzip(host: &Host, plain: &[u8]) -> Result<Vec<u8>> {
    let file = host.path("layer.tar");
    fs::write(&file, plain)?;
    let output = Command::new("gzip").arg("-nc").arg(&file).output()?;
    ensure!(output.status.success());
    Ok(output.stdout)
}
