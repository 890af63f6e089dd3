//! From create to delete.

use crate::Test;
use crate::bundle::{Bundle, check, contains, is_v2, program, same, until};
use libtest_mimic::Failed;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

pub const TESTS: &[Test] = &[
    ("run_answers_the_programs_exit_code_and_leaves_nothing", run_answers_the_exit_code),
    ("a_created_container_waits_for_start", created_waits_for_start),
    ("a_program_that_is_not_there_is_told_in_runcs_words", missing_program),
    ("a_program_that_cannot_be_executed_says_so_after_start", bad_program),
    ("only_one_of_many_creates_gets_an_id", one_create_wins),
    ("a_created_container_is_ended_by_a_polite_signal", kill_created),
    ("a_killed_container_is_deleted_with_all_its_processes", kill_and_delete),
    ("a_paused_container_stands_still_and_goes_on", pause_and_resume),
    ("limits_are_set_and_updated", limits),
    ("what_only_v2_has_is_set_there_and_refused_elsewhere", limits_of_v2),
    ("hooks_run_in_order_with_the_state_on_stdin", hooks),
    ("a_failing_hook_ends_the_create", failing_hook),
    ("the_spec_is_the_one_that_debians_runc_writes", spec_like_runc),
    ("list_shows_tables_json_and_ids", list),
];

fn run_answers_the_exit_code() -> Result<(), Failed> {
    let bundle = Bundle::new("echo out; echo err >&2; exit 42")?;
    let said = bundle.run()?;
    same("exit code", &said.code, &42)?;
    same("stdout", said.stdout.as_str(), "out\n")?;
    same("stderr", said.stderr.as_str(), "err\n")?;
    bundle.is_gone()
}

fn created_waits_for_start() -> Result<(), Failed> {
    let bundle = Bundle::new("echo started; exec sleep 1000")?;
    bundle.create()?;
    same("status", bundle.status()?.as_str(), "created")?;
    same("output before start", bundle.output().as_str(), "")?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    until("the program prints", || bundle.output() == "started\n")?;
    same("status", bundle.status()?.as_str(), "running")?;
    let again = bundle.runc(&["start", &bundle.id])?;
    contains(&again.stderr, "cannot start an already running container")?;
    let early = bundle.runc(&["delete", &bundle.id])?;
    contains(&early.stderr, "that is not stopped: running")?;
    same("delete --force", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    bundle.is_gone()
}

fn missing_program() -> Result<(), Failed> {
    let mut bundle = Bundle::new("")?;
    bundle.config["process"]["args"] = serde_json::json!(["nosuch"]);
    bundle.save()?;
    let said = bundle.runc(&["--log", "log.json", "--log-format", "json", "create", &bundle.id])?;
    same("exit code", &said.code, &1)?;
    let log: serde_json::Value = serde_json::from_str(&fs::read_to_string(bundle.path().join("log.json"))?)?;
    same("level", log["level"].as_str().unwrap_or(""), "error")?;
    let message =
        "runc create failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH";
    same("message", log["msg"].as_str().unwrap_or(""), message)?;
    contains(&said.stderr, message)?;
    for (program, words) in [("/nosuch", "no such file or directory"), ("/proc/version", "permission denied")] {
        bundle.config["process"]["args"] = serde_json::json!([program]);
        contains(&bundle.run()?.stderr, words)?;
    }
    bundle.is_gone()
}

fn bad_program() -> Result<(), Failed> {
    let mut bundle = Bundle::new("")?;
    let program = bundle.rootfs().join("bin/bad");
    fs::write(&program, [0x7f, b'E', b'L', b'F', 0, 0, 0, 0])?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    bundle.config["process"]["args"] = serde_json::json!(["/bin/bad"]);
    contains(&bundle.run()?.stderr, "exec /bin/bad: exec format error")?;
    bundle.is_gone()?;
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    until("it has ended", || bundle.status().is_ok_and(|status| status == "stopped"))?;
    same("output", bundle.output().as_str(), "exec failed: exec format error\n")
}

fn one_create_wins() -> Result<(), Failed> {
    let bundle = Bundle::new("exec sleep 1000")?;
    bundle.save()?;
    let null = || fs::OpenOptions::new().write(true).open("/dev/null");
    let mut children = Vec::new();
    for _ in 0..8 {
        let mut command = bundle.command(&["create", &bundle.id]);
        children.push(command.stdout(null()?).stderr(null()?).spawn()?);
    }
    let mut winners = 0;
    for mut child in children {
        winners += i32::from(child.wait()?.success());
    }
    same("creates that succeed", &winners, &1)?;
    same("status", bundle.status()?.as_str(), "created")
}

fn kill_created() -> Result<(), Failed> {
    let bundle = Bundle::new("sleep 1000")?;
    bundle.create()?;
    same("kill", &bundle.runc(&["kill", &bundle.id, "TERM"])?.code, &0)?;
    until("it has ended", || bundle.status().is_ok_and(|status| status == "stopped"))?;
    same("delete", &bundle.runc(&["delete", &bundle.id])?.code, &0)?;
    bundle.is_gone()
}

fn kill_and_delete() -> Result<(), Failed> {
    // Without a pid namespace the orphan outlives the first process.
    let mut bundle = Bundle::new("sleep 1000 & exec sleep 1000")?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "pid");
    bundle.config["mounts"].as_array_mut().expect("a list").retain(|mount| mount["destination"] != "/proc");
    bundle.config["linux"]["maskedPaths"] = serde_json::json!([]);
    bundle.create()?;
    bundle.runc(&["start", &bundle.id])?;
    let processes = || bundle.cgroup_file("pids", "cgroup.procs").map_or(0, |text| text.lines().count());
    until("both processes run", || processes() == 2)?;
    let first = nix::unistd::Pid::from_raw(bundle.pid()?);
    nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL)?;
    until("the first is dead", || bundle.status().is_ok_and(|status| status == "stopped"))?;
    contains(&bundle.runc(&["kill", &bundle.id, "TERM"])?.stderr, "container not running")?;
    same("one is left", &processes(), &1)?;
    same("delete", &bundle.runc(&["delete", &bundle.id])?.code, &0)?;
    bundle.is_gone()?;
    for command in ["state", "kill", "start", "delete", "pause"] {
        contains(&bundle.runc(&[command, &bundle.id])?.stderr, "container does not exist")?;
    }
    same("delete --force of nothing", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)
}

