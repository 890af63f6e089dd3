//! Volumes: made, filled, mounted, removed, and what a killed daemon leaves of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use testhost::{Engine, Host, wait_until};

use crate::clients;

const TMPFS: [&str; 6] = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m"];

fn folder(engine: &Engine, name: &str) -> PathBuf {
    engine.data_root().join("volumes").join(name).join("_data")
}

fn is_mounted(path: &Path) -> Result<bool> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().any(|line| line.split(' ').nth(4).is_some_and(|place| Path::new(place) == path)))
}

pub fn life(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let refused = |words: &[&str]| docker.try_run(words).map(|ran| ran.stderr.trim().to_owned());
        ensure!(docker.run(&["volume", "create", "--label", "team=blue", "data"])? == "data");
        ensure!(docker.run(&["volume", "create", "data"])? == "data");
        let format = "{{.Driver}} {{.Scope}} {{.Mountpoint}} {{.Labels}}";
        let shown = docker.run(&["volume", "inspect", "-f", format, "data"])?;
        ensure!(shown == format!("local local {} map[team:blue]", folder(&engine, "data").display()), "{shown}");
        docker.run(&["run", "-d", "--name", "user", "-v", "data:/d", "-v", "/own", &image, "sleep", "1000"])?;
        let id = docker.run(&["inspect", "-f", "{{.Id}}", "user"])?;
        let in_use = format!("Error response from daemon: remove data: volume is in use - [{id}]");
        ensure!(refused(&["volume", "rm", "data"])? == in_use && refused(&["volume", "rm", "-f", "data"])? == in_use);
        ensure!(refused(&["volume", "rm", "nobody"])? == "Error response from daemon: get nobody: no such volume");
        ensure!(docker.run(&["volume", "rm", "-f", "nobody"])? == "nobody");
        let odd = refused(&["volume", "create", "a/b"])?;
        ensure!(odd.contains("create a/b: \"a/b\" includes invalid characters for a local volume name, only"), "{odd}");
        let quota = refused(&["volume", "create", "--opt", "size=10m", "small"])?;
        ensure!(quota.ends_with("create small: quota size requested but no quota support"), "{quota}");
        ensure!(docker.run(&["volume", "ls", "-q"])?.lines().count() == 2);
        ensure!(docker.run(&["volume", "ls", "-q", "-f", "dangling=true"])?.is_empty());
        docker.run(&["exec", "user", "sh", "-c", "echo 12345 > /d/file"])?;
        let sizes = docker.run(&["system", "df", "-v", "--format", "{{json .Volumes}}"])?;
        ensure!(sizes.contains("\"Links\":\"1\""), "{sizes}");
        let file = folder(&engine, "data").join("file").to_string_lossy().into_owned();
        let taken = host.command("du", &["--block-size=1", &file])?;
        let taken = taken.split_whitespace().next().unwrap_or_default();
        let used = engine.request("GET", "/v1.44/system/df?type=volume", b"")?;
        ensure!(used.body.contains(&format!("\"Size\":{taken}")), "du tells {taken}: {}", used.body);
        docker.run(&["rm", "-f", "-v", "user"])?;
        ensure!(docker.run(&["volume", "ls", "-q"])? == "data", "what had no name is gone");
        let anonymous = docker.run(&["volume", "create"])?;
        let pruned = docker.run(&["volume", "prune", "-f"])?;
        ensure!(pruned == format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 0B"), "{pruned}");
        let pruned = docker.run(&["volume", "prune", "-f", "-a", "--filter", "label!=team"])?;
        ensure!(pruned == "Total reclaimed space: 0B", "{pruned}");
        ensure!(docker.run(&["volume", "prune", "-f", "-a"])?.contains("data"));
        ensure!(!folder(&engine, "data").exists());
    }
    // Before API 1.42 every volume went.
    engine.docker.run(&["volume", "create", "old"])?;
    let pruned = engine.request("POST", "/v1.41/volumes/prune", b"")?;
    ensure!(pruned.body.contains("\"old\""), "{}", pruned.body);
    let update = engine.request("PUT", "/volumes/x?version=1", b"{}")?;
    ensure!(update.status == 503 && update.message().starts_with("volume update only valid for cluster volumes"));
    Ok(())
}

