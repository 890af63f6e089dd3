//! What Debian's `ctr` does with a containerd, whoever's it is, and whoever's shim and runtime stand behind it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, ensure};
use testhost::{Host, Running, wait_until};

use crate::containerd::{Containerd, ShimOf};
use crate::images;

/// docker-containerd with everything that ctr has for images, content, snapshots, containers, tasks and events.
pub fn drives_ours(host: &Host, shim: ShimOf) -> Result<()> {
    let containerd = Containerd::ours(host, shim)?;
    let registry = host.registry()?;
    let image = images::push(host, &registry)?;
    let mut events = Running::start(containerd.command(&["events"]))?;
    wait_for_subscription(&containerd, &events)?;
    images_and_content(host, &containerd, &image)?;
    life_of_a_container(&containerd, &image, &[])?;
    let program = match shim {
        ShimOf::Debian => crate::containerd::SHIM.into(),
        ShimOf::Ours => host.programs().join("docker-containerd-shim"),
    };
    shim_is(&containerd, &image, &[], &program)?;
    for topic in ["/images/create", "/snapshot/prepare", "/containers/create", "/tasks/create", "/tasks/start"] {
        events.expect(topic)?;
    }
    for topic in ["/tasks/exit", "/tasks/delete", "/containers/delete"] {
        events.expect(topic)?;
    }
    events.signal(rustix::process::Signal::TERM)?;
    events.wait()?;
    containerd.ctr(&["images", "rm", "--sync", &image])?;
    ensure!(containerd.ctr(&["content", "ls", "-q"])?.is_empty());
    Ok(())
}

/// An event is sent again and again until it comes: then what follows comes as well.
fn wait_for_subscription(containerd: &Containerd<'_>, events: &Running) -> Result<()> {
    wait_until("a subscription", || {
        containerd.ctr(&["namespaces", "create", "probe"]).ok()?;
        containerd.ctr(&["namespaces", "rm", "probe"]).ok()?;
        events.printed().contains("/namespaces/").then_some(())
    })
}

fn images_and_content(host: &Host, containerd: &Containerd<'_>, image: &str) -> Result<()> {
    containerd.ctr(&["images", "pull", "--plain-http", image])?;
    let listed = containerd.ctr(&["images", "ls"])?;
    let manifest = images::raw_manifest(host, image)?;
    let digest = ids::Digest::of(manifest.as_bytes()).to_string();
    for word in [image, "application/vnd.oci.image.manifest.v1+json", &digest, "linux/"] {
        ensure!(listed.contains(word), "{word} in {listed}");
    }
    ensure!(containerd.ctr(&["images", "check"])?.contains("complete (2/2)"));
    ensure!(containerd.ctr(&["content", "get", &digest])? == manifest);
    ensure!(containerd.ctr(&["content", "ls", "-q"])?.lines().count() == 3, "manifest, configuration, layer");
    let snapshots = containerd.ctr(&["snapshots", "ls"])?;
    ensure!(snapshots.lines().count() == 2 && snapshots.contains("Committed"), "{snapshots}");
    let archive = host.path("exported.tar");
    containerd.ctr(&["images", "export", &archive.to_string_lossy(), image])?;
    containerd.ctr(&["images", "tag", image, "test/again:1"])?;
    ensure!(containerd.ctr(&["images", "ls", "-q"])?.lines().any(|name| name == "test/again:1"));
    containerd.ctr(&["images", "rm", "test/again:1"])?;
    let names = host.command("tar", &["-tf", &archive.to_string_lossy()])?;
    ensure!(names.contains("oci-layout") && names.contains(&digest["sha256:".len()..]), "{names}");
    // And the way back: the same layer is pushed from here and skopeo finds the same manifest.
    let pushed = image.replace("busybox", "pushed");
    containerd.ctr(&["images", "push", "--plain-http", &pushed, image])?;
    ensure!(images::raw_manifest(host, &pushed)? == manifest);
    Ok(())
}

