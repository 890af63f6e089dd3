//! What few configurations ask for: clocks, schedulers, listeners of filters, sockets that are passed on.

use crate::Test;
use crate::bundle::{Bundle, check, contains, program, said, same};
use libtest_mimic::Failed;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

pub const TESTS: &[Test] = &[
    ("a_tmpfs_begins_with_what_lies_below_it", copy_up),
    ("recursive_attributes_hold_for_what_is_mounted_below", recursive_attributes),
    ("clocks_of_a_time_namespace_are_shifted", clocks),
    ("scheduler_priorities_and_personality_are_set", scheduling),
    ("an_exec_is_scheduled_as_its_process_says", exec_scheduling),
    ("a_filter_that_asks_hands_its_listener_over", notify),
    ("the_process_goes_to_the_pidfd_socket", pidfd_socket),
    ("sockets_of_socket_activation_come_first", listen_fds),
    ("a_hook_that_takes_too_long_ends_the_start", slow_hooks),
    ("a_failed_poststart_hook_ends_the_container", failed_poststart),
    ("a_start_hook_has_the_environment_of_its_program", hook_environment),
    ("a_tmpfs_has_the_mode_of_the_folder_below_it", tmpfs_mode),
    ("a_folder_is_entered_by_whoever_may", working_directory),
    ("a_file_is_bound_behind_a_link_that_leads_nowhere", dangling_link),
    ("a_terminal_in_the_foreground_loses_nothing_and_adds_nothing", foreground_terminal),
    ("a_filter_without_privileges_dropped_lets_the_start_through", early_filter),
    ("without_a_pivot_no_bare_procfs_is_left", no_bare_proc),
    ("a_capability_of_an_exec_is_ambient_where_it_is_inheritable", ambient_exec),
    ("a_created_container_keeps_no_descriptor_of_its_creator", kept_descriptors),
    ("a_kill_ends_all_processes_of_a_container_without_a_pid_namespace", kill_all),
    ("a_cgroup_with_processes_is_not_shared", used_cgroup),
    ("a_container_in_the_mounts_of_the_host_has_a_root_of_its_own", shared_mounts),
    ("the_callers_processors_and_repeated_variables_do_not_bind", inherited_surroundings),
];

fn copy_up() -> Result<(), Failed> {
    let script = "ls -ln /etc/app; cat /etc/app/deep/er/file; readlink /etc/app/link; touch /etc/app/new && echo new;
        grep ' /etc/app ' /proc/self/mountinfo | wc -l";
    let mut bundle = Bundle::new(script)?;
    let app = bundle.rootfs().join("etc/app");
    fs::create_dir_all(app.join("deep/er"))?;
    fs::write(app.join("deep/er/file"), "contents\n")?;
    fs::write(app.join("owned"), "x".repeat(70_000))?;
    fs::set_permissions(app.join("owned"), std::os::unix::fs::PermissionsExt::from_mode(0o4751))?;
    std::os::unix::fs::chown(app.join("owned"), Some(12), Some(34))?;
    fs::set_permissions(app.join("owned"), std::os::unix::fs::PermissionsExt::from_mode(0o4751))?;
    symlink("deep/er", app.join("link"))?;
    for number in 0..300 {
        fs::write(app.join(format!("deep/a-file-with-a-longer-name-{number}")), "")?;
    }
    let mount =
        json!({ "destination": "/etc/app", "type": "tmpfs", "source": "tmpfs", "options": ["rw", "tmpcopyup"] });
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount);
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    contains(&said.stdout, "-rwsr-x--x    1 12       34           70000 ")?;
    contains(&said.stdout, "contents\ndeep/er\nnew\n1\n")?;
    check(!app.join("new").exists(), "what is written stays in the tmpfs")?;
    let mount = json!({ "destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind", "tmpcopyup"] });
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount);
    contains(&bundle.run()?.stderr, "tmpcopyup")
}

