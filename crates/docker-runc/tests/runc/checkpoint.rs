//! Checkpoints. criu does not start on every kernel: there, what is told and what stays is looked at.

use crate::Test;
use crate::bundle::{Bundle, check, contains, has, same, until};
use libtest_mimic::Failed;
use std::fs;
use std::process::{Command, Stdio};

pub const TESTS: &[Test] = &[
    ("without_criu_the_reason_is_told_and_the_container_goes_on", without_criu),
    ("a_restored_container_goes_on_where_it_stood", restored),
    ("a_checkpoint_can_leave_the_container_running", left_running),
    ("flags_of_checkpoints_are_checked_before_anything_is_frozen", flags),
];

const COUNTING: &str = "i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/count; sleep 0.05; done";

/// Whether criu can do its work here.
fn criu_works() -> Result<bool, Failed> {
    let check = Command::new("criu").args(["check"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    has("criu", check.is_ok_and(|status| status.success()))
}

fn counting() -> Result<Bundle, Failed> {
    let mut bundle = Bundle::new(COUNTING)?;
    bundle.config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", COUNTING]);
    // criu 3.17 does not read the links of newer kernels.
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().ok_or("namespaces are a list")?;
    namespaces.retain(|namespace| namespace["type"] != "network");
    bundle.save()?;
    // No stream of it leads to a file of the host.
    let mut command = bundle.command(&["run", "-d", "--pid-file", "pid", &bundle.id]);
    let null = || fs::File::options().read(true).write(true).open("/dev/null");
    let status = command.stdin(null()?).stdout(null()?).stderr(null()?).status()?;
    check(status.success(), "run")?;
    Ok(bundle)
}

fn count(bundle: &Bundle) -> Option<u64> {
    bundle.runc(&["exec", &bundle.id, "cat", "/dev/shm/count"]).ok()?.stdout.trim().parse().ok()
}

fn goes_on(bundle: &Bundle, from: u64) -> Result<(), Failed> {
    until("it counts on", || count(bundle).is_some_and(|now| now > from))
}

fn without_criu() -> Result<(), Failed> {
    let bundle = counting()?;
    let mut command = bundle.command(&["checkpoint", &bundle.id]);
    let said = crate::bundle::said(command.env("PATH", "/nowhere").output()?);
    same("code", &said.code, &1)?;
    contains(&said.stderr, "exec: \\\"criu\\\": executable file not found in $PATH")?;
    same("status", bundle.status()?.as_str(), "running")?;
    if !criu_works()? {
        let said = bundle.runc(&["checkpoint", &bundle.id])?;
        same("code", &said.code, &1)?;
        contains(&said.stderr, "criu")?;
        same("status", bundle.status()?.as_str(), "running")?;
    }
    goes_on(&bundle, 0)?;
    let mut command = bundle.command(&["restore", "--image-path", "none", "other"]);
    let said = crate::bundle::said(command.env("PATH", "/nowhere").output()?);
    contains(&said.stderr, "executable file not found in $PATH")?;
    check(!bundle.root().join("other").exists(), "nothing is left of the restore")
}

fn restored() -> Result<(), Failed> {
    if !criu_works()? {
        return Ok(());
    }
    let bundle = counting()?;
    for round in 0..2 {
        goes_on(&bundle, 3)?;
        let before = count(&bundle).ok_or("a number")?;
        let said = bundle.runc(&["checkpoint", "--image-path", "images", "--work-path", "work", &bundle.id])?;
        same("checkpoint", said.stderr.as_str(), "")?;
        bundle.is_gone()?;
        let words = ["restore", "-d", "--image-path", "images", "--work-path", "work", "--pid-file", "pid", &bundle.id];
        let mut command = bundle.command(&words);
        let output = fs::File::create(bundle.path().join("said"))?;
        let status = command.stdout(Stdio::null()).stderr(output).status()?;
        check(status.success(), &fs::read_to_string(bundle.path().join("said"))?)?;
        same("status", bundle.status()?.as_str(), "running")?;
        check(count(&bundle).is_some_and(|now| now >= before && now < before + 1000), "it did not begin anew")?;
        goes_on(&bundle, before)?;
        contains(&bundle.runc(&["exec", &bundle.id, "hostname"])?.stdout, "runc")?;
        let group = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid()?))?;
        contains(&group, &bundle.id).map_err(|_| format!("round {round}: {group}"))?;
    }
    same("delete", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    check(!mounts.contains("criu-root"), "no mount is left")?;
    bundle.is_gone()
}

fn left_running() -> Result<(), Failed> {
    if !criu_works()? {
        return Ok(());
    }
    let bundle = counting()?;
    goes_on(&bundle, 0)?;
    let before = count(&bundle).ok_or("a number")?;
    let said = bundle.runc(&["checkpoint", "--leave-running", &bundle.id])?;
    same("checkpoint", said.stderr.as_str(), "")?;
    check(bundle.path().join("checkpoint/descriptors.json").exists(), "the images are in the default folder")?;
    goes_on(&bundle, before)
}

fn flags() -> Result<(), Failed> {
    let bundle = counting()?;
    let wrong = [
        (&["--manage-cgroups-mode", "sometimes"][..], "invalid manage-cgroups-mode value"),
        (&["--status-fd", "x"], "invalid value"),
        (&["--no-such-flag"], "flag provided but not defined"),
    ];
    for (words, reason) in wrong {
        let said = bundle.runc(&[&["checkpoint"], words, &[bundle.id.as_str()]].concat())?;
        same("code", &said.code, &1)?;
        contains(&said.stderr, reason)?;
    }
    same("status", bundle.status()?.as_str(), "running")?;
    let mut created = Bundle::new("true")?;
    created.config["process"]["args"] = serde_json::json!(["true"]);
    created.create()?;
    contains(&created.runc(&["checkpoint", &created.id])?.stderr, "cannot be checkpointed in created state")
}
