//! Control groups that systemd makes.

use crate::Test;
use crate::bundle::{Bundle, check, contains, has, is_v2, same, until};
use libtest_mimic::Failed;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

pub const TESTS: &[Test] = &[
    ("a_scope_has_the_container_and_its_limits", scope),
    ("a_scope_ends_with_a_failed_create", failed_create),
    ("properties_come_from_annotations", annotations),
    ("what_is_no_unit_is_refused", refused),
];

/// Nothing of this can be had without systemd; then the reason is told.
fn has_systemd() -> Result<bool, Failed> {
    has("systemd", Path::new("/run/systemd/system").exists())
}

fn bundle(script: &str) -> Result<Bundle, Failed> {
    let mut bundle = Bundle::new(script)?;
    bundle.globals = vec!["--systemd-cgroup"];
    bundle.config["linux"]["cgroupsPath"] = format!("lt-test.slice:runc:{}", bundle.id).into();
    Ok(bundle)
}

fn unit(bundle: &Bundle) -> String {
    format!("runc-{}.scope", bundle.id)
}

fn show(bundle: &Bundle, property: &str) -> Result<String, Failed> {
    let output = Command::new("systemctl").args(["show", "--value", "--property", property, &unit(bundle)]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn without_systemd(bundle: &Bundle) -> Result<(), Failed> {
    contains(&bundle.run()?.stderr, "cannot connect to systemd's bus")?;
    bundle.is_gone()
}

fn scope() -> Result<(), Failed> {
    let mut bundle = bundle("exec sleep 1000")?;
    if !has_systemd()? {
        return without_systemd(&bundle);
    }
    let resources = &mut bundle.config["linux"]["resources"];
    resources["memory"] = json!({ "limit": 64 << 20 });
    resources["pids"] = json!({ "limit": 30 });
    resources["cpu"] = json!({ "shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0" });
    bundle.create()?;
    let group = show(&bundle, "ControlGroup")?;
    same("the group", group.as_str(), format!("/lt.slice/lt-test.slice/{}", unit(&bundle)).as_str())?;
    contains(&fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid()?))?, &format!(":{group}\n"))?;
    let (memory, cpu) =
        if is_v2() { ("MemoryMax", ("CPUWeight", "100")) } else { ("MemoryLimit", ("CPUShares", "1024")) };
    for (property, value) in [
        (memory, "67108864"),
        cpu,
        ("TasksMax", "30"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("AllowedCPUs", "0"),
        ("Delegate", "yes"),
        ("DevicePolicy", "strict"),
        ("ActiveState", "active"),
        ("Slice", "lt-test.slice"),
    ] {
        same(property, show(&bundle, property)?.as_str(), value)?;
    }
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let said = bundle.runc(&["update", "--memory", "33554432", "--pids-limit", "7", &bundle.id])?;
    same("update", said.stderr.as_str(), "")?;
    same("memory", show(&bundle, memory)?.as_str(), "33554432")?;
    same("tasks", show(&bundle, "TasksMax")?.as_str(), "7")?;
    // A manager that is reloaded sets everything anew.
    check(Command::new("systemctl").arg("daemon-reload").status()?.success(), "daemon-reload")?;
    let inside =
        bundle.runc(&["exec", &bundle.id, "sh", "-c", "cat /proc/self/cgroup; echo x > /dev/null && echo null"])?;
    contains(&inside.stdout, "null\n")?;
    if is_v2() {
        let file = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup{group}/{name}"));
        same("pids.max", file("pids.max")?.trim(), "7")?;
        same("memory.max", file("memory.max")?.trim(), "33554432")?;
    }
    same("pause", &bundle.runc(&["pause", &bundle.id])?.code, &0)?;
    same("status", bundle.status()?.as_str(), "paused")?;
    same("resume", &bundle.runc(&["resume", &bundle.id])?.code, &0)?;
    same("delete", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    is_unloaded(&bundle)
}

fn is_unloaded(bundle: &Bundle) -> Result<(), Failed> {
    until("the unit is gone", || show(bundle, "ActiveState").is_ok_and(|state| state == "inactive"))?;
    bundle.is_gone()
}

fn failed_create() -> Result<(), Failed> {
    let mut bundle = bundle("")?;
    if !has_systemd()? {
        return without_systemd(&bundle);
    }
    bundle.config["process"]["args"] = json!(["/nosuch"]);
    contains(&bundle.run()?.stderr, "no such file or directory")?;
    is_unloaded(&bundle)?;
    bundle.config["process"]["args"] = json!(["/bin/sh", "-c", "exit 3"]);
    same("the same unit again", &bundle.run()?.code, &3)?;
    is_unloaded(&bundle)
}

fn annotations() -> Result<(), Failed> {
    let mut bundle = bundle("exec sleep 1000")?;
    bundle.config["annotations"] = json!({ "org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.CollectMode": "'inactive-or-failed'" });
    if !has_systemd()? {
        return without_systemd(&bundle);
    }
    bundle.create()?;
    same("TimeoutStopUSec", show(&bundle, "TimeoutStopUSec")?.as_str(), "7s")?;
    same("CollectMode", show(&bundle, "CollectMode")?.as_str(), "inactive-or-failed")?;
    bundle.runc(&["delete", "--force", &bundle.id])?;
    is_unloaded(&bundle)
}

fn refused() -> Result<(), Failed> {
    let mut bundle = bundle("true")?;
    for path in ["/docker/x", "a.slice:b", "no-slice:a:b"] {
        bundle.config["linux"]["cgroupsPath"] = path.into();
        let said = bundle.run()?;
        check(said.code == 1 && said.stderr.contains("slice"), &format!("{path} is refused: {said:?}"))?;
        bundle.is_gone()?;
    }
    Ok(())
}
