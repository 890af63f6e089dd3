//! `docs/conformance-api.md`: every operation of the Engine API 1.51, what there is of it here, and which tests show it.
//!
//! The page is made from the reference's operations, the table of endpoints, the map of routes and the tests that send
//! a request; a test compares it with the file. `UPDATE_DOCS=1` writes it anew. It fails for an operation that is said to
//! be there and has no route or no test, and for a named test that does not exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use engine_api::adapt;
use engine_api::endpoint::{self, Operation};

use super::{ApiVersion, Target, method_of};

/// Method, path, operation and tag of each operation of the reference.
const OPERATIONS: &str = include_str!("../../tests/operations.tsv");
/// The map of the API.
const ROUTES: &str = include_str!("../route.rs");
/// Requests that are sent to Docker's engine and to this one: sections of lines `METHOD path body`.
const CASES: &str = "crates/testhost/tests/differ/cases";
/// Tests by name, which the last tables name.
const NAMED: &[(&str, &str)] =
    &[("host", "crates/testhost/tests/host/main.rs"), ("swap", "crates/testhost/tests/swap/main.rs")];
/// Most sections that are named for an operation.
const SHOWN: usize = 3;

/// Tests of more than a request and its answer.
const TESTS: &[(&str, &[&str])] = &[
    ("ContainerArchive", &["host files_go_in_and_out_of_containers_that_run_and_that_do_not"]),
    ("ContainerArchiveInfo", &["host archives_of_containers_are_refused_in_docker_s_words"]),
    ("ContainerAttach", &["host a_shell_on_a_terminal_is_detached_from_and_attached_again"]),
    ("ContainerAttachWebsocket", &["host a_websocket_attaches_to_both_streams"]),
    ("ContainerChanges", &["host diff_tells_what_a_container_changed_and_nothing_else"]),
    ("ContainerExec", &["host an_exec_runs_beside_the_container_s_process"]),
    ("ContainerExport", &["host an_exported_container_can_be_imported"]),
    ("ContainerLogs", &["host logs_follow_a_container_to_its_end_and_are_cut_by_time_and_count"]),
    ("ContainerPrune", &["host what_does_not_run_is_pruned_and_its_size_told"]),
    ("ContainerStats", &["swap docker_py_7_drives_our_dockerd"]),
    ("ContainerStop", &["host stop_asks_first_and_kills_when_the_time_is_over"]),
    ("ContainerUpdate", &["host limits_policies_and_names_change_while_a_container_runs"]),
    ("ContainerWait", &["swap docker_py_7_drives_our_dockerd"]),
    ("ExecStart", &["host an_exec_runs_beside_the_container_s_process"]),
    ("ImageCommit", &["host a_container_becomes_an_image"]),
    ("ImageCreate", &["host an_image_goes_to_the_registry_and_comes_back"]),
    ("ImagePush", &["host an_image_goes_to_the_registry_and_comes_back"]),
    ("PutContainerArchive", &["host a_container_that_swaps_links_leads_a_copy_nowhere"]),
    ("Session", &["host a_build_s_steps_are_told_as_buildkit_tells_them"]),
    ("SystemAuth", &["swap docker_28_drives_our_dockerd"]),
    ("SystemEvents", &["host events_tell_a_container_s_life_in_order"]),
    ("SystemInfo", &["host version_and_info_tell_of_the_engine"]),
    ("SystemPing", &["host thousands_of_silent_clients_cost_next_to_nothing"]),
    ("SystemPingHead", &["swap docker_28_drives_our_dockerd"]),
    ("SystemVersion", &["host version_and_info_tell_of_the_engine"]),
];

/// What is not built, by tag or by operation, and which part of the project has it.
const LATER: &[(&str, &str)] = &[
    ("Swarm", "swarm mode"),
    ("Node", "swarm mode"),
    ("Service", "swarm mode"),
    ("Task", "swarm mode"),
    ("Secret", "swarm mode"),
    ("Config", "swarm mode"),
    ("Plugin", "managed plugins"),
    ("VolumeUpdate", "swarm mode: cluster volumes"),
];

struct Row {
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    tag: &'static str,
}

fn operations() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap();
        Row { method: field(), path: field(), operation: field(), tag: field() }
    };
    OPERATIONS.lines().skip(1).map(row).collect()
}

/// Our name of the operation at a path of the reference, or of a request.
fn ours(method: &str, path: &str) -> Option<String> {
    let method = method_of(&http::Method::from_bytes(method.as_bytes()).ok()?)?;
    let found = endpoint::find(method, path).ok()?;
    Some(format!("{:?}", found.endpoint.operation))
}

fn is_routed(operation: &str) -> bool {
    let name = format!("Op::{operation}");
    let ends = |rest: &str| rest.starts_with(" =>") || rest.starts_with(" |");
    ROUTES.match_indices(&name).any(|(at, _)| ends(&ROUTES[at + name.len()..]))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// Sections of requests that are compared with Docker's engine, by our operation.
fn sections() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(workspace().join(CASES)).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let mut section = String::new();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            if let Some(title) = line.strip_prefix("== ") {
                section = title.split(' ').next().unwrap_or_default().to_owned();
            }
            let mut words = line.split(' ');
            let (Some(method), Some(target)) = (words.next(), words.next()) else { continue };
            let path = target.split('?').next().unwrap_or_default();
            let Some(operation) = ours(method, endpoint::split_version(path).1) else { continue };
            let sections = found.entry(operation).or_default();
            if !sections.contains(&section) {
                sections.push(section.clone());
            }
        }
    }
    found
}

fn named_tests() -> BTreeMap<&'static str, String> {
    let read = |(short, path): &(&'static str, &'static str)| {
        (*short, std::fs::read_to_string(workspace().join(path)).unwrap_or_default())
    };
    NAMED.iter().map(read).collect()
}