fn recursive_attributes() -> Result<(), Failed> {
    let mut bundle = Bundle::new("touch /data/inner/x; touch /data/y; cat /proc/self/mountinfo")?;
    let data = bundle.path().join("data");
    fs::create_dir_all(data.join("inner"))?;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &data.join("inner"), Some("tmpfs"), flags, None::<&str>)?;
    let source = data.display().to_string();
    let mount =
        |options: &[&str]| json!({ "destination": "/data", "type": "bind", "source": source, "options": options });
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount(&["rbind", "rro", "rnosuid"]));
    let said = bundle.run();
    bundle.config["mounts"].as_array_mut().expect("a list").pop();
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount(&["rbind", "ro"]));
    let plain = bundle.run();
    nix::mount::umount(&data.join("inner"))?;
    let (said, plain) = (said?, plain?);
    contains(&said.stderr, "/data/inner/x: Read-only file system")?;
    let line = said.stdout.lines().find(|line| line.contains(" /data/inner ")).unwrap_or_default().to_string();
    contains(&line, " ro,nosuid,relatime ")?;
    check(!plain.stderr.contains("/data/inner/x"), "ro is for the mount alone")?;
    contains(&plain.stderr, "/data/y: Read-only file system")
}

fn clocks() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /proc/uptime; cat /proc/self/timens_offsets; sleep 1000")?;
    bundle.config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({ "type": "time" }));
    bundle.config["linux"]["timeOffsets"] =
        json!({ "boottime": { "secs": 1_000_000 }, "monotonic": { "secs": 7, "nanosecs": 9 } });
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    crate::bundle::until("the offsets are printed", || bundle.output().contains("boottime"))?;
    let uptime: f64 = bundle.output().split('.').next().unwrap_or_default().parse()?;
    check(uptime > 1_000_000.0, &format!("{uptime} is shifted"))?;
    let inside = bundle.runc(&["exec", &bundle.id, "cat", "/proc/uptime"])?;
    check(inside.stdout.split('.').next().unwrap_or_default().parse::<f64>()? > 1_000_000.0, "an exec's as well")?;
    let words: Vec<String> = bundle.output().split_whitespace().map(str::to_string).collect();
    contains(&words.join(" "), "monotonic 7 9 boottime 1000000 0")?;
    let mut other = Bundle::new("true")?;
    other.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } });
    contains(&other.run()?.stderr, "time namespace isn't enabled")
}

/// Policy, nice value and I/O priority of whoever reads them.
const READ_STAT: &str = "set -- $(cat /proc/self/stat); shift 18; echo $1; shift 22; echo $1; ionice -p $$";

fn scheduling() -> Result<(), Failed> {
    let mut bundle = Bundle::new(&format!("{READ_STAT}; uname -m; cat /proc/self/personality"))?;
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
    bundle.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    bundle.config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    let lines: Vec<&str> = said.stdout.lines().collect();
    same("policy, nice value, I/O priority", &lines[..3], &["5", "3", "best-effort: prio 6"])?;
    check(lines[3] != "x86_64", "the personality's machine")?;
    same("personality", lines[4], "00000008")?;
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_SOMETIMES" });
    contains(&bundle.run()?.stderr, "invalid scheduler policy")?;
    bundle.is_gone()
}

fn exec_scheduling() -> Result<(), Failed> {
    let mut bundle = Bundle::new("exec sleep 1000")?;
    bundle.config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let mut process = bundle.config["process"].clone();
    process["args"] = json!([
        "sh",
        "-c",
        format!("{READ_STAT}; cat /proc/self/personality; grep Cpus_allowed_list /proc/self/status")
    ]);
    process["scheduler"] = json!({ "policy": "SCHED_OTHER", "nice": 7 });
    process["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 7 });
    process["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    fs::write(bundle.path().join("process.json"), serde_json::to_vec(&process)?)?;
    let said = bundle.runc(&["exec", "--process", "process.json", &bundle.id])?;
    same("stderr", said.stderr.as_str(), "")?;
    same("stdout", said.stdout.as_str(), "7\n0\nidle\n00000008\nCpus_allowed_list:\t0\n")
}

/// One message with one descriptor.
fn receive(listener: &UnixListener) -> Result<(Vec<u8>, RawFd), Failed> {
    let (socket, _) = listener.accept()?;
    let mut buffer = vec![0; 1 << 16];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    let length = message.bytes;
    let fd = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    buffer.truncate(length);
    Ok((buffer, fd.ok_or("no descriptor came")?))
}

fn notify() -> Result<(), Failed> {
    let mut bundle = Bundle::new("mkdir /dev/shm/a; echo after")?;
    let path = bundle.path().join("agent.sock");
    let listener = UnixListener::bind(&path)?;
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "for the agent",
        "syscalls": [ { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" } ]
    });
    for privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = privileges.into();
        bundle.save()?;
        let child = bundle
            .command(&["run", &bundle.id])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        let (bytes, fd) = receive(&listener)?;
        let state: Value = serde_json::from_slice(&bytes)?;
        same("descriptors", &state["fds"], &json!(["seccompFd"]))?;
        same("metadata", &state["metadata"], &json!("for the agent"))?;
        same("id", &state["state"]["id"], &json!(bundle.id))?;
        check(state["pid"].as_i64().is_some_and(|pid| pid > 1), "a pid")?;
        contains(&fs::read_link(format!("/proc/self/fd/{fd}"))?.display().to_string(), "seccomp")?;
        // Whoever asks nobody any more is told that there is no such call.
        nix::unistd::close(fd)?;
        let said = said(child.wait_with_output()?);
        same("stdout", said.stdout.as_str(), "after\n")?;
        contains(&said.stderr, "Function not implemented")?;
    }
    bundle.config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["write"]);
    contains(&bundle.run()?.stderr, "SCMP_ACT_NOTIFY cannot be used for the write syscall")?;
    bundle.is_gone()
}

