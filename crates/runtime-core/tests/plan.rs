//! Whole plans as snapshots: the order of the steps is the contract, and each change of it is to be seen.

use runtime_core::plan::cgroup_mount::{CgroupFacts, HierarchyFacts};
use runtime_core::plan::create::{self, CreateOptions};
use runtime_core::plan::exec::{self, ExecOptions};
use runtime_core::plan::mounts::HostFacts;
use runtime_core::plan::namespaces::{CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWPID};
use runtime_core::spec::Spec;
use runtime_core::template::{self, Audience, CgroupVersion};

fn facts(cgroup: CgroupFacts, tasks_files: &[&str]) -> HostFacts {
    HostFacts {
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        rootfs_parent_mount: None,
        bounding: u64::MAX >> 23,
        permitted: u64::MAX >> 23,
        highest_capability: 40,
        cgroup,
        apparmor: false,
        selinux: false,
        setgroups_denied: false,
        tasks_files: tasks_files.iter().map(ToString::to_string).collect(),
    }
}

fn spec(cgroups: CgroupVersion) -> Spec {
    serde_json::from_value(template::config(Audience::Root, cgroups)).expect("the template is valid")
}

fn options(wait_for_start: bool) -> CreateOptions {
    CreateOptions { id: "c".into(), wait_for_start, ..CreateOptions::default() }
}

#[test]
fn the_plan_of_the_default_bundle_on_cgroup_v2() {
    let plan = create::plan(
        &spec(CgroupVersion::V2),
        &facts(CgroupFacts::V2("/sys/fs/cgroup".into()), &[]),
        None,
        &options(true),
    );
    insta::assert_snapshot!(plan.expect("valid").describe());
}

#[test]
fn the_plan_of_the_default_bundle_on_cgroup_v1() {
    let hierarchy = |folder: &str| HierarchyFacts {
        folder: folder.into(),
        controllers: folder.split(',').map(str::to_string).collect(),
        directory: format!("/sys/fs/cgroup/{folder}/c"),
    };
    let cgroup = CgroupFacts::V1(vec![hierarchy("cpu,cpuacct"), hierarchy("memory")]);
    let files = ["/sys/fs/cgroup/cpu,cpuacct/c/tasks", "/sys/fs/cgroup/memory/c/tasks"];
    let plan = create::plan(&spec(CgroupVersion::V1), &facts(cgroup, &files), None, &options(false));
    insta::assert_snapshot!(plan.expect("valid").describe());
}

#[test]
fn the_plan_of_an_exec() {
    let process = spec(CgroupVersion::V2).process.expect("the template has one");
    let namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP;
    let options = ExecOptions { id: "c".into(), namespaces, ..ExecOptions::default() };
    let plan = exec::plan(&process, &facts(CgroupFacts::V2("/sys/fs/cgroup".into()), &[]), None, &options);
    insta::assert_snapshot!(plan.expect("valid").describe());
}

#[test]
fn a_foreign_capability_is_left_out_with_a_warning() {
    let mut facts = facts(CgroupFacts::V2("/sys/fs/cgroup".into()), &[]);
    facts.bounding &= !(1 << 29);
    let plan = create::plan(&spec(CgroupVersion::V2), &facts, None, &options(false)).expect("valid");
    assert_eq!(plan.warnings, ["this host does not grant the capabilities CAP_AUDIT_WRITE"]);
}

#[test]
fn the_plan_of_a_mapped_container_that_joins_a_network() {
    let mut config = template::config(Audience::Root, CgroupVersion::V2);
    let map = serde_json::json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    config["linux"]["namespaces"] = serde_json::json!([
        { "type": "mount" }, { "type": "pid" }, { "type": "network", "path": "/run/netns/x" }, { "type": "user" },
        { "type": "time" }
    ]);
    config["hostname"] = "".into();
    config["linux"]["timeOffsets"] = serde_json::json!({ "boottime": { "secs": 5 } });
    config["mounts"] = serde_json::json!([
        { "destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro", "idmap"] },
        { "destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }
    ]);
    let spec: Spec = serde_json::from_value(config).expect("valid");
    let plan = create::plan(&spec, &facts(CgroupFacts::V2("/sys/fs/cgroup".into()), &[]), None, &options(true))
        .expect("valid");
    let opens: String = plan.opens.iter().map(|open| format!("{open:?}\n")).collect();
    insta::assert_snapshot!(format!("clone {:#x}\n{opens}{}", plan.clone_flags, plan.describe()));
}
