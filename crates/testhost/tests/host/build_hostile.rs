//! Builds that somebody wishes ill: contexts that reach for the host, steps that take all there is, daemons that die.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use testhost::{Docker, Engine, Host, Running, wait_until};

use crate::build::{context, shown};
use crate::images_archives::{Member, tar};

/// Room of an engine whose disk is small.
const SMALL_DISK: &str = "size=96m";
/// Processes of a build whose group has a limit.
const MOST_PROCESSES: &str = "150";

fn clients<'a>(engine: &'a Engine<'_>) -> [(&'static str, Docker); 2] {
    [("docker's client", engine.docker_of_docker()), ("ours", engine.docker.clone())]
}

/// What either client says of a build, on whichever stream.
fn told(docker: &Docker, words: &[&str], input: &[u8]) -> Result<(i32, String)> {
    let ran = docker.try_run_with(words, input)?;
    Ok((ran.code, format!("{}{}", ran.stdout, ran.stderr)))
}

/// A folder with everything that is no file: what it reaches for stays where it is, and what no layer can hold is left out.
pub fn contexts(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    fs::write(host.path("outside"), "of the host\n")?;
    let file = "FROM busybox\nCOPY . /all\nRUN cd /all && for f in *; do stat -c '%n %F' $f; done; cat out || true\n";
    let folder = context(host, "odd", &[("Dockerfile", file), ("a", "a")])?;
    let links = [("out", "../outside"), ("far", "/etc/shadow"), ("round", "round"), ("up", "..")];
    for (name, target) in links {
        std::os::unix::fs::symlink(target, folder.join(name))?;
    }
    let _listener = std::os::unix::net::UnixListener::bind(folder.join("socket"))?;
    host.command("mkfifo", &[&shown(&folder.join("pipe"))])?;
    host.command("mknod", &[&shown(&folder.join("null")), "c", "1", "3"])?;
    for (name, docker) in clients(&engine) {
        let (code, built) = told(&docker, &["build", "--no-cache", &shown(&folder)], b"")?;
        assert_eq!(code, 0, "{name}: {built}");
        for line in
            ["out symbolic link", "far symbolic link", "round symbolic link", "up symbolic link", "null character"]
        {
            assert!(built.contains(line), "{name}: {line}: {built}");
        }
        assert!(!built.contains("of the host") && !built.contains("socket socket"), "{name}: {built}");
        for source in ["out", "far", "up/outside", "round"] {
            let text = format!("FROM busybox\nCOPY {source} /x\n");
            let refused = docker.try_run_with(&["build", "-f", "-", &shown(&folder)], text.as_bytes())?;
            assert!(refused.code != 0, "{name}: COPY {source}: {}", refused.stdout);
            assert!(refused.stderr.contains("COPY failed"), "{name}: COPY {source}: {}", refused.stderr);
        }
    }
    // A name is any bytes to the kernel; only BuildKit's session cannot carry it.
    let odd = OsStr::from_bytes(b"odd-\xff-name");
    fs::write(folder.join(odd), "odd\n")?;
    std::os::unix::fs::symlink(odd, folder.join("to-odd"))?;
    let text = "FROM busybox AS one\nCOPY . /all\nFROM busybox\nCOPY odd-?-name /first\nCOPY --from=one /all/odd-* /to/\n\
                COPY to-odd /\nRUN --mount=type=bind,target=/bound cat /first /to-odd /to/odd-* /bound/to-odd | tr '\\n' ' '\n";
    for (name, docker) in clients(&engine) {
        let (code, built) =
            told(&docker, &["build", "--no-cache", "-t", "odd", "-f", "-", &shown(&folder)], text.as_bytes())?;
        assert!(code == 0 && built.contains("odd odd odd odd"), "{name}: {built}");
        let script = "cd /to; for name in *; do printf '%s\\n' \"$name\"; done | od -An -tx1";
        assert_eq!(docker.run(&["run", "--rm", "odd", "sh", "-c", script])?.trim(), "6f 64 64 2d ff 2d 6e 61 6d 65 0a");
    }
    let by_session = crate::build_client::try_build(&engine, &[&shown(&folder)])?;
    assert!(by_session.code != 0 && by_session.stderr.contains("not UTF-8"), "{by_session:?}");
    Ok(())
}