pub fn filled(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let script = "mkdir -p /srv/in; echo text > /srv/in/file; chown 7:8 /srv/in/file; chmod 4751 /srv/in/file; chmod 1770 \
                  /srv; chown 5:6 /srv; ln -s /etc/passwd /srv/link";
    let secret = host.path("secret");
    fs::create_dir(&secret)?;
    fs::write(secret.join("key"), "of the host")?;
    let script = format!("{script}; ln -s {} /evil", secret.display());
    docker.run(&["run", "--name", "maker", &image, "sh", "-c", &script])?;
    docker.run(&["commit", "-c", "VOLUME /srv", "maker", "made"])?;
    docker.run(&["rm", "maker"])?;
    docker.run(&["run", "--rm", "-v", "full:/srv", "made", "true"])?;
    let (top, file) = (fs::metadata(folder(&engine, "full"))?, fs::metadata(folder(&engine, "full").join("in/file"))?);
    ensure!((top.uid(), top.gid(), top.mode() & 0o7777) == (5, 6, 0o1770));
    ensure!((file.uid(), file.gid(), file.mode() & 0o7777) == (7, 8, 0o4751));
    ensure!(fs::read_link(folder(&engine, "full").join("link"))? == Path::new("/etc/passwd"));
    docker.run(&["run", "--rm", "-v", "bare:/srv:nocopy", "made", "true"])?;
    ensure!(fs::read_dir(folder(&engine, "bare"))?.next().is_none());
    docker.run(&["run", "--rm", "-v", "evil:/evil", "made", "true"])?;
    ensure!(fs::read_dir(folder(&engine, "evil"))?.next().is_none(), "a link of the image's leads nowhere else");
    // What the image declares is there under a name that nobody gave, and goes with --rm.
    ensure!(docker.run(&["run", "--rm", "made", "cat", "/srv/in/file"])? == "text");
    ensure!(docker.run(&["volume", "ls", "-q"])? == "bare\nevil\nfull");

    docker.run(&["run", "-d", "--name", "donor", "-v", "full:/srv", "-v", "/own", "made", "sleep", "1000"])?;
    ensure!(docker.run(&["run", "--rm", "--volumes-from", "donor", "made", "cat", "/srv/in/file"])? == "text");
    let write = ["run", "--rm", "--volumes-from", "donor:ro", "made", "touch", "/own/x"];
    ensure!(docker.try_run(&write)?.stderr.contains("Read-only file system"));
    let wrong = docker.try_run(&["run", "--rm", "--volumes-from", "donor:wild", "made", "true"])?;
    ensure!(wrong.stderr.contains("invalid mode: wild"), "{}", wrong.stderr);
    docker.run(&["run", "-d", "--name", "heir", "--volumes-from", "donor", "made", "sleep", "1000"])?;
    docker.run(&["rm", "-f", "-v", "donor"])?;
    docker.run(&["exec", "heir", "touch", "/own/still-here"])?;
    docker.run(&["rm", "-f", "-v", "heir"])?;

    // A part of a volume, and only of the volume.
    let part = |subpath: &str| format!("type=volume,source=full,target=/d,volume-subpath={subpath}");
    ensure!(docker.run(&["run", "--rm", "--mount", &part("in"), "made", "cat", "/d/file"])? == "text");
    symlink("/etc", folder(&engine, "full").join("out"))?;
    let at = folder(&engine, "full").display().to_string();
    let escapes = |path: &str| format!("path concatenation escapes the base directory, base: {at}, sub: {path}");
    let refusals = [
        ("out", escapes("out")),
        ("link", escapes("link")),
        ("in/../../x", "subpath must be a relative path within the volume".to_owned()),
        ("missing", format!("cannot access path {at}/missing: lstat {at}/missing: no such file or directory")),
    ];
    for (outside, words) in refusals {
        let ran = docker.try_run(&["run", "--rm", "--mount", &part(outside), "made", "ls", "/d"])?;
        ensure!(ran.code != 0 && ran.stderr.contains(&words), "{outside}: {ran:?}");
    }
    Ok(())
}

