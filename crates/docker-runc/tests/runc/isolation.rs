//! Namespaces, mounts, devices.

use crate::Test;
use crate::bundle::{Bundle, check, contains, is_v2, same};
use libtest_mimic::Failed;
use serde_json::json;
use std::fs;

pub const TESTS: &[Test] = &[
    ("the_container_sees_its_own_world_only", own_world),
    ("mounts_have_the_options_they_were_given", mount_options),
    ("nothing_that_is_mounted_is_seen_by_the_host", no_propagation),
    ("devices_are_made_and_all_others_are_out_of_reach", devices),
    ("namespaces_are_joined_by_their_path", joined_namespaces),
    ("a_user_namespace_maps_ids", user_namespace),
    ("sysctls_are_set_in_the_containers_namespaces", sysctls),
    ("cgroups_are_mounted_as_the_containers_own", cgroup_mounts),
    ("a_user_has_its_group_of_v2_and_no_limit_of_it", delegated_group),
    ("network_devices_move_in_with_their_addresses", net_devices),
];

fn own_world() -> Result<(), Failed> {
    let mut bundle = Bundle::new(
        "echo $$; hostname; ls /proc | grep -c '^[0-9]'; ls /sys/class/net; cat /sys/class/net/lo/operstate; touch /x || echo ro; ls /",
    )?;
    bundle.config["hostname"] = "inside".into();
    let said = bundle.run()?;
    contains(&said.stderr, "Read-only file system")?;
    let wanted = "1\ninside\n3\nlo\nunknown\nro\nbin\ndev\nproc\nsys\n";
    same("stdout", said.stdout.as_str(), wanted)
}

fn mount_options() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /proc/self/mountinfo; touch /ro/x; touch /rw/x && echo written; cat /file")?;
    for folder in ["a", "b"] {
        fs::create_dir(bundle.path().join(folder))?;
    }
    fs::write(bundle.path().join("f"), "a file\n")?;
    let mounts = bundle.config["mounts"].as_array_mut().expect("a list");
    mounts.push(
        json!({ "destination": "/ro", "type": "bind", "source": "a", "options": ["rbind", "ro", "nosuid", "noexec"] }),
    );
    mounts.push(json!({ "destination": "/rw", "type": "none", "source": "b", "options": ["bind", "rw", "nodev"] }));
    mounts.push(json!({ "destination": "/file", "type": "bind", "source": "f", "options": ["bind", "ro"] }));
    mounts.push(json!({ "destination": "/run/deep/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=700", "noatime"] }));
    let said = bundle.run()?;
    let line = |place: &str| said.stdout.lines().find(|line| line.contains(place)).unwrap_or_default().to_string();
    contains(&line(" /ro "), " ro,nosuid,noexec,relatime ")?;
    contains(&line(" /rw "), " rw,nodev,relatime ")?;
    contains(&line(" /run/deep/tmp "), " rw,noatime ")?;
    contains(&line(" /run/deep/tmp "), "size=1024k,mode=700")?;
    contains(&said.stderr, "touch: /ro/x: Read-only file system")?;
    contains(&said.stdout, "written\na file\n")
}

fn no_propagation() -> Result<(), Failed> {
    let bundle = Bundle::new("exec sleep 1000")?;
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    bundle.create()?;
    same("the host's mounts", fs::read_to_string("/proc/self/mountinfo")?.as_str(), before.as_str())?;
    let inside = fs::read_to_string(format!("/proc/{}/mountinfo", bundle.pid()?))?;
    check(inside.lines().count() > 10 && !inside.contains(" /etc "), "the old root is gone")
}

fn devices() -> Result<(), Failed> {
    let script = "stat -c '%n %F %a %t:%T' /dev/null /dev/extra; readlink /dev/fd; readlink /dev/ptmx;
        echo x > /dev/null; head -c 1 /dev/zero | wc -c; mknod /dev/disk b 254 0; head -c 1 /dev/disk";
    let mut bundle = Bundle::new(script)?;
    let sets = &mut bundle.config["process"]["capabilities"];
    for set in ["bounding", "effective", "permitted"] {
        sets[set].as_array_mut().expect("a list").push("CAP_MKNOD".into());
    }
    bundle.config["linux"]["devices"] =
        json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 }]);
    // tmpfs with nodev would hide what the cgroup does.
    let said = bundle.run()?;
    contains(&said.stdout, "/dev/null character special file 666 1:3\n/dev/extra character special file 640 1:5\n")?;
    contains(&said.stdout, "/proc/self/fd\npts/ptmx\n1\n")?;
    contains(&said.stderr, "/dev/disk: Operation not permitted")
}

fn joined_namespaces() -> Result<(), Failed> {
    let first = Bundle::new("exec sleep 1000")?;
    first.create()?;
    let pid = first.pid()?;
    let mut second = Bundle::new("for n in net ipc pid uts; do readlink /proc/self/ns/$n; done")?;
    for namespace in second.config["linux"]["namespaces"].as_array_mut().expect("a list") {
        let file = match namespace["type"].as_str() {
            Some("network") => "net",
            Some(kind @ ("ipc" | "pid" | "uts")) => kind,
            _ => continue,
        };
        namespace["path"] = format!("/proc/{pid}/ns/{file}").into();
    }
    second.config["hostname"] = "".into();
    let mut wanted = String::new();
    for kind in ["net", "ipc", "pid", "uts"] {
        wanted += &format!("{}\n", fs::read_link(format!("/proc/{pid}/ns/{kind}"))?.display());
    }
    let said = second.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    same("namespaces", said.stdout.as_str(), wanted.as_str())
}

