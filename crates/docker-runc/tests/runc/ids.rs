//! User namespaces, id-mapped mounts, and namespaces that others have made.

use crate::Test;
use crate::bundle::{Bundle, check, contains, same};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;

pub const TESTS: &[Test] = &[
    ("a_mapped_container_needs_no_way_to_its_own_files", closed_way),
    ("a_mapped_container_is_created_started_and_joined_by_execs", exec_into_mapped),
    ("limits_of_a_mapped_container_are_set_for_it", mapped_limits),
    ("a_mapped_container_joins_namespaces_of_the_host", mapped_joins_host),
    ("a_user_namespace_is_joined_by_its_path", joined_users),
    ("an_id_mapped_mount_shows_other_owners", id_mapped),
    ("a_mount_without_maps_takes_those_of_its_container", id_mapped_as_container),
    ("a_source_may_lie_on_an_earlier_mount", source_on_mount),
    ("mappings_that_cannot_be_are_refused", bad_maps),
    ("a_user_without_rights_runs_a_container", ordinary_user),
];

const HOST_ID: u32 = 100_000;

/// Maps the container's root to a user of the host who may enter the root file system and nothing above it.
fn mapped(script: &str) -> Result<Bundle, Failed> {
    let mut bundle = Bundle::new(script)?;
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": HOST_ID, "size": 65_536 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    bundle.config["root"]["readonly"] = false.into();
    chown(bundle.rootfs(), Some(HOST_ID), Some(HOST_ID))?;
    Ok(bundle)
}

fn add_mount(bundle: &mut Bundle, mount: Value) {
    bundle.config["mounts"].as_array_mut().expect("a list").push(mount);
}

fn closed_way() -> Result<(), Failed> {
    let mut bundle =
        mapped("id -u; cat /in/secret; touch /in/x && echo written; touch /mine && echo made; ls -n /in/secret")?;
    let closed = bundle.path().join("closed");
    fs::create_dir_all(closed.join("inner"))?;
    fs::write(closed.join("inner/secret"), "a secret\n")?;
    chown(closed.join("inner"), Some(HOST_ID), Some(HOST_ID))?;
    chown(closed.join("inner/secret"), Some(HOST_ID + 7), Some(HOST_ID))?;
    for folder in [bundle.path().to_path_buf(), closed.clone()] {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    }
    let source = closed.join("inner").display().to_string();
    add_mount(
        &mut bundle,
        json!({ "destination": "/in", "type": "bind", "source": source, "options": ["rbind", "rw"] }),
    );
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    contains(&said.stdout, "0\na secret\nwritten\nmade\n")?;
    contains(&said.stdout, " 7        0 ")?;
    same("the owner of what it made", &fs::metadata(bundle.rootfs().join("mine"))?.uid(), &HOST_ID)?;
    bundle.is_gone()
}

fn exec_into_mapped() -> Result<(), Failed> {
    let bundle = mapped("exec sleep 1000")?;
    bundle.create()?;
    same("start", &bundle.runc(&["start", &bundle.id])?.code, &0)?;
    let status = fs::read_to_string(format!("/proc/{}/status", bundle.pid()?))?;
    contains(&status, &format!("Uid:\t{HOST_ID}\t"))?;
    let script = "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user; touch /here; id -G";
    let said = bundle.runc(&["exec", "-g", "7", &bundle.id, "sh", "-c", script])?;
    same("stderr", said.stderr.as_str(), "")?;
    let link = fs::read_link(format!("/proc/{}/ns/user", bundle.pid()?))?.display().to_string();
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    same("words", words.as_slice(), &["0", "0", "100000", "65536", link.as_str(), "0", "7"])?;
    same("the owner of what an exec made", &fs::metadata(bundle.rootfs().join("here"))?.uid(), &HOST_ID)?;
    same("delete", &bundle.runc(&["delete", "--force", &bundle.id])?.code, &0)?;
    bundle.is_gone()
}

fn mapped_limits() -> Result<(), Failed> {
    let mut bundle = mapped("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj")?;
    bundle.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 2000, "hard": 3000 }]);
    bundle.config["process"]["oomScoreAdj"] = 77.into();
    same("stdout", bundle.run()?.stdout.as_str(), "2000\n3000\n77\n")
}

