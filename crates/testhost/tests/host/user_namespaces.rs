//! `--userns-remap`: users of containers are others on the host, and files belong to whom they should on both sides.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host};

/// Who root of a container is on the host, by `/etc/subuid` and `/etc/subgid`.
const USER: u32 = 200_000;
const GROUP: u32 = 300_000;

/// A daemon that maps to a user of the test's own.
fn mapped<'h>(host: &'h Host, arguments: &[&str]) -> Result<Engine<'h>> {
    let with = |file: &str, line: &str| -> Result<()> {
        let text = fs::read_to_string(file).unwrap_or_default();
        host.cover_file(file, format!("{text}{line}\n").as_bytes())
    };
    with("/etc/passwd", "lshmapped:x:4242:4243::/:/bin/false")?;
    with("/etc/group", "lshmapped:x:4243:")?;
    with("/etc/subuid", &format!("lshmapped:{USER}:65536"))?;
    with("/etc/subgid", &format!("lshmapped:{GROUP}:65536"))?;
    host.engine_with("e", &[&["--userns-remap", "lshmapped"], arguments].concat())
}

fn data_root(engine: &Engine) -> PathBuf {
    engine.data_root().join(format!("{USER}.{GROUP}"))
}

fn owner(path: &Path) -> Result<(u32, u32)> {
    let found = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    Ok((found.uid(), found.gid()))
}

fn pid(docker: &Docker, name: &str) -> Result<u32> {
    Ok(docker.run(&["inspect", "-f", "{{.State.Pid}}", name])?.trim().parse()?)
}

fn user_namespace(pid: u32) -> Result<PathBuf> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/user"))?)
}

/// Inside and outside of a container that runs: ids, files, namespaces, the network.
pub fn inside_and_outside(host: &Host) -> Result<()> {
    let engine = mapped(host, &[])?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    assert!(docker.run(&["info", "-f", "{{.SecurityOptions}}"])?.contains("name=userns"));
    assert_eq!(docker.run(&["info", "-f", "{{.DockerRootDir}}"])?, data_root(&engine).display().to_string());
    let mode = |path: &Path| fs::metadata(path).map(|found| found.mode() & 0o777);
    assert_eq!((owner(&data_root(&engine))?, mode(&data_root(&engine))?), ((0, GROUP), 0o710));
    assert_eq!((owner(&engine.data_root())?, mode(&engine.data_root())?), ((0, GROUP), 0o710));

    let said = docker.run(&["run", "--rm", &image, "sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/gid_map"])?;
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "200000", "65536", "0", "300000", "65536"]);
    // All of these are root's inside: layers, files of the daemon's, what is mounted.
    let places = "/ /bin/busybox /etc/hosts /etc/hostname /etc/resolv.conf /dev /dev/shm /dev/pts /proc /sys /tmp-made /dev/null";
    let script = format!("touch /tmp-made; stat -c %u:%g {places} | sort -u; echo x > /dev/null; echo y >> /etc/hosts");
    let owners = docker.run(&["run", "--rm", &image, "sh", "-c", &script])?;
    // Devices are the host's, bound: they belong to nobody of the namespace.
    assert_eq!(owners, "0:0\n65534:65534");

    docker.run(&["run", "-d", "--name", "one", &image, "sh", "-c", "touch /made; chown 7:8 /made; exec sleep 1000"])?;
    docker.run(&["run", "-d", "--name", "two", &image, "sleep", "1000"])?;
    let (one, two) = (pid(docker, "one")?, pid(docker, "two")?);
    assert_eq!(owner(Path::new(&format!("/proc/{one}")))?, (USER, GROUP));
    ensure!(user_namespace(one)? != user_namespace(two)?, "containers share no user namespace");
    ensure!(user_namespace(one)? != user_namespace(std::process::id())?);
    testhost::wait_until("the file", || docker.run(&["exec", "one", "ls", "/made"]).ok())?;
    assert_eq!(owner(Path::new(&format!("/proc/{one}/root/made")))?, (USER + 7, GROUP + 8));
    // An exec is in the same namespace; output can be opened by its name.
    let exec = docker.run(&["exec", "one", "sh", "-c", "id -u; stat -c %u /made; echo shown > /dev/stdout"])?;
    assert_eq!(exec, "0\n7\nshown");
    assert_eq!(docker.run(&["exec", "-u", "9:10", "one", "id"])?, "uid=9 gid=10 groups=10");
    assert_eq!(docker.run(&["run", "--rm", &image, "sh", "-c", "echo shown > /proc/1/fd/1"])?, "shown");
    // The network namespace is the container's own.
    let address = docker.run(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "two"])?;
    docker.run(&["exec", "one", "ping", "-c", "1", "-W", "5", &address])?;
    let sysctl = ["run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", &image, "cat", "/proc/sys/net/ipv4/ip_forward"];
    assert_eq!(docker.run(&sysctl)?, "1");
    docker.run(&["run", "--rm", "--network", "container:one", &image, "ping", "-c", "1", &address])?;
    let unmapped = docker.try_run(&["run", "--rm", "-u", "70000", &image, "true"])?;
    let words = "unable to setup user: cannot set uid to unmapped user in user namespace";
    ensure!(unmapped.stderr.contains(words), "{}", unmapped.stderr);
    docker.run(&["rm", "-f", "one", "two"])?;
    Ok(())
}

