use std::collections::BTreeMap;
use std::fmt::Debug;

use super::*;
use crate::container::Config;
use crate::go_json::Document;
use crate::image::ImageConfig;
use crate::system::{Commit, Runtime};

fn read(text: &str) -> CreateRequest {
    CreateRequest::read(&Document::parse(text.as_bytes()).unwrap()).unwrap().unwrap_or_default()
}

fn creation(text: &str) -> Creation {
    Creation { request: read(text), cgroup: CgroupHierarchy::V1, warnings: Vec::new() }
}

/// Each row does something to one of the samples for the clients that it is for, and nothing for the others.
fn walk<T: Clone + PartialEq + Debug>(changes: &[Change<T>], samples: &[T]) {
    for change in changes {
        let boundary = match change.clients {
            Clients::Before(boundary) | Clients::Since(boundary) => boundary,
        };
        let older = ApiVersion::new(boundary.major, boundary.minor - 1);
        let (concerned, others) = match change.clients {
            Clients::Before(_) => (older, boundary),
            Clients::Since(_) => (boundary, older),
        };
        assert!(change.clients.include(concerned) && !change.clients.include(others));
        assert!((v(23)..ApiVersion::MAX).contains(&older), "{}: {boundary}", change.member);
        let one = std::slice::from_ref(change);
        let is_seen = samples.iter().any(|sample| {
            let mut untouched = sample.clone();
            assert_eq!(apply(one, &mut untouched, others), Ok(()), "{}", change.member);
            assert_eq!(&untouched, sample, "{}", change.member);
            let mut touched = sample.clone();
            apply(one, &mut touched, concerned).is_err() || touched != *sample
        });
        assert!(is_seen, "no sample shows {} {}", change.clients, change.member);
    }
}

#[test]
fn each_change_of_a_creation_concerns_its_versions_alone() {
    let full = r#"{"Image":"a","MacAddress":"02:42:ac:11:00:02","Healthcheck":{"StartInterval":1},
        "HostConfig":{"AutoRemove":true,"KernelMemory":1,"KernelMemoryTCP":1,"ConsoleSize":[1,2],
            "Annotations":{"a":"b"},"VolumeDriver":"d","Sysctls":{"net.ipv4.conf.eth0.forwarding":"1"},"Mounts":[
            {"Type":"bind","ReadOnly":true,"BindOptions":{"NonRecursive":true,"CreateMountpoint":true}},
            {"Type":"volume","VolumeOptions":{"Subpath":"s"}}]},
        "NetworkingConfig":{"EndpointsConfig":{"a":{"GwPriority":3,"MacAddress":"x"}}}}"#;
    let odd = r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind","VolumeOptions":{},"TmpfsOptions":{},
            "BindOptions":{"ReadOnlyForceRecursive":true}},{"Type":"image"}]},
        "NetworkingConfig":{"EndpointsConfig":{"a":{"MacAddress":"x"},"b":{}}}}"#;
    let hosted = r#"{"Image":"a","MacAddress":"x","HostConfig":{"NetworkMode":"host"}}"#;
    let elsewhere = r#"{"Image":"a","MacAddress":"x","HostConfig":{"NetworkMode":"b",
        "Sysctls":{"net.ipv4.conf.eth0.forwarding":"1"}},"NetworkingConfig":{"EndpointsConfig":{"a":{}}}}"#;
    let plain = r#"{"Image":"a","MacAddress":"x","HostConfig":{"Sysctls":{"net.ipv4.conf.eth0.forwarding":"1"}}}"#;
    walk(requests::CONTAINER_CREATE, &[full, odd, hosted, elsewhere, plain].map(creation));
}

#[test]
fn each_change_of_another_request_concerns_its_versions_alone() {
    walk(requests::CONTAINER_UPDATE, &[HostConfig { pids_limit: Some(1), kernel_memory: 1, ..HostConfig::default() }]);
    let exec = exec::CreateRequest { console_size: Some([1, 2]), ..exec::CreateRequest::default() };
    walk(requests::EXEC_CREATE, &[exec]);
    let start = exec::StartRequest { console_size: Some([1, 2]), ..exec::StartRequest::default() };
    walk(requests::EXEC_START, &[start]);
    let network =
        network::CreateRequest { enable_ipv4: Some(false), check_duplicate: Some(true), ..Default::default() };
    walk(requests::NETWORK_CREATE, &[network]);
}

