//! What is done to containers that are there.

use crate::case::{Answer, Case, answered, line};

const NOT_ASKED_FOR: &str = "Docker asks for the container first; the answer to the exec tells the same";
const OK: Answer = Answer::Json(204, "");
const GONE: Answer = Answer::Json(404, r#"{"message":"No such container: a"}"#);
const STOPPED: Answer = Answer::Json(409, r#"{"message":"container abc is not running"}"#);

const LIST: Answer = Answer::Json(
    200,
    r#"[{"Id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Names":["/web","/db/link"],"Image":"nginx:1.27","ImageID":"sha256:aa","Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1000000000,"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"},{"IP":"127.0.0.1","PrivatePort":9000,"PublicPort":9000,"Type":"tcp"},{"IP":"127.0.0.1","PrivatePort":9001,"PublicPort":9001,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],"SizeRw":2048,"SizeRootFs":187654321,"Labels":{"com.example.tier":"front"},"State":"running","Status":"Up 2 hours","HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"apps":{}}},"Mounts":[{"Type":"volume","Name":"0123456789abcdef0123456789abcdef","Source":"","Destination":"/data","Driver":"local"},{"Type":"bind","Source":"/srv/www","Destination":"/www"}]},{"Id":"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210","Names":["/job"],"Image":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","ImageID":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Command":"sh","Created":1000000000,"Ports":[],"Labels":{},"State":"exited","Status":"Exited (1) 3 days ago","HostConfig":{"NetworkMode":"none"},"NetworkSettings":{"Networks":{}},"Mounts":[]}]"#,
);
const LISTED: &[(&str, Answer)] = &[("GET /containers/json", LIST)];

const INSPECTED: Answer = Answer::Json(
    200,
    r#"{"Id":"abc","Name":"/web","State":{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":5,"ExitCode":0,"Error":"","StartedAt":"2001-09-09T01:46:40Z","FinishedAt":"0001-01-01T00:00:00Z"},"Config":{"Tty":false,"OpenStdin":false,"Image":"nginx","AttachStdin":false,"WorkingDir":"","Labels":{"a":"1"}},"HostConfig":{"AutoRemove":false,"LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"bridge"},"NetworkSettings":{"Ports":{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"53/udp":[{"HostIp":"127.0.0.1","HostPort":"53"}]}}}"#,
);
const INSPECT: &[(&str, Answer)] = &[("GET /containers/a/json", INSPECTED)];

const SAMPLE: Answer = Answer::Lines(
    "{\"id\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"name\":\"/web\",\"pids_stats\":{\"current\":3},\"precpu_stats\":{\"cpu_usage\":{\"total_usage\":100},\"system_cpu_usage\":1000},\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":200},\"system_cpu_usage\":2000,\"online_cpus\":4},\"memory_stats\":{\"usage\":3145728,\"limit\":10485760,\"stats\":{\"inactive_file\":1048576}},\"blkio_stats\":{\"io_service_bytes_recursive\":[{\"op\":\"Read\",\"value\":1000},{\"op\":\"write\",\"value\":5}]},\"networks\":{\"eth0\":{\"rx_bytes\":1500,\"tx_bytes\":10}}}\n",
);
const SAMPLES: &[(&str, Answer)] = &[
    ("GET /containers/json", LIST),
    ("GET /containers/0123456789ab/stats", SAMPLE),
    ("GET /containers/fedcba987654/stats", SAMPLE),
    ("GET /containers/a/stats", SAMPLE),
    ("GET /containers/b/stats", GONE),
    ("GET /events", Answer::Lines("")),
];

const DIRECTORY: &str = r#"{"name":"d","size":4096,"mode":2147484141,"mtime":"2001-09-09T01:46:40Z","linkTarget":""}"#;
const FILE: &str = r#"{"name":"f","size":4,"mode":420,"mtime":"2001-09-09T01:46:40Z","linkTarget":""}"#;
const LINK: &str = r#"{"name":"l","size":4,"mode":134218239,"mtime":"2001-09-09T01:46:40Z","linkTarget":"d"}"#;
const DEVICE: &str = r#"{"name":"null","size":0,"mode":69206454,"mtime":"2001-09-09T01:46:40Z","linkTarget":""}"#;
const TREE: Answer = Answer::Tar {
    stat: DIRECTORY,
    members: &[
        ("d/", 'd', ""),
        ("d/f", 'f', "text"),
        ("d/sub/", 'd', ""),
        ("d/sub/l", 'l', "../f"),
        ("d/sub/h", 'h', "d/f"),
    ],
};
const ONE: Answer = Answer::Tar { stat: FILE, members: &[("f", 'f', "text")] };
const FROM_TREE: &[(&str, Answer)] = &[("GET /containers/a/archive", TREE)];
const FROM_FILE: &[(&str, Answer)] = &[("GET /containers/a/archive", ONE)];
const INSIDE: Answer =
    Answer::Tar { stat: DIRECTORY, members: &[("./", 'd', ""), ("./f", 'f', "text"), ("./sub/", 'd', "")] };
const PUT: (&str, Answer) = ("PUT /containers/a/archive", Answer::Json(200, ""));
const TO_DIRECTORY: &[(&str, Answer)] = &[("HEAD /containers/a/archive", Answer::Stat(DIRECTORY)), PUT];
const TO_FILE: &[(&str, Answer)] = &[("HEAD /containers/a/archive", Answer::Stat(FILE)), PUT];
const TO_NOTHING: &[(&str, Answer)] = &[("HEAD /containers/a/archive", Answer::Json(404, "")), PUT];
const TO_LINK: &[(&str, Answer)] =
    &[("HEAD /containers/a/archive", Answer::Stat(LINK)), ("HEAD /containers/a/archive", Answer::Stat(DIRECTORY)), PUT];

const WAITED: (&str, Answer) = ("POST /containers/a/wait", Answer::Json(200, r#"{"StatusCode":0}"#));
const WAIT: &str = "Docker's client asks for the end before it knows whether it can attach";

pub const CASES: &[Case] = &[
    // Lists.
    answered("ps", LISTED),
    answered("ps -a --no-trunc", LISTED),
    answered("ps -s", LISTED),
    answered("ps -q", LISTED),
    answered("ps -q --no-trunc", LISTED),
    answered("ps -l", LISTED),
    answered("ps -n 3", LISTED),
    answered("ps -n 0", LISTED),
    answered("ps -n 3 -l", LISTED),
    answered("ps --format json", LISTED),
    answered("ps -a --format '{{.Names}}: {{.Ports}} {{.Networks}} {{.Mounts}} {{.LocalVolumes}}'", LISTED),
    answered("ps --format 'table {{.ID}}\\t{{.Label \"com.example.tier\"}}\\t{{.State}}'", LISTED),
    answered("ps --format '{{.Size}}'", LISTED),
    answered("ps --format '{{.CreatedAt}} {{.Image}} {{.Command}}'", LISTED),
    answered("ps --format '{{.Nope}}'", LISTED),
    answered("ps -f status=running -f label=a=1 -f name=x -f volume=/v", LISTED),
    answered("ps -f status", LISTED),
    answered(
        "ps -f status=nope",
        &[("GET /containers/json", Answer::Json(400, r#"{"message":"invalid filter 'status=nope'"}"#))],
    ),
    answered("container ls -a", &[("GET /containers/json", Answer::Json(200, "[]"))]),
    answered("container ls --format json", &[("GET /containers/json", Answer::Json(200, "[]"))]),
    // One thing to each.
    answered("kill a", &[("POST /containers/a/kill", OK)]),
    answered("kill -s HUP a b", &[("POST /containers/a/kill", OK), ("POST /containers/b/kill", OK)]),
    answered("kill a", &[("POST /containers/a/kill", STOPPED)]),
    answered("stop a", &[("POST /containers/a/stop", OK)]),
    answered("stop -t 3 -s INT a", &[("POST /containers/a/stop", OK)]),
    answered("stop --time 3 a", &[("POST /containers/a/stop", OK)]),
    answered("stop a b", &[("POST /containers/a/stop", GONE), ("POST /containers/b/stop", OK)]),
    answered("restart -t 0 a", &[("POST /containers/a/restart", OK)]),
    answered("restart -s USR1 a", &[("POST /containers/a/restart", OK)]),
    answered("restart a", &[("POST /containers/a/restart", GONE)]),
    answered("pause a", &[("POST /containers/a/pause", OK)]),
    answered("unpause a", &[("POST /containers/a/unpause", STOPPED)]),
    answered("rm a", &[("DELETE /containers/a", OK)]),
    answered("rm -f -v a", &[("DELETE /containers/a", OK)]),
    answered("rm -l /a/b", &[("DELETE /containers/a/b", OK)]),
    answered("rm a", &[("DELETE /containers/a", GONE)]),
    answered("rm -f a", &[("DELETE /containers/a", GONE)]),
    line("rm ''"),
    answered("wait a", &[("POST /containers/a/wait", Answer::Json(200, r#"{"StatusCode":3}"#))]),
    answered("wait a", &[("POST /containers/a/wait", GONE)]),
    answered("rename a b", &[("POST /containers/a/rename", OK)]),
    answered("rename a b", &[("POST /containers/a/rename", GONE)]),
    line("rename '' b"),
    line("rename a"),
    answered("start a", &[("POST /containers/a/start", OK)]),
    answered("start a b", &[("POST /containers/a/start", GONE), ("POST /containers/b/start", OK)]),
    line("start -a a b"),
    answered("start --checkpoint x --checkpoint-dir /y a", &[("POST /containers/a/start", OK)]),
    // Insights.
    answered("port a", INSPECT),
    answered("port a 80", INSPECT),
    answered("port a 53/udp", INSPECT),
    answered("port a 81", INSPECT),
    answered("port a 443", INSPECT),
    answered(
        "top a",
        &[(
            "GET /containers/a/top",
            Answer::Json(
                200,
                r#"{"Titles":["UID","PID","CMD"],"Processes":[["root","1","sleep 100"],["nobody","12345","x"]]}"#,
            ),
        )],
    ),
    answered(
        "top a -eo pid,cmd",
        &[("GET /containers/a/top", Answer::Json(200, r#"{"Titles":["PID"],"Processes":[["1"]]}"#))],
    ),
    answered("top a", &[("GET /containers/a/top", STOPPED)]),
    answered(
        "diff a",
        &[(
            "GET /containers/a/changes",
            Answer::Json(200, r#"[{"Path":"/etc","Kind":0},{"Path":"/etc/new","Kind":1},{"Path":"/gone","Kind":2}]"#),
        )],
    ),
    answered("diff a", &[("GET /containers/a/changes", Answer::Json(200, "null"))]),
    answered("diff a", &[("GET /containers/a/changes", GONE)]),
    line("diff ''"),
    answered("logs a", &[("GET /containers/a/json", INSPECTED), ("GET /containers/abc/logs", Answer::Text(""))]),
    answered(
        "logs --tail 5 -t --details --since 2001-01-02T03:04:05Z --until 2001-01-03 a",
        &[
            ("GET /containers/a/json", INSPECTED),
            ("GET /containers/abc/logs", Answer::Text("\u{1}\0\0\0\0\0\0\u{3}hi\n")),
        ],
    ),
    answered("logs a", &[("GET /containers/a/json", GONE)]),
    answered("logs --since nope a", &[("GET /containers/a/json", INSPECTED)]),
    answered("container inspect a", INSPECT),
    answered("container inspect -s a b", INSPECT),
    answered("container inspect -f '{{.Name}} {{json .State.Running}} {{.Config.Labels}}' a", INSPECT),
    answered("container inspect -f '{{.Nope}}' a", INSPECT),
    answered("container inspect -f '{{' a", INSPECT),
    // Attaching.
    answered(
        "attach a",
        &[
            WAITED,
            (
                "GET /containers/a/json",
                Answer::Json(200, r#"{"Id":"abc","State":{"Running":false},"Config":{},"HostConfig":{}}"#),
            ),
        ],
    )
    .differs(WAIT),
    answered(
        "attach a",
        &[
            WAITED,
            (
                "GET /containers/a/json",
                Answer::Json(200, r#"{"Id":"abc","State":{"Running":true,"Paused":true},"Config":{},"HostConfig":{}}"#),
            ),
        ],
    )
    .differs(WAIT),
    answered(
        "attach a",
        &[
            WAITED,
            (
                "GET /containers/a/json",
                Answer::Json(
                    200,
                    r#"{"Id":"abc","State":{"Running":true,"Restarting":true},"Config":{},"HostConfig":{}}"#,
                ),
            ),
        ],
    )
    .differs(WAIT),
    answered("attach a", &[("GET /containers/a/json", GONE)]).differs(WAIT),
    answered("exec a true", &[("GET /containers/a/json", GONE), ("POST /containers/a/exec", GONE)])
        .differs(NOT_ASKED_FOR),
    answered(
        "exec a true",
        &[
            ("GET /containers/a/json", INSPECTED),
            ("POST /containers/a/exec", Answer::Json(201, r#"{"Id":"e1"}"#)),
            ("POST /exec/e1/start", Answer::Output("out\n")),
            ("GET /exec/e1/json", Answer::Json(200, r#"{"ID":"e1","ExitCode":3}"#)),
        ],
    )
    .differs(NOT_ASKED_FOR),
    answered(
        "exec -i -e A=1 -e FROM_OUTSIDE --env-file env -u 1:2 -w /srv --privileged a sh -c 'exit 3'",
        &[
            ("GET /containers/a/json", INSPECTED),
            ("POST /containers/a/exec", Answer::Json(201, r#"{"Id":"e1"}"#)),
            ("POST /exec/e1/start", Answer::Output("out\n")),
            ("GET /exec/e1/json", Answer::Json(200, r#"{"ID":"e1","ExitCode":0}"#)),
        ],
    )
    .differs(NOT_ASKED_FOR),
    answered(
        "exec -d a true",
        &[
            ("GET /containers/a/json", INSPECTED),
            ("POST /containers/a/exec", Answer::Json(201, r#"{"Id":"e1"}"#)),
            ("POST /exec/e1/start", Answer::Json(200, "")),
        ],
    )
    .differs(NOT_ASKED_FOR),
    answered("exec -it a true", &[("GET /containers/a/json", INSPECTED)]),
    answered("exec a true", &[("GET /containers/a/json", INSPECTED), ("POST /containers/a/exec", STOPPED)])
        .differs(NOT_ASKED_FOR),
    line("exec -e =x a true"),
    line("exec a"),
    // Changes.
    answered(
        "update -m 512m --memory-swap -1 --cpus 1.5 a",
        &[("POST /containers/a/update", Answer::Json(200, r#"{"Warnings":null}"#))],
    ),
    answered(
        "update --restart on-failure:3 --pids-limit -1 --blkio-weight 300 a b",
        &[
            ("POST /containers/a/update", Answer::Json(200, r#"{"Warnings":["careful"]}"#)),
            ("POST /containers/b/update", GONE),
        ],
    ),
    answered(
        "update -c 512 --cpu-period 1 --cpu-quota 2 --cpu-rt-period 3 --cpu-rt-runtime 4 --cpuset-cpus 0 --cpuset-mems 0 --memory-reservation 1g a",
        &[("POST /containers/a/update", Answer::Json(200, "{}"))],
    ),
    line("update a"),
    line("update --restart x:y a"),
    answered("commit a", &[("POST /commit", Answer::Json(201, r#"{"Id":"sha256:abc"}"#))]),
    answered(
        "commit -a me -m 'a message' -c 'CMD [\"x\"]' -c 'ENV A=1' -p=false a repo/name:tag",
        &[("POST /commit", Answer::Json(201, r#"{"Id":"sha256:abc"}"#))],
    ),
    answered("commit a name", &[("POST /commit", GONE)]),
    line("commit a UPPER"),
    line("commit a n@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    answered("export a", &[("GET /containers/a/export", Answer::Text("archive"))]),
    answered("export -o x.tar a", &[("GET /containers/a/export", Answer::Text("archive"))]),
    answered("export -o not/there.tar a", &[("GET /containers/a/export", Answer::Text("archive"))]),
    answered("export -o here a", &[("GET /containers/a/export", Answer::Text("archive"))]),
    answered("export -o x.tar a", &[("GET /containers/a/export", GONE)]),
    // Copies from a container.
    answered("cp a:/d out", FROM_TREE),
    answered("cp a:/d here", FROM_TREE),
    answered("cp a:/d here/", FROM_TREE),
    answered("cp a:/d/. out", &[("GET /containers/a/archive", INSIDE)]),
    answered("cp a:/d/. here", &[("GET /containers/a/archive", INSIDE)]),
    answered("cp a:/d here/file", FROM_TREE),
    answered("cp a:/f out", FROM_FILE),
    answered("cp a:/f here", FROM_FILE),
    answered("cp a:/f here/file", FROM_FILE),
    answered("cp a:/f here/link", FROM_FILE),
    answered("cp a:/f out/", FROM_FILE),
    answered("cp a:/f not/there", FROM_FILE),
    answered("cp a:/f /dev/null", FROM_FILE),
    answered("cp --quiet=false a:/f out", FROM_FILE),
    answered("cp -q a:/f out", FROM_FILE),
    answered("cp -a a:/f out", FROM_FILE),
    answered(
        "cp a:/f out",
        &[(
            "GET /containers/a/archive",
            Answer::Json(404, r#"{"message":"Could not find the file /f in container a"}"#),
        )],
    ),
    answered("cp a:/f out", &[("GET /containers/a/archive", Answer::Text("x"))]),
    answered(
        "cp -L a:/l out",
        &[("HEAD /containers/a/archive", Answer::Stat(LINK)), ("GET /containers/a/archive", TREE)],
    ),
    answered(
        "cp -L a:/f out",
        &[("HEAD /containers/a/archive", Answer::Stat(FILE)), ("GET /containers/a/archive", ONE)],
    ),
    answered(
        "cp a:/f here",
        &[("GET /containers/a/archive", Answer::Tar { stat: FILE, members: &[("../f", 'f', "x")] })],
    )
    .differs("Docker's client reports the name after joining it to the place, ours as the archive has it"),
    answered(
        "cp a:/f here",
        &[("GET /containers/a/archive", Answer::Tar { stat: FILE, members: &[("sub", 'f', "x")] })],
    ),
    answered(
        "cp a:/file here",
        &[("GET /containers/a/archive", Answer::Tar { stat: DIRECTORY, members: &[("file/", 'd', "")] })],
    ),
    // Copies into a container.
    answered("cp here a:/d", TO_DIRECTORY),
    answered("cp here/ a:/d", TO_DIRECTORY),
    answered("cp here/. a:/d", TO_DIRECTORY),
    answered("cp here/file a:/d", TO_DIRECTORY),
    answered("cp -a here/file a:/d", TO_DIRECTORY),
    answered("cp here/link a:/d", TO_DIRECTORY),
    answered("cp -L here/link a:/d", TO_DIRECTORY),
    answered("cp here a:/new", TO_NOTHING),
    answered("cp here/. a:/new", TO_NOTHING),
    answered("cp here/file a:/new", TO_NOTHING),
    answered("cp here/file a:/new/", TO_NOTHING)
        .may_differ("Docker's client has begun to pack and logs that nobody reads"),
    answered("cp here/file a:/f", TO_FILE),
    answered("cp here a:/f", TO_FILE).may_differ("Docker's client has begun to pack and logs that nobody reads"),
    answered("cp here/file a:/l", TO_LINK),
    answered("cp here/file a:/dev/null", &[("HEAD /containers/a/archive", Answer::Stat(DEVICE)), PUT]),
    answered("cp not-there a:/d", TO_DIRECTORY),
    answered("cp here/file/ a:/d", TO_DIRECTORY),
    answered("cp --quiet=false here/file a:/d", TO_DIRECTORY),
    answered("cp - a:/d", TO_DIRECTORY).stdin("an archive"),
    answered("cp - a:/f", TO_FILE).stdin("an archive"),
    answered(
        "cp here/file a:/d",
        &[
            ("HEAD /containers/a/archive", Answer::Stat(DIRECTORY)),
            ("PUT /containers/a/archive", Answer::Json(403, r#"{"message":"container rootfs is marked read-only"}"#)),
        ],
    ),
    line("cp a:/x b:/y"),
    line("cp x y"),
    line("cp '' a:/x"),
    line("cp a:/x ''"),
    line("cp a:/x"),
    // Figures.
    answered("stats --no-stream", SAMPLES),
    answered("stats --no-stream -a", SAMPLES),
    answered("stats --no-stream --no-trunc a", SAMPLES),
    answered("stats --no-stream --format json a", SAMPLES),
    answered("stats --no-stream --format '{{.Container}} {{.CPUPerc}} {{.PIDs}}' a", SAMPLES),
    answered("stats --no-stream --format '{{.Nope}}' a", SAMPLES),
    answered("stats --no-stream a b", SAMPLES),
    answered(
        "stats --no-stream",
        &[("GET /containers/json", Answer::Json(500, r#"{"message":"no list"}"#)), ("GET /events", Answer::Lines(""))],
    ),
    // Pruning.
    answered(
        "container prune -f",
        &[("POST /containers/prune", Answer::Json(200, r#"{"ContainersDeleted":["a","b"],"SpaceReclaimed":1234567}"#))],
    ),
    answered(
        "container prune -f --filter until=24h --filter label=a",
        &[("POST /containers/prune", Answer::Json(200, r#"{"ContainersDeleted":null,"SpaceReclaimed":0}"#))],
    ),
    answered(
        "container prune",
        &[("POST /containers/prune", Answer::Json(200, r#"{"ContainersDeleted":["a"],"SpaceReclaimed":5}"#))],
    )
    .stdin("y\n"),
    answered("container prune", &[]).stdin("n\n"),
    answered("container prune", &[]).stdin("\n"),
    answered("container prune", &[]),
];
