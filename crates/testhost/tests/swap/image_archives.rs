//! Archives of images: what either engine saves, the other loads.

use anyhow::{Result, ensure};
use testhost::{Docker, Host};

use crate::dockerd::Dockerd;

pub fn exchanged(host: &Host) -> Result<()> {
    let ours = host.engine("ours")?;
    let theirs = Dockerd::start(host, &[])?;
    ours.import_busybox("busybox:ours")?;
    let imported = theirs.import()?;
    theirs.docker.run(&["tag", imported, "busybox:theirs"])?;
    for (from, to, name) in
        [(&ours.docker, &theirs.docker, "busybox:ours"), (&theirs.docker, &ours.docker, "busybox:theirs")]
    {
        let file = host.path("image.tar").display().to_string();
        from.run(&["tag", name, "team/second:1"])?;
        from.run(&["save", "-o", &file, name, "team/second:1"])?;
        let loaded = to.run(&["load", "-q", "-i", &file])?;
        ensure!(loaded.contains(&format!("Loaded image: {name}")) && loaded.contains("team/second:1"), "{loaded}");
        ensure!(id(from, name)? == id(to, name)?, "{name} has another id");
        ensure!(id(to, "team/second:1")? == id(to, name)?, "two names of one image");
        let layers = |docker: &Docker| docker.run(&["image", "inspect", "--format", "{{.RootFS.Layers}}", name]);
        ensure!(layers(from)? == layers(to)?, "{name} has other layers");
        ensure!(to.run(&["run", "--rm", "--network", "none", name, "echo", "loaded"])? == "loaded");
        // Back where it came from it is the same image.
        to.run(&["save", "-o", &file, name])?;
        from.run(&["rmi", "-f", name, "team/second:1"])?;
        from.run(&["load", "-q", "-i", &file])?;
        ensure!(id(from, name)? == id(to, name)?, "{name} came back as another");
        to.run(&["rmi", "team/second:1"])?;
    }
    Ok(())
}

fn id(docker: &Docker, name: &str) -> Result<String> {
    docker.run(&["image", "inspect", "--format", "{{.Id}}", name])
}