/// Runs, looks into, signals and removes containers. `flags` of `ctr run` say by which shim and runtime.
pub fn life_of_a_container(containerd: &Containerd<'_>, image: &str, flags: &[&str]) -> Result<()> {
    let run = |options: &[&'static str], rest: &[&'static str]| run_words(options, flags, image, rest);
    ensure!(containerd.ctr(&run(&["--rm"], &["echoes", "echo", "hello"]))? == "hello\n");
    let failed = containerd.try_ctr(&run(&["--rm"], &["fails", "sh", "-c", "exit 7"]))?;
    ensure!(failed.code == 7, "{failed:?}");
    let missing = containerd.try_ctr(&run(&["--rm"], &["misses", "/no/such/program"]))?;
    ensure!(missing.code != 0 && missing.stderr.to_lowercase().contains("no such file or directory"), "{missing:?}");
    let mut terminal = containerd.terminal(&run(&["--rm", "--tty"], &["types", "sh"]))?;
    // ctr tells the size when the process runs already.
    terminal.type_keys("until stty size | grep '24 80'; do sleep 0.01; done; test -t 0 && echo on a term'inal'\n")?;
    terminal.expect("on a terminal")?;
    terminal.type_keys("exit 5\n")?;
    ensure!(terminal.wait()? == 5);
    let script = "trap 'exit 9' TERM; touch /ready; while :; do sleep 0.01; done";
    containerd.ctr(&run(&["--detach", "--memory-limit", "67108864"], &["long", "sh", "-c", script]))?;
    let (pid, status) = containerd.task("long")?;
    ensure!(status == "RUNNING");
    wait_until("the trap", || fs::exists(format!("/proc/{pid}/root/ready")).ok().filter(|ready| *ready))?;
    look_into(containerd, pid)?;
    containerd.ctr(&["tasks", "kill", "--signal", "SIGTERM", "long"])?;
    containerd.wait_for_status("long", "STOPPED")?;
    let ended = containerd.try_ctr(&["tasks", "rm", "long"])?;
    ensure!(ended.stderr.contains("non-zero exit code 9"), "{ended:?}");
    containerd.ctr(&["containers", "rm", "long"])?;
    ensure!(containerd.ctr(&["containers", "ls", "-q"])?.is_empty());
    ensure!(containerd.bundles().is_empty(), "{:?}", containerd.bundles());
    Ok(())
}

fn run_words<'a>(options: &[&'a str], flags: &[&'a str], image: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["run"], options, flags, &[image], rest].concat()
}

fn look_into(containerd: &Containerd<'_>, pid: u32) -> Result<()> {
    let info = containerd.ctr(&["containers", "info", "long"])?;
    ensure!(info.contains("COLOUR=red") && info.contains("\"SnapshotKey\": \"long\""), "{info}");
    // ctr cancels the FIFOs at the exit and may lose the output of a short process: looked at from outside instead.
    let script = "echo from $COLOUR > /added; exit 3";
    let failed = containerd.try_ctr(&["tasks", "exec", "--exec-id", "e1", "long", "sh", "-c", script])?;
    ensure!(failed.code == 3, "{failed:?}");
    ensure!(fs::read_to_string(format!("/proc/{pid}/root/added"))? == "from red\n");
    let mut terminal = containerd.terminal(&["tasks", "exec", "--tty", "--exec-id", "e2", "long", "sh"])?;
    terminal.type_keys("until stty size | grep '24 80'; do sleep 0.01; done; test -t 1 && echo in'side'\n")?;
    terminal.expect("inside")?;
    terminal.type_keys("exit 6\n")?;
    ensure!(terminal.wait()? == 6);
    let processes = containerd.ctr(&["tasks", "ps", "long"])?;
    ensure!(processes.lines().any(|line| line.split_whitespace().next() == Some(&pid.to_string())), "{processes}");
    let metrics = containerd.ctr(&["tasks", "metrics", "long"])?;
    ensure!(metrics.contains("memory.usage"), "{metrics}");
    containerd.ctr(&["tasks", "pause", "long"])?;
    ensure!(containerd.task("long")?.1 == "PAUSED");
    containerd.ctr(&["tasks", "resume", "long"])?;
    let refused = containerd.try_ctr(&["tasks", "rm", "long"])?;
    ensure!(refused.stderr.contains("must be stopped"), "{refused:?}");
    Ok(())
}

