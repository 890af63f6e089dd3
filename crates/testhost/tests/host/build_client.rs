//! Our own `docker build` by BuildKit's protocol: what travels, what is lent, what is shown, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testhost::{Engine, Host, Ran, wait_until};

use crate::build::{context, shown};

fn command(engine: &Engine<'_>, words: &[&str]) -> Command {
    let words: Vec<&str> = ["build"].iter().chain(words).copied().collect();
    let mut command = engine.docker.command(&words);
    command.env("DOCKER_BUILDKIT", "1");
    command
}

pub fn try_build(engine: &Engine<'_>, words: &[&str]) -> Result<Ran> {
    let output = command(engine, words).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().context("the client was killed")?;
    Ok(Ran { code, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Must succeed; what it tells.
pub fn build(engine: &Engine<'_>, words: &[&str]) -> Result<String> {
    let ran = try_build(engine, words)?;
    ensure!(ran.code == 0, "build {}: exit {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
    Ok(ran.stderr)
}

/// The context's last line: `#3 transferring context: 8.39MB 0.1s done`.
fn travelled(told: &str) -> Result<String> {
    let line = told.lines().rfind(|line| line.contains("transferring context:") && line.contains("#3 "));
    Ok(line.with_context(|| format!("no context was told of:\n{told}"))?.to_owned())
}

/// A large context of which one file has changed: only that travels; folders, archives and images come back.
pub fn travels(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let file = "FROM scratch\nCOPY . /all\n";
    let folder = context(host, "c", &[("Dockerfile", file), ("d/small", "one\n"), (".dockerignore", "*.log\n")])?;
    fs::write(folder.join("large"), vec![b'x'; 8 << 20])?;
    fs::write(folder.join("x.log"), "never")?;
    std::os::unix::fs::symlink("../../../etc/passwd", folder.join("d/link"))?;
    let first = build(&engine, &["-t", "first", &shown(&folder)])?;
    ensure!(travelled(&first)?.contains("8.") && travelled(&first)?.contains("MB"), "{first}");
    fs::write(folder.join("d/small"), "another\n")?;
    let second = build(&engine, &["-t", "second", &shown(&folder)])?;
    ensure!(!travelled(&second)?.contains("MB") && !travelled(&second)?.contains("kB"), "{second}");
    let (out, archive, image) = (host.path("out"), shown(&host.path("out.tar")), shown(&host.path("image.tar")));
    let everywhere = [
        "-t",
        "third",
        "-o",
        &shown(&out),
        "-o",
        &format!("type=tar,dest={archive}"),
        "-o",
        &format!("type=oci,dest={image}"),
        &shown(&folder),
    ];
    build(&engine, &everywhere)?;
    ensure!(fs::read_to_string(out.join("all/d/small"))? == "another\n" && !out.join("all/x.log").exists());
    assert_eq!(fs::read_link(out.join("all/d/link"))?, std::path::Path::new("../../../etc/passwd"));
    let listed = Command::new("tar").args(["-tf", &archive]).output()?.stdout;
    ensure!(String::from_utf8(listed)?.lines().any(|name| name == "all/d/small"));
    engine.docker.run(&["rmi", "third"])?;
    engine.docker.run(&["load", "-i", &image])?;
    engine.docker.run(&["inspect", "third"])?;
    // A Dockerfile from elsewhere, one on standard input, a context that is an archive.
    let elsewhere = context(host, "f", &[("My", "FROM scratch\nCOPY d /\n"), ("My.dockerignore", "d/link\n")])?;
    let small = host.path("small");
    build(&engine, &["-f", &shown(&elsewhere.join("My")), "-o", &shown(&small), &shown(&folder)])?;
    ensure!(small.join("small").exists() && !small.join("link").exists());
    let tar = Command::new("tar").args(["-C", &shown(&folder), "-cf", "-", "Dockerfile", "d"]).output()?.stdout;
    let sent = host.path("sent.tar");
    fs::write(&sent, tar)?;
    let mut from_archive = command(&engine, &["-q", "-t", "sent", "-"]);
    let ran = from_archive.stdin(fs::File::open(&sent)?).output()?;
    ensure!(ran.status.success() && ran.stdout.starts_with(b"sha256:"), "{ran:?}");
    Ok(())
}

const LENT: &str = "FROM busybox
RUN --mount=type=secret,id=token cat /run/secrets/token | wc -c
RUN --mount=type=secret,id=word,env=WORD echo length ${#WORD}
RUN --mount=type=ssh ls $SSH_AUTH_SOCK
COPY --from=other f /f
RUN --mount=from=other,target=/o cat /o/f
";

/// Secrets and agents stay the client's; a named context is a folder of its own.
pub fn lends(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = context(host, "c", &[("Dockerfile", LENT)])?;
    let other = context(host, "o", &[("f", "from another folder\n"), ("big", "x"), (".dockerignore", "big\n")])?;
    let token = context(host, "t", &[("token", "secret value")])?.join("token");
    let agent = host.path("agent.sock");
    let _listening = std::os::unix::net::UnixListener::bind(&agent)?;
    let words = [
        "--progress=plain",
        "--secret",
        &format!("id=token,src={}", shown(&token)),
        "--secret",
        "id=word,env=WORD_OF_TEST",
        "--ssh",
        &format!("default={}", shown(&agent)),
        "--build-context",
        &format!("other={}", shown(&other)),
        "-t",
        "lent",
        &shown(&folder),
    ];
    let ran = command(&engine, &words).env("WORD_OF_TEST", "four").output()?;
    let told = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{told}");
    for line in [" 12", " length 4", "/run/buildkit/ssh_agent.0", "from another folder"] {
        ensure!(told.lines().any(|other| other.ends_with(line)), "{line:?} is not in\n{told}");
    }
    ensure!(told.contains("[context other] load from client"), "{told}");
    let history = engine.docker.run(&["history", "--no-trunc", "lent"])?;
    ensure!(!history.contains("secret value") && !history.contains("four"), "{history}");
    for (words, expected) in [
        (&["--build-context", "other=/nonexistent"][..], "failed to get build context other: stat /nonexistent"),
        (&["--ssh", "default=/nonexistent"], "failed to stat /nonexistent"),
        (&["--secret", "id=x,src=/nonexistent"], "failed to stat /nonexistent"),
        (&["--memory", "50m"], "belongs to the classic builder"),
        (&["--network", "own"], "network mode \"own\" not supported by buildkit"),
    ] {
        let words: Vec<&str> = words.iter().copied().chain([folder.to_str().context("a path is text")?]).collect();
        let ran = try_build(&engine, &words)?;
        ensure!(ran.code == 1 && ran.stderr.contains(expected), "{words:?}: {ran:?}");
    }
    let from = context(host, "from", &[("Dockerfile", "FROM other\n")])?;
    build(&engine, &["--build-context", &format!("other={}", shown(&other)), &shown(&from)])?;
    Ok(())
}

/// Plain, raw and none; a failure with its place and the step's last lines.
pub fn progress(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = shown(&context(host, "c", &[("Dockerfile", "FROM busybox\nRUN echo made\n")])?);
    let told = build(&engine, &["-t", "told", &folder])?;
    for line in [
        "#0 building with \"default\" instance using docker driver",
        "#1 [internal] load build definition from Dockerfile",
        "[2/2] RUN echo made",
        " naming to docker.io/library/told:latest",
    ] {
        ensure!(told.lines().any(|other| other.contains(line)), "{line:?} is not in\n{told}");
    }
    let (iid, note) = (host.path("iid"), host.path("note"));
    let words = ["-q", "-t", "told", "--iidfile", &shown(&iid), "--metadata-file", &shown(&note), &folder];
    let quiet = try_build(&engine, &words)?;
    ensure!(quiet.stderr.is_empty() && quiet.stdout.trim() == fs::read_to_string(iid)?, "{quiet:?}");
    let note: serde_json::Value = serde_json::from_slice(&fs::read(note)?)?;
    assert_eq!(note["image.name"], "docker.io/library/told:latest");
    assert_eq!(note["containerimage.config.digest"], quiet.stdout.trim());
    let raw = build(&engine, &["--progress=rawjson", &folder])?;
    for line in raw.lines() {
        let value: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(value.is_object(), "{line}");
    }
    ensure!(raw.contains("\"cached\":true"), "{raw}");
    let wrong = shown(&context(host, "w", &[("Dockerfile", "FROM busybox\nRUN echo before; exit 3\n")])?);
    let failed = try_build(&engine, &[&wrong])?;
    let expected = "------\n > [2/2] RUN echo before; exit 3:\n";
    ensure!(failed.code == 1 && failed.stderr.contains(expected), "{failed:?}");
    for line in ["Dockerfile:2", "   2 | >>> RUN echo before; exit 3"] {
        ensure!(failed.stderr.lines().any(|other| other == line), "{line:?} is not in\n{}", failed.stderr);
    }
    let last = "ERROR: failed to build: failed to solve: process \"/bin/sh -c echo before; exit 3\" did not complete successfully: exit code: 3";
    ensure!(failed.stderr.trim_end().ends_with(last), "{}", failed.stderr);
    let terminal = try_build(&engine, &["--progress=tty", &folder])?;
    ensure!(terminal.code == 1 && terminal.stderr.contains("failed to get console"), "{terminal:?}");
    Ok(())
}

/// Ctrl-C in the midst of a step leaves nothing running.
pub fn interrupted(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = context(host, "c", &[("Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n")])?;
    let building = command(&engine, &[&shown(&folder)]).stderr(Stdio::piped()).spawn()?;
    let listed = || engine.docker.run(&["ps", "-aq"]).ok();
    wait_until("the step's container", || listed().filter(|listed| !listed.is_empty()))?;
    kill_process(Pid::from_child(&building), Signal::INT)?;
    let ran = building.wait_with_output()?;
    let told = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.code() == Some(1) && told.contains("CANCELED"), "{told}");
    ensure!(told.trim_end().ends_with("failed to solve: Canceled: context canceled"), "{told}");
    wait_until("the end of the step's container", || listed().filter(String::is_empty)).map(drop)
}

/// The same step of builds beside each other is made by one of them, and all have its result.
pub fn once(host: &Host) -> Result<()> {
    const CLIENTS: usize = 4;
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    // It ends when the test says so: when all are at it.
    let file = "FROM busybox\nRUN --mount=type=cache,target=/c until [ -e /c/go ]; do usleep 20000; done; \
                echo x >> /c/n; wc -l < /c/n > /count\n";
    let folder = shown(&context(host, "c", &[("Dockerfile", file)])?);
    let building: Vec<_> = (0..CLIENTS)
        .map(|number| Ok(command(&engine, &["-t", &format!("t{number}"), &folder]).stderr(Stdio::piped()).spawn()?))
        .collect::<Result<_>>()?;
    let mut begun = Vec::new();
    for mut building in building {
        let mut lines = BufReader::new(building.stderr.take().context("standard error")?);
        let mut told = String::new();
        while !told.contains("[2/2] RUN") {
            ensure!(lines.read_line(&mut told)? > 0, "it ends before its step: {told}");
        }
        begun.push((building, lines, told));
    }
    let caches = host.path("e-data").join("build/caches");
    let listed = || fs::read_dir(&caches).ok()?.next()?.ok();
    fs::write(wait_until("the cache of the step", listed)?.path().join("go"), "")?;
    let mut made = 0;
    for (mut building, mut lines, mut told) in begun {
        lines.read_to_string(&mut told)?;
        ensure!(building.wait()?.success(), "{told}");
        let number = told.lines().find(|line| line.contains("[2/2] RUN")).and_then(|line| line.split(' ').next());
        let number = number.with_context(|| told.clone())?;
        made += usize::from(!told.lines().any(|line| line == format!("{number} CACHED")));
    }
    assert_eq!(made, 1, "one makes it, the others find it");
    for number in 0..CLIENTS {
        assert_eq!(engine.docker.run(&["run", "--rm", &format!("t{number}"), "cat", "/count"])?, "1");
    }
    Ok(())
}