#[test]
fn each_change_of_an_answer_concerns_its_versions_alone() {
    let mut summary = Summary { image_manifest_descriptor: Some(Default::default()), ..Summary::default() };
    summary.host_config.annotations = Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    walk(answers::CONTAINER_SUMMARY, &[summary]);

    let mut inspect = Inspect { id: "0123456789abcdef".to_owned(), ..Inspect::default() };
    inspect.image_manifest_descriptor = Some(Default::default());
    inspect.host_config.network_mode = "net".to_owned();
    inspect.network_settings.networks.insert("net".to_owned(), Default::default());
    walk(answers::CONTAINER_INSPECT, &[inspect]);

    let image = image::Summary { size: 7, containers: 2, descriptor: Some(Default::default()), ..Default::default() };
    walk(answers::IMAGE_SUMMARY, std::slice::from_ref(&image));
    walk(answers::DISK_USAGE_IMAGE, &[image]);

    let with = image::Inspect {
        size: 7,
        container: "c".to_owned(),
        container_config: Some(Config::default()),
        descriptor: Some(Default::default()),
        ..Default::default()
    };
    walk(answers::IMAGE_INSPECT, &[with, image::Inspect::default()]);
}

#[test]
fn each_change_of_info_concerns_its_versions_alone() {
    let commit = || Commit { id: "abc".to_owned(), ..Commit::default() };
    let mut info = Info {
        security_options: vec!["name=seccomp,profile=builtin".to_owned()],
        kernel_memory: true,
        containerd: Some(Default::default()),
        firewall_backend: Some(Default::default()),
        containerd_commit: commit(),
        runc_commit: commit(),
        init_commit: commit(),
        discovered_devices: vec![Default::default()],
        ..Info::default()
    };
    let status = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    info.runtimes.insert("runc".to_owned(), Runtime { status, ..Runtime::default() });
    walk(answers::INFO, &[info]);
    walk(answers::WRITTEN_INFO, &[json!({"RegistryConfig": {}})]);
}

#[test]
fn a_parameter_is_heard_in_its_versions_alone() {
    use crate::endpoint::Operation as Op;
    for row in PARAMETERS {
        let boundary = row.until.unwrap_or(row.since);
        let older = ApiVersion::new(boundary.major, boundary.minor - 1);
        assert_eq!(is_heard(row.operation, row.name, older), row.until.is_some(), "{}", row.name);
        assert_eq!(is_heard(row.operation, row.name, boundary), row.until.is_none(), "{}", row.name);
        assert!(boundary > ApiVersion::MIN && boundary <= ApiVersion::MAX);
    }
    assert!(is_heard(Op::ContainerStop, "t", ApiVersion::MIN));
    assert!(is_heard(Op::ContainerKill, "signal", ApiVersion::MIN));
}

#[test]
fn an_old_request_is_completed_and_a_new_one_left_alone() {
    let body = r#"{"Image":"a","HostConfig":{"AutoRemove":true,"Mounts":[{"Type":"bind","ReadOnly":true}]}}"#;
    let create = |version| {
        let mut request = read(body);
        container_create(&mut request, version, CgroupHierarchy::V1).map(|_| request)
    };
    let old = create(v(24)).unwrap();
    assert!(!old.host_config.auto_remove);
    assert_eq!((old.host_config.cgroupns_mode.as_str(), old.host_config.ipc_mode.as_str()), ("host", "shareable"));
    assert!(old.host_config.mounts.unwrap()[0].bind_options.as_ref().unwrap().read_only_non_recursive);
    assert_eq!(create(ApiVersion::MAX).unwrap(), read(body));
}