fn mapped_joins_host() -> Result<(), Failed> {
    let mut bundle =
        mapped("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; id -u; cat /proc/self/uid_map; echo $$")?;
    for namespace in bundle.config["linux"]["namespaces"].as_array_mut().expect("a list") {
        match namespace["type"].as_str() {
            Some("network") => namespace["path"] = "/proc/self/ns/net".into(),
            Some("ipc") => namespace["path"] = "/proc/self/ns/ipc".into(),
            _ => {}
        }
    }
    // sysfs belongs to who owns the network namespace, mqueue to who owns the IPC namespace.
    bundle.config["mounts"]
        .as_array_mut()
        .expect("a list")
        .retain(|mount| !["/sys", "/dev/mqueue"].contains(&mount["destination"].as_str().unwrap_or_default()));
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).map(|link| link.display().to_string());
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    same("words", words.as_slice(), &[link("net")?.as_str(), link("ipc")?.as_str(), "0", "0", "100000", "65536", "1"])?;
    bundle.is_gone()
}

fn joined_users() -> Result<(), Failed> {
    let first = mapped("exec sleep 1000")?;
    first.create()?;
    let pid = first.pid()?;
    let mut second =
        mapped("readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; echo $$; touch /made; ulimit -n")?;
    for namespace in second.config["linux"]["namespaces"].as_array_mut().expect("a list") {
        match namespace["type"].as_str() {
            Some("network") => namespace["path"] = format!("/proc/{pid}/ns/net").into(),
            Some("user") => namespace["path"] = format!("/proc/{pid}/ns/user").into(),
            _ => {}
        }
    }
    second.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 2000, "hard": 3000 }]);
    let said = second.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    let link = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).map(|link| link.display().to_string());
    let wanted = format!("{}\n{}\n0\n1\n2000\n", link("user")?, link("net")?);
    same("stdout", said.stdout.as_str(), wanted.as_str())?;
    same("the owner of what it made", &fs::metadata(second.rootfs().join("made"))?.uid(), &HOST_ID)?;
    // And by create, start and exec.
    second.config["process"]["args"] = json!(["sleep", "1000"]);
    second.create()?;
    same("start", &second.runc(&["start", &second.id])?.code, &0)?;
    let said = second.runc(&["exec", &second.id, "readlink", "/proc/1/ns/user"])?;
    same("the exec's", said.stdout.trim(), link("user")?.as_str())?;
    same("delete", &second.runc(&["delete", "--force", &second.id])?.code, &0)?;
    second.is_gone()
}

fn id_mapped() -> Result<(), Failed> {
    let script = "ls -n /plain/f /mapped/f | head -2; touch /mapped/new; cat /proc/self/mountinfo";
    let mut bundle = Bundle::new(script)?;
    let folder = bundle.path().join("data");
    fs::create_dir(&folder)?;
    fs::write(folder.join("f"), "")?;
    chown(folder.join("f"), Some(5), Some(6))?;
    let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
    let source = folder.display().to_string();
    add_mount(&mut bundle, json!({ "destination": "/plain", "type": "bind", "source": source, "options": ["bind"] }));
    add_mount(
        &mut bundle,
        json!({ "destination": "/mapped", "type": "bind", "source": source, "options": ["rbind", "ro", "idmap"],
            "uidMappings": maps, "gidMappings": maps }),
    );
    let said = bundle.run()?;
    let owners: Vec<Vec<&str>> =
        said.stdout.lines().take(2).map(|line| line.split_whitespace().skip(2).take(2).collect()).collect();
    same("owners", &owners, &vec![vec!["1005", "1006"], vec!["5", "6"]])?;
    contains(&said.stderr, "/mapped/new: Read-only file system")?;
    let line = said.stdout.lines().find(|line| line.contains(" /mapped ")).unwrap_or_default();
    contains(line, "idmapped")
}

