use super::*;
use crate::config::{DeviceMapping, Resources, Ulimit};
use crate::{MountKind, restart::RestartPolicy};

fn host() -> Host {
    Host {
        architecture: "amd64",
        kernel: (6, 1),
        cpus: 4,
        bounding: (1 << 41) - 1,
        cgroup_v2: false,
        cgroup_parent: "/docker".into(),
        init_path: Some("/usr/bin/docker-init".into()),
        recursive_read_only: true,
        ..Host::default()
    }
}

fn config() -> Config {
    Config { hostname: "abcdef012345".into(), cmd: Some(vec!["sh".into()]), ..Config::default() }
}

fn namespaces() -> Namespaces {
    Namespaces {
        network: Join::Path("/run/netns/x".into()),
        cgroup: Join::Host,
        network_is_own: true,
        ..Namespaces::default()
    }
}

fn spec(config: &Config, host_config: &HostConfig, mounts: &[MountPoint], devices: &[DeviceNode]) -> oci::Spec {
    let files = NetworkFiles {
        hostname: Some("/c/hostname".into()),
        hosts: Some("/c/hosts".into()),
        resolv_conf: Some("/c/resolv.conf".into()),
    };
    let user = ResolvedUser { uid: 0, gid: 0, additional_gids: vec![0, 10] };
    let (namespaces, host) = (namespaces(), host());
    let input = Input {
        id: "ID",
        config,
        host_config,
        mounts,
        user: &user,
        namespaces: &namespaces,
        files: &files,
        devices,
        block_io: &oci::BlockIo::default(),
        shm: None,
        link_env: &[],
        cdi: &[],
        host: &host,
    };
    generate(&input).unwrap()
}

fn options<'a>(spec: &'a oci::Spec, destination: &str) -> Vec<&'a str> {
    let mount = spec.mounts.iter().find(|mount| mount.destination == destination);
    mount.map_or_else(Vec::new, |mount| mount.options.iter().map(String::as_str).collect())
}

#[test]
fn a_plain_container_becomes_dockers_default_specification() {
    let mut spec = spec(&config(), &HostConfig::default(), &[], &[]);
    // The profile has its own tests.
    assert!(spec.linux.seccomp.take().is_some());
    insta::assert_json_snapshot!(spec);
}

#[test]
fn a_terminal_with_init_and_limits_is_written_down() {
    let config = Config { tty: true, working_dir: "/srv/../app".into(), env: vec!["A=1".into()], ..config() };
    let host_config = HostConfig {
        init: Some(true),
        readonly_rootfs: true,
        shm_size: 1 << 20,
        security_opt: vec!["no-new-privileges".into(), "seccomp=unconfined".into()],
        cap_drop: vec!["ALL".into()],
        restart_policy: RestartPolicy::No,
        console_size: Some((24, 80)),
        resources: Resources {
            memory: 64 << 20,
            nano_cpus: 1_500_000_000,
            pids_limit: Some(50),
            cpuset_cpus: "0-1".into(),
            ulimits: vec![Ulimit { name: "nofile".into(), soft: 1024, hard: -1 }],
            devices: vec![DeviceMapping::default()],
            device_cgroup_rules: vec!["c 42:* rw".into()],
            ..Resources::default()
        },
        ..HostConfig::default()
    };
    let mounts = [
        MountPoint {
            source: "/data".into(),
            destination: "/app/data".into(),
            propagation: "rslave".into(),
            ..MountPoint::default()
        },
        MountPoint {
            kind: MountKind::Tmpfs,
            destination: "/tmp".into(),
            mode: "exec,size=1m".into(),
            ..MountPoint::default()
        },
    ];
    let node = DeviceNode {
        path_in_container: "/dev/null2".into(),
        kind: "c",
        major: 1,
        minor: 3,
        mode: 0o666,
        ..DeviceNode::default()
    };
    insta::assert_json_snapshot!(spec(&config, &host_config, &mounts, &[node]));
}

#[test]
fn a_privileged_container_sees_all_and_may_write_sys() {
    let spec = spec(&config(), &HostConfig { privileged: true, ..HostConfig::default() }, &[], &[]);
    assert_eq!(spec.process.capabilities.as_ref().map(|caps| caps.bounding.len()), Some(41));
    assert_eq!(spec.linux.seccomp, None);
    assert!(spec.linux.masked_paths.is_empty() && spec.linux.readonly_paths.is_empty());
    assert!(!options(&spec, "/sys").contains(&"ro") && !options(&spec, "/sys/fs/cgroup").contains(&"ro"));
    assert_eq!(spec.linux.resources.devices.len(), 1);
}

#[test]
fn a_mount_of_the_users_own_replaces_the_default_at_its_place() {
    let own = |destination: &str| MountPoint {
        source: "/x".into(),
        destination: destination.into(),
        read_write: true,
        ..MountPoint::default()
    };
    let spec = spec(&config(), &HostConfig::default(), &[own("/dev"), own("/etc/hosts")], &[]);
    assert_eq!(options(&spec, "/dev"), ["rbind", "rprivate"]);
    assert!(options(&spec, "/dev/shm").is_empty());
    let hosts: Vec<_> = spec.mounts.iter().filter(|mount| mount.destination == "/etc/hosts").collect();
    assert_eq!((hosts.len(), hosts[0].source.as_str()), (1, "/x"));
}

#[test]
fn who_is_not_root_holds_no_capability() {
    let exec = ExecConfig { cmd: vec!["id".into()], env: vec!["B=2".into()], ..ExecConfig::default() };
    let user = ResolvedUser { uid: 5, gid: 5, additional_gids: vec![5] };
    let process = exec_process(&exec, &config(), &HostConfig::default(), &user, None, &host()).unwrap();
    let capabilities = process.capabilities.unwrap();
    assert!(capabilities.effective.is_empty() && capabilities.permitted.is_empty());
    assert_eq!(capabilities.bounding.len(), 14);
    assert!(process.env.contains(&"B=2".to_owned()));
    assert_eq!(process.cwd, "/");
}

#[test]
fn a_cgroup_parent_cannot_climb_out_of_the_hierarchy() {
    let host_config = HostConfig { cgroup_parent: "../../x/".into(), ..HostConfig::default() };
    assert_eq!(spec(&config(), &host_config, &[], &[]).linux.cgroups_path, "/x/ID");
}

#[test]
fn options_that_are_none_are_refused() {
    let parse = |option: &str| SecurityOptions::parse(&[option.to_owned()]).map_err(|error| error.to_string());
    assert_eq!(parse("colour").unwrap_err(), "invalid --security-opt 1: \"colour\"");
    assert_eq!(parse("colour=red").unwrap_err(), "invalid --security-opt 2: \"colour=red\"");
    assert_eq!(parse("no-new-privileges=maybe").unwrap_err(), "invalid --security-opt 2: \"no-new-privileges=maybe\"");
    assert!(parse("no-new-privileges:true").unwrap().no_new_privileges(&host()));
}
