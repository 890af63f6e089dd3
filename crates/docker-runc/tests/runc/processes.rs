//! exec, users, terminals, descriptors.

use crate::Test;
use crate::bundle::{Bundle, check, contains, is_v2, program, said, same, until};
use libtest_mimic::Failed;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;

pub const TESTS: &[Test] = &[
    ("an_exec_is_in_the_containers_namespaces_and_cgroups", exec_joins),
    ("an_exec_takes_user_environment_and_directory", exec_changes),
    ("an_exec_can_be_described_by_a_file_and_detached", exec_from_file),
    ("a_failed_exec_answers_255_and_the_reason", exec_fails),
    ("a_terminal_goes_through_the_console_socket", console_socket),
    ("identity_limits_and_umask_are_the_configured_ones", identity),
    ("only_the_preserved_descriptors_reach_the_program", descriptors),
    ("a_signal_to_run_reaches_the_program", signals),
    ("home_comes_from_the_containers_passwd", home),
];

fn running(script: &str) -> Result<Bundle, Failed> {
    let bundle = Bundle::new(script)?;
    start(&bundle)?;
    Ok(bundle)
}

fn start(bundle: &Bundle) -> Result<(), Failed> {
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)
}

fn exec_joins() -> Result<(), Failed> {
    let bundle = running("exec sleep 1000")?;
    let script = "cat /proc/1/comm; for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done";
    let inside = bundle.runc(&["exec", &bundle.id, "sh", "-c", script])?;
    let mut wanted = "sleep\n".to_string();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let link = fs::read_link(format!("/proc/{}/ns/{kind}", bundle.pid()?))?;
        wanted += &format!("{}\n", link.display());
    }
    same("namespaces", inside.stdout.as_str(), wanted.as_str())?;
    let mut child = bundle.command(&["exec", &bundle.id, "sleep", "1000"]).spawn()?;
    let joined = |controller| {
        until("the exec is in the cgroup", || {
            bundle.cgroup_file(controller, "cgroup.procs").is_ok_and(|text| text.lines().count() == 2)
        })
    };
    let hierarchies = if is_v2() { &[""][..] } else { &["memory", "pids", "freezer", "devices", "unified"] };
    let answer = hierarchies.iter().copied().try_for_each(joined);
    bundle.runc(&["kill", "--all", &bundle.id, "KILL"])?;
    same("exit code of a killed exec", &child.wait()?.code(), &Some(137))?;
    answer
}

fn exec_changes() -> Result<(), Failed> {
    let bundle = running("exec sleep 1000")?;
    let script = "id -u; id -g; id -G; pwd; echo $A; grep CapEff /proc/self/status";
    let args = ["exec", "-u", "1000:1001", "-g", "7", "-e", "A=b c", "--cwd", "/bin", &bundle.id, "sh", "-c", script];
    let said = bundle.runc(&args)?;
    same("stdout", said.stdout.as_str(), "1000\n1001\n1001 7\n/bin\nb c\nCapEff:\t0000000000000000\n")?;
    let caps = bundle.runc(&["exec", "--cap", "CAP_SYS_TIME", &bundle.id, "grep", "CapEff", "/proc/self/status"])?;
    same("capabilities", caps.stdout.as_str(), "CapEff:\t0000000022000420\n")
}

fn exec_from_file() -> Result<(), Failed> {
    let bundle = running("exec sleep 1000")?;
    let mut process = bundle.config["process"].clone();
    process["args"] = serde_json::json!(["/bin/sleep", "500"]);
    fs::write(bundle.path().join("process.json"), serde_json::to_vec(&process)?)?;
    let args = ["exec", "--detach", "--pid-file", "exec.pid", "--process", "process.json", &bundle.id];
    let null = || File::options().write(true).open("/dev/null");
    // What is detached keeps the streams: a pipe would stay open.
    let status = bundle.command(&args).stdout(null()?).stderr(null()?).status()?;
    check(status.success(), "exec --detach")?;
    let pid = fs::read_to_string(bundle.path().join("exec.pid"))?;
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    same("command", command.as_str(), "/bin/sleep\0500\0")
}

fn exec_fails() -> Result<(), Failed> {
    let bundle = running("exec sleep 1000")?;
    let said = bundle.runc(&["exec", &bundle.id, "nosuch"])?;
    same("exit code", &said.code, &255)?;
    contains(&said.stderr, "exec failed: unable to start container process: exec: \\\"nosuch\\\"")?;
    let said = bundle.runc(&["exec", "--cwd", "/nosuch", &bundle.id, "true"])?;
    contains(&said.stderr, "chdir to cwd")?;
    bundle.runc(&["kill", &bundle.id, "KILL"])?;
    until("it is dead", || bundle.status().is_ok_and(|status| status == "stopped"))?;
    contains(&bundle.runc(&["exec", &bundle.id, "true"])?.stderr, "cannot exec in a stopped container")
}

