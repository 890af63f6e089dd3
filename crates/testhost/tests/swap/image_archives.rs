//! Archives of images: what either engine saves, the other loads.

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host};

use crate::containerd::Containerd;
use crate::dockerd::Dockerd;

/// Images of every kind that an engine makes itself.
const MADE: [&str; 3] = ["imported:1", "committed:1", "built:1"];

fn make(engine: &Engine) -> Result<()> {
    let docker = &engine.docker;
    engine.import_busybox("imported:1")?;
    docker.run(&["run", "--name", "changed", "imported:1", "sh", "-c", "echo more > /more; rm /etc/group"])?;
    docker.run(&["commit", "--change", "CMD [\"cat\", \"/more\"]", "changed", "committed:1"])?;
    docker.run(&["rm", "changed"])?;
    let dockerfile = "FROM committed:1\nRUN rm -r /tmp && ln /more /again\nENV A=b\n";
    docker.run_with(&["build", "-q", "-t", "built:1", "-"], dockerfile.as_bytes())?;
    Ok(())
}

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

/// Docker's own store, and back.
pub fn through_docker(host: &Host) -> Result<()> {
    let ours = host.engine("ours")?;
    let theirs = Dockerd::start(host, &[])?;
    make(&ours)?;
    let (file, back) = (host.path("ours.tar").display().to_string(), host.path("theirs.tar").display().to_string());
    ours.docker.run(&[&["save", "-o", &file], &MADE[..]].concat())?;
    theirs.docker.run(&["load", "-q", "-i", &file])?;
    let known: Vec<String> = MADE.iter().map(|name| id(&ours.docker, name)).collect::<Result<_>>()?;
    for (name, known) in MADE.iter().zip(&known) {
        ensure!(id(&theirs.docker, name)? == *known, "{name} has another id at Docker");
    }
    ensure!(theirs.docker.run(&["run", "--rm", "--network", "none", "built:1"])? == "more");
    theirs.docker.run(&[&["save", "-o", &back], &MADE[..]].concat())?;
    ours.docker.run(&[&["rmi", "-f"], &MADE[..]].concat())?;
    ours.docker.run(&["load", "-q", "-i", &back])?;
    for (name, known) in MADE.iter().zip(&known) {
        ensure!(id(&ours.docker, name)? == *known, "{name} came back from Docker as another");
    }
    ensure!(ours.docker.run(&["run", "--rm", "built:1"])? == "more");
    Ok(())
}

/// containerd's store, which Docker's newer engines have their images in: every digest is kept there and on the way back.
pub fn through_containerd(host: &Host) -> Result<()> {
    let ours = host.engine("ours")?;
    make(&ours)?;
    let (file, back) = (host.path("ours.tar").display().to_string(), host.path("theirs.tar").display().to_string());
    ours.docker.run(&[&["save", "-o", &file], &MADE[..]].concat())?;
    let theirs = Containerd::debian(host, &[])?;
    theirs.ctr(&["images", "import", &file])?;
    let listed = theirs.ctr(&["images", "ls"])?;
    let digest = |name: &str| ours.docker.run(&["image", "inspect", "--format", "{{.Descriptor.Digest}}", name]);
    let mut known = Vec::new();
    for name in MADE {
        let digest = digest(name)?;
        let line = listed.lines().find(|line| line.starts_with(&format!("docker.io/library/{name} ")));
        let line = line.with_context(|| format!("no {name} in\n{listed}"))?;
        ensure!(line.contains(&digest), "{name} is {digest} with us and there\n{line}");
        known.push(digest);
    }
    let names = MADE.map(|name| format!("docker.io/library/{name}"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    theirs.ctr(&[&["images", "export", &back], names.as_slice()].concat())?;
    ours.docker.run(&[&["rmi", "-f"], &MADE[..]].concat())?;
    ours.docker.run(&["load", "-q", "-i", &back])?;
    for (name, known) in MADE.iter().zip(&known) {
        ensure!(digest(name)? == *known, "{name} came back from containerd as another");
    }
    ensure!(ours.docker.run(&["run", "--rm", "built:1"])? == "more");
    Ok(())
}

fn id(docker: &Docker, name: &str) -> Result<String> {
    docker.run(&["image", "inspect", "--format", "{{.Id}}", name])
}
