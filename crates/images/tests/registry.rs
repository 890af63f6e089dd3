//! Images between Debian's docker-registry and Debian's containerd.

mod world;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use testhost::{Host, Needs, Test, run, test};
use world::{World, layer};

const PEERS: &[Needs] =
    &[Needs::Program("containerd", "containerd"), Needs::Program("docker-registry", "docker-registry")];

fn main() -> ExitCode {
    run(&[test("a_pulled_image_is_unpacked_and_resolved", PEERS, pulled_image)])
}

fn pulled_image(host: &Host) -> Result<()> {
    let world = World::new(host)?;
    let layers = [testhost::busybox_archive(host)?, layer("hello", b"world")];
    let published = world.publish("box:1", &layers)?;
    let (pulled, progress) = world.pull("box:1");
    ensure!(pulled? == published.id);
    for line in &progress {
        eprintln!("{line:?}");
    }
    let image = world.runtime.block_on(world.images.resolve("127.0.0.1:5000/box:1"))?;
    eprintln!("{image:?}");
    eprintln!("{}", world.ctr(&["images", "ls"])?);
    eprintln!("{}", world.ctr(&["snapshots", "ls"])?);
    eprintln!("{}", world.ctr(&["content", "ls"])?);
    eprintln!("{}", world.ctr(&["leases", "ls"])?);
    Ok(())
}
