//! Images.

use crate::case::{Answer, Case, answered, line};

const LIST: &[(&str, Answer)] = &[(
    "GET /images/json",
    Answer::Json(
        200,
        r#"[{"Id":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","RepoTags":["reg.example:5000/a/nginx:1.27","reg.example:5000/a/nginx:latest"],"RepoDigests":["reg.example:5000/a/nginx@sha256:1111111111111111111111111111111111111111111111111111111111111111"],"Created":1000000000,"Size":187654321,"SharedSize":-1,"Containers":-1,"Labels":null,"ParentId":""},{"Id":"sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210","RepoTags":[],"RepoDigests":["only@sha256:2222222222222222222222222222222222222222222222222222222222222222"],"Created":1000000000,"Size":5000,"SharedSize":1000,"Containers":2,"Labels":{},"ParentId":""},{"Id":"sha256:aaaaba9876543210fedcba9876543210fedcba9876543210fedcba9876543210","RepoTags":null,"RepoDigests":null,"Created":0,"Size":0,"SharedSize":0,"Containers":0,"Labels":{},"ParentId":""}]"#,
    ),
)];
const TREE: &[(&str, Answer)] = &[(
    "GET /images/json",
    Answer::Json(
        200,
        r#"[{"Id":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","RepoTags":["nginx:1.27","nginx:latest"],"RepoDigests":["nginx@sha256:1111111111111111111111111111111111111111111111111111111111111111"],"Created":1000000000,"Size":187654321,"SharedSize":-1,"Containers":1,"Manifests":[{"ID":"sha256:3333333333333333333333333333333333333333333333333333333333333333","Kind":"image","Available":true,"Size":{"Total":187654321,"Content":70000000},"Descriptor":{},"ImageData":{"Platform":{"os":"linux","architecture":"amd64"},"Containers":["x"],"Size":{"Unpacked":5}}},{"ID":"sha256:4444444444444444444444444444444444444444444444444444444444444444","Kind":"image","Available":false,"Size":{"Total":0,"Content":0},"Descriptor":{},"ImageData":{"Platform":{"os":"linux","architecture":"arm","variant":"v7"},"Containers":null,"Size":{"Unpacked":0}}},{"ID":"sha256:5555555555555555555555555555555555555555555555555555555555555555","Kind":"attestation","Available":true,"Size":{"Total":1,"Content":1},"Descriptor":{},"AttestationData":{"For":"sha256:3333333333333333333333333333333333333333333333333333333333333333"}}]},{"Id":"sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210","RepoTags":["a-very-long-name.example.com/with/many/parts/and/more/of/them/so/that/it/is/cut:latest"],"RepoDigests":[],"Created":900000000,"Size":5000,"Containers":0},{"Id":"sha256:aaaaba9876543210fedcba9876543210fedcba9876543210fedcba9876543210","RepoTags":[],"RepoDigests":[],"Created":1,"Size":0,"Containers":0}]"#,
    ),
)];
const HISTORY: &[(&str, Answer)] = &[(
    "GET /images/a/history",
    Answer::Json(
        200,
        r##"[{"Id":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Created":1000000000,"CreatedBy":"/bin/sh -c #(nop)  CMD [\"nginx\" \"-g\" \"daemon off;\"]","Size":0,"Comment":"","Tags":["a:latest"]},{"Id":"<missing>","Created":0,"CreatedBy":"/bin/sh -c apt-get update\t&& apt-get install --no-install-recommends -y many things","Size":123456789,"Comment":"buildkit","Tags":null}]"##,
    ),
)];
const INSPECT: &[(&str, Answer)] = &[(
    "GET /images/a/json",
    Answer::Json(
        200,
        r#"{"Id":"sha256:abc","RepoTags":["a:latest"],"Architecture":"amd64","Os":"linux","Size":5,"RootFS":{"Type":"layers","Layers":["sha256:x"]},"Config":{"Cmd":["sh"]}}"#,
    ),
)];
const PULLED: &[(&str, Answer)] = &[(
    "POST /images/create",
    Answer::Lines(
        "{\"status\":\"Pulling from library/nginx\",\"id\":\"latest\"}\n{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"aa\"}\n{\"status\":\"Downloading\",\"progressDetail\":{\"current\":50,\"total\":100},\"progress\":\"[=>] 50B/100B\",\"id\":\"aa\"}\n{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"aa\"}\n{\"status\":\"Digest: sha256:0\"}\n{\"status\":\"Status: Downloaded newer image for nginx:latest\"}\n",
    ),
)];
const PRUNED: &[(&str, Answer)] = &[(
    "POST /images/prune",
    Answer::Json(
        200,
        r#"{"ImagesDeleted":[{"Untagged":"a:latest"},{"Deleted":"sha256:abc"}],"SpaceReclaimed":1234567890}"#,
    ),
)];
const FOUND: &[(&str, Answer)] = &[(
    "GET /images/search",
    Answer::Json(
        200,
        r#"[{"star_count":20000,"is_official":true,"name":"nginx","is_automated":false,"description":"Official build of Nginx.\nWith a second line that is longer than a column"},{"star_count":3,"is_official":false,"name":"some/nginx","is_automated":false,"description":""}]"#,
    ),
)];

