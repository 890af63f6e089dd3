//! Where the result of a build goes: files, archives, a registry, a note about it.

use std::fs;

use anyhow::{Context, Result};
use testhost::Host;

use crate::build::{context, shown};

const FILE: &str = "FROM busybox AS made
RUN mkdir /out && echo made > /out/a && ln -s a /out/link
FROM scratch
COPY --from=made /out /
";

/// `--output`: the result's own files and nothing of the engine's; archives that are loaded again.
pub fn files_and_archives(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let folder = shown(&context(host, "outputs", &[("Dockerfile", FILE)])?);
    let out = host.path("out");
    docker.run(&["build", "-q", "-o", &shown(&out), &folder])?;
    let mut names: Vec<_> = fs::read_dir(&out)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    names.sort();
    assert_eq!(names, ["a", "link"]);
    assert_eq!(fs::read_to_string(out.join("link"))?, "made\n");
    let tar = docker.try_run(&["build", "-o", "-", &folder])?;
    assert!(tar.stderr.contains("Successfully built"), "progress goes elsewhere: {}", tar.stderr);
    assert!(tar.stdout.contains("made\n") && !tar.stdout.contains(".dockerenv"), "{:?}", tar.stdout);
    assert_eq!(docker.run(&["ps", "-aq"])?, "");
    for kind in ["oci", "docker"] {
        let file = shown(&host.path(&format!("{kind}.tar")));
        docker.run(&["build", "-q", "-t", "made:1", "-o", &format!("type={kind},dest={file}"), &folder])?;
        docker.run(&["rmi", "made:1"])?;
        docker.run(&["load", "-i", &file])?;
        docker.run(&["inspect", "made:1"])?;
    }
    for (output, words) in [
        ("type=local", "dest is required for local output"),
        ("type=moon,dest=x", "could not be found"),
        ("/proc/none/out", "failed to write to /proc/none/out"),
    ] {
        let refused = docker.try_run(&["build", "-q", "-o", output, &folder])?;
        assert!(refused.code != 0 && refused.stderr.contains(words), "{output}: {}", refused.stderr);
    }
    Ok(())
}

/// `--push`, and what `--metadata-file` says of what was pushed.
pub fn pushed(host: &Host) -> Result<()> {
    let registry = host.registry()?;
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let folder = shown(&context(host, "pushed", &[("Dockerfile", FILE)])?);
    let nameless = docker.try_run(&["build", "--push", &folder])?;
    assert!(nameless.stderr.contains("tag is needed when pushing to registry"), "{}", nameless.stderr);
    let name = registry.image("made:1");
    let note = host.path("note.json");
    docker.run(&["build", "-t", &name, "--push", "--metadata-file", &shown(&note), &folder])?;
    let note: serde_json::Value = serde_json::from_slice(&fs::read(note)?)?;
    let digest = note["containerimage.digest"].as_str().context("a digest")?;
    docker.run(&["rmi", &name])?;
    docker.run(&["pull", "-q", &registry.image(&format!("made@{digest}"))])?;
    assert_eq!(note["image.name"], name);
    Ok(())
}