fn id_mapped_as_container() -> Result<(), Failed> {
    let mut bundle = mapped("ls -n /plain/f /mapped/f; echo x > /mapped/f && echo written")?;
    let folder = bundle.path().join("data");
    fs::create_dir(&folder)?;
    fs::write(folder.join("f"), "")?;
    let source = folder.display().to_string();
    add_mount(&mut bundle, json!({ "destination": "/plain", "type": "bind", "source": source, "options": ["bind"] }));
    let idmap = json!({ "destination": "/mapped", "type": "bind", "source": source, "options": ["rbind", "ridmap"] });
    add_mount(&mut bundle, idmap);
    let said = bundle.run()?;
    same("stderr", said.stderr.as_str(), "")?;
    let owners: Vec<&str> = said.stdout.lines().take(2).filter_map(|line| line.split_whitespace().nth(2)).collect();
    same("owners", owners.as_slice(), &["0", "65534"])?;
    contains(&said.stdout, "written\n")?;
    same("the file", fs::read_to_string(folder.join("f"))?.as_str(), "x\n")
}

/// As in a create that binds one of its own mounts to a second place, and to a third under other ids.
fn source_on_mount() -> Result<(), Failed> {
    let script = "cat /second/file; ls -n /third/file; touch /second/x";
    for (mut bundle, owner) in [(mapped(script)?, "0"), (Bundle::new(script)?, "1000")] {
        let data = bundle.path().join("data");
        fs::create_dir(&data)?;
        fs::write(data.join("file"), "on it\n")?;
        for place in ["first", "second", "third"] {
            fs::create_dir(bundle.rootfs().join(place))?;
        }
        let first = bundle.rootfs().join("first");
        let bind = |to: &str, source: &std::path::Path, options: &[&str]| json!({ "destination": to, "type": "bind", "source": source, "options": options });
        add_mount(&mut bundle, bind("/first", &data, &["bind"]));
        add_mount(&mut bundle, bind("/second", &first, &["bind", "ro"]));
        let mut third = bind("/third", &first, &["bind", "idmap"]);
        if owner == "1000" {
            // Elsewhere the container's own maps hold.
            let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
            (third["uidMappings"], third["gidMappings"]) = (maps.clone(), maps);
        }
        add_mount(&mut bundle, third.clone());
        let said = bundle.run()?;
        check(said.stdout.starts_with("on it\n"), &format!("what lies on the first one: {said:?}"))?;
        contains(&said.stderr, "/second/x: Read-only file system")?;
        let seen = said.stdout.lines().nth(1).and_then(|line| line.split_whitespace().nth(2)).unwrap_or_default();
        same("the owner there", seen, owner)?;
        (third["destination"], third["source"]) = ("/fourth".into(), json!(bundle.rootfs().join("nosuch")));
        add_mount(&mut bundle, third);
        let said = bundle.run()?;
        check(said.code == 1 && said.stderr.contains("nosuch"), &format!("named: {said:?}"))?;
        bundle.is_gone()?;
    }
    Ok(())
}