fn pause_and_resume() -> Result<(), Failed> {
    let bundle = Bundle::new("exec sleep 1000")?;
    bundle.create()?;
    bundle.runc(&["start", &bundle.id])?;
    same("pause", &bundle.runc(&["pause", &bundle.id])?.code, &0)?;
    same("status", bundle.status()?.as_str(), "paused")?;
    contains(&bundle.runc(&["exec", &bundle.id, "true"])?.stderr, "cannot exec in a paused container")?;
    same("resume", &bundle.runc(&["resume", &bundle.id])?.code, &0)?;
    same("status", bundle.status()?.as_str(), "running")?;
    bundle.runc(&["pause", &bundle.id])?;
    same("a paused one is deleted", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    bundle.is_gone()
}

fn limits() -> Result<(), Failed> {
    let mut bundle = Bundle::new("exec sleep 1000")?;
    let resources = &mut bundle.config["linux"]["resources"];
    resources["memory"] = serde_json::json!({ "limit": 64 << 20, "swap": 64 << 20 });
    resources["pids"] = serde_json::json!({ "limit": 30 });
    resources["cpu"] = serde_json::json!({ "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" });
    bundle.create()?;
    let v1 = [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "67108864"),
        ("pids", "pids.max", "30"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpuset", "cpuset.cpus", "0"),
    ];
    // Swap alone is counted there, and shares are weights.
    let v2 = [
        ("memory", "memory.max", "67108864"),
        ("memory", "memory.swap.max", "0"),
        ("pids", "pids.max", "30"),
        ("cpu", "cpu.weight", "59"),
        ("cpu", "cpu.max", "50000 100000"),
        ("cpuset", "cpuset.cpus", "0"),
    ];
    for (controller, file, value) in if is_v2() { v2 } else { v1 } {
        same(file, bundle.cgroup_file(controller, file)?.as_str(), value)?;
    }
    for limit in ["134217728", "33554432"] {
        let said =
            bundle.runc(&["update", "--memory", limit, "--memory-swap", limit, "--pids-limit", "7", &bundle.id])?;
        same("update", said.stderr.as_str(), "")?;
        let file = if is_v2() { "memory.max" } else { "memory.limit_in_bytes" };
        same("memory", bundle.cgroup_file("memory", file)?.as_str(), limit)?;
    }
    same("pids", bundle.cgroup_file("pids", "pids.max")?.as_str(), "7")?;
    let event: serde_json::Value = serde_json::from_str(&bundle.runc(&["events", "--stats", &bundle.id])?.stdout)?;
    same("pids in stats", &event["data"]["pids"]["current"], &1.into())?;
    same("limit in stats", &event["data"]["memory"]["usage"]["limit"], &(32 << 20).into())
}

fn limits_of_v2() -> Result<(), Failed> {
    let mut bundle = Bundle::new("exec sleep 1000")?;
    let resources = &mut bundle.config["linux"]["resources"];
    resources["unified"] = serde_json::json!({ "memory.high": "33554432", "pids.max": "9" });
    if !is_v2() {
        contains(&bundle.run()?.stderr, "cannot use unified on cgroup v1")?;
        return bundle.is_gone();
    }
    resources["memory"] = serde_json::json!({ "limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20 });
    resources["cpu"] = serde_json::json!({ "shares": 262_144, "period": 20_000, "quota": 10_000, "burst": 5000 });
    resources["hugepageLimits"] = serde_json::json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
    resources["pids"] = serde_json::json!({ "limit": 30 });
    bundle.create()?;
    let files = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "16777216"),
        ("memory.high", "33554432"),
        ("cpu.weight", "10000"),
        ("cpu.max", "10000 20000"),
        ("cpu.max.burst", "5000"),
        ("hugetlb.2MB.max", "4194304"),
        ("pids.max", "9"),
    ];
    for (file, value) in files {
        same(file, bundle.cgroup_file("", file)?.as_str(), value)?;
    }
    let said = bundle.runc(&["update", "--cpu-idle", "1", "--memory-swap", "134217728", &bundle.id])?;
    same("update", said.stderr.as_str(), "")?;
    same("cpu.idle", bundle.cgroup_file("", "cpu.idle")?.as_str(), "1")?;
    same("memory.swap.max", bundle.cgroup_file("", "memory.swap.max")?.as_str(), "67108864")?;
    bundle.runc(&["delete", "--force", &bundle.id])?;
    for (name, value) in [
        ("memory", serde_json::json!({ "disableOOMKiller": true })),
        ("cpu", serde_json::json!({ "realtimeRuntime": 1000 })),
        ("network", serde_json::json!({ "classID": 1 })),
    ] {
        bundle.config["linux"]["resources"] = serde_json::json!({ name: value });
        contains(&bundle.run()?.stderr, "on cgroup v2 is not supported")?;
        bundle.is_gone()?;
    }
    Ok(())
}

fn hooks() -> Result<(), Failed> {
    let mut bundle = Bundle::new("echo program")?;
    let journal = bundle.path().join("journal");
    fs::write(&journal, "")?;
    fs::create_dir(bundle.rootfs().join("journal"))?;
    fs::write(bundle.rootfs().join("journal/inside"), "")?;
    bundle.config["root"]["readonly"] = false.into();
    let hook = |name: &str, file: &str| {
        let script = format!("read -r state; echo \"{name} $state\" >> {file}");
        serde_json::json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin"], "timeout": 10 }])
    };
    let outside = journal.to_string_lossy().into_owned();
    bundle.config["hooks"] = serde_json::json!({
        "prestart": hook("prestart", &outside),
        "createRuntime": hook("createRuntime", &outside),
        "createContainer": hook("createContainer", &outside),
        "startContainer": hook("startContainer", "/journal/inside"),
        "poststart": hook("poststart", &outside),
        "poststop": hook("poststop", &outside),
    });
    let said = bundle.run()?;
    same("output", said.stdout.as_str(), "program\n")?;
    let lines = fs::read_to_string(&journal)?;
    let names: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    same("hooks", names.as_slice(), &["prestart", "createRuntime", "createContainer", "poststart", "poststop"])?;
    for line in lines.lines() {
        contains(line, &format!("\"id\":\"{}\"", bundle.id))?;
    }
    let inside = fs::read_to_string(bundle.rootfs().join("journal/inside"))?;
    contains(&inside, "startContainer {")?;
    contains(&inside, "\"pid\":1,")
}

fn failing_hook() -> Result<(), Failed> {
    for kind in ["createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("echo program")?;
        bundle.config["hooks"] =
            serde_json::json!({ kind: [{ "path": "/bin/busybox", "args": ["sh", "-c", "exit 3"] }] });
        let said = bundle.run()?;
        same("exit code", &said.code, &1)?;
        contains(&said.stderr, &format!("error running {kind} hook #0: exit status 3"))?;
        same("stdout", said.stdout.as_str(), "")?;
        bundle.is_gone()?;
        bundle.config["hooks"] =
            serde_json::json!({ kind: [{ "path": "/bin/busybox", "args": ["sleep", "1000"], "timeout": 1 }] });
        contains(&bundle.run()?.stderr, "timeout")?;
        bundle.is_gone()?;
        bundle.config["hooks"] =
            serde_json::json!({ kind: [{ "path": "/bin/busybox", "args": ["sh", "-c", "kill -SYS $$"] }] });
        contains(&bundle.run()?.stderr, &format!("error running {kind} hook #0: signal: bad system call"))?;
        bundle.is_gone()?;
    }
    Ok(())
}

fn spec_like_runc() -> Result<(), Failed> {
    let Ok(runc) = Command::new("runc").arg("--version").output() else { return Ok(()) };
    check(runc.status.success(), "Debian's runc runs")?;
    let bundle = Bundle::new("")?;
    let theirs = bundle.path().join("theirs");
    let ours = bundle.path().join("ours");
    for (program, folder) in [("runc", &theirs), (program(), &ours)] {
        for (name, args) in [("plain", &["spec"][..]), ("rootless", &["spec", "--rootless"])] {
            let folder = folder.join(name);
            fs::create_dir_all(&folder)?;
            check(Command::new(program).args(args).current_dir(&folder).status()?.success(), "spec")?;
        }
    }
    for name in ["plain", "rootless"] {
        let read = |folder: &std::path::Path| -> Result<serde_json::Value, Failed> {
            let mut config: serde_json::Value =
                serde_json::from_slice(&fs::read(folder.join(name).join("config.json"))?)?;
            // Ours speaks a newer version, and newer runtimes no longer ask for ambient capabilities.
            config["ociVersion"] = "".into();
            config["process"]["capabilities"]["ambient"] = serde_json::Value::Null;
            Ok(config)
        };
        let (mut theirs, mut ours) = (read(&theirs)?, read(&ours)?);
        for config in [&mut theirs, &mut ours] {
            let sorted = |list: &mut Vec<serde_json::Value>| list.sort_by_key(ToString::to_string);
            config["linux"]["namespaces"].as_array_mut().map(sorted);
        }
        same(name, &ours, &theirs)?;
    }
    Ok(())
}

fn list() -> Result<(), Failed> {
    let bundle = Bundle::new("exec sleep 1000")?;
    contains(&bundle.runc(&["list"])?.stderr, "no such file or directory")?;
    fs::create_dir(bundle.root())?;
    same("no containers", bundle.runc(&["list", "--format", "json"])?.stdout.as_str(), "null\n")?;
    bundle.create()?;
    same("ids", bundle.runc(&["list", "-q"])?.stdout.as_str(), format!("{}\n", bundle.id).as_str())?;
    let table = bundle.runc(&["list"])?.stdout;
    contains(&table, "ID")?;
    contains(&table, "created")?;
    let rows: serde_json::Value = serde_json::from_str(&bundle.runc(&["list", "-f", "json"])?.stdout)?;
    same("pid", &rows[0]["pid"], &bundle.pid()?.into())?;
    let pids: Vec<i32> = serde_json::from_str(&bundle.runc(&["ps", "-f", "json", &bundle.id])?.stdout)?;
    same("processes", pids.as_slice(), &[bundle.pid()?])
}
