//! `docker volume create`.

use engine_api::volume::Volume;
use engine_client::Request;
use serde_json::json;

use crate::command::{Args, Command, Daemons, Flag, Kind, Matches, NONE, flag};
use crate::container::environment::check_label;
use crate::container::options::pairs;
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("availability", NONE, Kind::Text, "active", "Cluster Volume availability (\"active\", \"pause\", \"drain\")").only(Daemons::SwarmManager),
    flag("driver", 'd', Kind::Text, "local", "Specify volume driver name"),
    flag("group", NONE, Kind::Text, "", "Cluster Volume group (cluster volumes)").only(Daemons::SwarmManager),
    flag("label", NONE, Kind::List, "", "Set metadata for a volume").checked(check_label),
    flag("limit-bytes", NONE, Kind::Bytes, "0", "Minimum size of the Cluster Volume in bytes").only(Daemons::SwarmManager),
    flag("name", NONE, Kind::Text, "", "Specify volume name").hidden(),
    flag("opt", 'o', Kind::Map, "map[]", "Set driver specific options"),
    flag("required-bytes", NONE, Kind::Bytes, "0", "Maximum size of the Cluster Volume in bytes").only(Daemons::SwarmManager),
    flag("scope", NONE, Kind::Text, "single", "Cluster Volume access scope (\"single\", \"multi\")").only(Daemons::SwarmManager),
    flag("secret", NONE, Kind::Map, "map[]", "Cluster Volume secrets").only(Daemons::SwarmManager),
    flag("sharing", NONE, Kind::Text, "none", "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")").only(Daemons::SwarmManager),
    flag("topology-preferred", NONE, Kind::List, "", "A topology that the Cluster Volume would be preferred in").only(Daemons::SwarmManager),
    flag("topology-required", NONE, Kind::List, "", "A topology that the Cluster Volume must be accessible from").only(Daemons::SwarmManager),
    flag("type", NONE, Kind::Text, "block", "Cluster Volume access type (\"mount\", \"block\")").only(Daemons::SwarmManager),
];

pub const COMMAND: Command = Command {
    name: "create",
    usage: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    flags: &[FLAGS],
    args: Args::AtMost(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// Flags that make it a volume of a swarm.
const CLUSTER: &[&str] = &["availability", "group", "limit-bytes", "required-bytes", "scope", "sharing", "type"];

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let given: Vec<&str> = CLUSTER.iter().copied().filter(|name| flags.given(name)).collect();
    let name = match (flags.arg(0), flags.text("name")) {
        ("", name) => name,
        (name, "") => name,
        _ => {
            return Err(Failure::text(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
    };
    let mut body = json!({
        "Driver": flags.text("driver"),
        "DriverOpts": pairs(flags.list("opt")),
        "Labels": pairs(flags.list("label")),
        "Name": name,
    });
    if !given.is_empty() {
        body["ClusterVolumeSpec"] = cluster_spec(flags);
    }
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, value| name == "ClusterVolumeSpec" || !is_empty(value));
    }
    let volume: Volume = context.client.call(Request::post("/volumes/create").json(&body)).await?;
    context::print_line(&volume.name)?;
    Ok(0)
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(str::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn cluster_spec(flags: &Matches) -> serde_json::Value {
    let topologies = |name: &str| -> Vec<serde_json::Value> {
        let segments = |text: &String| pairs(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        flags.list(name).iter().map(|text| json!({ "Segments": segments(text) })).collect()
    };
    let secrets: Vec<serde_json::Value> =
        pairs(flags.list("secret")).into_iter().map(|(key, secret)| json!({ "Key": key, "Secret": secret })).collect();
    let bytes = |name: &str| crate::container::options::bytes(flags, name);
    let mut access = json!({ "Scope": flags.text("scope"), "Sharing": flags.text("sharing") });
    match flags.text("type") {
        "mount" => access["MountVolume"] = json!({}),
        "block" => access["BlockVolume"] = json!({}),
        _ => {}
    }
    let mut requirements = json!({});
    for (member, name) in [("Requisite", "topology-required"), ("Preferred", "topology-preferred")] {
        if flags.given(name) {
            requirements[member] = json!(topologies(name));
        }
    }
    let mut spec = json!({
        "AccessMode": access,
        "AccessibilityRequirements": requirements,
        "CapacityRange": { "RequiredBytes": bytes("required-bytes"), "LimitBytes": bytes("limit-bytes") },
        "Availability": flags.text("availability"),
    });
    if !flags.text("group").is_empty() {
        spec["Group"] = json!(flags.text("group"));
    }
    if !secrets.is_empty() {
        spec["Secrets"] = json!(secrets);
    }
    spec
}