fn pidfd_socket() -> Result<(), Failed> {
    let bundle = Bundle::new("exec sleep 1000")?;
    let path = bundle.path().join("pidfd.sock");
    let listener = UnixListener::bind(&path)?;
    bundle.save()?;
    let null = || fs::File::options().write(true).open("/dev/null");
    let path = path.display().to_string();
    let mut child = bundle
        .command(&["run", "-d", "--pid-file", "pid", "--pidfd-socket", &path, &bundle.id])
        .stdout(null()?)
        .stderr(null()?)
        .spawn()?;
    let (word, fd) = receive(&listener)?;
    same("code", &child.wait()?.code(), &Some(0))?;
    same("word", word.as_slice(), b"standard")?;
    let details = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    contains(&details, &format!("Pid:\t{}\n", bundle.pid()?))?;
    Ok(nix::unistd::close(fd)?)
}

fn listen_fds() -> Result<(), Failed> {
    let bundle = Bundle::new("echo $LISTEN_FDS $LISTEN_PID; cat <&3")?;
    bundle.save()?;
    fs::write(bundle.path().join("passed"), "through\n")?;
    let script =
        format!("exec 3< passed; LISTEN_FDS=1 LISTEN_PID=$$ exec {} --root state run {}", program(), bundle.id);
    let mut command = std::process::Command::new("/bin/sh");
    let said = said(command.args(["-c", &script]).current_dir(bundle.path()).output()?);
    same("stderr", said.stderr.as_str(), "")?;
    same("stdout", said.stdout.as_str(), "1 1\nthrough\n")
}

