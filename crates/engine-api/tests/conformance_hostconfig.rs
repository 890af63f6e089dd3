//! docs/conformance-hostconfig.md has a row for every member of the reference, and the wire types have every member.

use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../docs/conformance-hostconfig.md");
/// `Type Member`, as engine-api-v1.51.yaml has them.
const REFERENCE: &str = include_str!("config_members.txt");
const WIRE: [&str; 2] = [include_str!("../src/container.rs"), include_str!("../src/host_config.rs")];
/// Members that the wire types have for older clients alone.
const OLDER: [&str; 1] = ["KernelMemory"];

/// Rows as `Type Member`, and how each is told.
fn rows() -> Vec<(String, String, String)> {
    let mut section = "";
    let mut rows = Vec::new();
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", member, state, shown, ""] = cells[..]
            && let Some(member) = member.strip_prefix('`').and_then(|member| member.strip_suffix('`'))
        {
            rows.push((format!("{section} {member}"), state.to_owned(), shown.to_owned()));
        }
    }
    rows
}

/// Members of one wire structure, as declared.
fn wire_members(source: &str, name: &str) -> BTreeSet<String> {
    let start = source.find(&format!("pub struct {name} {{")).expect("the structure");
    let body = &source[start..];
    let body = &body[..body.find("\n    }").expect("its end")];
    body.split("= \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn conformance_every_member_of_the_reference_has_a_row_that_says_something() {
    let listed: Vec<String> = rows().into_iter().map(|(member, ..)| member).collect();
    assert_eq!(listed, REFERENCE.lines().map(str::to_owned).collect::<Vec<_>>());
    for (member, state, shown) in rows() {
        let known = ["works", "local works", "host works", "default works", "refused", "discarded"];
        assert!(known.iter().any(|word| state.starts_with(word)) && !shown.is_empty(), "{member}: {state} | {shown}");
    }
}

#[test]
fn conformance_the_wire_types_have_the_members_of_the_reference_and_no_others() {
    let of = |name: &str| -> BTreeSet<String> {
        REFERENCE.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned).collect()
    };
    assert_eq!(wire_members(WIRE[0], "Config"), of("ContainerConfig"));
    let mut host = of("HostConfig");
    host.extend(of("Resources"));
    host.extend(OLDER.map(str::to_owned));
    assert_eq!(wire_members(WIRE[1], "HostConfig"), host);
}
