//! What a hostile image, configuration or container tries.

use crate::Test;
use crate::bundle::{Bundle, check, contains, program, same};
use libtest_mimic::Failed;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};

pub const TESTS: &[Test] = &[
    ("a_symlink_in_the_image_cannot_lead_a_mount_outside", symlinked_target),
    ("proc_is_mounted_on_no_symlink", symlinked_proc),
    ("nothing_is_mounted_into_proc", mount_into_proc),
    ("a_leaked_descriptor_is_no_way_out_as_working_directory", leaked_directory),
    ("the_runtime_cannot_be_overwritten_through_proc", own_binary),
    ("masked_and_readonly_paths_hold", masked_paths),
    ("a_false_null_device_masks_nothing", false_null),
    ("seccomp_holds_for_the_program_and_for_execs", seccomp),
    ("capabilities_are_exactly_the_configured_ones", capabilities),
    ("an_apparmor_profile_holds_where_there_is_apparmor", apparmor),
    ("a_rootless_container_cannot_write_the_cgroups_of_its_host", rootless_cgroups),
    ("what_is_not_built_is_refused_and_nothing_is_left", refused),
    ("hostile_json_gets_one_clear_error", hostile_json),
];

fn symlinked_target() -> Result<(), Failed> {
    let mut bundle = Bundle::new("ls /outside; ls /")?;
    let outside = bundle.path().join("outside");
    fs::create_dir(&outside)?;
    symlink(&outside, bundle.rootfs().join("link"))?;
    symlink("../../../../../..", bundle.rootfs().join("up"))?;
    let mounts = bundle.config["mounts"].as_array_mut().expect("a list");
    for destination in ["/up/made/here", "/link"] {
        mounts.push(json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] }));
    }
    // An absolute link that dangles inside the root leads to a place in it, not to the host.
    let said = bundle.run()?;
    same("exit code", &said.code, &0)?;
    check(fs::read_dir(&outside)?.next().is_none(), "nothing was made outside")?;
    let inside = bundle.rootfs().join(outside.strip_prefix("/").unwrap_or(&outside));
    check(inside.is_dir(), "the same path inside is made")?;
    bundle.config["mounts"].as_array_mut().expect("a list").pop();
    let said = bundle.run()?;
    contains(&said.stdout, "made\n")?;
    check(!std::path::Path::new("/made").exists(), "nothing was made on the host")
}

fn symlinked_proc() -> Result<(), Failed> {
    let bundle = Bundle::new("true")?;
    fs::create_dir(bundle.rootfs().join("elsewhere"))?;
    symlink("elsewhere", bundle.rootfs().join("proc"))?;
    let said = bundle.run()?;
    same("exit code", &said.code, &1)?;
    contains(&said.stderr, "must be mounted on ordinary directory")?;
    bundle.is_gone()
}

fn mount_into_proc() -> Result<(), Failed> {
    let mut bundle = Bundle::new("true")?;
    let mount = |destination: &str| json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" });
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount("/proc/sys/../self"));
    contains(&bundle.run()?.stderr, "because it is inside /proc")?;
    // The same by a link of the image.
    symlink("proc/self", bundle.rootfs().join("innocent"))?;
    bundle.config["mounts"].as_array_mut().expect("a list").pop();
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount("/innocent"));
    let said = bundle.run()?;
    same("exit code", &said.code, &1)?;
    contains(&said.stderr, "to rootfs at")?;
    bundle.is_gone()
}

fn leaked_directory() -> Result<(), Failed> {
    let mut bundle = Bundle::new("pwd; ls")?;
    for number in 3..24 {
        bundle.config["process"]["cwd"] = format!("/proc/self/fd/{number}").into();
        bundle.save()?;
        let runc = format!("exec {} --root {} run {} 15</ 16</etc", program(), bundle.root().display(), bundle.id);
        let output = std::process::Command::new("sh").args(["-c", &runc]).current_dir(bundle.path()).output()?;
        let said = crate::bundle::said(output);
        check(said.code == 1 && said.stdout.is_empty(), &format!("descriptor {number} leads nowhere: {said:?}"))?;
    }
    bundle.is_gone()
}