/// Archives that no client would send.
pub fn archives(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = || Member::File("Dockerfile", b"FROM busybox\nCOPY . /all\n".to_vec());
    let text = |name| Member::File(name, b"text".to_vec());
    let mut cut = tar(&[file(), text("a")]);
    cut.truncate(cut.len() - 1024 - 512);
    let mut long = tar(&[file(), text("huge")]);
    // The size of the last member, in octal digits.
    let at = long.len() - 1024 - 1024 + 124;
    long[at..at + 11].copy_from_slice(b"77777777777");
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("a hard link out", tar(&[file(), Member::Other(b'1', "h", "/etc/shadow")]), "etc/shadow"),
        ("a hard link to nothing", tar(&[file(), Member::Other(b'1', "h", "missing")]), "missing"),
        ("half a member", cut, ""),
        ("a member longer than its archive", long, ""),
        ("no archive", b"GIF89a\x01\x00nothing of the kind".repeat(100), ""),
        ("nothing", Vec::new(), ""),
    ];
    for (what, archive, words) in cases {
        let answer = post(&engine, &archive)?;
        let refused = answer.contains("\"message\"") || answer.contains("\"error\"");
        assert!(refused && answer.contains(words), "{what}: {answer}");
    }
    // Names above the root stop there, as with Docker.
    for name in ["../escape", "a/../../../escape", "/escape"] {
        let answer =
            post(&engine, &tar(&[Member::File("Dockerfile", b"FROM busybox\nCOPY escape /\n".to_vec()), text(name)]))?;
        assert!(answer.contains("Successfully built"), "{name}: {answer}");
    }
    // A link that a later member's name leads through is replaced by a folder: nothing is written through it.
    let through = tar(&[file(), Member::Link("d", "/tmp"), text("d/escape-of-a-build")]);
    let answer = post(&engine, &through)?;
    assert!(answer.contains("Successfully built"), "{answer}");
    assert!(!Path::new("/tmp/escape-of-a-build").exists());
    assert!(!host.path("escape").exists() && !engine.data_root().join("build/escape").exists());
    let left: Vec<_> = fs::read_dir(engine.data_root().join("build/tmp"))?.collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// What the engine answers to an archive as a build's body.
