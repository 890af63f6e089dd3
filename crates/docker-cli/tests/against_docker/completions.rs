//! Completions: how a line could go on.

use crate::case::{Answer, Case, answered, line};

const LATER: &str = "commands that are not built yet are not listed";
const NAMELESS: &str = "images without a name are not offered";
const SIGNALS: &str = "Docker's signals come in no order";
const DRIVERS: &str = "options of drivers that are not built are not offered";

const CONTAINERS: &[(&str, Answer)] = &[(
    "GET /containers/json",
    Answer::Json(
        200,
        r#"[{"Id":"aa","Names":["/web"],"Image":"i","State":"running"},{"Id":"bb","Names":["/idle"],"Image":"i","State":"paused"},{"Id":"cc","Names":["/done"],"Image":"i","State":"exited"},{"Id":"dd","Names":["/new"],"Image":"i","State":"created"}]"#,
    ),
)];
const IMAGES: &[(&str, Answer)] = &[(
    "GET /images/json",
    Answer::Json(200, r#"[{"Id":"sha256:aa","RepoTags":["busybox:latest","r.example:5000/b:1"],"RepoDigests":[]}]"#),
)];
const UNNAMED: &[(&str, Answer)] =
    &[("GET /images/json", Answer::Json(200, r#"[{"Id":"sha256:aa","RepoTags":["<none>:<none>"],"RepoDigests":[]}]"#))];
const NETWORKS: &[(&str, Answer)] =
    &[("GET /networks", Answer::Json(200, r#"[{"Name":"bridge","Id":"n1"},{"Name":"front","Id":"n2"}]"#))];
const VOLUMES: &[(&str, Answer)] =
    &[("GET /volumes", Answer::Json(200, r#"{"Volumes":[{"Name":"data","Driver":"local"}],"Warnings":null}"#))];
const BROKEN: &[(&str, Answer)] = &[("GET /containers/json", Answer::Json(500, r#"{"message":"broken"}"#))];

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    line("__complete ''").differs(LATER),
    line("__complete con").differs(LATER),
    line("__complete cont"),
    line("__completeNoDesc cont"),
    line("__complete container ''"),
    line("__complete container l"),
    line("__complete system ''"),
    line("__complete context ''"),
    line("__complete foo ''"),
    line("__complete container foo ''"),
    line("__complete container ls --fil"),
    line("__complete ps -"),
    line("__complete ps -a --"),
    line("__complete ps -f a=b --").differs("what may be given again is offered again"),
    line("__complete run --"),
    line("__complete run --net"),
    line("__complete create -"),
    line("__complete exec --"),
    line("__complete --"),
    line("__complete -"),
    line("__complete --log-level ''"),
    line("__complete -c ''"),
    line("__complete run --pull ''"),
    line("__complete run --pull=al"),
    line("__complete run --restart ''"),
    line("__complete run --cap-add ''"),
    line("__complete run --cgroupns ''"),
    line("__complete run --ipc ''"),
    line("__complete run --pid ''"),
    line("__complete run --uts ''"),
    line("__complete run --userns ''"),
    line("__complete run --attach ''"),
    line("__complete run --platform ''"),
    line("__complete run --detach-keys ''"),
    line("__complete run --storage-opt ''"),
    line("__complete run --name ''"),
    line("__complete run --env-file ''"),
    line("__complete run --stop-signal ''").differs(SIGNALS),
    line("__complete run --log-opt ''").differs(DRIVERS),
    line("__complete kill -s ''").differs(SIGNALS),
    line("__complete logs --since ''"),
    line("__complete ps --filter ''"),
    line("__complete events --filter ''"),
    line("__complete inspect --type ''"),
    line("__complete update --restart ''"),
    line("__complete pull --platform ''"),
    answered("__complete run --volumes-from ''", CONTAINERS),
    answered("__complete run --link ''", CONTAINERS),
    answered("__complete run --network ''", NETWORKS),
    answered("__complete run ''", IMAGES),
    answered("__complete run ''", UNNAMED).differs(NAMELESS),
    answered("__complete run -it busybox ''", IMAGES),
    answered("__complete exec ''", CONTAINERS),
    answered("__complete attach ''", CONTAINERS),
    answered("__complete unpause ''", CONTAINERS),
    answered("__complete pause ''", CONTAINERS),
    answered("__complete start ''", CONTAINERS),
    answered("__complete stop ''", CONTAINERS),
    answered("__complete rm ''", CONTAINERS),
    answered("__complete rm -f ''", CONTAINERS),
    answered("__complete logs ''", CONTAINERS),
    answered("__complete container inspect ''", CONTAINERS),
    answered("__complete restart x ''", CONTAINERS),
    answered("__complete rename ''", CONTAINERS),
    answered("__complete update ''", CONTAINERS),
    answered("__complete stop ''", BROKEN),
    answered("__complete rmi ''", IMAGES),
    answered("__complete save ''", IMAGES),
    answered("__complete image inspect ''", IMAGES),
    answered("__complete image push ''", IMAGES),
    answered("__complete image push x ''", IMAGES),
    line("__complete pull ''"),
    line("__complete images ''"),
    line("__complete import ''"),
    line("__complete load ''"),
    line("__complete cp ''"),
    line("__complete login ''"),
    line("__complete logout ''"),
    line("__complete search ''"),
    answered("__complete network inspect ''", NETWORKS),
    answered("__complete network connect ''", NETWORKS),
    answered("__complete network connect front ''", CONTAINERS),
    answered("__complete network rm ''", NETWORKS),
    line("__complete network create ''"),
    answered("__complete volume rm ''", VOLUMES),
    answered("__complete volume inspect ''", VOLUMES),
    line("__complete volume create ''"),
    line("__complete context use ''"),
    line("__complete context rm ''"),
    line("__complete context export ''"),
    line("__complete context import ''"),
    line("__complete inspect ''"),
    line("__complete inspect --type container ''").differs("names are offered once the type is known"),
    line("__complete completion ''"),
    line("__complete help c"),
];