fn slow_hooks() -> Result<(), Failed> {
    let mut bundle = Bundle::new("echo ran")?;
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        bundle.config["hooks"] = json!({ kind: [ { "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 } ] });
        let begin = std::time::Instant::now();
        let said = bundle.run()?;
        check(begin.elapsed() < std::time::Duration::from_secs(20), "it does not wait")?;
        same(kind, said.stdout.as_str(), "")?;
        check(said.code != 0, "the start fails")?;
        contains(&said.stderr, &format!("error running {kind} hook"))?;
        contains(&said.stderr, "timeout")?;
        bundle.is_gone()?;
    }
    Ok(())
}

fn failed_poststart() -> Result<(), Failed> {
    let mut bundle = Bundle::new("exec sleep 1000")?;
    bundle.config["hooks"] = json!({ "poststart": [ { "path": "/bin/false" } ] });
    bundle.create()?;
    let said = bundle.runc(&["start", &bundle.id])?;
    same("code", &said.code, &1)?;
    contains(&said.stderr, "error running poststart hook #0")?;
    crate::bundle::until("the container has ended", || bundle.status().is_ok_and(|status| status == "stopped"))?;
    bundle.runc(&["delete", &bundle.id])?;
    contains(&bundle.run()?.stderr, "error running poststart hook #0")?;
    bundle.is_gone()
}

fn hook_environment() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /dev/shm/env")?;
    let script = "env | grep -v ^PWD | grep -v ^SHLVL | sort > /dev/shm/env";
    bundle.config["process"]["env"] = json!(["PATH=/bin", "MARK=x y"]);
    bundle.config["hooks"] = json!({ "startContainer": [ { "path": "/bin/sh", "args": ["sh", "-c", script] } ] });
    same("inherited", bundle.run()?.stdout.as_str(), "HOME=/\nMARK=x y\nPATH=/bin\n")?;
    bundle.config["hooks"]["startContainer"][0]["env"] = json!(["PATH=/bin"]);
    same("its own", bundle.run()?.stdout.as_str(), "PATH=/bin\n")
}

fn tmpfs_mode() -> Result<(), Failed> {
    let mut bundle = Bundle::new("stat -c %a /kept /made /given")?;
    for (folder, mode) in [("kept", 0o2710), ("given", 0o700)] {
        let path = bundle.rootfs().join(folder);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    }
    for (place, options) in [("/kept", &[][..]), ("/made", &[]), ("/given", &["mode=0751"])] {
        let mount = json!({ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": options });
        bundle.config["mounts"].as_array_mut().expect("a list").push(mount);
    }
    bundle.config["root"]["readonly"] = false.into();
    same("modes", bundle.run()?.stdout.as_str(), "2710\n1777\n751\n")
}

/// The template's container has no capability to pass permissions by.
fn working_directory() -> Result<(), Failed> {
    let mut bundle = Bundle::new("pwd")?;
    let place = bundle.rootfs().join("place");
    fs::create_dir(&place)?;
    bundle.config["process"]["cwd"] = "/place".into();
    let set = |owner: u32, mode: u32| -> Result<(), Failed> {
        std::os::unix::fs::chown(&place, Some(owner), Some(owner))?;
        Ok(fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(mode))?)
    };
    // The runtime may, the container's root without capabilities may not.
    set(42, 0o700)?;
    same("entered before", bundle.run()?.stdout.as_str(), "/place\n")
}

fn kept_descriptors() -> Result<(), Failed> {
    let bundle = Bundle::new("exec sleep 1000")?;
    bundle.save()?;
    fs::write(bundle.path().join("creators"), "")?;
    let script = format!(
        "exec 7< creators 250< creators; exec {} --root state create --pid-file pid {} > out 2>&1",
        program(),
        bundle.id
    );
    let mut command = std::process::Command::new("/bin/bash");
    same("create", &command.args(["-c", &script]).current_dir(bundle.path()).status()?.code(), &Some(0))?;
    let mut open = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", bundle.pid()?))?.flatten() {
        open.push(fs::read_link(entry.path())?.display().to_string());
    }
    let foreign = |path: &&String| path.ends_with("/creators") || path.contains("/cgroup/");
    same("foreign descriptors", &open.iter().filter(foreign).collect::<Vec<_>>(), &Vec::new())
}

fn kill_all() -> Result<(), Failed> {
    let mut bundle = Bundle::new("sleep 1000 & sleep 1000 & exec sleep 1000")?;
    bundle.config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|kind| kind["type"] != "pid");
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let count = || bundle.cgroup_file("pids", "cgroup.procs").map(|text| text.lines().count());
    crate::bundle::until("all three run", || count().is_ok_and(|count| count == 3))?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(bundle.pid()?), nix::sys::signal::Signal::SIGKILL)?;
    crate::bundle::until("two are left", || count().is_ok_and(|count| count == 2))?;
    same("kill", &bundle.runc(&["kill", &bundle.id, "KILL"])?.code, &0)?;
    crate::bundle::until("none is left", || count().is_ok_and(|count| count == 0))?;
    contains(&bundle.runc(&["kill", &bundle.id, "KILL"])?.stderr, "container not running")?;
    bundle.runc(&["delete", &bundle.id])?;
    bundle.is_gone()
}

fn used_cgroup() -> Result<(), Failed> {
    let first = Bundle::new("exec sleep 1000")?;
    first.create()?;
    let mut second = Bundle::new("true")?;
    second.config["linux"]["cgroupsPath"] = first.config["linux"]["cgroupsPath"].clone();
    contains(&second.run()?.stderr, "container's cgroup is not empty: 1 process(es) found")?;
    check(!first.cgroups().is_empty(), "the first one's cgroup stays")?;
    second.is_gone()
}