fn post(engine: &Engine<'_>, archive: &[u8]) -> Result<String> {
    let head = format!(
        "POST /v1.41/build HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    );
    Ok(testhost::raw_request(&engine.socket(), &[head.as_bytes(), archive].concat())?.body)
}

/// A step that fills the disk fails with the kernel's words; what it had taken is free again, and the engine builds on.
pub fn full_disk(host: &Host) -> Result<()> {
    let data = host.path("e-data");
    fs::create_dir_all(&data)?;
    host.command("mount", &["-t", "tmpfs", "-o", SMALL_DISK, "test", &shown(&data)])?;
    host.expect_traces()?;
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let free = || -> Result<u64> {
        let stat = rustix::fs::statvfs(&data)?;
        Ok(stat.f_bavail * stat.f_frsize)
    };
    let before = free()?;
    let filling = b"FROM busybox\nRUN dd if=/dev/zero of=/big bs=64k\n";
    let failed = docker.try_run_with(&["build", "--force-rm", "-"], filling)?;
    assert!(failed.code != 0, "{}", failed.stdout);
    let told = format!("{}{}", failed.stdout, failed.stderr);
    assert!(told.contains("No space left on device"), "{told}");
    // A layer for which there is no room: the step goes well and its layer does not.
    let large = b"FROM busybox\nRUN head -c 60000000 /dev/zero > /big\n";
    let failed = docker.try_run_with(&["build", "--force-rm", "-"], large)?;
    assert!(failed.code != 0, "60 MB and their layer do not fit: {}", failed.stdout);
    wait_until("the room that both had taken", || free().ok().filter(|now| now + (2 << 20) > before))?;
    assert_eq!(docker.run(&["ps", "-aq"])?, "");
    let built = docker.run_with(&["build", "-q", "-"], b"FROM busybox\nRUN echo fits > /small\nCMD cat /small\n")?;
    assert_eq!(docker.run(&["run", "--rm", &built])?, "fits");
    Ok(())
}

/// A step that multiplies itself stays within its group's limit, and Ctrl-C ends all of it, by whichever client.
pub fn fork_bomb(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let group = host.control_group();
    let hierarchy = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new).into_iter().find(|path| path.is_dir());
    let folder = hierarchy.context("control groups")?.join(&group);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("pids.max"), MOST_PROCESSES)?;
    let file = "FROM busybox\nRUN bomb() { sleep 7654321 & bomb; bomb & bomb; }; bomb\n";
    let context = context(host, "bomb", &[("Dockerfile", file)])?;
    let parent = format!("/{group}");
    for (name, docker) in clients(&engine) {
        let words = ["build", "--force-rm", "--cgroup-parent", &parent, &shown(&context)];
        let mut command = docker.command(&words);
        command.env("DOCKER_BUILDKIT", "0");
        let mut building = Running::start(command)?;
        let many =
            || fs::read_to_string(folder.join("pids.current")).ok()?.trim().parse::<u32>().ok().filter(|n| *n > 100);
        wait_until(&format!("{name}: many processes"), many)?;
        building.signal(Signal::INT)?;
        let none = || fs::read_to_string(folder.join("pids.current")).ok().filter(|text| text.trim() == "0");
        wait_until(&format!("{name}: the end of all of them"), none)?;
        wait_until("the client's end", || (!building.runs().ok()?).then_some(()))?;
        let gone = || engine.docker.run(&["ps", "-aq"]).ok().filter(String::is_empty);
        wait_until(&format!("{name}: no container is left"), gone)?;
    }
    let built = engine.docker.run_with(&["build", "-q", "-"], b"FROM busybox\nRUN true\n")?;
    ensure!(built.starts_with("sha256:"), "{built}");
    Ok(())
}

/// The daemon below dies in the middle of a step: the build ends with an error, nothing runs on, and the cache is sound.
pub fn containerd_killed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let made = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /made\n";
    let file = format!("{made}RUN echo waits; sleep 7654321\n");
    let folder = context(host, "killed", &[("Dockerfile", &file)])?;
    for who in ["docker-containerd", "dockerd", "both"] {
        let mut building = docker.start(&["build", "--force-rm", &shown(&folder)])?;
        building.expect("waits\n").with_context(|| who.to_owned())?;
        match who {
            "docker-containerd" => engine.kill_containerd()?,
            "dockerd" => engine.kill_dockerd()?,
            _ => {
                engine.kill_dockerd()?;
                engine.kill_containerd()?;
            }
        }
        if who == "docker-containerd" {
            // The step's container does not notice, and the build ends with whoever asked for it.
            building.signal(Signal::INT)?;
        }
        let ran = building.wait()?;
        ensure!(ran.code != 0, "{who}: {}", ran.stdout);
        if who != "docker-containerd" {
            engine.start_again()?;
        }
        wait_until("the daemon below", || engine.containerd_runs().then_some(()))?;
        let gone = || docker.run(&["ps", "-aq"]).ok().filter(String::is_empty);
        wait_until(&format!("{who}: no container is left"), gone)?;
        let none = || (!sleeps()).then_some(());
        wait_until(&format!("{who}: no process is left"), none)?;
        let image = |how: &[&str]| -> Result<String> {
            let words: Vec<&str> = ["build", "-q"].into_iter().chain(how.iter().copied()).chain(["-"]).collect();
            let id = docker.run_with(&words, made.as_bytes())?;
            docker.run(&["run", "--rm", &id, "cat", "/made"])
        };
        assert_eq!(image(&[])?, image(&[])?, "{who}: what was made before is found");
    }
    Ok(())
}

/// Whether the step's program still runs.
fn sleeps() -> bool {
    Command::new("pgrep").args(["-f", "sleep 7654321"]).output().is_ok_and(|found| found.status.success())
}