#[test]
fn what_a_whole_container_had_goes_to_its_endpoint() {
    let body = |mode: &str, key: &str, endpoints: &str| {
        format!(
            r#"{{"Image":"a","MacAddress":"02:42:ac:11:00:02","HostConfig":{{"NetworkMode":"{mode}",
            "Sysctls":{{"{key}":"1"}}}},"NetworkingConfig":{{"EndpointsConfig":{{{endpoints}}}}}}}"#
        )
    };
    let create = |body: &str, minor| {
        let mut request = read(body);
        container_create(&mut request, v(minor), CgroupHierarchy::V1).map(|warnings| (request, warnings))
    };
    let first = "net.ipv4.conf.eth0.forwarding";
    // The endpoint's own setting is behind, where it holds.
    let given = r#""b":{"DriverOpts":{"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.x=2"}}"#;
    let migrated = |known: &str| format!("net.ipv4.conf.IFNAME.forwarding=1{known}");
    for (minor, mode, endpoints, name, known, count) in [
        (43, "", "", "default", "", 1),
        (43, "a", given, "b", ",net.ipv4.conf.IFNAME.x=2", 1),
        (46, "b", given, "b", ",net.ipv4.conf.IFNAME.x=2", 2),
        (47, "default", r#""bridge":{}"#, "bridge", "", 2),
    ] {
        let (request, warnings) = create(&body(mode, first, endpoints), minor).unwrap();
        let endpoint = &request.networking_config.endpoints_config[name];
        assert_eq!(request.networking_config.endpoints_config.len(), 1);
        assert_eq!(endpoint.mac_address, "02:42:ac:11:00:02");
        assert_eq!(endpoint.driver_opts.as_ref().unwrap()["com.docker.network.endpoint.sysctls"], migrated(known));
        assert_eq!((request.config.mac_address.as_str(), warnings.len()), ("", count), "{warnings:?}");
        assert!(request.host_config.sysctls.unwrap().is_empty());
        assert_eq!(
            warnings.last().unwrap(),
            "Migrated sysctl \"net.ipv4.conf.eth0.forwarding\" to \
             DriverOpts{\"com.docker.network.endpoint.sysctls\":\"net.ipv4.conf.IFNAME.forwarding=1\"}."
        );
    }
    let refused = |body: String, minor| create(&body, minor).unwrap_err().to_string();
    let nowhere = "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks";
    assert!(refused(body("a", first, given), 44).ends_with(nowhere));
    let no_mac = |text: String| text.replace("02:42:ac:11:00:02", "");
    assert_eq!(
        refused(no_mac(body("a", first, given)), 44),
        format!("unable to find a network for sysctl {first}: {nowhere}")
    );
    assert!(refused(body("", "net.ipv4.conf.eth1.forwarding", ""), 43).starts_with("unable to determine network"));
    assert!(refused(body("", first, ""), 48).contains("must be supplied using driver option"));
    assert!(refused(body("b", "x", r#""b":{"MacAddress":"other"}"#), 51).contains("must match the endpoint-specific"));
    // Namespaces of others have no endpoint, and their sysctls stay what they are.
    let (request, _) = create(&no_mac(body("host", first, "")), 51).unwrap();
    assert_eq!(request.host_config.sysctls.unwrap().len(), 1);
    assert!(refused(body("host", first, ""), 51).contains("mac-address and the network mode"));
    assert!(refused(body("none", first, ""), 43).contains("mac-address and the network mode"));
}

#[test]
fn what_an_older_version_does_not_allow_is_refused_in_docker_s_words() {
    for (version, body, words) in [
        (
            43,
            r#"{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}"#,
            "Container cannot be created with multiple network endpoints: a, b",
        ),
        (
            44,
            r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"volume","VolumeOptions":{"Subpath":"x"}}]}}"#,
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        (
            47,
            r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"image"}]}}"#,
            "Mount type \"Image\" needs API v1.48 or newer",
        ),
        (
            42,
            r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind","TmpfsOptions":{}}]}}"#,
            "TmpfsOptions must not be specified on mount type \"bind\"",
        ),
    ] {
        let refused = container_create(&mut read(body), v(version), CgroupHierarchy::V2).unwrap_err();
        assert_eq!(refused.to_string(), words);
    }
}

#[test]
fn an_image_has_a_whole_configuration_until_1_49() {
    let inspect = image::Inspect { config: Some(ImageConfig::default()), size: 7, ..image::Inspect::default() };
    assert_eq!(image_inspect(inspect.clone(), v(50))["Config"], json!({}));
    let old = image_inspect(inspect, v(43));
    assert_eq!(old["Config"]["Tty"], json!(false));
    assert_eq!(old["Config"]["Cmd"], Value::Null);
    assert_eq!(old["VirtualSize"], 7);
    assert_eq!(old["Created"], "0001-01-01T00:00:00Z");
}

#[test]
fn registries_had_lists_that_are_null_until_they_go() {
    let info = |version| info(Info { registry_config: Some(Default::default()), ..Info::default() }, version);
    let list = |minor| info(v(minor))["RegistryConfig"].get("AllowNondistributableArtifactsCIDRs").cloned();
    assert_eq!((list(46), list(47)), (Some(Value::Null), None));
}

#[test]
fn streams_and_events_are_of_their_version() {
    assert_eq!(stream_type(false, v(42)), crate::MULTIPLEXED_STREAM);
    assert_eq!(stream_type(false, v(41)), crate::RAW_STREAM);
    assert_eq!(stream_type(true, v(51)), crate::RAW_STREAM);
    let event = Event { kind: "image".to_owned(), action: "create".to_owned(), ..Event::default() };
    assert!(!event_is_shown(&event, v(45)) && event_is_shown(&event, v(46)));
    assert!(told().len() > 50);
}
