//! Secrets of a build: where they are, and where not.

use std::fs;

use anyhow::Result;
use testhost::{Engine, Host};

use crate::build::{context, shown};

/// A secret as a variable: the step's process has it, and neither the container nor any file of the daemon.
pub fn variables(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let file = "FROM busybox
USER 1000
RUN --mount=type=secret,id=key,env=TOKEN,required test \"$TOKEN\" = \"$(printf 'tell\\nno.%s' one)\" && id -u && sleep 2
RUN test -z \"$TOKEN\" && test ! -e /dev/.docker-build
RUN --mount=type=secret,id=key,env=TOKEN [\"sh\", \"-c\", \"echo ${#TOKEN}; exit 3\"]
";
    let folder = context(host, "variables", &[("Dockerfile", file)])?;
    fs::write(host.path("token"), "tell\nno.one")?;
    let secret = format!("id=key,src={}", shown(&host.path("token")));
    let looked = std::thread::scope(|scope| {
        let build = scope.spawn(|| docker.try_run(&["build", "--force-rm", "--secret", &secret, &shown(&folder)]));
        let running = || docker.run(&["ps", "-q"]).ok().filter(|id| !id.is_empty());
        let id = testhost::wait_until("a step runs", running);
        let looked = id.and_then(|id| Ok((docker.run(&["inspect", id.trim()])?, search(&engine, "no.one")?)));
        build.join().map_err(|_| anyhow::anyhow!("the build panicked"))?.map(|built| (looked, built))
    })?;
    let (looked, built) = looked;
    let (inspected, files) = looked?;
    assert!(!inspected.contains("no.one"), "{inspected}");
    assert_eq!(files, Vec::<String>::new(), "files that have the secret while the step runs");
    assert!(built.stdout.contains("\n1000\n") && built.stdout.contains("\n11\n"), "{}", built.stdout);
    assert!(built.stderr.contains("returned a non-zero code: 3"), "{}", built.stderr);
    assert_eq!(search(&engine, "no.one")?, Vec::<String>::new(), "files that have the secret afterwards");
    Ok(())
}

/// Files of the daemons that have a text, but for the one that is there to hand it on.
fn search(engine: &Engine<'_>, text: &str) -> Result<Vec<String>> {
    let mut command = std::process::Command::new("grep");
    command.args(["-rlF", "--exclude-dir=build-secrets", "--devices=skip", text]);
    let found = command.args([engine.data_root(), engine.exec_root()]).output()?;
    Ok(String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect())
}

/// A secret as a file, and one that a step prints nothing of: in no layer, no history, no cache, no log, also after the step
/// has failed or the daemon has died.
pub fn files(host: &Host) -> Result<()> {
    const TEXT: &str = "whispered-in-the-dark";
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let file = "FROM busybox
RUN --mount=type=secret,id=key,target=/deep/er/key,mode=0444,uid=5 wc -c < /deep/er/key > /length && stat -c '%a %u' /deep/er/key
RUN --mount=type=cache,target=/c --mount=type=secret,id=key cat /run/secrets/key > /dev/null; exit ${FAIL:-0}
";
    let folder = context(host, "files", &[("Dockerfile", file)])?;
    fs::write(host.path("key"), TEXT)?;
    let secret = format!("id=key,src={}", shown(&host.path("key")));
    let ran = docker.try_run(&["build", "-t", "kept", "--secret", &secret, &shown(&folder)])?;
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(ran.code == 0 && told.contains("444 5\n"), "{told}");
    let failing = fs::read_to_string(folder.join("Dockerfile"))?.replace("${FAIL:-0}", "9");
    fs::write(folder.join("Dockerfile"), failing)?;
    let failed = docker.try_run(&["build", "--force-rm", "--secret", &secret, &shown(&folder)])?;
    assert_eq!(failed.code, 9, "{}", failed.stderr);
    assert_eq!(docker.run(&["run", "--rm", "kept", "cat", "/length"])?, TEXT.len().to_string());
    let saved = host.path("kept.tar");
    docker.run(&["save", "-o", &shown(&saved), "kept"])?;
    let history = docker.run(&["history", "--no-trunc", "kept"])?;
    assert!(!history.contains(TEXT) && !fs::read(&saved)?.windows(TEXT.len()).any(|found| found == TEXT.as_bytes()));
    let lengths = docker.run(&["run", "--rm", "kept", "sh", "-c", "ls /deep /run/secrets /c 2>&1 || true"])?;
    assert!(!lengths.contains("key"), "{lengths}");
    engine.kill_dockerd()?;
    engine.start_again()?;
    assert_eq!(search(&engine, TEXT)?, Vec::<String>::new(), "files that have the secret");
    let log = fs::read_to_string(host.path("dockerd-e.log"))?;
    assert!(!log.is_empty() && !log.contains(TEXT), "what the daemon's log tells");
    Ok(())
}
