//! Our dockerd on Debian's containerd.

use anyhow::{Result, ensure};
use testhost::Host;

use crate::containerd::Containerd;
use crate::images;
use crate::life::Life;

/// With our shim in the place of runc's on containerd's PATH: everything.
pub fn with_our_shim(host: &Host) -> Result<()> {
    let containerd = Containerd::debian(host, &["containerd-shim-runc-v2"])?;
    let engine = host.engine_with("e", &["--containerd", &containerd.socket().to_string_lossy()])?;
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    engine.docker.run(&["pull", &image])?;
    Life { docker: &engine.docker, image: &image, flags: &[] }.live()?;
    let other = registry.image("from-containerd:1");
    engine.docker.run(&["tag", &image, &other])?;
    engine.docker.run(&["push", &other])?;
    engine.docker.run(&["rmi", &other, &image])?;
    ensure!(engine.docker.run(&["images", "--quiet"])?.is_empty());
    Ok(())
}

/// With Debian's shim, images work, and containers are refused with the reason: it has no pump.
pub fn with_debian_s_shim(host: &Host) -> Result<()> {
    let containerd = Containerd::debian(host, &[])?;
    let engine = host.engine_with("e", &["--containerd", &containerd.socket().to_string_lossy()])?;
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    engine.docker.run(&["pull", &image])?;
    let refused = engine.docker.try_run(&["run", "--name", "one", &image, "true"])?;
    ensure!(refused.code == 125, "{refused:?}");
    ensure!(refused.stderr.contains("pump"), "{refused:?}");
    engine.docker.run(&["rm", "one"])?;
    engine.docker.run(&["rmi", &image])?;
    Ok(())
}
