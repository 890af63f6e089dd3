//! A command line in the words of BuildKit's front end: a map of texts.

use std::collections::BTreeMap;

use super::request;
use crate::command::Matches;
use crate::container::devices;
use crate::container::fields::comma_fields;
use crate::context::Context;
use crate::failure::Failure;
use crate::text::size::parse_bytes;

/// Everything but the files.
pub fn of(context: &Context, flags: &Matches) -> Result<BTreeMap<String, String>, Failure> {
    let mut attributes = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(attributes.insert(name.to_owned(), value));
    for (name, value) in request::arguments(context, flags.list("build-arg")) {
        if let Some(value) = value {
            put(&format!("build-arg:{name}"), value);
        }
    }
    for (name, value) in request::labels(flags.list("label")) {
        put(&format!("label:{name}"), value);
    }
    for name in ["target", "platform", "cgroup-parent"] {
        if !flags.text(name).is_empty() {
            put(name, flags.text(name).to_owned());
        }
    }
    match flags.list("no-cache-filter") {
        _ if flags.is_set("no-cache") => put("no-cache", String::new()),
        [] => {}
        stages => put("no-cache", stages.join(",")),
    }
    if flags.is_set("pull") {
        put("image-resolve-mode", "pull".to_owned());
    }
    match flags.text("network") {
        "" | "default" => {}
        mode @ ("host" | "none") => put("force-network-mode", mode.to_owned()),
        other => return Err(Failure::Text(format!("network mode {other:?} not supported by buildkit"))),
    }
    let hosts: Vec<String> = flags.list("add-host").iter().map(|host| with_equals(host)).collect();
    if !hosts.is_empty() {
        put("add-hosts", hosts.join(","));
    }
    if !flags.text("shm-size").is_empty() {
        put("shm-size", parse_bytes(flags.text("shm-size")).unwrap_or(0).to_string());
    }
    let limits = devices::ulimits(flags.list("ulimit")).map_err(Failure::Text)?;
    if !limits.is_empty() {
        let limit = |limit: &engine_api::host_config::Ulimit| format!("{}={}:{}", limit.name, limit.soft, limit.hard);
        put("ulimit", limits.iter().map(limit).collect::<Vec<_>>().join(","));
    }
    attributes.extend(attestations(flags)?);
    Ok(attributes)
}

/// `host:address` as `host=address`.
fn with_equals(host: &str) -> String {
    if host.contains('=') { host.to_owned() } else { host.replacen(':', "=", 1) }
}

/// `--attest type=sbom,…`, `--sbom` and `--provenance`.
fn attestations(flags: &Matches) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for text in flags.list("attest") {
        let fields = comma_fields(text).map_err(Failure::Text)?;
        let kind = fields.iter().find_map(|field| field.strip_prefix("type="));
        let kind = kind.ok_or_else(|| Failure::text("attestation type not specified"))?;
        let rest: Vec<&str> = fields.iter().map(String::as_str).filter(|field| !field.starts_with("type=")).collect();
        found.insert(format!("attest:{kind}"), rest.join(","));
    }
    for kind in ["sbom", "provenance"] {
        match flags.text(kind) {
            "" | "false" | "0" => {}
            "true" | "1" => drop(found.insert(format!("attest:{kind}"), String::new())),
            values => drop(found.insert(format!("attest:{kind}"), values.to_owned())),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_equals() {
        assert_eq!(["a:1.2.3.4", "a=1.2.3.4", "a:::1"].map(with_equals), ["a=1.2.3.4", "a=1.2.3.4", "a=::1"]);
    }
}
