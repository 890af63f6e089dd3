//! Attacks that are races: a thread exchanges what the runtime is about to use, as a second container or an image's volume
//! would. Whatever the moment, a run either works as configured or is refused, and nothing outside is touched.

use crate::Test;
use crate::bundle::{Bundle, Said, check, contains, same};
use libtest_mimic::Failed;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Runs of each race: enough that both states were met, which each test checks where they differ to the eye.
const ROUNDS: usize = 40;

pub const TESTS: &[Test] = &[
    ("a_racing_link_cannot_lead_a_mount_outside", racing_target),
    ("a_racing_null_device_unmasks_nothing", racing_null),
    ("a_racing_console_is_mounted_nowhere_else", racing_console),
    ("a_racing_proc_redirects_no_write", racing_proc),
    ("an_exec_is_seen_only_when_nothing_of_the_host_s_is_in_it", unseen_exec),
    ("a_process_that_waits_for_its_start_has_no_procfs_of_the_host", unseen_create),
    ("the_user_of_an_exec_is_a_number_or_an_error", user_of_exec),
];

/// Exchanges two names until it is dropped.
struct Race {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Race {
    fn between(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let exchange = move || {
            while !seen.load(Ordering::Relaxed) {
                let _ = renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE);
            }
        };
        Self { stop, thread: Some(std::thread::spawn(exchange)) }
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn is_empty(folder: &Path) -> Result<bool, Failed> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// CVE-2021-30465, CVE-2024-45310, CVE-2026-47766: a volume in which a component of a later mount's place is exchanged for
/// a link to the host.
fn racing_target() -> Result<(), Failed> {
    let mut bundle = Bundle::new("true")?;
    let (volume, outside) = (bundle.path().join("volume"), bundle.path().join("outside"));
    fs::create_dir_all(volume.join("place"))?;
    fs::create_dir(&outside)?;
    symlink(&outside, volume.join("link"))?;
    let mounts = bundle.config["mounts"].as_array_mut().ok_or("mounts are a list")?;
    mounts.push(json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"] }));
    mounts.push(json!({ "destination": "/volume/place/below", "type": "tmpfs", "source": "tmpfs" }));
    let race = Race::between(volume.join("place"), volume.join("link"));
    for _ in 0..ROUNDS {
        let said = bundle.run()?;
        check(said.code == 0 || said.stderr.contains("/volume/place/below"), &format!("works or is named: {said:?}"))?;
        check(is_empty(&outside)?, "nothing was made outside")?;
        bundle.is_gone()?;
    }
    drop(race);
    Ok(())
}

/// CVE-2025-31133: the null device that masks files is exchanged for a link to what the container wants to see.
fn racing_null() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /secret")?;
    fs::write(bundle.rootfs().join("secret"), "secret")?;
    fs::write(bundle.rootfs().join("bait"), "bait")?;
    bundle.config["linux"]["maskedPaths"] = json!(["/secret"]);
    let dev = own_dev(&mut bundle)?;
    mknod(&dev.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?;
    symlink("/bait", dev.join("link"))?;
    let race = Race::between(dev.join("null"), dev.join("link"));
    for _ in 0..ROUNDS {
        let said = bundle.run()?;
        check(said.stdout.is_empty(), &format!("masked by the null device or refused: {said:?}"))?;
        check(said.code == 0 || said.stderr.contains("mask") || said.stderr.contains("null"), &format!("{said:?}"))?;
        bundle.is_gone()?;
    }
    drop(race);
    Ok(())
}

/// CVE-2025-52565: the place of the console is exchanged for a link into /proc.
fn racing_console() -> Result<(), Failed> {
    let mut bundle = Bundle::new("grep -c ' /proc/sysrq-trigger .*devpts' /proc/self/mountinfo")?;
    bundle.config["process"]["terminal"] = true.into();
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    bundle.config["linux"]["maskedPaths"] = json!([]);
    let dev = own_dev(&mut bundle)?;
    fs::create_dir(dev.join("pts"))?;
    fs::write(dev.join("console"), "")?;
    symlink("/proc/sysrq-trigger", dev.join("link"))?;
    let pts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"] });
    bundle.config["mounts"].as_array_mut().ok_or("mounts are a list")?.push(pts);
    let race = Race::between(dev.join("console"), dev.join("link"));
    for _ in 0..ROUNDS {
        let said = bundle.run()?;
        let found = said.stdout.trim();
        check(found == "0" || said.stderr.contains("open the console"), &format!("refused or elsewhere: {said:?}"))?;
        bundle.is_gone()?;
    }
    drop(race);
    Ok(())
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-52881: procfs is to be mounted beside the folder that the
/// runtime's writes go to.
fn racing_proc() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /proc/sys/kernel/msgmax")?;
    bundle.config["linux"]["sysctl"] = json!({ "kernel.msgmax": "8007" });
    let rootfs = bundle.rootfs();
    fs::create_dir_all(rootfs.join("proc/sys/kernel"))?;
    fs::create_dir_all(rootfs.join("false/sys/kernel"))?;
    fs::write(rootfs.join("false/sys/kernel/msgmax"), "untouched")?;
    symlink("false", rootfs.join("link"))?;
    let race = Race::between(rootfs.join("proc"), rootfs.join("link"));
    let mut works = 0;
    for _ in 0..ROUNDS {
        let Said { code, stdout, stderr } = bundle.run()?;
        works += usize::from(code == 0 && stdout == "8007\n");
        // The name is exchanged under the program's eyes as well.
        check(code == 0 || stderr.contains("ordinary directory") || stderr.contains("msgmax"), &stderr)?;
        let kept = fs::read_to_string(rootfs.join("false/sys/kernel/msgmax"))?;
        same("the false file", kept.as_str(), "untouched")?;
        bundle.is_gone()?;
    }
    drop(race);
    check(works > 0, "some runs met a folder")
}

/// A `/dev` of the host's, bound, so that its entries are an attacker's.
fn own_dev(bundle: &mut Bundle) -> Result<PathBuf, Failed> {
    let dev = bundle.path().join("dev");
    fs::create_dir(&dev)?;
    let mounts = bundle.config["mounts"].as_array_mut().ok_or("mounts are a list")?;
    mounts.retain(|mount| !mount["destination"].as_str().unwrap_or("").starts_with("/dev"));
    mounts.push(json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["bind"] }));
    Ok(dev)
}

/// CVE-2026-30892: what is no user must not become root.
fn user_of_exec() -> Result<(), Failed> {
    let mut bundle = Bundle::new("sleep 1000")?;
    bundle.config["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    for user in ["", "root", "1x", "0x0", "-1", "1:", ":1", "4294967296", "1:2:3", " 0"] {
        let said = bundle.runc(&["exec", "--user", user, &bundle.id, "id", "-u"])?;
        check(said.code == 255 && said.stdout.is_empty(), &format!("{user:?} is refused: {said:?}"))?;
        contains(&said.stderr, "as a number failed")?;
    }
    same("a number", bundle.runc(&["exec", "--user", "9:8", &bundle.id, "id", "-u"])?.stdout.as_str(), "9\n")
}

/// CVE-2016-9962: whoever may trace inside looks at every process that comes. The same is seen from outside, where the
/// look is quicker: nobody is in the container's pid namespace with the host's mounts or its procfs.
fn unseen_exec() -> Result<(), Failed> {
    let bundle = Bundle::new("sleep 1000")?;
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let init = bundle.pid()?;
    let namespace = |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    let (processes, mounts) = (namespace(init, "pid")?, namespace(init, "mnt")?);
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let watch = std::thread::spawn(move || {
        let (mut looks, mut strange) = (0, Vec::new());
        while !seen.load(Ordering::Relaxed) {
            let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            for pid in pids.filter(|pid| *pid > init) {
                if namespace(pid, "pid").ok().as_ref() != Some(&processes) {
                    continue;
                }
                looks += 1;
                if namespace(pid, "mnt").is_ok_and(|of| of != mounts) {
                    strange.push(format!("{pid} has the host's mounts"));
                }
                let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
                let host = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|of| of == Path::new("/proc")));
                strange.extend(host.map(|fd| format!("{pid} has {}", fd.path().display())));
            }
        }
        (looks, strange)
    });
    for _ in 0..ROUNDS {
        same("exec", &bundle.runc(&["exec", &bundle.id, "true"])?.code, &0)?;
    }
    stop.store(true, Ordering::Relaxed);
    let (looks, strange) = watch.join().map_err(|_| "the watcher panicked")?;
    check(looks > 0, "processes of execs were seen at all")?;
    check(strange.is_empty(), &strange.join("; "))
}

/// A container that shares the pid namespace of another is seen by it for as long as nobody starts it, and what it has open
/// can be opened by one with CAP_SYS_PTRACE.
fn unseen_create() -> Result<(), Failed> {
    let first = Bundle::new("exec sleep 1000")?;
    first.create()?;
    same("start", &first.runc(&["start", &first.id])?.code, &0)?;
    let mut second = Bundle::new("exec sleep 1000")?;
    let namespaces = second.config["linux"]["namespaces"].as_array_mut().ok_or("namespaces are a list")?;
    for namespace in namespaces.iter_mut().filter(|namespace| namespace["type"] == "pid") {
        namespace["path"] = format!("/proc/{}/ns/pid", first.pid()?).into();
    }
    second.create()?;
    let pid = second.pid()?;
    let own = std::process::id().to_string();
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().map(|entry| entry.path());
    let host: Vec<_> = open.filter(|fd| fd.join(&own).exists()).collect();
    check(host.is_empty(), &format!("{host:?} know the host's processes"))?;
    same("start", &second.runc(&["start", &second.id])?.code, &0)?;
    same("status", second.status()?.as_str(), "running")
}