fn later(row: &Row) -> Option<&'static str> {
    LATER.iter().find(|(name, _)| *name == row.operation || *name == row.tag).map(|(_, part)| *part)
}

/// The words that a client reads for what is not there.
fn refusal(row: &Row) -> String {
    let method = http::Method::from_bytes(row.method.as_bytes()).unwrap();
    let path = row.path.replace("{id}", "x").replace("{name}", "x");
    match Target::of(&method, &path) {
        Err(failure) => format!("{} {}", failure.status.as_u16(), failure.message),
        Ok(_) => "501 not supported".to_owned(),
    }
}

fn shown_by(row: &Row, operation: &str, sections: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let named = TESTS.iter().filter(|(name, _)| *name == row.operation).flat_map(|(_, tests)| tests.iter());
    let compared = sections.get(operation).into_iter().flatten().take(SHOWN).map(|section| format!("differ {section}"));
    named.map(|test| (*test).to_owned()).chain(compared).collect()
}

fn page() -> String {
    let sections = sections();
    let (mut done, mut all) = (0, 0);
    // An operation may have a route whose function refuses.
    let mut body = String::from("| operation | request | state | shown by |\n|---|---|---|---|\n");
    for row in operations() {
        all += 1;
        let Row { method, path, operation, .. } = &row;
        let routed = ours(method, path).filter(|name| is_routed(name));
        let (state, tests) = match (routed, later(&row)) {
            (Some(name), _) if row.operation == "PluginList" => {
                done += 1;
                ("done: there are none".to_owned(), shown_by(&row, &name, &sections))
            }
            (Some(name), None) => {
                done += 1;
                ("done".to_owned(), shown_by(&row, &name, &sections))
            }
            (_, Some(part)) => (format!("refused: {part}; {}", refusal(&row)), Vec::new()),
            (None, None) => ("missing".to_owned(), Vec::new()),
        };
        let _ = writeln!(body, "| {operation} | `{method} {path}` | {state} | {} |", tests.join(", "));
    }
    format!(
        "# The Engine API beside Docker's, version {}\n\n\
         Made by a test of `engine-http` from the reference's operations, our routes and the tests that send each request;\n\
         `UPDATE_DOCS=1 cargo nextest run -p engine-http conformance` writes it anew. `host NAME` and `swap NAME` are tests of\n\
         `testhost`; `differ SECTION` are requests whose answers are compared with those of Docker's own engine, member by member.\n\n\
         {done} of {all} operations.\n\n{body}\n{}\n{}",
        ApiVersion::MAX,
        versions(),
        parameters(),
    )
}

fn versions() -> String {
    let mut text = format!(
        "## What versions change\n\nVersions {} to {} are served. What clients of some of them see otherwise:\n\n\
         | request | clients | member | |\n|---|---|---|---|\n",
        ApiVersion::MIN,
        ApiVersion::MAX
    );
    for [operation, clients, member, effect] in adapt::told() {
        let _ = writeln!(text, "| `{operation}` | {clients} | {member} | {effect} |");
    }
    text
}

fn parameters() -> String {
    let mut text =
        "## Parameters that some versions do not know\n\n| operation | parameter | known |\n|---|---|---|\n".to_owned();
    for row in adapt::PARAMETERS {
        let known = row.until.map_or_else(|| format!("since {}", row.since), |until| format!("before {until}"));
        let _ = writeln!(text, "| {:?} | `{}` | {known} |", row.operation, row.name);
    }
    text
}

#[test]
fn the_page_of_conformance_is_what_the_engine_has() {
    let path = workspace().join("docs/conformance-api.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    // Which tests send a request changes with every test: only what the engine has must be right.
    let facts = |text: &str| -> Vec<String> {
        let cut = |line: &str| match line.contains("` | ") {
            true => line.rsplit_once(" | ").map_or(line, |(facts, _)| facts).to_owned(),
            false => line.to_owned(),
        };
        text.lines().filter(|line| line.starts_with('|') || line.contains(" operations.")).map(cut).collect()
    };
    assert_eq!(facts(&stored), facts(&page), "write docs/conformance-api.md anew: UPDATE_DOCS=1");
}

#[test]
fn what_is_said_to_be_there_has_a_route_and_a_test() {
    let sections = sections();
    for row in operations() {
        if later(&row).is_some() {
            continue;
        }
        let name = ours(row.method, row.path).unwrap_or_else(|| panic!("{} has no endpoint", row.operation));
        assert!(is_routed(&name), "{} has no route", row.operation);
        assert!(!shown_by(&row, &name, &sections).is_empty(), "no test shows {}", row.operation);
    }
}

#[test]
fn tests_that_are_named_exist() {
    let texts = named_tests();
    let known: Vec<&str> = operations().iter().map(|row| row.operation).collect();
    for (operation, tests) in TESTS {
        assert!(known.contains(operation), "{operation} is no operation");
        for test in *tests {
            let (place, name) = test.split_once(' ').unwrap();
            assert!(texts[place].contains(&format!("\"{name}\"")), "there is no test {test}");
        }
    }
}

#[test]
fn every_endpoint_is_an_operation_of_the_reference() {
    let known: Vec<String> = operations().iter().filter_map(|row| ours(row.method, row.path)).collect();
    // Clients have these from BuildKit's protocol; the reference of the API does not tell of them.
    let beside = [Operation::Grpc, Operation::BuildCancel];
    for endpoint in endpoint::ENDPOINTS.iter().filter(|endpoint| !beside.contains(&endpoint.operation)) {
        assert!(known.contains(&format!("{:?}", endpoint.operation)), "{:?}", endpoint.operation);
    }
    assert_eq!(operations().len(), 107);
}
