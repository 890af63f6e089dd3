//! What moby's own tests ask of its classic builder, and options that few use.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;
use testhost::{Docker, Engine, Host};

use crate::build::{context, shown};
use crate::images_archives::{Member, tar};

/// One build by Docker's client at the classic door: its exit code and what it says.
fn build(docker: &Docker, words: &[&str], text: &str) -> Result<(i32, String)> {
    let mut command = docker.command(&["build"]);
    command.args(words).arg("-").env("DOCKER_BUILDKIT", "0");
    let mut running = testhost::Running::start(command)?;
    running.write_and_close(text.as_bytes())?;
    let ran = running.wait()?;
    Ok((ran.code, format!("{}{}", ran.stdout, ran.stderr)))
}

/// TestBuildWithRemoveAndForceRemove: which containers of steps stay.
pub fn containers_that_stay(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = engine.docker_of_docker();
    let (well, badly) = ("FROM busybox\nRUN exit 0\nRUN exit 0\n", "FROM busybox\nRUN exit 0\nRUN exit 1\n");
    for (text, remove, force, stay) in [
        (well, true, true, 0),
        (well, true, false, 0),
        (well, false, true, 0),
        (well, false, false, 2),
        (badly, true, true, 0),
        (badly, true, false, 1),
        (badly, false, true, 0),
        (badly, false, false, 2),
    ] {
        let (remove, force) = (format!("--rm={remove}"), format!("--force-rm={force}"));
        build(&docker, &["--no-cache", &remove, &force], text)?;
        let left = docker.run(&["ps", "-aq"])?;
        assert_eq!(left.lines().count(), stay, "{remove} {force} {text}");
        for id in left.lines() {
            docker.run(&["rm", id])?;
        }
    }
    Ok(())
}

/// TestBuildMultiStageOnBuild: a stage's triggers are steps of each stage that lies on it.
pub fn triggers_of_stages(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = engine.docker_of_docker();
    let text = "FROM busybox AS stage1\nONBUILD RUN echo foo > somefile\nONBUILD ENV bar=baz\n\
                FROM stage1\nRUN cat somefile\nFROM stage1\nRUN cat somefile\n";
    let (code, told) = build(&docker, &["-t", "triggered"], text)?;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("# Executing 2 build triggers"), "{told}");
    let env = docker.run(&["inspect", "-f", "{{.Config.Env}} {{.Config.OnBuild}}", "triggered"])?;
    assert!(env.contains("bar=baz") && env.ends_with("[]"), "{env}");
    Ok(())
}