/// What leaves a container and what comes in has the container's owners in archives, and the host's on disk.
pub fn files(host: &Host) -> Result<()> {
    let engine = mapped(host, &[])?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let local = host.path("local");
    fs::create_dir(&local)?;
    fs::write(local.join("file"), "from the host\n")?;
    chown(local.join("file"), Some(5), Some(6))?;
    let path = local.join("file").display().to_string();
    docker.run(&["run", "-d", "--name", "runs", "-v", "data:/data", &image, "sleep", "1000"])?;
    docker.run(&["create", "--name", "rests", "-v", "data:/data", &image, "sleep", "1000"])?;
    for name in ["runs", "rests"] {
        docker.run(&["cp", "-a", &path, &format!("{name}:/copied")])?;
        docker.run(&["cp", "-a", &path, &format!("{name}:/data/{name}")])?;
        for from in ["/copied".to_owned(), format!("/data/{name}")] {
            let docker = format!("{} -H {}", docker.program.display(), docker.host);
            let listed = format!("{docker} cp {name}:{from} - | tar --numeric-owner -tvf -");
            let listed = host.command("sh", &["-c", &listed])?;
            ensure!(listed.contains(" 5/6 "), "{name}: {listed}");
        }
        assert_eq!(owner(&data_root(&engine).join("volumes/data/_data").join(name))?, (USER + 5, GROUP + 6));
        let changed = docker.run(&["diff", name])?;
        ensure!(changed.lines().any(|line| line == "A /copied"), "{changed}");
        let exported = docker.try_run(&["export", "-o", &local.join("tar").display().to_string(), name])?;
        assert_eq!(exported.code, 0, "{}", exported.stderr);
        let tar = local.join("tar").display().to_string();
        let listed = host.command("tar", &["--numeric-owner", "-tvf", &tar, "copied", "bin/busybox"])?;
        ensure!(listed.contains(" 5/6 ") && listed.contains(" 0/0 "), "{listed}");
    }
    docker.run(&["start", "rests"])?;
    let seen = ["exec", "rests", "stat", "-c", "%u:%g", "/copied", "/data/rests", "/data/runs", "/data"];
    assert_eq!(docker.run(&seen)?, "5:6\n5:6\n5:6\n0:0");
    // An image of it is like any other's: root's files are root's, whoever runs it.
    docker.run(&["commit", "rests", "committed"])?;
    let both: [&[&str]; 2] = [&[], &["--userns", "host"]];
    for users in both {
        let words =
            [&["run", "--rm"], users, &["committed", "stat", "-c", "%u:%g", "/copied", "/bin/busybox"]].concat();
        assert_eq!(docker.run(&words)?, "5:6\n0:0");
    }
    // A fresh volume has what the image has, of the same owners; a folder of the host's keeps its own.
    docker.run(&["run", "--rm", "-v", "fresh:/bin", &image, "/bin/busybox", "true"])?;
    assert_eq!(owner(&data_root(&engine).join("volumes/fresh/_data/busybox"))?, (USER, GROUP));
    let bind = format!("{}:/bound", local.display());
    assert_eq!(docker.run(&["run", "--rm", "-v", &bind, &image, "stat", "-c", "%u", "/bound/file"])?, "65534");
    // One that is made for the container is its root's.
    let made = local.join("a/b");
    docker.run(&["run", "--rm", "-v", &format!("{}:/made", made.display()), &image, "touch", "/made/x"])?;
    for path in [local.join("a"), made.clone(), made.join("x")] {
        assert_eq!(owner(&path)?, (USER, GROUP), "{}", path.display());
    }
    let from = ["run", "--rm", "--volumes-from", "runs", &image, "stat", "-c", "%u:%g", "/data/runs"];
    assert_eq!(docker.run(&from)?, "5:6");
    let tmpfs = ["run", "--rm", "--tmpfs", "/t", &image, "sh", "-c", "touch /t/x; stat -c %u:%g /t /t/x"];
    assert_eq!(docker.run(&tmpfs)?, "0:0\n0:0");
    let mounted = format!("type=image,source={image},target=/img");
    assert_eq!(docker.run(&["run", "--rm", "--mount", &mounted, &image, "stat", "-c", "%u", "/img/bin"])?, "0");
    docker.run(&["rm", "-f", "runs", "rests"])?;
    Ok(())
}

