//! What takes room, and making room.

use crate::case::{Answer, Case, answered, line};

const USAGE: &[(&str, Answer)] = &[(
    "GET /system/df",
    Answer::Json(
        200,
        r#"{"LayersSize":1234567890,"Images":[{"Id":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","RepoTags":["nginx:1.27","nginx:latest"],"RepoDigests":[],"Created":1000000000,"Size":187654321,"SharedSize":80000000,"Containers":1,"Labels":null},{"Id":"sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210","RepoTags":null,"RepoDigests":null,"Created":1000000000,"Size":5000,"SharedSize":0,"Containers":0,"Labels":null}],"Containers":[{"Id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Names":["/web"],"Image":"nginx:1.27","ImageID":"sha256:aa","Command":"nginx","Created":1000000000,"Ports":[],"SizeRw":2048,"SizeRootFs":187654321,"Labels":{},"State":"running","Status":"Up 2 hours","Mounts":[{"Type":"volume","Name":"v","Driver":"local"}]},{"Id":"1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Names":["/old"],"Image":"nginx:1.27","ImageID":"sha256:aa","Command":"nginx","Created":1000000000,"Ports":[],"SizeRw":1000,"Labels":{},"State":"exited","Status":"Exited (0)","Mounts":[]}],"Volumes":[{"Name":"v","Driver":"local","Mountpoint":"/m","Labels":null,"Options":null,"Scope":"local","UsageData":{"RefCount":1,"Size":5000}},{"Name":"w","Driver":"local","Mountpoint":"/m","Labels":null,"Options":null,"Scope":"local","UsageData":{"RefCount":0,"Size":15000}},{"Name":"u","Driver":"nfs","Mountpoint":"/m","Labels":null,"Options":null,"Scope":"local","UsageData":{"RefCount":0,"Size":-1}}],"BuildCache":[{"ID":"cache0123456789abc","Type":"regular","Description":"a step","InUse":true,"Shared":false,"Size":700,"CreatedAt":"2001-09-09T01:46:40Z","LastUsedAt":"2001-09-10T01:46:40Z","UsageCount":3},{"ID":"cache1","Parents":["a","b"],"Type":"source.local","Description":"b","InUse":false,"Shared":true,"Size":300,"CreatedAt":"2001-09-09T01:46:40Z","LastUsedAt":null,"UsageCount":1}]}"#,
    ),
)];
const EMPTY: &[(&str, Answer)] = &[(
    "GET /system/df",
    Answer::Json(200, r#"{"LayersSize":0,"Images":null,"Containers":null,"Volumes":null,"BuildCache":null}"#),
)];
const PRUNED: &[(&str, Answer)] = &[
    ("POST /containers/prune", Answer::Json(200, r#"{"ContainersDeleted":["c"],"SpaceReclaimed":1000}"#)),
    ("POST /networks/prune", Answer::Json(200, r#"{"NetworksDeleted":["n"]}"#)),
    ("POST /volumes/prune", Answer::Json(200, r#"{"VolumesDeleted":["v"],"SpaceReclaimed":200}"#)),
    ("POST /images/prune", Answer::Json(200, r#"{"ImagesDeleted":[{"Deleted":"sha256:x"}],"SpaceReclaimed":30}"#)),
    ("POST /build/prune", Answer::Json(200, r#"{"CachesDeleted":["k"],"SpaceReclaimed":4}"#)),
];

pub const CASES: &[Case] = &[
    answered("system df", USAGE),
    answered("system df", EMPTY),
    answered("system df -v", USAGE),
    answered("system df -v", EMPTY),
    answered("system df --format json", USAGE),
    answered("system df --format '{{.Type}}: {{.Reclaimable}}'", USAGE),
    answered("system df --format 'table {{.Type}}\\t{{.Size}}'", USAGE),
    answered("system df -v --format '{{range .Images}}{{.Repository}} {{.Size}} {{end}}{{len .Volumes}}'", USAGE),
    answered("system df -v --format json", USAGE),
    answered("system df", &[("GET /system/df", Answer::Json(500, r#"{"message":"no"}"#))]),
    answered("system prune -f", PRUNED),
    answered("system prune -a -f --volumes", PRUNED),
    answered("system prune -f --filter label=a=1 --filter until=24h", PRUNED),
    answered("system prune", PRUNED).stdin("y\n"),
    line("system prune").stdin("n\n"),
    line("system prune -a --volumes --filter label=a=10 --filter label=a=9 --filter label!=x").stdin("n\n"),
    line("system prune --filter until=24h").stdin("n\n"),
    line("system prune --volumes --filter until=24h"),
    answered("system prune -f", &[("POST /containers/prune", Answer::Json(500, r#"{"message":"no"}"#))]),
];
