//! The busybox image as an OCI image layout, made by hand: for peers that have no import.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use ids::Digest;
use serde_json::{Value, json};

use crate::busybox;
use crate::host::Host;

/// The tag in the layout.
pub const TAG: &str = "latest";

/// A folder with one image of one layer, tagged [`TAG`].
pub fn oci_layout(host: &Host) -> Result<PathBuf> {
    let layout = host.path("layout");
    if layout.join("index.json").exists() {
        return Ok(layout);
    }
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let plain = busybox::archive(host)?;
    let layer = gzip(host, &plain)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let configuration = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin", "COLOUR=red"], "Labels": {"made": "by hand"}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&plain).to_string()]},
        "history": [{"created_by": "by hand"}],
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(&layout, "application/vnd.oci.image.config.v1+json", &configuration)?,
        "layers": [blob(&layout, "application/vnd.oci.image.layer.v1.tar+gzip", &layer)?],
    }))?;
    let mut entry = blob(&layout, "application/vnd.oci.image.manifest.v1+json", &manifest)?;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    fs::write(layout.join("index.json"), serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]}))?)?;
    Ok(layout)
}

/// Writes a blob; its descriptor.
fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()}))
}

fn gzip(host: &Host, plain: &[u8]) -> Result<Vec<u8>> {
    let file = host.path("layer.tar");
    fs::write(&file, plain)?;
    let output = Command::new("gzip").args(["-n", "-1", "-c"]).arg(&file).output()?;
    ensure!(output.status.success(), "gzip: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