/// Restarts, deaths of the daemon, memory that is shared, and containers with the host's users.
pub fn life(host: &Host) -> Result<()> {
    let engine = mapped(host, &[])?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let sleeps = ["run", "-d", "--name", "lives", "--ipc", "shareable", &image, "sleep", "1000"];
    docker.run(&sleeps)?;
    docker.run(&["exec", "lives", "touch", "/kept"])?;
    let first = pid(docker, "lives")?;
    engine.kill_dockerd()?;
    engine.start_again()?;
    assert_eq!(pid(docker, "lives")?, first);
    assert_eq!(docker.run(&["exec", "lives", "stat", "-c", "%u", "/kept"])?, "0");
    docker.run(&["restart", "-t", "0", "lives"])?;
    ensure!(pid(docker, "lives")? != first);
    assert_eq!(docker.run(&["exec", "lives", "stat", "-c", "%u", "/kept", "/dev/shm"])?, "0\n0");
    let shares = ["run", "--rm", "--ipc", "container:lives", &image, "touch", "/dev/shm/x"];
    docker.run(&shares)?;
    assert_eq!(docker.run(&["exec", "lives", "stat", "-c", "%u", "/dev/shm/x"])?, "0");
    let processes = ["run", "--rm", "--pid", "container:lives", &image, "sh", "-c", "ls /proc/1/root/kept"];
    assert_eq!(docker.run(&processes)?, "/proc/1/root/kept");
    for (words, error) in [
        (["--privileged", "true"], "privileged mode is incompatible with user namespaces"),
        (["--network=host", "true"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid=host", "true"], "cannot share the host PID namespace when user namespaces are enabled"),
    ] {
        let refused = docker.try_run(&["run", "--rm", words[0], &image, words[1]])?;
        ensure!(refused.code == 125 && refused.stderr.contains(error), "{}", refused.stderr);
    }
    let own = user_namespace(std::process::id())?;
    let script = ["run", "--rm", "--userns=host", "--privileged", "--network=host", "--pid=host", &image];
    let link = docker.run(&[&script[..], &["readlink", "/proc/self/ns/user"]].concat())?;
    assert_eq!(Path::new(&link), own);
    docker.run(&["run", "-d", "--name", "theirs", "--userns=host", &image, "sleep", "1000"])?;
    let refused = docker.try_run(&["run", "--rm", "--network", "container:theirs", &image, "true"])?;
    ensure!(refused.stderr.contains("which has the host's users"), "{}", refused.stderr);
    docker.run(&["rm", "-f", "lives", "theirs"])?;
    Ok(())
}

/// `default` means a user that the daemon makes; other words are refused as Docker refuses them.
pub fn accounts(host: &Host) -> Result<()> {
    let (upper, work) = (host.path("etc-upper"), host.path("etc-work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    host.command("mount", &["-t", "overlay", "-o", &options, "test", "/etc"])?;
    // Whoever was here before.
    for file in ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"] {
        let path = Path::new("/etc").join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("dockremap:")).collect();
        fs::write(&path, rest.join("\n") + "\n")?;
    }
    let engine = host.engine_with("e", &["--userns-remap", "default"])?;
    let image = engine.import_busybox("busybox")?;
    let map = engine.docker.run(&["run", "--rm", &image, "cat", "/proc/self/uid_map"])?;
    let of = |file: &str| -> Result<String> {
        let text = fs::read_to_string(file)?;
        Ok(text.lines().find_map(|line| line.strip_prefix("dockremap:")).context("no dockremap")?.to_owned())
    };
    let range = of("/etc/subuid")?;
    let (start, length) = range.split_once(':').context("a range")?;
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", start, length]);
    ensure!(of("/etc/passwd")?.ends_with("/bin/false"));
    ensure!(
        engine.data_root().join(format!("{start}.{}", of("/etc/subgid")?.split(':').next().unwrap_or(""))).exists()
    );
    let refused = |asked: &str| -> Result<String> {
        let mut command = std::process::Command::new(host.programs().join("dockerd"));
        command.args(["--data-root", &host.path("o").display().to_string(), "--userns-remap", asked]);
        command.args(["--exec-root", &host.path("or").display().to_string()]);
        command.args(["--pidfile", &host.path("op").display().to_string()]);
        command.args(["-H", &format!("unix://{}", host.path("o.sock").display())]);
        let output = command.output()?;
        ensure!(!output.status.success());
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let unknown = refused("nobody-here")?;
    ensure!(unknown.contains("Error during uid lookup for \"nobody-here\""), "{unknown}");
    let missing = refused("nobody:nogroup")?;
    ensure!(missing.contains("no subuid ranges found for user \"nobody\""), "{missing}");
    drop(engine);
    host.command("umount", &["-l", "/etc"])?;
    Ok(())
}

/// Secrets, caches and contexts of a build's steps.
pub fn build_mounts(host: &Host) -> Result<()> {
    crate::build_classic::mapped(&mapped(host, &[])?, host)
}
