//! `inspect --format`: a template over one object of the daemon.
//!
//! Docker's client fills the template with its own structures first: a member that the daemon left out has its zero
//! value there, and `{{if .State.Health}}` is no error. Those members are listed here, since JSON does not name them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::failure::Failure;
use crate::template::{Mode, Template, Value};

/// Members whose objects have keys of the user's choosing.
const MAPS: &[&str] = &[
    "Labels",
    "Networks",
    "Ports",
    "PortBindings",
    "ExposedPorts",
    "Volumes",
    "Options",
    "DriverOpts",
    "Annotations",
    "Sysctls",
    "Tmpfs",
    "StorageOpt",
    "Data",
    "Containers",
    "AuxiliaryAddresses",
    "IndexConfigs",
    "Runtimes",
    "Details",
    "Attributes",
    "Status",
];

/// Members that are lists, `null` when never set.
const LISTS: &[&str] = &[
    "Args",
    "Env",
    "Cmd",
    "Entrypoint",
    "OnBuild",
    "Shell",
    "Binds",
    "VolumesFrom",
    "CapAdd",
    "CapDrop",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "SecurityOpt",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Ulimits",
    "ExecIDs",
    "Aliases",
    "DNSNames",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "MaskedPaths",
    "ReadonlyPaths",
    "Test",
    "RepoTags",
    "RepoDigests",
    "Log",
    "Layers",
    "Mounts",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Warnings",
];

/// Members that Go leaves out when empty: name, a sibling that tells the structure, zero value as JSON.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("Health", "OOMKilled", "null"),
    ("SizeRw", "HostConfig", "null"),
    ("SizeRootFs", "HostConfig", "null"),
    ("ImageManifestDescriptor", "HostConfig", "null"),
    ("ExposedPorts", "WorkingDir", "map"),
    ("Healthcheck", "WorkingDir", "null"),
    ("ArgsEscaped", "WorkingDir", "false"),
    ("NetworkDisabled", "AttachStdin", "false"),
    ("MacAddress", "AttachStdin", "\"\""),
    ("StopSignal", "WorkingDir", "\"\""),
    ("StopTimeout", "AttachStdin", "null"),
    ("Shell", "WorkingDir", "list"),
    ("Annotations", "LogConfig", "map"),
    ("StorageOpt", "LogConfig", "map"),
    ("Tmpfs", "LogConfig", "map"),
    ("Sysctls", "LogConfig", "map"),
    ("Runtime", "LogConfig", "\"\""),
    ("Mounts", "LogConfig", "list"),
    ("Init", "LogConfig", "null"),
    ("Container", "RootFS", "\"\""),
    ("ContainerConfig", "RootFS", "null"),
    ("Created", "RootFS", "\"\""),
    ("Variant", "RootFS", "\"\""),
    ("OsVersion", "RootFS", "\"\""),
    ("VirtualSize", "RootFS", "0"),
    ("Descriptor", "RootFS", "null"),
    ("Peers", "ConfigFrom", "list"),
    ("Services", "ConfigFrom", "map"),
    ("IPRange", "Subnet", "\"\""),
    ("Gateway", "Subnet", "\"\""),
    ("AuxiliaryAddresses", "Subnet", "map"),
    ("Name", "Destination", "\"\""),
    ("Driver", "Destination", "\"\""),
    ("Type", "Destination", "\"\""),
];

/// Members of an image's configuration, all of which may be left out.
const IMAGE_CONFIG: &[(&str, &str)] = &[
    ("User", "\"\""),
    ("ExposedPorts", "map"),
    ("Env", "list"),
    ("Entrypoint", "list"),
    ("Cmd", "list"),
    ("Volumes", "map"),
    ("WorkingDir", "\"\""),
    ("Labels", "map"),
    ("StopSignal", "\"\""),
    ("ArgsEscaped", "false"),
    ("Healthcheck", "null"),
    ("OnBuild", "list"),
    ("Shell", "list"),
];

/// Members in Docker's order, which `{{.}}` shows, of structures that have the first one.
const ORDERS: &[&[&str]] = &[
    &["Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"],
    &[
        "Hostname",
        "Domainname",
        "User",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "ExposedPorts",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "Env",
        "Cmd",
        "Healthcheck",
        "ArgsEscaped",
        "Image",
        "Volumes",
        "WorkingDir",
        "Entrypoint",
        "NetworkDisabled",
        "MacAddress",
        "OnBuild",
        "Labels",
        "StopSignal",
        "StopTimeout",
        "Shell",
    ],
];

/// Exit status for a template that cannot be read (sysexits' EX_USAGE, as in Docker).
const USAGE: u8 = 64;

/// A template for objects, with `json` for all of it.
#[derive(Debug)]
pub struct ObjectFormat(Template);

impl ObjectFormat {
    pub fn new(asked: &str) -> Result<Self, Failure> {
        let text = if asked == "json" { "{{json .}}" } else { asked };
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        Template::parse(&text)
            .map(Self)
            .map_err(|error| Failure::Status { code: USAGE, message: format!("template parsing error: {error}") })
    }