pub fn mounted(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&[&["volume", "create"], &TMPFS[..], &["mem"]].concat())?;
    let place = folder(&engine, "mem");
    for name in ["one", "two"] {
        docker.run(&["run", "-d", "--name", name, "-v", "mem:/m", &image, "sleep", "1000"])?;
    }
    docker.run(&["exec", "one", "sh", "-c", "echo shared > /m/file"])?;
    ensure!(docker.run(&["exec", "two", "cat", "/m/file"])? == "shared" && is_mounted(&place)?);
    engine.kill_dockerd()?;
    engine.start_again()?;
    docker.run(&["rm", "-f", "one"])?;
    ensure!(docker.run(&["run", "--rm", "-v", "mem:/m", &image, "cat", "/m/file"])? == "shared", "two still has it");
    ensure!(is_mounted(&place)?);
    docker.run(&["rm", "-f", "two"])?;
    ensure!(!is_mounted(&place)?, "nobody has it");
    // Of a container that does not run it is mounted while somebody looks.
    docker.run(&["create", "--name", "rest", "-v", "mem:/m", &image])?;
    docker.run(&["cp", "rest:/m/.", "-"])?;
    wait_until("the volume's end", || is_mounted(&place).ok().filter(|mounted| !mounted))?;
    docker.run(&["rm", "rest"])?;

    let bad = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=foo=bar"];
    docker.run(&[&["volume", "create"], &bad[..], &["bad"]].concat())?;
    let ran = docker.try_run(&["run", "--rm", "-v", "bad:/m", &image, "true"])?;
    let at = folder(&engine, "bad").display().to_string();
    let words = format!(
        "error while mounting volume '{at}': failed to mount local volume: mount tmpfs:{at}, data: foo=bar: invalid argument"
    );
    ensure!(ran.code == 125 && ran.stderr.contains(&words), "{}", ran.stderr);
    ensure!(docker.run(&["ps", "-aq"])?.is_empty());

    // A container that ended while no daemon was there leaves no mount behind it.
    docker.run(&["run", "-d", "--name", "late", "-v", "mem:/m", &image, "sleep", "1"])?;
    ensure!(is_mounted(&place)?);
    engine.kill_dockerd()?;
    std::thread::sleep(Duration::from_millis(1500));
    engine.start_again()?;
    wait_until("the end to be noticed", || is_mounted(&place).ok().filter(|mounted| !mounted))?;
    docker.run(&["rm", "late"])?;
    Ok(())
}

/// Files of a bind that belong to who runs in the container, whoever owns them on the host.
pub fn matched(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let source = host.path("work");
    fs::create_dir(&source)?;
    fs::write(source.join("theirs"), "x")?;
    for path in [source.clone(), source.join("theirs")] {
        std::os::unix::fs::chown(path, Some(1234), Some(1235))?;
    }
    let bind = format!("type=bind,source={},target=/w,bind-idmap=match-user", source.display());
    for (user, seen) in [("0", "0:0"), ("77:78", "77:78"), ("1234:1235", "1234:1235")] {
        let script = "touch /w/made && stat -c %u:%g /w /w/theirs /w/made";
        let shown = docker.run(&["run", "--rm", "-u", user, "--mount", &bind, &image, "sh", "-c", script])?;
        ensure!(shown == [seen; 3].join("\n"), "{user}: {shown}");
        let made = fs::metadata(source.join("made"))?;
        ensure!((made.uid(), made.gid()) == (1234, 1235), "{user}: {}:{}", made.uid(), made.gid());
        fs::remove_file(source.join("made"))?;
    }
    // proc(5) is nobody's to map.
    let refused = docker.try_run(&[
        "run",
        "--rm",
        "-u",
        "5",
        "--mount",
        "type=bind,source=/proc,target=/w,bind-idmap=match-user",
        &image,
    ])?;
    ensure!(refused.code == 125 && refused.stderr.contains("/proc has no id-mapped mounts"), "{}", refused.stderr);
    let wrong = docker.try_run(&["run", "--rm", "--mount", "type=bind,source=/,target=/w,bind-idmap=all", &image])?;
    ensure!(wrong.stderr.contains("invalid value for bind-idmap: all (must be \"match-user\")"), "{}", wrong.stderr);
    ensure!(docker.run(&["ps", "-aq"])?.is_empty());
    Ok(())
}

