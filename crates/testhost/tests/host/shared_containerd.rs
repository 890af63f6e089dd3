//! Two engines on one containerd, each with a namespace of its own: what one has in the store is nothing of the other's, and
//! in nobody's way.

use anyhow::{Result, ensure};
use testhost::Host;

pub fn saved_and_loaded(host: &Host) -> Result<()> {
    let one = host.engine("one")?;
    let socket = one.containerd_socket();
    let socket = socket.to_string_lossy();
    let namespaces = ["--containerd-namespace", "two", "--containerd-plugins-namespace", "two-plugins"];
    let two = host.engine_with("two", &[&["--containerd", &socket], &namespaces[..]].concat())?;
    let image = one.import_busybox("busybox")?;
    ensure!(two.docker.try_run(&["image", "inspect", &image])?.code != 0, "images are a namespace's own");
    let archive = host.path("saved.tar");
    let archive = archive.to_string_lossy();
    one.docker.run(&["save", "-o", &archive, &image])?;
    // The store has every blob already, for the other.
    for _ in 0..2 {
        two.docker.run(&["load", "-i", &archive])?;
        ensure!(two.docker.run(&["run", "--rm", &image, "echo", "here"])? == "here");
    }
    one.docker.run(&["rmi", &image])?;
    ensure!(two.docker.run(&["run", "--rm", &image, "echo", "still"])? == "still");
    Ok(())
}