/// TestBuildUncleanTarFilenames: other content under a name that is not clean is other content.
pub fn unclean_names(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let build = |content: &str| -> Result<String> {
        let file = b"FROM scratch\nCOPY foo /\nFROM scratch\nCOPY bar /\n".to_vec();
        let bytes = |of: &str| format!("{of}{content}").into_bytes();
        let members = [
            Member::File("Dockerfile", file),
            Member::File("../foo", bytes("foo")),
            Member::File("/bar", bytes("bar")),
        ];
        let archive = tar(&members);
        let length = archive.len();
        let head =
            format!("POST /v1.41/build HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        Ok(testhost::raw_request(&engine.socket(), &[head.as_bytes(), &archive].concat())?.body)
    };
    for content in ["contents0", "contents1"] {
        let told = build(content)?;
        assert!(told.contains("Successfully built") && !told.contains("Using cache"), "{told}");
    }
    assert!(build("contents1")?.contains("Using cache"));
    Ok(())
}

/// TestBuildSquashParent: one layer on those of the base, without what later steps took back, and the whole history.
pub fn squashed(host: &Host) -> Result<()> {
    const TEXT: &str = "FROM busybox\nRUN echo hello > /hello\nRUN echo world >> /hello\nRUN echo hello > /remove_me\n\
                        ENV HELLO=world\nRUN rm /remove_me && rm -rf /bin/vi\n";
    let plain = host.engine("plain")?;
    plain.import_busybox("busybox")?;
    let (code, told) = build(&plain.docker, &["--squash"], TEXT)?;
    assert!(code != 0 && told.contains("squash is only supported with experimental mode"), "{told}");
    let engine = host.engine_with("e", &["--experimental"])?;
    engine.import_busybox("busybox")?;
    let docker = engine.docker_of_docker();
    for how in ["first", "again"] {
        let (code, told) = build(&docker, &["--squash", "-t", "squashed"], TEXT)?;
        assert_eq!(code, 0, "{how}: {told}");
        let layers: Value =
            serde_json::from_str(&docker.run(&["inspect", "-f", "{{json .RootFS.Layers}}", "squashed"])?)?;
        assert_eq!(layers.as_array().context("layers")?.len(), 2, "{how}: {layers}");
        let script = "cat /hello; ls /remove_me /bin/vi 2>&1; echo $HELLO";
        let said = docker.run(&["run", "--rm", "squashed", "sh", "-c", script])?;
        assert!(said.starts_with("hello\nworld\n") && said.ends_with("\nworld"), "{said}");
        assert_eq!(said.matches("No such file").count(), 2, "{said}");
    }
    let history =
        docker.run(&["history", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}} {{.Comment}}", "squashed"])?;
    assert_eq!(history.lines().count(), 7, "{history}");
    assert!(history.lines().next().is_some_and(|line| line.contains("merge sha256:")), "{history}");
    Ok(())
}

/// `COPY --link`: the layer is the same one on another base, folders that were made for it and their times included.
pub fn linked(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = engine.docker.clone();
    let folder = context(host, "linked", &[("Dockerfile", ""), ("file", "linked\n")])?;
    let layer = |base: &str, tag: &str| -> Result<String> {
        let text = format!("FROM busybox\nRUN echo {base} > /base\nCOPY --link file /deep/er/\n");
        fs::write(folder.join("Dockerfile"), text)?;
        docker.run(&["build", "-q", "-t", tag, &shown(&folder)])?;
        let layers = docker.run(&["inspect", "-f", "{{json .RootFS.Layers}}", tag])?;
        let layers: Vec<String> = serde_json::from_str(&layers)?;
        layers.last().cloned().context("layers")
    };
    let first = layer("one", "one")?;
    // A folder made in another second would be another layer.
    let second = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let made = second();
    testhost::wait_until("another second", || (second() > made).then_some(()))?;
    assert_eq!(first, layer("other", "other")?);
    assert_eq!(docker.run(&["run", "--rm", "other", "cat", "/base", "/deep/er/file"])?, "other\nlinked");
    docker.run(&["builder", "prune", "-af"])?;
    assert_ne!(layer("third", "third")?, first, "without a cache it is made anew");
    assert_eq!(docker.run(&["run", "--rm", "third", "cat", "/deep/er/file"])?, "linked");
    Ok(())
}

/// Where users of containers are others on the host: what RUN mounts belongs to whom it should inside.
pub fn mapped(engine: &Engine<'_>, host: &Host) -> Result<()> {
    engine.import_busybox("busybox")?;
    let file = "FROM busybox
RUN --mount=type=secret,id=key cat /run/secrets/key | wc -c && stat -c '%u:%g %a' /run/secrets/key
RUN --mount=type=secret,id=key,uid=7,gid=8 stat -c 'of %u:%g' /run/secrets/key
RUN --mount=type=cache,target=/c echo x > /c/x && stat -c 'cache %u:%g' /c /c/x
RUN --mount=target=/ctx,rw echo y > /ctx/y && stat -c 'context %u:%g' /ctx/Dockerfile /ctx/y
";
    let folder = context(host, "mapped", &[("Dockerfile", file)])?;
    fs::write(host.path("key"), "hush")?;
    let secret = format!("id=key,src={}", shown(&host.path("key")));
    let mut command = engine.docker.command(&["build", "--secret", &secret, &shown(&folder)]);
    let output = command.env("DOCKER_BUILDKIT", "0").output()?;
    let built = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for line in ["4", "0:0 400", "of 7:8", "cache 0:0", "context 0:0"] {
        assert!(built.lines().any(|other| other == line), "{line}: {built}");
    }
    assert!(!built.contains("65534"), "{built}");
    Ok(())
}