fn bad_maps() -> Result<(), Failed> {
    let mut bundle = Bundle::new("true")?;
    let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 0 }]);
    let mount = json!({ "destination": "/m", "type": "bind", "source": "/tmp", "options": ["bind"],
        "uidMappings": maps, "gidMappings": maps });
    add_mount(&mut bundle, mount);
    contains(&bundle.run()?.stderr, "an id mapping of 0 ids at 0 is not valid")?;
    let mounts = bundle.config["mounts"].as_array_mut().expect("a list");
    mounts.pop();
    mounts.push(json!({ "destination": "/m", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"] }));
    contains(&bundle.run()?.stderr, "neither it nor the container has mappings")?;
    let mounts = bundle.config["mounts"].as_array_mut().expect("a list");
    mounts.pop();
    bundle.config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
    contains(&bundle.run()?.stderr, "user namespace isn't enabled")?;
    check(bundle.cgroups().is_empty(), "no cgroup is left")?;
    bundle.is_gone()
}

/// `spec --rootless`, `run` and `exec` of a user who has nothing but a folder of its own.
fn ordinary_user() -> Result<(), Failed> {
    const USER: u32 = 4711;
    let mut bundle = Bundle::new("true")?;
    fs::remove_file(bundle.path().join("config.json"))?;
    let of_user = |args: &[&str]| {
        let mut command = bundle.command(args);
        // Groups of root's are no user's: the standard library lets them go with the user.
        command.uid(USER).gid(USER).env_remove("XDG_RUNTIME_DIR").output()
    };
    for folder in [bundle.path().to_path_buf(), bundle.rootfs()] {
        chown(folder, Some(USER), Some(USER))?;
    }
    check(of_user(&["spec", "--rootless"])?.status.success(), "spec --rootless")?;
    let mut config: Value = serde_json::from_slice(&fs::read(bundle.path().join("config.json"))?)?;
    config["process"]["terminal"] = false.into();
    let script = "id -u; cat /proc/self/uid_map; touch /made 2>&1; mount -t tmpfs none /tmp && echo mounted";
    config["process"]["args"] = json!(["sh", "-c", script]);
    config["root"]["readonly"] = false.into();
    let mount = json!({ "destination": "/in", "type": "bind", "source": bundle.path(), "options": ["rbind", "ro"] });
    config["mounts"].as_array_mut().expect("a list").push(mount);
    let write_config = |config: &Value| fs::write(bundle.path().join("config.json"), config.to_string());
    write_config(&config)?;
    let said = of_user(&["run", &bundle.id])?;
    let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    check(said.status.success() || stdout.starts_with("0\n"), &format!("{stdout} {stderr}"))?;
    same("words", &stdout.split_whitespace().take(4).collect::<Vec<_>>(), &vec!["0", "0", "4711", "1"])?;
    same("the owner of what it made", &fs::metadata(bundle.rootfs().join("made"))?.uid(), &USER)?;
    let refusals = [
        (
            "resources",
            json!({ "pids": { "limit": 10 } }),
            "cannot set pids limit: container could not join or create cgroup",
        ),
        ("cgroupsPath", json!("/refused"), "unable to apply cgroup configuration: mkdir /sys/fs/cgroup/"),
    ];
    for (member, value, words) in refusals {
        let mut wanted = config.clone();
        wanted["linux"][member] = value;
        write_config(&wanted)?;
        contains(&String::from_utf8_lossy(&of_user(&["run", &bundle.id])?.stderr), words)?;
    }
    config["process"]["args"] = json!(["sleep", "1000"]);
    write_config(&config)?;
    let null = || std::process::Stdio::null();
    let mut detached = bundle.command(&["create", &bundle.id]);
    let detached = detached.uid(USER).gid(USER).env_remove("XDG_RUNTIME_DIR").stdout(null()).stderr(null()).status()?;
    check(detached.success(), "create")?;
    check(of_user(&["exec", &bundle.id, "true"])?.status.success(), "exec before the start")?;
    check(of_user(&["start", &bundle.id])?.status.success(), "start")?;
    let state: Value = serde_json::from_slice(&of_user(&["state", &bundle.id])?.stdout)?;
    let mut joining = config.clone();
    joining["process"]["args"] = json!(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]);
    joining["linux"]["uidMappings"] = json!([]);
    joining["linux"]["gidMappings"] = json!([]);
    for namespace in joining["linux"]["namespaces"].as_array_mut().expect("a list") {
        if let Some(kind @ ("user" | "pid")) = namespace["type"].as_str() {
            namespace["path"] = format!("/proc/{}/ns/{kind}", state["pid"]).into();
        }
    }
    write_config(&joining)?;
    let second = of_user(&["run", &format!("{}-second", bundle.id)])?;
    // The first one's sleep, the shell, and what it runs.
    let count = String::from_utf8_lossy(&second.stdout).trim().parse::<u32>().unwrap_or(0);
    check(second.status.success() && count >= 3, &format!("{second:?}"))?;
    let inside = of_user(&["exec", &bundle.id, "sh", "-c", "id -u; touch /in/x 2>&1"])?;
    contains(&String::from_utf8_lossy(&inside.stdout), "0\ntouch: /in/x: Read-only file system")?;
    check(of_user(&["delete", "--force", &bundle.id])?.status.success(), "delete")?;
    bundle.config = config;
    bundle.is_gone()
}
