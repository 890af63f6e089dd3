//! The busybox image in a registry, written there by other people's programs.

use anyhow::Result;
use testhost::{Host, LAYOUT_TAG, Registry, oci_layout};

/// Pushed by skopeo as an OCI image; its name.
pub fn push(host: &Host, registry: &Registry) -> Result<String> {
    push_with(host, registry, "busybox", &[])
}

/// The same with further options of `skopeo copy`.
pub fn push_with(host: &Host, registry: &Registry, repository: &str, options: &[&str]) -> Result<String> {
    let name = registry.image(&format!("{repository}:latest"));
    let source = format!("oci:{}:{LAYOUT_TAG}", oci_layout(host)?.display());
    let target = format!("docker://{name}");
    let copy = ["copy", "--quiet", "--dest-tls-verify=false"];
    host.command("skopeo", &[&copy[..], options, &[&source, &target]].concat())?;
    Ok(name)
}

/// A manifest as the registry gives it to skopeo.
pub fn raw_manifest(host: &Host, name: &str) -> Result<String> {
    host.command("skopeo", &["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")])
}