fn user_namespace() -> Result<(), Failed> {
    let mut bundle = Bundle::new("id -u; cat /proc/self/uid_map; echo x > /dev/null && echo null; stat -c %u /bin")?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    for path in [bundle.path().to_path_buf(), bundle.rootfs()] {
        std::os::unix::fs::chown(&path, Some(100_000), Some(100_000))?;
    }
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    same("words", words.as_slice(), &["0", "0", "100000", "65536", "null", "65534"])
}

fn net_devices() -> Result<(), Failed> {
    let ip = |words: &[&str]| -> Result<(), Failed> {
        check(std::process::Command::new("ip").args(words).status()?.success(), &format!("ip {words:?}"))
    };
    ip(&["link", "add", "host0", "type", "veth", "peer", "name", "host1"])?;
    ip(&["address", "add", "10.9.0.1/24", "dev", "host0"])?;
    ip(&["address", "add", "fd00:9::1/64", "dev", "host0", "nodad"])?;
    let script =
        "cat /proc/net/fib_trie | grep -c ' 10.9.0.1$'; cat /proc/net/if_inet6; cat /sys/class/net/inside/flags";
    let mut bundle = Bundle::new(script)?;
    bundle.config["linux"]["netDevices"] = json!({ "host0": { "name": "inside" }, "host1": { "name": "net%d" } });
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    contains(&said.stdout, "fd000009000000000000000000000001")?;
    let flags = said.stdout.lines().last().and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok());
    check(flags.is_some_and(|flags| flags & 1 == 1), &format!("it is up: {said:?}"))?;
    check(!said.stdout.starts_with('0'), "its address came with it")?;
    check(!std::path::Path::new("/proc/sys/net/ipv4/conf/host0").exists(), "the host has it no more")?;
    contains(&bundle.run()?.stderr, "network device \\\"host0\\\" does not exist on the host")?;
    bundle.is_gone()?;
    // What is to be there twice, or is to stay where it is.
    bundle.config["linux"]["netDevices"] = json!({ "lo": { "name": "lo" } });
    check(bundle.run()?.code == 1, "lo is of its namespace")?;
    bundle.is_gone()?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "network");
    contains(&bundle.run()?.stderr, "unable to move network devices without a private NET namespace")?;
    bundle.is_gone()
}

fn sysctls() -> Result<(), Failed> {
    let mut bundle = Bundle::new("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced")?;
    bundle.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" });
    same("values", bundle.run()?.stdout.as_str(), "1\n1\n")?;
    bundle.config["linux"]["sysctl"] = json!({ "vm.swappiness": "1" });
    contains(&bundle.run()?.stderr, "is not in a separate kernel namespace")?;
    bundle.is_gone()
}

fn delegated_group() -> Result<(), Failed> {
    let script =
        "mkdir /sys/fs/cgroup/below && rmdir /sys/fs/cgroup/below && echo made; echo 7 > /sys/fs/cgroup/pids.max";
    let mut bundle = Bundle::new(script)?;
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    for mount in bundle.config["mounts"].as_array_mut().expect("a list") {
        if mount["destination"] == "/sys/fs/cgroup" {
            mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
        }
    }
    let said = bundle.run()?;
    // v1 is not safe to be delegated.
    same("groups below", said.stdout.as_str(), if is_v2() { "made\n" } else { "" })?;
    check(!said.stderr.is_empty(), "limits are not its own to set")?;
    bundle.is_gone()
}

fn cgroup_mounts() -> Result<(), Failed> {
    let (folder, line) = if is_v2() { ("/sys/fs/cgroup", "0::") } else { ("/sys/fs/cgroup/pids", ":pids:") };
    let mut bundle = Bundle::new("")?;
    // Without a cgroup namespace v2 shows the host's hierarchy.
    let below = if is_v2() { bundle.id.clone() } else { String::new() };
    let script = |below: &str| format!("cat {folder}/{below}/pids.max; cat /proc/self/cgroup; mkdir {folder}/x");
    bundle.config["process"]["args"][2] = script("").into();
    bundle.config["linux"]["resources"]["pids"] = json!({ "limit": 77 });
    let private = bundle.run()?;
    contains(&private.stdout, "77\n")?;
    check(private.stdout.contains(&format!("{line}/\n")), "the namespace's root is the container's cgroup")?;
    contains(&private.stderr, "Read-only file system")?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    bundle.config["process"]["args"][2] = script(&below).into();
    let shared = bundle.run()?;
    contains(&shared.stdout, "77\n")?;
    contains(&shared.stdout, &format!("{line}/{}\n", bundle.id))?;
    contains(&shared.stderr, "Read-only file system")
}
