//! Volumes.

use crate::case::{Answer, Case, answered, line};

const LIST: &[(&str, Answer)] = &[(
    "GET /volumes",
    Answer::Json(
        200,
        r#"{"Volumes":[{"Name":"v10","Driver":"local","Mountpoint":"/m/v10","Labels":{"a":"1"},"Options":null,"Scope":"local"},{"Name":"v9","Driver":"nfs","Mountpoint":"/m/v9","Labels":null,"Options":{},"Scope":"global"}],"Warnings":null}"#,
    ),
)];
const MADE: &[(&str, Answer)] = &[("POST /volumes/create", Answer::Json(201, r#"{"Name":"v","Driver":"local"}"#))];
const ONE: &[(&str, Answer)] = &[(
    "GET /volumes/v",
    Answer::Json(
        200,
        r#"{"CreatedAt":"2001-09-09T01:46:40Z","Driver":"local","Labels":null,"Mountpoint":"/m/v","Name":"v","Options":null,"Scope":"local"}"#,
    ),
)];

pub const CASES: &[Case] = &[
    answered("volume ls", LIST),
    answered("volume ls -q", LIST),
    answered("volume ls -f dangling=true -f name=x", LIST),
    answered("volume ls --format json", LIST),
    answered(
        "volume ls --format '{{.Name}} {{.Scope}} {{.Mountpoint}} {{.Labels}} {{.Label \"a\"}} {{.Links}} {{.Size}} {{.Status}}'",
        LIST,
    ),
    answered("volume ls --format 'table {{.Name}}\\t{{.Driver}}'", LIST),
    answered("volume ls", &[("GET /volumes", Answer::Json(200, r#"{"Volumes":null}"#))]),
    answered("volume create", MADE),
    answered("volume create v", MADE),
    answered("volume create --name v", MADE),
    answered("volume create -d nfs -o type=nfs -o device=:/x --label a=1 --label b v", MADE),
    line("volume create --name a b"),
    line("volume create --label '' v"),
    line("volume create -o x v"),
    line("volume create --group x v"),
    line("volume create a b"),
    line("volume update v"),
    answered("volume inspect v", ONE),
    answered("volume inspect -f '{{.Mountpoint}} {{.Labels}}' v", ONE),
    answered("volume inspect w", &[("GET /volumes/w", Answer::Json(404, r#"{"message":"get w: no such volume"}"#))]),
    answered(
        "volume rm v w",
        &[
            ("DELETE /volumes/v", Answer::Json(204, "")),
            ("DELETE /volumes/w", Answer::Json(409, r#"{"message":"remove w: volume is in use - [abc]"}"#)),
        ],
    ),
    answered("volume rm -f v", &[("DELETE /volumes/v", Answer::Json(204, ""))]),
    line("volume rm"),
    answered(
        "volume prune -f",
        &[("POST /volumes/prune", Answer::Json(200, r#"{"VolumesDeleted":["v","w"],"SpaceReclaimed":12345}"#))],
    ),
    answered(
        "volume prune -a -f --filter label=x",
        &[("POST /volumes/prune", Answer::Json(200, r#"{"VolumesDeleted":null,"SpaceReclaimed":0}"#))],
    ),
    answered(
        "volume prune",
        &[("POST /volumes/prune", Answer::Json(200, r#"{"VolumesDeleted":["v"],"SpaceReclaimed":1}"#))],
    )
    .stdin("Y\n"),
    line("volume prune -a").stdin("\n"),
    line("volume prune -a --filter all=1"),
];
