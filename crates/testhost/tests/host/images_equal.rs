//! One image in two engines: however it was made, both save it to the same bytes and push it under the same digest.

use std::fs;

use anyhow::{Result, ensure};
use testhost::{Docker, Engine, Host};

use crate::images_archives::{Member, path, tar};

const BUILT: &str = "FROM imported:1
LABEL made=here
RUN mkdir /built && dd if=/dev/zero of=/built/zeros bs=64k count=40 && ln /built/zeros /built/again
RUN rm -r /tmp && echo second > /built/second
ENV WORD=said
CMD [\"cat\", \"/built/second\"]
";

/// An image of each way in which an engine gets one.
fn make(engine: &Engine, pulled: &str) -> Result<Vec<String>> {
    let docker = &engine.docker;
    engine.import_busybox("imported:1")?;
    let change = "echo more > /more; rm /etc/group; mkdir -p /a/b; touch /a/b/c; chown 1:2 /a/b/c; chmod 4755 /a/b/c";
    docker.run(&["run", "--name", "changed", "imported:1", "sh", "-c", change])?;
    docker.run(&["commit", "-m", "more", "--author", "who", "--change", "EXPOSE 80", "changed", "committed:1"])?;
    docker.run(&["rm", "changed"])?;
    docker.run_with(&["build", "-q", "-t", "built:1", "-"], BUILT.as_bytes())?;
    // As a registry has it: of compressed layers.
    let text: Vec<u8> = (0..60_000).flat_map(|line| format!("line {line} of some text\n").into_bytes()).collect();
    docker.run_with(&["import", "-", pulled], &tar(&[Member::File("text", text)]))?;
    docker.run(&["push", "-q", pulled])?;
    docker.run(&["rmi", pulled])?;
    docker.run(&["pull", "-q", pulled])?;
    Ok(["imported:1", "committed:1", "built:1", pulled].map(str::to_owned).to_vec())
}

/// The id, what the name stands for, and the layers.
fn digests(docker: &Docker, name: &str) -> Result<String> {
    let shown = "{{.Id}} {{.Descriptor.Digest}} {{.Descriptor.Size}} {{.RootFS.Layers}}";
    docker.run(&["image", "inspect", "--format", shown, name])
}

pub fn saved_alike(host: &Host) -> Result<()> {
    let (one, other) = (host.engine("e")?, host.engine("f")?);
    let registry = host.registry()?;
    let names = make(&one, &registry.image("pulled:1"))?;
    for name in &names {
        let known = digests(&one.docker, name)?;
        let first = save(host, &one, &[name])?;
        other.docker.run_with(&["load"], &first)?;
        ensure!(digests(&other.docker, name)? == known, "{name} has other digests after a load");
        ensure!(save(host, &other, &[name])? == first, "two engines save {name} differently");
        // Home again, where nothing of it is left.
        one.docker.run(&["rmi", "-f", name])?;
        one.docker.run_with(&["load"], &first)?;
        ensure!(digests(&one.docker, name)? == known, "{name} came home with other digests");
        ensure!(save(host, &one, &[name])? == first, "{name} is saved differently after it came home");
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let archive = save(host, &one, &all)?;
    ensure!(save(host, &other, &all)? == archive, "two engines save several images differently");
    ensure!(other.docker.run(&["run", "--rm", "built:1"])? == "second");
    let listed = "stat -c '%u:%g %a' /a/b/c; cat /more; test -e /etc/group || echo gone";
    ensure!(other.docker.run(&["run", "--rm", "committed:1", "sh", "-c", listed])? == "1:2 4755\nmore\ngone");

    // What is pushed from either has one digest, and what is pulled of it is the same image.
    for name in &names[..3] {
        let mut digests = Vec::new();
        for (engine, repository) in [(&one, "one"), (&other, "other")] {
            let target = registry.image(&format!("{repository}/{name}"));
            engine.docker.run(&["tag", name, &target])?;
            let pushed = engine.docker.run(&["push", &target])?;
            digests.push(pushed.split("digest: ").nth(1).unwrap_or(&pushed).to_owned());
        }
        ensure!(digests[0] == digests[1], "{name} is pushed as {digests:?}");
    }
    let mut saved = Vec::new();
    for (engine, repository) in [(&one, "other"), (&other, "one")] {
        let target = registry.image(&format!("{repository}/built:1"));
        engine.docker.run(&["pull", "-q", &target])?;
        engine.docker.run(&["tag", &target, "crossed:1"])?;
        saved.push(save(host, engine, &["crossed:1"])?);
    }
    ensure!(saved[0] == saved[1], "what each pulled from the other is saved differently");
    Ok(())
}

/// The archive's bytes, which a second run gives again.
fn save(host: &Host, engine: &Engine, names: &[&str]) -> Result<Vec<u8>> {
    let mut archives = Vec::new();
    for file in ["first.tar", "second.tar"] {
        let file = path(host, file);
        engine.docker.run(&[&["save", "-o", &file], names].concat())?;
        archives.push(fs::read(&file)?);
    }
    ensure!(archives[0] == archives[1], "two runs of save of {names:?} differ");
    Ok(archives.swap_remove(0))
}