const COLOUR: &str = "Docker's client colours the titles off a terminal too";

pub const CASES: &[Case] = &[
    answered("images", LIST),
    answered("images -a --no-trunc", LIST),
    answered("images --digests", LIST),
    answered("images -q", LIST),
    answered("images -q --no-trunc", LIST),
    answered("images nginx", LIST),
    answered("images nginx:1.27 -f dangling=true -f label=a", LIST),
    answered("images --format json", LIST),
    answered("images --format '{{.Repository}} {{.Tag}} {{.Digest}} {{.SharedSize}} {{.UniqueSize}} {{.Containers}}'", LIST),
    answered("images --format 'table {{.ID}}\\t{{.Size}}'", LIST),
    answered("images --format 'table {{.ID}}\\t{{.Size}}' --digests", LIST),
    answered("images --format '{{.Nope}}'", LIST),
    answered("images ls", &[("GET /images/json", Answer::Json(200, "[]"))]),
    answered("image ls ls", &[("GET /images/json", Answer::Json(200, "[]"))]),
    answered("images --tree", TREE).differs(COLOUR),
    answered("image ls --tree -a", TREE).differs(COLOUR),
    answered("image ls --tree nginx", TREE).differs(COLOUR),
    answered("image ls --tree", LIST).differs(COLOUR),
    line("image ls --tree -q"),
    line("image ls --tree --no-trunc"),
    line("image ls --tree --digests"),
    line("image ls --tree --format json"),
    answered("history a", HISTORY),
    answered("history --no-trunc a", HISTORY),
    answered("history -H=false a", HISTORY),
    answered("history -q a", HISTORY),
    answered("history --format json a", HISTORY),
    answered("history --format '{{.Nope}}' a", HISTORY),
    answered("history --format '{{.ID}} {{.CreatedAt}} {{.Size}}' a", HISTORY),
    answered("history --platform linux/arm64 a", HISTORY),
    line("history --platform nope a"),
    answered("image inspect a", INSPECT),
    answered("image inspect -f '{{.ID}} {{.Config.Cmd}} {{.Config.Labels}}' a", INSPECT),
    answered("image inspect -f '{{.Id}} {{.Config.Cmd}} {{.Config.Labels}}' a", INSPECT).differs(
        "a template with a name that is JSON's and not Go's gets the bare answer from Docker's client, where what is empty is missing",
    ),
    answered("image inspect --platform linux/amd64 a", INSPECT),
    line("image inspect --platform a/b/c/d a"),
    answered("image inspect b", &[("GET /images/b/json", Answer::Json(404, r#"{"message":"No such image: b"}"#))]),
    answered("pull nginx", PULLED),
    answered("pull -q nginx", PULLED),
    answered("pull -a nginx", PULLED),
    answered("pull -a nginx:1", PULLED),
    answered("pull --platform linux/arm64 reg.example:5000/a/b:c", PULLED),
    answered("pull nginx@sha256:1111111111111111111111111111111111111111111111111111111111111111", PULLED),
    answered("pull nginx", &[("POST /images/create", Answer::Json(404, r#"{"message":"pull access denied for nginx"}"#))]),
    answered("pull nginx", &[("POST /images/create", Answer::Lines("{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\n"))]),
    line("pull UPPER"),
    answered("push nginx", &[("POST /images/docker.io/library/nginx/push", Answer::Lines("{\"status\":\"The push refers to repository [docker.io/library/nginx]\"}\n{\"status\":\"latest: digest: sha256:0 size: 5\"}\n"))]),
    answered("push -q reg.example/a:b", &[("POST /images/reg.example/a/push", Answer::Lines("{\"status\":\"x\"}\n"))]),
    answered("push -a reg.example/a", &[("POST /images/reg.example/a/push", Answer::Lines("{\"status\":\"x\"}\n"))]),
    answered("push --platform linux/arm/v7 reg.example/a:b", &[("POST /images/reg.example/a/push", Answer::Lines("{\"status\":\"x\"}\n"))]),
    line("push -a reg.example/a:b"),
    line("push --platform nope reg.example/a:b"),
    answered("tag a b:c", &[("POST /images/a/tag", Answer::Json(201, ""))]),
    answered("tag a b", &[("POST /images/a/tag", Answer::Json(404, r#"{"message":"No such image: a"}"#))]),
    line("tag a UPPER"),
    line("tag a b@sha256:1111111111111111111111111111111111111111111111111111111111111111"),
    answered("rmi a", &[("DELETE /images/a", Answer::Json(200, r#"[{"Untagged":"a:latest"},{"Deleted":"sha256:abc"}]"#))]),
    answered("rmi -f --no-prune a", &[("DELETE /images/a", Answer::Json(200, "[]"))]),
    answered("image rm --platform linux/amd64 a", &[("DELETE /images/a", Answer::Json(200, "[]"))]),
    answered("rmi a b", &[("DELETE /images/a", Answer::Json(404, r#"{"message":"No such image: a"}"#)), ("DELETE /images/b", Answer::Json(409, r#"{"message":"conflict: in use"}"#))]),
    answered("rmi -f a", &[("DELETE /images/a", Answer::Json(404, r#"{"message":"No such image: a"}"#))]),
    answered("image prune -f", PRUNED),
    answered("image prune -a -f --filter until=24h", PRUNED),
    answered("image prune", PRUNED).stdin("y\n"),
    answered("image prune -a", PRUNED).stdin("no\n"),
    answered("image prune -f", &[("POST /images/prune", Answer::Json(200, r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#))]),
    answered("save a b", &[("GET /images/get", Answer::Text("archive"))]),
    answered("save -o x.tar --platform linux/amd64 a", &[("GET /images/get", Answer::Text("archive"))]),
    answered("save -o not/there.tar a", &[]),
    answered("save -o x.tar a", &[("GET /images/get", Answer::Json(404, r#"{"message":"No such image: a"}"#))]),
    line("save --platform nope a"),
    answered("load -i archive.tar", &[("POST /images/load", Answer::Lines("{\"stream\":\"Loaded image: a:latest\\n\"}\n"))]),
    answered("load -q", &[("POST /images/load", Answer::Lines("{\"stream\":\"Loaded image: a:latest\\n\"}\n"))]).stdin("an archive"),
    answered("load --platform linux/arm64", &[("POST /images/load", Answer::Text("Loaded"))]).stdin("an archive"),
    answered("load", &[("POST /images/load", Answer::Json(400, r#"{"message":"invalid archive"}"#))]).stdin("an archive"),
    line("load -i not-there"),
    line("load --platform nope"),
    answered("import - repo:tag", &[("POST /images/create", Answer::Lines("{\"status\":\"sha256:abc\"}\n"))]).stdin("an archive"),
    answered("import -c 'CMD x' -m message --platform linux/arm64 archive.tar", &[("POST /images/create", Answer::Lines("{\"status\":\"sha256:abc\"}\n"))]),
    answered("import http://x.example/y.tar", &[("POST /images/create", Answer::Lines("{\"status\":\"sha256:abc\"}\n"))]),
    line("import not-there"),
    answered("search nginx", FOUND),
    answered("search --no-trunc --limit 5 -f is-official=true -f stars=3 nginx", FOUND),
    answered("search -f is-automated=true nginx", FOUND),
    answered("search --format json nginx", FOUND),
    answered("search --format '{{.Nope}}' nginx", FOUND),
    answered("search --format '{{.Name}}: {{.IsOfficial}}' nginx", FOUND),
    answered("search reg.example/nginx", FOUND),
    line("search https://x/y"),
];
