//! Networks.

use crate::case::{Answer, Case, answered, line};

const LIST: &[(&str, Answer)] = &[(
    "GET /networks",
    Answer::Json(
        200,
        r#"[{"Name":"net10","Id":"0123456789abcdef","Created":"2001-09-09T01:46:40.5Z","Scope":"local","Driver":"bridge","EnableIPv4":true,"EnableIPv6":false,"Internal":true,"Labels":{"a":"1"}},{"Name":"net9","Id":"fedcba9876543210","Created":"2001-09-09T01:46:40Z","Scope":"local","Driver":"macvlan","EnableIPv6":true,"Labels":{}},{"Name":"bridge","Id":"bbbbba9876543210","Created":"2001-09-09T01:46:40Z","Scope":"local","Driver":"bridge"}]"#,
    ),
)];
const MADE: &[(&str, Answer)] = &[("POST /networks/create", Answer::Json(201, r#"{"Id":"abc","Warning":""}"#))];

pub const CASES: &[Case] = &[
    answered("network ls", LIST),
    answered("network ls --no-trunc -f driver=bridge", LIST),
    answered("network ls -q", LIST),
    answered("network ls --format json", LIST),
    answered("network ls --format '{{.Nope}}'", LIST),
    answered("network ls --format '{{.Name}} {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.CreatedAt}}'", LIST),
    answered("network create n", MADE),
    answered(
        "network create -d macvlan -o parent=eth0 --subnet 10.1.0.0/24 --gateway 10.1.0.1 --ip-range 10.1.0.128/25 --aux-address host=10.1.0.9 n",
        MADE,
    ),
    answered("network create --subnet 10.1.0.0/24,fd00::/64 --gateway 10.1.0.1 --gateway fd00::1 --ipv6 n", MADE),
    answered("network create --ipv4=false --ipv6 --internal --attachable --label a=1 --scope local n", MADE),
    answered("network create --config-only --subnet 10.1.0.0/24 n", MADE),
    answered("network create --config-from x --ingress n", MADE),
    answered("network create --ipam-driver x --ipam-opt a=1 n", MADE),
    answered(
        "network create n",
        &[("POST /networks/create", Answer::Json(201, r#"{"Id":"abc","Warning":"careful"}"#))],
    ),
    answered(
        "network create n",
        &[("POST /networks/create", Answer::Json(409, r#"{"message":"network with name n already exists"}"#))],
    ),
    line("network create --subnet x n"),
    line("network create --gateway 10.0.0.1 n"),
    line("network create --subnet 10.1.0.0/24 --gateway 10.2.0.1 n"),
    line("network create --subnet 10.1.0.0/24 --gateway x n"),
    line("network create --subnet 10.1.0.0/24 --ip-range 10.2.0.0/25 n"),
    line("network create --subnet 10.1.0.0/24 --ip-range x n"),
    line("network create --subnet 10.1.0.0/16 --subnet 10.1.2.0/24 n"),
    line("network create --subnet 10.1.0.0/24 --aux-address a=10.2.0.1 n"),
    line("network create --subnet 10.1.0.0/24 --aux-address a=x n"),
    line("network create --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 --gateway 10.1.0.1 --gateway 10.1.0.2 n"),
    line("network create --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 --ip-range 10.1.0.0/25 --ip-range 10.1.0.128/25 n"),
    line("network create --label '' n"),
    line("network create -o x n"),
    line("network create"),
    answered("network connect n c", &[("POST /networks/n/connect", Answer::Json(200, ""))]),
    answered(
        "network connect --ip 10.1.0.5 --ip6 fd00::5 --alias a --alias b,c --link x:y --link-local-ip 169.254.1.1 --driver-opt a=1 --gw-priority 5 n c",
        &[("POST /networks/n/connect", Answer::Json(200, ""))],
    ),
    line("network connect --driver-opt x n c"),
    answered(
        "network connect n c",
        &[("POST /networks/n/connect", Answer::Json(404, r#"{"message":"No such container: c"}"#))],
    ),
    answered("network disconnect -f n c", &[("POST /networks/n/disconnect", Answer::Json(200, ""))]),
    answered(
        "network inspect n",
        &[(
            "GET /networks/n",
            Answer::Json(200, r#"{"Name":"n","Id":"abc","IPAM":{"Config":[{"Subnet":"10.1.0.0/24"}]},"Labels":{}}"#),
        )],
    ),
    answered(
        "network inspect -v -f '{{.Name}} {{(index .IPAM.Config 0).Subnet}}' n",
        &[(
            "GET /networks/n",
            Answer::Json(200, r#"{"Name":"n","Id":"abc","IPAM":{"Config":[{"Subnet":"10.1.0.0/24"}]},"Labels":{}}"#),
        )],
    ),
    answered("network inspect n", &[("GET /networks/n", Answer::Json(404, r#"{"message":"network n not found"}"#))]),
    answered(
        "network rm a b",
        &[
            ("DELETE /networks/a", Answer::Json(204, "")),
            (
                "DELETE /networks/b",
                Answer::Json(403, r#"{"message":"error while removing network: has active endpoints"}"#),
            ),
        ],
    ),
    answered("network rm -f a", &[("DELETE /networks/a", Answer::Json(404, r#"{"message":"network a not found"}"#))]),
    answered(
        "network prune -f --filter until=24h",
        &[("POST /networks/prune", Answer::Json(200, r#"{"NetworksDeleted":["a","b"]}"#))],
    ),
    answered("network prune -f", &[("POST /networks/prune", Answer::Json(200, r#"{"NetworksDeleted":null}"#))]),
    answered("network prune", &[("POST /networks/prune", Answer::Json(200, r#"{"NetworksDeleted":["a"]}"#))])
        .stdin("y\n"),
    line("network prune").stdin("n\n"),
];
