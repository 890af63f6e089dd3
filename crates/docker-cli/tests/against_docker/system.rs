//! The engine itself.

use crate::case::{Answer, Case, answered, line};

const EVENTS: &[(&str, Answer)] = &[(
    "GET /events",
    Answer::Lines(
        "{\"status\":\"start\",\"id\":\"abc\",\"from\":\"nginx\",\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"abc\",\"Attributes\":{\"image\":\"nginx\",\"name\":\"web\"}},\"scope\":\"local\",\"time\":1000000000,\"timeNano\":1000000000123456789}\n{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":\"def\",\"Attributes\":{}},\"scope\":\"local\",\"time\":1000000000,\"timeNano\":1000000000000000000}\n{\"Type\":\"container\",\"Action\":\"exec_create: sh -c x\",\"Actor\":{\"ID\":\"abc\",\"Attributes\":{\"execID\":\"e\"}},\"time\":1000000001}\n",
    ),
)];
const INFO: &[(&str, Answer)] = &[(
    "GET /info",
    Answer::Json(
        200,
        r#"{"ID":"an-id","Containers":3,"ContainersRunning":1,"ContainersPaused":0,"ContainersStopped":2,"Images":5,"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"],["Supports d_type","true"]],"Plugins":{"Volume":["local"],"Network":["bridge","host","null"],"Authorization":["a"],"Log":["json-file","local"]},"MemoryLimit":true,"SwapLimit":true,"Debug":true,"NFd":24,"NGoroutines":35,"SystemTime":"2001-09-09T01:46:40Z","LoggingDriver":"json-file","CgroupDriver":"cgroupfs","CgroupVersion":"2","NEventsListener":1,"KernelVersion":"6.1.0","OperatingSystem":"Debian","OSVersion":"12","OSType":"linux","Architecture":"x86_64","IndexServerAddress":"https://index.docker.io/v1/","RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"],"IndexConfigs":{"docker.io":{"Name":"docker.io","Mirrors":[],"Secure":true,"Official":true},"r.example":{"Name":"r.example","Mirrors":[],"Secure":false,"Official":false}},"Mirrors":["https://m.example/"]},"NCPU":4,"MemTotal":8336707584,"DockerRootDir":"/var/lib/docker","HttpProxy":"http://p","HttpsProxy":"","NoProxy":"x","Name":"host","Labels":["a=1"],"ExperimentalBuild":false,"ServerVersion":"28.2.2","Runtimes":{"runc":{"path":"runc"}},"DefaultRuntime":"runc","Swarm":{"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":"","RemoteManagers":null},"LiveRestoreEnabled":true,"Isolation":"","InitBinary":"docker-init","ContainerdCommit":{"ID":"c"},"RuncCommit":{"ID":"r"},"InitCommit":{"ID":"i"},"SecurityOptions":["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"],"ProductLicense":"Community Engine","DefaultAddressPools":[{"Base":"10.0.0.0/8","Size":24}],"CDISpecDirs":["/etc/cdi"],"Warnings":["WARNING: first","WARNING: second"]}"#,
    ),
)];
const SWARM: &[(&str, Answer)] = &[(
    "GET /info",
    Answer::Json(
        200,
        r#"{"OSType":"linux","Swarm":{"NodeID":"node1","NodeAddr":"10.0.0.1","LocalNodeState":"active","ControlAvailable":true,"Error":"","RemoteManagers":[{"NodeID":"node1","Addr":"10.0.0.1:2377"}],"Nodes":2,"Managers":1,"Cluster":{"ID":"cluster1","Spec":{"Orchestration":{"TaskHistoryRetentionLimit":5},"Raft":{"SnapshotInterval":10000,"KeepOldSnapshots":0,"HeartbeatTick":1,"ElectionTick":10},"Dispatcher":{"HeartbeatPeriod":5000000000},"CAConfig":{"NodeCertExpiry":7776000000000000},"EncryptionConfig":{"AutoLockManagers":false}},"RootRotationInProgress":false,"DefaultAddrPool":["10.0.0.0/8"],"SubnetSize":24,"DataPathPort":4789}}}"#,
    ),
)];
const NOT_FOUND: Answer = Answer::Json(404, r#"{"message":"no such thing"}"#);
const CONTAINER: &[(&str, Answer)] = &[("GET /containers/x/json", Answer::Json(200, r#"{"Id":"abc","Name":"/x"}"#))];
const VOLUME: &[(&str, Answer)] = &[
    ("GET /containers/x/json", NOT_FOUND),
    ("GET /images/x/json", NOT_FOUND),
    ("GET /networks/x", NOT_FOUND),
    ("GET /volumes/x", Answer::Json(200, r#"{"Name":"x"}"#)),
];

pub const CASES: &[Case] = &[
    answered("events", EVENTS),
    answered("events --since 2001-01-02T03:04:05Z --until 1000000000", EVENTS),
    answered("events -f type=container -f event=start -f container=web -f label=a=1", EVENTS),
    answered("events --format json", EVENTS),
    answered("events --format '{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.TimeNano}}'", EVENTS),
    answered("events --format '{{'", EVENTS),
    answered("events --format '{{.Nope}}'", EVENTS),
    answered("system events", &[("GET /events", Answer::Json(400, r#"{"message":"invalid filter 'x'"}"#))]),
    answered("events -f x", EVENTS),
    line("events --since nope"),
    answered("info", INFO),
    answered("info --format '{{.ServerVersion}} {{.NCPU}} {{json .Swarm.LocalNodeState}}'", INFO),
    answered("info --format '{{.Nope}}'", INFO),
    answered("info --format '{{'", INFO),
    answered("info --format '{{.ClientInfo.Debug}}'", INFO),
    answered("info --format '{{json .ClientInfo.Plugins}} {{.ClientInfo.Context}}'", INFO),
    answered("-D info", INFO),
    answered("events --format '{{.Status}} {{.ID}} {{.From}} {{.Scope}} {{.Time}} {{.Actor.Attributes}}'", EVENTS),
    answered("info", SWARM),
    answered("info", &[("GET /info", Answer::Json(500, r#"{"message":"no information"}"#))]),
    answered("inspect x", CONTAINER),
    answered("inspect -s x", CONTAINER),
    answered("inspect -f '{{.Name}}' x", CONTAINER),
    answered("inspect x", VOLUME),
    answered("inspect --type volume x", VOLUME),
    answered("inspect --type image x", VOLUME),
    answered("inspect --type network x", VOLUME),
    answered("inspect --type container -s x", CONTAINER),
    answered(
        "inspect y",
        &[
            ("GET /containers/y/json", NOT_FOUND),
            ("GET /images/y/json", NOT_FOUND),
            ("GET /networks/y", NOT_FOUND),
            ("GET /volumes/y", NOT_FOUND),
            ("GET /plugins/y/json", NOT_FOUND),
        ],
    ),
    answered("inspect y", &[("GET /containers/y/json", Answer::Json(500, r#"{"message":"broken"}"#))]),
    line("inspect --type nope x"),
    line("inspect --type '' x"),
    answered(
        "inspect --type service x",
        &[("GET /services/x", Answer::Json(503, r#"{"message":"This node is not a swarm manager."}"#))],
    ),
    answered("inspect --type plugin x", &[("GET /plugins/x/json", NOT_FOUND)]),
];
