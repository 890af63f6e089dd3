//! BuildKit's session protocol, as Debian's client 20.10 speaks it with DOCKER_BUILDKIT=1: progress by steps, files that travel
//! once, secrets, agents, results that come back, and one image id whoever asks.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host, Ran, wait_until};

/// Docker's client that has the session protocol built in.
pub const CLIENT: &str = "/usr/bin/docker";
pub const COMPOSE: &str = "/usr/bin/docker-compose";

fn context(host: &Host, name: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
    let folder = host.path(name);
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(folder)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn client(engine: &Engine<'_>) -> Docker {
    Docker { program: CLIENT.into(), ..engine.docker.clone() }
}

/// One build; what it prints besides digests of steps, and its exit code.
fn try_build(engine: &Engine<'_>, words: &[&str], environment: &[(&str, &str)]) -> Result<Ran> {
    let words: Vec<&str> = ["build", "--progress=plain"].iter().chain(words).copied().collect();
    let mut command = client(engine).command(&words);
    command.env("DOCKER_BUILDKIT", "1").envs(environment.iter().copied());
    let output = command.output()?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let is_digest = |line: &&str| !line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with("sha256:"));
        text.lines().filter(is_digest).map(|line| format!("{line}\n")).collect::<String>()
    };
    let code = output.status.code().context("the client was killed")?;
    Ok(Ran { code, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

fn build(engine: &Engine<'_>, words: &[&str]) -> Result<String> {
    let ran = try_build(engine, words, &[])?;
    ensure!(ran.code == 0, "build {}: exit {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
    Ok(ran.stdout + &ran.stderr)
}

const STAGES: &str = "FROM busybox AS tools
RUN echo made by $0 && echo complained >&2
COPY sub /sub
FROM busybox
WORKDIR /w
ENV A=b
COPY --from=tools /sub ./sub
CMD [\"cat\", \"/w/sub/f\"]
";

/// Steps are told as BuildKit's clients show them, and all of them are found again.
pub fn progress(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let files = [("Dockerfile", STAGES), ("sub/f", "content\n"), ("x.log", "x"), (".dockerignore", "*.log\n")];
    let folder = context(host, "c", &files)?;
    let told = build(&engine, &["-t", "first", &shown(&folder)])?;
    for line in [
        "#1 [internal] load build definition from Dockerfile",
        "#2 [internal] load .dockerignore",
        "#3 [internal] load build context",
        "#4 [internal] load metadata for docker.io/library/busybox:latest",
        "[tools 1/3] FROM docker.io/library/busybox:latest",
        "[tools 2/3] RUN echo made by $0 && echo complained >&2",
        " made by /bin/sh",
        " complained",
        "[tools 3/3] COPY sub /sub",
        "[stage-1 2/3] WORKDIR /w",
        "[stage-1 3/3] COPY --from=tools /sub ./sub",
        " exporting to image",
        " naming to docker.io/library/first:latest",
    ] {
        ensure!(told.lines().any(|other| other.contains(line)), "{line:?} is not in\n{told}");
    }
    ensure!(!told.contains("ENV A=b"), "what makes nothing is no step:\n{told}");
    assert_eq!(engine.docker.run(&["run", "--rm", "first"])?, "content");
    let again = build(&engine, &["-t", "again", &shown(&folder)])?;
    assert_eq!(again.lines().filter(|line| line.ends_with(" CACHED")).count(), 6, "{again}");
    let id_file = host.path("iid");
    let id = build(&engine, &["-q", "--iidfile", &shown(&id_file), &shown(&folder)])?;
    assert_eq!(fs::read_to_string(id_file)?, id.trim());
    assert_eq!(engine.docker.run(&["inspect", "--format", "{{.Id}}", "first"])?, id.trim());
    let images = engine.docker.run(&["images", "-a", "--format", "{{.Repository}}"])?;
    assert!(!images.contains("<none>"), "stages leave no images:\n{images}");
    Ok(())
}

/// A large context with one changed file: only that travels.
pub fn files_travel_once(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let folder = context(host, "c", &[("Dockerfile", "FROM scratch\nCOPY . /all\n"), ("d/small", "one\n")])?;
    fs::write(folder.join("large"), vec![b'x'; 8 << 20])?;
    std::os::unix::fs::symlink("../../../etc/passwd", folder.join("d/link"))?;
    let travelled = |told: &str| -> Result<String> {
        let lines: Vec<&str> = told.lines().filter(|line| line.contains("transferring context:")).collect();
        Ok((*lines.last().context("no context was told of")?).to_owned())
    };
    let first = build(&engine, &["-t", "first", &shown(&folder)])?;
    ensure!(travelled(&first)?.contains("context: 8.") && travelled(&first)?.contains("MB"), "{first}");
    fs::write(folder.join("d/small"), "another\n")?;
    let second = build(&engine, &["-t", "second", &shown(&folder)])?;
    ensure!(!travelled(&second)?.contains("MB") && !travelled(&second)?.contains("kB"), "{second}");
    let out = host.path("out");
    build(&engine, &["-o", &shown(&out), &shown(&folder)])?;
    assert_eq!(fs::read_to_string(out.join("all/d/small"))?, "another\n");
    assert_eq!(fs::metadata(out.join("all/large"))?.len(), 8 << 20);
    assert_eq!(fs::read_link(out.join("all/d/link"))?, Path::new("../../../etc/passwd"));
    let archive = host.path("out.tar");
    build(&engine, &["-o", &format!("type=tar,dest={}", shown(&archive)), &shown(&folder)])?;
    let listed = host.command("tar", &["-tf", &shown(&archive)])?;
    ensure!(listed.lines().any(|line| line == "all/d/small"), "{listed}");
    let pruned = engine.docker.run(&["builder", "prune", "-af"])?;
    ensure!(pruned.contains("Total"), "{pruned}");
    ensure!(travelled(&build(&engine, &[&shown(&folder)])?)?.contains("MB"), "what was kept is gone");
    Ok(())
}

const LENT: &str = "FROM busybox
RUN --mount=type=secret,id=token wc -c < /run/secrets/token
RUN --mount=type=secret,id=token,env=TOKEN sh -c 'echo length ${#TOKEN}'
RUN --mount=type=ssh sh -c 'ls -l $SSH_AUTH_SOCK'
RUN --mount=type=secret,id=other ls /run/secrets || echo no other
";

/// Secrets and agents are the client's; contexts come on standard input, too.
pub fn lent(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = context(host, "c", &[("Dockerfile", LENT), ("token", "secret value")])?;
    let agent = host.path("agent.sock");
    let _listening = std::os::unix::net::UnixListener::bind(&agent)?;
    let secret = format!("id=token,src={}", shown(&folder.join("token")));
    let words = ["--secret", &secret, "--ssh", "default", "-t", "lent", &shown(&folder)];
    let ran = try_build(&engine, &words, &[("SSH_AUTH_SOCK", &shown(&agent))])?;
    let told = ran.stderr;
    for line in [" 12", " length 12", "/run/buildkit/ssh_agent.0", " no other"] {
        ensure!(told.lines().any(|other| other.ends_with(line)), "{line:?} is not in\n{told}");
    }
    let saved = engine.docker.run(&["history", "--no-trunc", "lent"])?;
    ensure!(!saved.contains("secret value"), "{saved}");
    let missing = context(host, "m", &[("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,required=true true\n")])?;
    let ran = try_build(&engine, &[&shown(&missing)], &[])?;
    ensure!(ran.code != 0 && ran.stderr.contains("unset ssh forward key default"), "{ran:?}");
    Ok(())
}

/// What goes wrong is told at its step and in the end, and leaves the client with an error.
pub fn mistakes(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let fails = |file: &str, words: &[&str], expected: &str| -> Result<()> {
        let folder = context(host, &format!("m{}", file.len()), &[("Dockerfile", file)])?;
        let all: Vec<&str> = words.iter().copied().chain([folder.to_str().context("a path is text")?]).collect();
        let ran = try_build(&engine, &all, &[])?;
        ensure!(ran.code != 0 && ran.stderr.contains(expected), "{file:?}: {expected:?} is not in {ran:?}");
        Ok(())
    };
    let exit = "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3";
    fails("FROM busybox\nRUN exit 3\n", &[], exit)?;
    fails("FROM busybox\nFOO bar\n", &[], "unknown instruction: FOO")?;
    fails("FROM busybox\nCOPY missing /\n", &[], "missing")?;
    fails("FROM busybox\n", &["-f", "absent"], "failed to read dockerfile: open absent: no such file or directory")?;
    fails("FROM busybox AS a\n", &["-o", "type=strange"], "exporter \"strange\" could not be found")?;
    fails("# syntax=somebody/else:1\nFROM busybox\n", &[], "somebody/else")?;
    fails("FROM busybox AS only\n", &["--memory", "50m"], "DOCKER_BUILDKIT=0")
}

/// The same bits, whoever asks, and by which protocol.
pub fn same_bits(host: &Host) -> Result<()> {
    const FILE: &str = "FROM busybox AS tools\nRUN mkdir /made && date > /made/date; echo x > /made/x; rm /made/date\n\
                        FROM busybox\nARG SOURCE_DATE_EPOCH\nCOPY --from=tools /made /made\nCOPY . /src\n\
                        WORKDIR /src\nRUN cat a > b\nENV C=d\nCMD [\"cat\", \"b\"]\n";
    let composed = "version: '3.4'\nservices:\n  app:\n    image: composed\n    build:\n      context: .\n      args:\n        \
                    SOURCE_DATE_EPOCH: '1700000000'\n";
    let files = [("Dockerfile", FILE), ("a", "content\n"), ("docker-compose.yml", composed)];
    let folder = context(host, "c", &files)?;
    let mut ids = Vec::new();
    for number in 0..2 {
        // An engine each, so that nothing is found again.
        let engine = host.engine(&format!("e{number}"))?;
        let image = fs::read_to_string(host.path("base")).ok();
        let base = host.path("base.tar");
        if image.is_none() {
            engine.import_busybox("busybox")?;
            engine.docker.run(&["save", "-o", &shown(&base), "busybox"])?;
            fs::write(host.path("base"), "saved")?;
        } else {
            engine.docker.run(&["load", "-i", &shown(&base)])?;
        }
        let argument = "SOURCE_DATE_EPOCH=1700000000";
        let clean = || engine.docker.run(&["builder", "prune", "-af"]);
        let classic = ["build", "-q", "--build-arg", argument, &shown(&folder)];
        ids.push(("ours classic", engine.docker.run(&classic)?));
        clean()?;
        let mut own = engine.docker.command(&classic);
        ids.push(("ours BuildKit", String::from_utf8(own.env("DOCKER_BUILDKIT", "1").output()?.stdout)?));
        clean()?;
        ids.push(("28 classic", engine.docker_of_docker().run(&classic)?));
        clean()?;
        let mut old = client(&engine).command(&classic);
        ids.push(("20.10 classic", String::from_utf8(old.env("DOCKER_BUILDKIT", "0").output()?.stdout)?));
        clean()?;
        ids.push(("20.10 BuildKit", build(&engine, &["-q", "--build-arg", argument, &shown(&folder)])?));
        clean()?;
        let python = format!(
            "import docker; print(docker.DockerClient(base_url={:?}).images.build(path={:?}, rm=True, buildargs={{'SOURCE_DATE_EPOCH': \
             '1700000000'}})[0].id)",
            engine.docker.host,
            shown(&folder)
        );
        let ran = Command::new("python3").args(["-c", &python]).output()?;
        ids.push(("docker-py", String::from_utf8(ran.stdout)? + &String::from_utf8_lossy(&ran.stderr)));
        clean()?;
        let mut compose = Command::new(COMPOSE);
        compose
            .current_dir(&folder)
            .arg("build")
            .env("DOCKER_HOST", &engine.docker.host)
            .env("COMPOSE_DOCKER_CLI_BUILD", "0");
        let composed = compose.output()?;
        ensure!(composed.status.success(), "{}", String::from_utf8_lossy(&composed.stderr));
        ids.push(("docker-compose", engine.docker.run(&["inspect", "--format", "{{.Id}}", "composed"])?));
    }
    let first = ids[0].1.trim().to_owned();
    ensure!(first.starts_with("sha256:") && ids.iter().all(|(_, id)| id.trim() == first), "{ids:?}");
    Ok(())
}

/// Whoever only knocks, or says what nobody says, is refused or waited for no longer than is good.
pub fn hostile(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let ask = |head: &str| -> Result<String> {
        let mut stream = UnixStream::connect(engine.docker.host.strip_prefix("unix://").context("a socket")?)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("POST {head}\r\nHost: d\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    ensure!(ask("/session HTTP/1.1")?.contains("no upgrade proto in request"));
    ensure!(ask("/session HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp")?.contains("protocol tcp not supported"));
    ensure!(ask("/session HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c")?.contains("the session has no id"));
    ensure!(ask("/grpc HTTP/1.1")?.contains("no upgrade proto in request"));
    let refused = ask("/build?version=2&remote=client-session&platform=linux/amd64,moon HTTP/1.1")?;
    ensure!(refused.contains("failed to parse target platform moon"), "{refused}");
    ensure!(ask("/build?version=3 HTTP/1.1")?.contains("invalid version 3"));
    ensure!(ask("/build/cancel HTTP/1.1")?.contains("build ID not provided"));
    ensure!(ask("/build/cancel?id=nobody HTTP/1.1")?.starts_with("HTTP/1.1 200"));
    // A client that goes away in the midst of a step leaves nothing running.
    let folder = context(host, "c", &[("Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n")])?;
    let mut command = client(&engine).command(&["build", "--progress=plain", &shown(&folder)]);
    let mut building = command.env("DOCKER_BUILDKIT", "1").stderr(std::process::Stdio::null()).spawn()?;
    let listed = || engine.docker.run(&["ps", "-aq"]).ok();
    wait_until("the step's container", || listed().filter(|listed| !listed.is_empty()))?;
    building.kill()?;
    building.wait()?;
    wait_until("the end of the step's container", || listed().filter(String::is_empty)).map(drop)
}