/// Kills the daemon at another moment each time while volumes come, are used and go.
pub fn killed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&[&["volume", "create"], &TMPFS[..], &["mem"]].concat())?;
    for round in 0..10_u64 {
        let name = format!("v{round}");
        let run = ["run", "-d", "-v", "mem:/m", "-v", "/own", "-v", &format!("{name}:/v"), &image, "sleep", "1000"];
        let busy = std::thread::scope(|scope| {
            let busy = scope.spawn(|| -> Result<()> {
                // What the daemon's death interrupts may fail; what it leaves is looked at below.
                docker.try_run(&["volume", "create", &format!("made{round}")])?;
                let id = docker.try_run(&run)?.stdout.trim().to_owned();
                docker.try_run(&["volume", "rm", &format!("made{round}")])?;
                docker.try_run(&["rm", "-f", "-v", &id])?;
                docker.try_run(&["volume", "rm", &name])?;
                Ok(())
            });
            std::thread::sleep(Duration::from_millis(round * 45));
            engine.kill_dockerd()?;
            busy.join().expect("no panic")
        });
        busy?;
        engine.start_again()?;
        check(&engine, &format!("round {round}"))?;
        for id in docker.run(&["ps", "-aq"])?.lines() {
            docker.run(&["rm", "-f", "-v", id])?;
        }
        check(&engine, &format!("round {round}, cleared"))?;
        ensure!(!is_mounted(&folder(&engine, "mem"))?);
        let anonymous = docker.run(&["volume", "ls", "-q", "-f", "label=com.docker.volume.anonymous"])?;
        ensure!(anonymous.is_empty(), "round {round} left {anonymous}");
    }
    Ok(())
}

/// Kills the daemon while a volume is filled: afterwards it is full, or nothing was asked for.
pub fn killed_filling(host: &Host) -> Result<()> {
    const FILES: usize = 1500;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let script = format!("mkdir /srv; for i in $(seq {FILES}); do echo $i > /srv/$i; done");
    docker.run(&["run", "--name", "maker", &image, "sh", "-c", &script])?;
    docker.run(&["commit", "maker", "full"])?;
    docker.run(&["rm", "maker"])?;
    let mut halves = 0;
    for round in 0..4_u64 {
        let created = std::thread::scope(|scope| {
            let creating = scope.spawn(|| docker.try_run(&["create", "--name", "new", "-v", "data:/srv", "full"]));
            let seen = || fs::read_dir(folder(&engine, "data")).map_or(0, Iterator::count);
            // In the middle of it, earlier or later each time.
            wait_until("the first files", || (seen() > 0 || creating.is_finished()).then_some(()))?;
            std::thread::sleep(Duration::from_millis(round * 4));
            engine.kill_dockerd()?;
            halves += usize::from((1..FILES).contains(&seen()));
            creating.join().expect("no panic")
        })?;
        engine.start_again()?;
        let there = fs::read_dir(folder(&engine, "data")).map_or(0, Iterator::count);
        let known = !docker.run(&["ps", "-aq"])?.is_empty();
        ensure!(known || created.code != 0, "round {round}: a container was made and is gone");
        ensure!(there == if known { FILES } else { 0 }, "round {round}: {there} files, container {known}");
        ensure!(docker.run(&["run", "--rm", "-v", "data:/srv", "full", "cat", "/srv/1500"])? == "1500");
        docker.try_run(&["rm", "new"])?;
        docker.run(&["volume", "rm", "data"])?;
    }
    ensure!(halves > 0, "no daemon died in the middle");
    Ok(())
}

/// What is listed is on the disk and the other way round; what is mounted is used.
fn check(engine: &Engine, when: &str) -> Result<()> {
    let listed = engine.docker.run(&["volume", "ls", "-q"])?;
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    let mut there = Vec::new();
    for entry in fs::read_dir(engine.data_root().join("volumes"))? {
        there.push(entry?.file_name().to_string_lossy().into_owned());
    }
    there.sort_unstable();
    ensure!(listed == there, "{when}: listed {listed:?}, on disk {there:?}");
    for name in &there {
        ensure!(folder(engine, name).is_dir(), "{when}: {name} has no folder");
    }
    let running = engine.docker.run(&["ps", "-q", "-f", "volume=mem"])?;
    let mounted = is_mounted(&folder(engine, "mem"))?;
    ensure!(mounted != running.is_empty(), "{when}: mounted {mounted}, running {running:?}");
    Ok(())
}