/// Which program really stood behind it.
pub fn shim_is(containerd: &Containerd<'_>, image: &str, flags: &[&str], program: &Path) -> Result<()> {
    containerd.ctr(&[&["run", "--detach"], flags, &[image, "who", "sleep", "1000"]].concat())?;
    // The same file: a shim that our containerd starts was executed from a mount of its own.
    let (found, wanted) = (fs::metadata(containerd.shim_program("who")?)?, fs::metadata(program)?);
    ensure!((found.dev(), found.ino()) == (wanted.dev(), wanted.ino()), "{found:?} is not {}", program.display());
    containerd.ctr(&["tasks", "kill", "--signal", "SIGKILL", "who"])?;
    containerd.wait_for_status("who", "STOPPED")?;
    containerd.ctr(&["tasks", "rm", "who"]).or_else(|error| {
        // 137 is reported, and is ctr's own exit code in newer versions.
        if error.to_string().contains("137") { Ok(String::new()) } else { Err(error) }
    })?;
    containerd.ctr(&["containers", "rm", "who"])?;
    Ok(())
}

/// Debian's containerd starts our shim by its absolute path; behind it stands our docker-runc.
pub fn debian_starts_our_shim_by_path(host: &Host) -> Result<()> {
    let containerd = Containerd::debian(host, &[])?;
    let image = containerd.import()?;
    let shim = host.programs().join("docker-containerd-shim");
    let flags = ["--runtime", &shim.to_string_lossy()];
    life_of_a_container(&containerd, &image, &flags)?;
    shim_is(&containerd, &image, &flags, &shim)
}

/// The same by the name io.containerd.longshore.v2, which means the link containerd-shim-longshore-v2 on the PATH.
pub fn debian_starts_our_shim_by_name(host: &Host) -> Result<()> {
    let containerd = Containerd::debian(host, &["containerd-shim-longshore-v2"])?;
    let image = containerd.import()?;
    let flags = ["--runtime", "io.containerd.longshore.v2"];
    life_of_a_container(&containerd, &image, &flags)?;
    shim_is(&containerd, &image, &flags, &host.programs().join("docker-containerd-shim"))
}

/// Our shim in the place of runc's, told by ctr which runtime to call.
pub fn our_shim_calls(host: &Host, runtime: &str) -> Result<()> {
    let containerd = Containerd::debian(host, &["containerd-shim-runc-v2"])?;
    let image = containerd.import()?;
    let flags = ["--runc-binary", runtime];
    life_of_a_container(&containerd, &image, &flags)?;
    shim_is(&containerd, &image, &flags, &host.programs().join("docker-containerd-shim"))
}

/// Debian's crun refuses the hybrid layout of control groups: it sees version 1 alone.
pub fn our_shim_calls_crun(host: &Host) -> Result<()> {
    const UNIFIED: &str = "/sys/fs/cgroup/unified";
    if !fs::exists(UNIFIED)? {
        return our_shim_calls(host, "/usr/bin/crun");
    }
    rustix::mount::unmount(UNIFIED, rustix::mount::UnmountFlags::DETACH)?;
    let tested = our_shim_calls(host, "/usr/bin/crun");
    // What crun then takes for groups are plain folders, and it leaves them.
    let folders = Path::new(UNIFIED).join(host.control_group());
    if folders.exists() {
        fs::remove_dir_all(folders)?;
    }
    tested
}

/// Debian's containerd and Debian's shim, our docker-runc.
pub fn debian_s_shim_calls_our_runtime(host: &Host) -> Result<()> {
    let containerd = Containerd::debian(host, &[])?;
    let image = containerd.import()?;
    let runtime = host.programs().join("docker-runc");
    let flags = ["--runc-binary", &runtime.to_string_lossy()];
    life_of_a_container(&containerd, &image, &flags)?;
    shim_is(&containerd, &image, &flags, crate::containerd::SHIM.as_ref())
}