    /// One object, as a line. What does not go with Docker's structures is tried with the JSON as it is, and fails with that.
    pub fn render_or_raw(&self, object: &Json) -> Result<String, Failure> {
        self.render(object).or_else(|_| {
            let text = self.0.render(&Value::from_json(object, &|_| true), Mode::Raw);
            text.map(|text| text + "\n").map_err(|error| Failure::text(format!("template parsing error: {error}")))
        })
    }

    /// One object, as a line.
    pub fn render(&self, object: &Json) -> Result<String, Failure> {
        let value = complete(Value::from_json(object, &|name| MAPS.contains(&name)));
        let text = self.0.render(&value, Mode::Object);
        text.map(|text| text + "\n").map_err(|error| Failure::text(format!("template parsing error: {error}")))
    }
}

/// Adds the members that were left out, at every depth.
fn complete(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(complete).collect()),
        Value::Map(pairs) => Value::Map(pairs.into_iter().map(|(key, value)| (key, complete(value))).collect()),
        // An object without a member is a map in all that Docker answers.
        Value::Struct(members) if members.is_empty() => Value::Map(BTreeMap::new()),
        Value::Struct(members) => {
            let is_image = members.iter().any(|(name, _)| name == "RootFS");
            let is_log_config =
                members.len() == 2 && members.iter().all(|(name, _)| name == "Type" || name == "Config");
            let members = members.iter().cloned().map(|(name, value)| {
                let value = match complete(value) {
                    Value::Nil if MAPS.contains(&name.as_str()) => Value::NilMap,
                    Value::Nil if LISTS.contains(&name.as_str()) => Value::NilList,
                    value => value,
                };
                let value = match name.as_str() {
                    "Config" if is_image => with_zero_values(value, IMAGE_CONFIG),
                    "Config" if is_log_config => as_map(value),
                    _ => value,
                };
                (name, value)
            });
            let members: Vec<(String, Value)> = members.collect();
            let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
            let missing: Vec<(&str, &str)> =
                LEFT_OUT.iter().filter(|(_, sibling, _)| has(sibling)).map(|(name, _, zero)| (*name, *zero)).collect();
            with_zero_values(Value::structure(members), &missing)
        }
        other => other,
    }
}

fn with_zero_values(value: Value, zero_values: &[(&str, &str)]) -> Value {
    let Value::Struct(members) = value else { return value };
    let mut members = members.as_ref().clone();
    for (name, zero) in zero_values {
        if !members.iter().any(|(known, _)| known == name) {
            let zero = match *zero {
                "list" => Value::NilList,
                "map" => Value::NilMap,
                "false" => Value::Bool(false),
                "0" => Value::Int(0),
                "\"\"" => Value::text(""),
                _ => Value::Nil,
            };
            members.push(((*name).to_owned(), Value::LeftOut(std::rc::Rc::new(zero))));
        }
    }
    let order = ORDERS.iter().find(|order| members.iter().any(|(name, _)| name == order[0]));
    if let Some(order) = order {
        let place = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
        members.sort_by_key(|(name, _)| place(name));
    }
    Value::structure(members)
}

/// A structure whose keys are of the user's choosing.
fn as_map(value: Value) -> Value {
    match value {
        Value::Struct(members) => Value::Map(members.iter().cloned().collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_were_left_out_are_there_and_unknown_ones_are_not() {
        let container: Json = serde_json::from_str(
            r#"{"Name":"/t","State":{"Status":"exited","OOMKilled":false},"Config":{"WorkingDir":"","AttachStdin":false,"Labels":{"a":"1"},"Env":null},"HostConfig":{"LogConfig":{"Type":"json-file","Config":{"a":"b"}}}}"#,
        )
        .unwrap();
        let shown = |text: &str| ObjectFormat::new(text).and_then(|format| format.render_or_raw(&container));
        let text = shown("{{if .State.Health}}x{{end}}{{.Name}} {{.Config.Labels}} {{.HostConfig.Init}}").unwrap();
        assert_eq!(text, "/t map[a:1] <nil>\n");
        assert_eq!(shown("{{.HostConfig.LogConfig}}").unwrap(), "{json-file map[a:b]}\n");
        let raw =
            shown("{{index .Config \"Labels\"}} {{index .Config \"Nothing\"}} {{index .Config \"Env\"}}").unwrap();
        assert_eq!(raw, "map[a:1] <no value> <no value>\n");
        assert_eq!(shown("{{json .State}}").unwrap(), "{\"Status\":\"exited\",\"OOMKilled\":false}\n");
        assert_eq!(
            shown("{{.Foo}}").unwrap_err().to_string(),
            "template parsing error: template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""
        );
        assert_eq!(
            shown("{{.Name.Foo}}").unwrap_err().to_string(),
            "template parsing error: template: :1:7: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type interface {}"
        );
    }
}
