//! A set-up that fails at any of its steps: it is told, and nothing stays.
//!
//! strace(1) makes a system call fail at its first, second … use in the child and in its parent, until a run has no use of that
//! number any more. Every step of the plan is one system call or some, so each of them fails in its turn.

use crate::Test;
use crate::bundle::{Bundle, Said, check, program, said};
use libtest_mimic::Failed;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub const TESTS: &[Test] = &[
    ("whatever_mount_fails_nothing_is_left", mounts),
    ("whatever_place_cannot_be_opened_nothing_is_left", places),
    ("whatever_of_an_identity_fails_nothing_is_left", identity),
    ("whatever_fails_in_the_parent_nothing_is_left", parents),
];

/// A call, and how often at least a run uses it.
type Call = (&'static str, usize);

/// More uses than any call has: one that never ends would be a mistake of this test.
const MOST_USES: usize = 400;
/// The container's own program has called it: strace makes of it a call with no number, which no filter lets through.
const KILLED_BY_ITS_FILTER: i32 = 128 + libc::SIGSYS;
const INJECTED: &str = "(INJECTED)";

fn mounts() -> Result<(), Failed> {
    fail_each(&[
        ("fsopen", 6),
        ("fsconfig", 10),
        ("fsmount", 6),
        ("open_tree", 6),
        ("move_mount", 14),
        ("mount_setattr", 4),
        ("mount", 3),
        ("pivot_root", 1),
        ("umount2", 1),
        ("mknodat", 6),
        ("symlinkat", 5),
        ("mkdirat", 1),
    ])
}

fn places() -> Result<(), Failed> {
    fail_each(&[("openat2", 40), ("fstatfs", 6), ("chdir", 2), ("fchdir", 2), ("getcwd", 2)])
}

fn identity() -> Result<(), Failed> {
    fail_each(&[
        ("setsid", 1),
        ("unshare", 1),
        ("sethostname", 1),
        ("keyctl", 1),
        ("prlimit64", 1),
        ("setgroups", 1),
        ("setresgid", 1),
        ("setresuid", 1),
        ("capset", 1),
        ("seccomp", 1),
        ("prctl", 20),
        ("close_range", 1),
    ])
}

fn parents() -> Result<(), Failed> {
    fail_each(&[
        ("socketpair", 1),
        ("clone3", 1),
        ("mkdir", 2),
        ("openat", 10),
        ("write", 5),
        ("rename", 1),
        ("sendto", 1),
        ("recvmsg", 2),
        ("signalfd4", 1),
    ])
}

/// What the runtime can do without may fail without a word; else the run ends with an error, and either way nothing is left.
fn fail_each(calls: &[Call]) -> Result<(), Failed> {
    if !Path::new("/usr/bin/strace").exists() {
        return Err("needs Debian's strace (scripts/packages test)".into());
    }
    let mut bundle = Bundle::new("true")?;
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/keys", "/proc/acpi", "/sys/firmware"]);
    bundle.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_ERRNO" }] });
    bundle.save()?;
    for (call, least) in calls {
        let mut failed = 0;
        let mut uses = 0;
        while uses < MOST_USES {
            let (said, injected) = run_failing(&bundle, call, uses + 1)?;
            if !injected {
                break;
            }
            uses += 1;
            let told = [0, KILLED_BY_ITS_FILTER].contains(&said.code) || !said.stderr.is_empty();
            check(told, &format!("{call} {uses} is told: {said:?}"))?;
            bundle.is_gone().map_err(|left| format!("{call} {uses}: {left:?} after {said:?}"))?;
            failed += usize::from(said.code != 0);
        }
        check(uses >= *least && uses < MOST_USES, &format!("{uses} uses of {call}"))?;
        // A call of which no failure matters would be one too many.
        check(failed > 0, &format!("a failure of {call} ends a run"))?;
    }
    Ok(())
}

/// A run in which this use of the call fails, and whether there was such a use.
fn run_failing(bundle: &Bundle, call: &str, number: usize) -> Result<(Said, bool), Failed> {
    let log = bundle.path().join("strace.log");
    let inject = format!("inject={call}:error=EIO:when={number}");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o"]).arg(&log).arg(program());
    strace.arg("--root").arg(bundle.root()).args(["run", &bundle.id]).current_dir(bundle.path());
    let said = said(strace.stdin(Stdio::null()).output()?);
    Ok((said, fs::read_to_string(&log)?.contains(INJECTED)))
}