fn own_binary() -> Result<(), Failed> {
    let bundle = Bundle::new("true")?;
    bundle.save()?;
    let copy = bundle.path().join("docker-runc");
    fs::copy(program(), &copy)?;
    let null = || OpenOptions::new().write(true).open("/dev/null");
    let mut create = std::process::Command::new(&copy);
    create.arg("--root").arg(bundle.root()).args(["create", "--pid-file", "pid", &bundle.id]);
    let status = create.current_dir(bundle.path()).stdout(null()?).stderr(null()?).status()?;
    check(status.success(), "create")?;
    // The waiting process is still docker-runc. As the attack does: keep its file, wait for its end, open it for writing.
    let exe = format!("/proc/{}/exe", bundle.pid()?);
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(exe)?;
    same("delete", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let number = OpenOptions::new().write(true).open(again).err().and_then(|error| error.raw_os_error());
    same("opening it for writing", &number, &Some(libc::EROFS))?;
    check(OpenOptions::new().write(true).open(&copy).is_ok(), "the file itself is not busy any more")
}

fn masked_paths() -> Result<(), Failed> {
    let mut bundle =
        Bundle::new("cat /secret/file; ls /secret; cat /plain; echo x > /kept/x; cat /kept/y; cat /proc/keys | wc -c")?;
    for folder in ["secret", "kept"] {
        fs::create_dir(bundle.rootfs().join(folder))?;
    }
    fs::write(bundle.rootfs().join("secret/file"), "secret")?;
    fs::write(bundle.rootfs().join("plain"), "secret")?;
    fs::write(bundle.rootfs().join("kept/y"), "kept\n")?;
    bundle.config["root"]["readonly"] = false.into();
    bundle.config["linux"]["maskedPaths"] = json!(["/secret", "/plain", "/absent", "/proc/keys"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/kept", "/absent"]);
    let said = bundle.run()?;
    same("stdout", said.stdout.as_str(), "kept\n0\n")?;
    contains(&said.stderr, "can't create /kept/x: Read-only file system")
}

fn false_null() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /proc/keys")?;
    // With /dev bound, the container's own /dev/null would be used as the mask.
    let dev = bundle.path().join("dev");
    fs::create_dir(&dev)?;
    fs::write(dev.join("null"), "false")?;
    let mounts = bundle.config["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| !mount["destination"].as_str().unwrap_or("").starts_with("/dev"));
    mounts.push(json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["bind"] }));
    let said = bundle.run()?;
    same("exit code", &said.code, &1)?;
    contains(&said.stderr, "is not the null device")?;
    bundle.is_gone()
}

fn seccomp() -> Result<(), Failed> {
    let mut bundle = Bundle::new("mkdir /tmp/x; grep Seccomp: /proc/self/status; exec sleep 1000")?;
    for (no_new_privileges, seccomp) in [(true, 2), (false, 2)] {
        bundle.config["process"]["noNewPrivileges"] = no_new_privileges.into();
        bundle.config["root"]["readonly"] = false.into();
        bundle.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122 }],
        });
        bundle.create()?;
        bundle.runc(&["start", &bundle.id])?;
        crate::bundle::until("it prints", || bundle.output().contains("Seccomp:"))?;
        contains(&bundle.output(), "Disk quota exceeded")?;
        contains(&bundle.output(), &format!("Seccomp:\t{seccomp}"))?;
        let exec = bundle.runc(&["exec", &bundle.id, "mkdir", "/tmp/y"])?;
        contains(&exec.stderr, "Disk quota exceeded")?;
        bundle.runc(&["delete", "--force", &bundle.id])?;
    }
    bundle.is_gone()
}

fn capabilities() -> Result<(), Failed> {
    let mut bundle = Bundle::new("grep Cap /proc/self/status")?;
    bundle.config["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL", "CAP_NET_RAW"],
    });
    bundle.config["process"]["user"]["uid"] = 1000.into();
    // A user without root keeps what is ambient; what is not inheritable cannot be.
    let wanted = "CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\nCapBnd:\t0000000000002021\nCapAmb:\t0000000000000020\n";
    same("sets", bundle.run()?.stdout.as_str(), wanted)?;
    bundle.config["process"]["capabilities"]["bounding"] = json!(["CAP_FLY"]);
    contains(&bundle.run()?.stderr, "ignoring unknown or unavailable capabilities: [CAP_FLY]")
}

/// A profile under which all is allowed but one folder.
const PROFILE: &str =
    "profile longshore-test flags=(attach_disconnected) {\n file,\n signal,\n deny /denied/** rw,\n}\n";

fn apparmor() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /proc/self/attr/current; echo x > /denied/x; exec sleep 1000")?;
    bundle.config["process"]["apparmorProfile"] = json!("longshore-test");
    let enabled = fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    if !crate::bundle::has("apparmor", enabled)? {
        contains(&bundle.run()?.stderr, "AppArmor is not enabled")?;
        return bundle.is_gone();
    }
    contains(&bundle.run()?.stderr, "apparmor profile")?;
    bundle.is_gone()?;
    let file = bundle.path().join("profile");
    fs::write(&file, PROFILE)?;
    let loaded =
        std::process::Command::new("apparmor_parser").args(["--replace", "--skip-cache"]).arg(&file).status()?;
    check(loaded.success(), "the profile is loaded")?;
    fs::create_dir(bundle.rootfs().join("denied"))?;
    bundle.config["root"]["readonly"] = false.into();
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    crate::bundle::until("it prints", || bundle.output().contains("denied/x"))?;
    contains(&bundle.output(), "longshore-test (enforce)\n")?;
    contains(&bundle.output(), "can't create /denied/x: Permission denied")?;
    let inside = bundle.runc(&["exec", &bundle.id, "sh", "-c", "cat /proc/self/attr/current; ls > /denied/y"])?;
    // An exec names its profile itself; config.json's is the default.
    contains(&inside.stdout, "longshore-test (enforce)")?;
    contains(&inside.stderr, "Permission denied")?;
    let free = bundle.runc(&["exec", "--apparmor", "unconfined", &bundle.id, "cat", "/proc/self/attr/current"])?;
    check(free.code == 0 || free.stderr.contains("apparmor"), &format!("{free:?}"))
}