fn console_socket() -> Result<(), Failed> {
    let mut bundle = Bundle::new("tty; stty size; stat -c %t:%T /dev/console; [ -t 0 ] && [ -t 2 ] && echo terminal")?;
    bundle.config["process"]["terminal"] = true.into();
    bundle.config["process"]["consoleSize"] = serde_json::json!({ "height": 33, "width": 99 });
    bundle.save()?;
    let listener = UnixListener::bind(bundle.path().join("console.sock"))?;
    let refused = bundle.runc(&["create", &bundle.id])?;
    contains(&refused.stderr, "without setting console socket")?;
    let created = bundle.runc(&["create", "--console-socket", "console.sock", &bundle.id])?;
    same("create", created.stderr.as_str(), "")?;
    let (stream, _) = listener.accept()?;
    let mut name = [0; 64];
    let (_, master) = sys::socket::receive(stream.as_raw_fd(), &mut name).map_err(|errno| errno.to_string())?;
    let master = master.ok_or("a descriptor came")?;
    bundle.runc(&["start", &bundle.id])?;
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    // The end of a terminal is EIO.
    while let Ok(length @ 1..) = sys::file::read(master, &mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    sys::file::close(master);
    same("output", String::from_utf8_lossy(&text).as_ref(), "/dev/pts/0\r\n33 99\r\n88:0\r\nterminal\r\n")
}

fn identity() -> Result<(), Failed> {
    let mut bundle =
        Bundle::new("id -u; id -g; id -G; ulimit -n; ulimit -Hn; umask; pwd; grep -E 'NoNew' /proc/self/status")?;
    let process = &mut bundle.config["process"];
    process["user"] = serde_json::json!({ "uid": 5, "gid": 6, "additionalGids": [8, 9], "umask": 0o27 });
    process["rlimits"] = serde_json::json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    process["cwd"] = "/made/for/it".into();
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    same("stdout", said.stdout.as_str(), "5\n6\n6 8 9\n100\n200\n0027\n/made/for/it\nNoNewPrivs:\t1\n")
}

fn descriptors() -> Result<(), Failed> {
    let bundle = Bundle::new("ls /proc/self/fd | wc -l; cat <&3")?;
    bundle.save()?;
    fs::write(bundle.path().join("passed"), "passed\n")?;
    // The shell gives it 3 and 4; only one is preserved. ls has one more for the folder that it reads.
    let runc = format!(
        "exec {} --root {} run --preserve-fds 1 {} 3<passed 4<passed 9<passed",
        program(),
        bundle.root().display(),
        bundle.id
    );
    let said = said(std::process::Command::new("sh").args(["-c", &runc]).current_dir(bundle.path()).output()?);
    same("stdout", said.stdout.as_str(), "5\npassed\n")?;
    // A number that nobody passed would be one of the runtime's own.
    let said = bundle.runc(&["run", "--preserve-fds", "4", &bundle.id])?;
    contains(&said.stderr, "please check that preserved-fd 3 (of 4) is present")
}

fn signals() -> Result<(), Failed> {
    let bundle = Bundle::new("trap 'echo got it; exit 9' USR1; echo ready; while :; do sleep 0.01; done")?;
    bundle.save()?;
    let output = File::create(bundle.path().join("output"))?;
    let mut child = bundle.command(&["run", &bundle.id]).stdout(output).spawn()?;
    until("the trap is set", || bundle.output().contains("ready"))?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGUSR1)?;
    same("exit code", &child.wait()?.code(), &Some(9))?;
    contains(&bundle.output(), "got it")?;
    bundle.is_gone()
}

fn home() -> Result<(), Failed> {
    let mut bundle = Bundle::new("echo $HOME")?;
    fs::create_dir(bundle.rootfs().join("etc"))?;
    fs::write(bundle.rootfs().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nfive:x:5:5::/home/five:/bin/sh\n")?;
    bundle.config["process"]["user"]["uid"] = 5.into();
    same("home", bundle.run()?.stdout.as_str(), "/home/five\n")?;
    bundle.config["process"]["env"] = serde_json::json!(["HOME=/mine", "PATH=/bin"]);
    same("home", bundle.run()?.stdout.as_str(), "/mine\n")?;
    check(bundle.cgroups().is_empty(), "nothing is left")
}