fn shared_mounts() -> Result<(), Failed> {
    let mut bundle = Bundle::new("ls -d /bin/sh /etc; sleep 1000")?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().ok_or("namespaces are a list")?;
    namespaces.retain(|namespace| namespace["type"] != "mount");
    contains(&bundle.run()?.stderr, "without a private MNT namespace")?;
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    bundle.config["process"]["args"] = json!(["/nosuch"]);
    let mounted = |bundle: &Bundle| -> Result<bool, Failed> {
        Ok(fs::read_to_string("/proc/self/mountinfo")?.contains(&format!(" {} ", bundle.rootfs().display())))
    };
    contains(&bundle.run()?.stderr, "/nosuch")?;
    check(!mounted(&bundle)?, "what a failed run has mounted is gone")?;
    bundle.config["process"]["args"] = json!(["/bin/sh", "-c", "sleep 1000"]);
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let said = bundle.runc(&["exec", &bundle.id, "ls", "-d", "/bin/busybox", "/proc/self", "/etc/passwd"])?;
    same("an exec's root", said.stdout.as_str(), "/bin/busybox\n/proc/self\n")?;
    same("delete", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    nix::mount::umount2(&bundle.rootfs(), nix::mount::MntFlags::MNT_DETACH)?;
    bundle.is_gone()
}

fn inherited_surroundings() -> Result<(), Failed> {
    let mut bundle = Bundle::new("grep Cpus_allowed_list /proc/self/status; env | grep -c ^A=; echo $A $HOME")?;
    bundle.config["process"]["env"] = json!(["PATH=/bin", "A=1", "HOME=", "A=2"]);
    bundle.save()?;
    let all = fs::read_to_string("/proc/self/status")?;
    let all = all.lines().find(|line| line.starts_with("Cpus_allowed_list")).ok_or("a list")?;
    let runc = format!("exec taskset -c 0 {} --root {} run {}", program(), bundle.root().display(), bundle.id);
    let output = std::process::Command::new("sh").args(["-c", &runc]).current_dir(bundle.path()).output()?;
    same("what the program sees", said(output).stdout.as_str(), &format!("{all}\n1\n2 /\n"))
}

fn dangling_link() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /etc/resolv.conf /run/systemd/resolve/stub.conf; ls /link/below")?;
    fs::create_dir(bundle.rootfs().join("etc"))?;
    symlink("../run/systemd/resolve/stub.conf", bundle.rootfs().join("etc/resolv.conf"))?;
    symlink("/nowhere", bundle.rootfs().join("link"))?;
    fs::write(bundle.path().join("file"), "nameserver\n")?;
    let mounts = bundle.config["mounts"].as_array_mut().expect("a list");
    mounts.push(
        json!({ "destination": "/etc/resolv.conf", "type": "bind", "source": "file", "options": ["bind", "ro"] }),
    );
    mounts.push(json!({ "destination": "/link/below", "type": "tmpfs", "source": "tmpfs" }));
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    same("stdout", said.stdout.as_str(), "nameserver\nnameserver\n")?;
    check(bundle.rootfs().join("nowhere/below").is_dir(), "the folder is made where the link leads")
}

fn foreground_terminal() -> Result<(), Failed> {
    let mut bundle = Bundle::new("tty; seq 300")?;
    bundle.config["process"]["terminal"] = true.into();
    let numbers: String = (1..=300).map(|number| format!("{number}\n")).collect();
    for _ in 0..10 {
        same("output", bundle.run()?.stdout.as_str(), format!("/dev/pts/0\n{numbers}").as_str())?;
    }
    bundle.config["hooks"] = json!({ "startContainer": [ { "path": "/bin/cat", "args": ["cat", "/nosuchfile"] } ] });
    contains(&bundle.run()?.stdout, "cat: can't open '/nosuchfile'")
}

fn early_filter() -> Result<(), Failed> {
    let mut bundle = Bundle::new("echo through")?;
    bundle.config["process"]["noNewPrivileges"] = false.into();
    let refused = ["close_range", "openat2", "mount_setattr", "clone3"];
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [ { "names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": 38 } ]
    });
    same("stdout", bundle.run()?.stdout.as_str(), "through\n")
}

/// A user namespace made in the container may mount a procfs only where one is seen whole already.
fn no_bare_proc() -> Result<(), Failed> {
    let script = "unshare -Urm -pf mount -t proc none /dev/shm 2>&1 && echo mounted";
    let mut bundle = Bundle::new(script)?;
    bundle.config["process"]["noNewPrivileges"] = false.into();
    bundle.save()?;
    for options in [&["run"][..], &["run", "--no-pivot"]] {
        let said = bundle.runc(&[options, &[bundle.id.as_str()]].concat())?;
        check(!said.stdout.contains("mounted"), &format!("{options:?}: {said:?}"))?;
        contains(&said.stdout.to_lowercase(), "permitted")?;
    }
    bundle.is_gone()
}

fn ambient_exec() -> Result<(), Failed> {
    let mut bundle = Bundle::new("exec sleep 1000")?;
    bundle.config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let args = ["exec", "--cap", "CAP_KILL", "--cap", "CAP_CHOWN", &bundle.id, "grep", "CapAmb", "/proc/self/status"];
    same("ambient", bundle.runc(&args)?.stdout.as_str(), "CapAmb:\t0000000000000020\n")
}