/// CVE-2023-25809: rootless, in the host's cgroup namespace, a bound /sys would show the host's writable hierarchies.
fn rootless_cgroups() -> Result<(), Failed> {
    let script = "for place in $(find /sys/fs/cgroup -maxdepth 2 -type d 2>/dev/null); do
        mkdir $place/made 2>/dev/null && echo made $place; done;
        grep ' /sys/fs/cgroup ' /proc/self/mountinfo";
    let mut bundle = Bundle::new(script)?;
    let folder = bundle.path().join("spec");
    fs::create_dir(&folder)?;
    let mut spec = std::process::Command::new(program());
    check(spec.args(["spec", "--rootless"]).current_dir(&folder).status()?.success(), "spec --rootless")?;
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("config.json"))?)?;
    config["process"]["args"] = bundle.config["process"]["args"].clone();
    config["process"]["terminal"] = false.into();
    // A tree of its own, given to the container's user as a service manager would: root on the host must not be needed.
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
    config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"].clone();
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    bundle.config = config;
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    bundle.save()?;
    let own = own_groups(&bundle);
    for group in &own {
        fs::create_dir(group)?;
        std::os::unix::fs::chown(group, Some(100_000), Some(100_000))?;
    }
    let said = bundle.run()?;
    check(said.code == 0 || said.stderr.is_empty(), &format!("it runs: {said:?}"))?;
    check(!said.stdout.contains("made "), &format!("no group can be made: {said:?}"))?;
    // The last one covers what came with /sys.
    contains(said.stdout.lines().last().unwrap_or_default(), " /sys/fs/cgroup ro,")?;
    check(own.iter().all(|group| !group.join("made").exists()), "nothing was made on the host")?;
    bundle.is_gone()
}

/// The container's groups, as they will be.
fn own_groups(bundle: &Bundle) -> Vec<std::path::PathBuf> {
    let mount = std::path::Path::new("/sys/fs/cgroup");
    if crate::bundle::is_v2() { vec![mount.join(&bundle.id)] } else { vec![mount.join("pids").join(&bundle.id)] }
}

fn refused() -> Result<(), Failed> {
    let changes = [
        ("/linux/intelRdt", json!({ "closID": "../x" }), "is no name of a class"),
        ("/linux/intelRdt", json!({ "closID": "x" }), "no resctrl file system is mounted"),
        ("/linux/netDevices", json!({ "eth0": { "name": "a/b" } }), "invalid network device name"),
        ("/linux/netDevices", json!({ "nosuch": {} }), "does not exist on the host"),
        ("/vm", json!({ "hypervisor": { "path": "/x" } }), "vm is not supported"),
        (
            "/linux/personality",
            json!({ "domain": "LINUX32", "flags": ["X"] }),
            "linux.personality.flags is not supported",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_OTHER", "priority": 3 }),
            "can only be specified for SchedFIFO",
        ),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 9 }), "it is between 0 and 7"),
        ("/linux/mountLabel", json!("system_u:object_r:x"), "SELinux is not enabled"),
        ("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }), "time namespace isn't enabled"),
        ("/linux/rootfsPropagation", json!("sideways"), "is not a valid mount propagation"),
        ("/linux/cgroupsPath", json!("/../../x"), "is not valid"),
        ("/process/oomScoreAdj", json!(5000), "is not between"),
        ("/process/args", json!([]), "args must not be empty"),
        ("/ociVersion", json!("2.0"), "is not a version 1"),
        ("/root/path", json!("nosuch"), "rootfs"),
    ];
    for (pointer, value, words) in changes {
        let mut bundle = Bundle::new("true")?;
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        let parent = if parent.is_empty() { Some(&mut bundle.config) } else { bundle.config.pointer_mut(parent) };
        parent.ok_or("the parent is there")?[key] = value;
        let said = bundle.run()?;
        same(pointer, &said.code, &1)?;
        contains(&said.stderr, words)?;
        bundle.is_gone()?;
    }
    Ok(())
}

fn hostile_json() -> Result<(), Failed> {
    let bundle = Bundle::new("true")?;
    let deep = "[".repeat(100_000);
    for text in ["", "{", "{\"process\":7}", "\u{0}", deep.as_str()] {
        fs::write(bundle.path().join("config.json"), text)?;
        let said = bundle.runc(&["run", &bundle.id])?;
        same("exit code", &said.code, &1)?;
        contains(&said.stderr, "is not valid JSON")?;
    }
    bundle.is_gone()
}
