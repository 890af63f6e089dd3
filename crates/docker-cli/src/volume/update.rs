//! `docker volume update`, for volumes of a swarm.

use engine_client::{Request, escape};
use serde_json::{Value as Json, json};

use crate::command::{Args, Command, Daemons, Flag, Kind, Matches, NONE, flag};
use crate::context::Context;
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("availability", NONE, Kind::Text, "active", "Cluster Volume availability (\"active\", \"pause\", \"drain\")").only(Daemons::SwarmManager),
];

pub const COMMAND: Command = Command {
    name: "update",
    daemon: Daemons::SwarmManager,
    usage: "[OPTIONS] [VOLUME]",
    about: "Update a volume (cluster volumes only)",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let volume: Json = context.client.call(Request::get(format!("/volumes/{}", escape(flags.arg(0))))).await?;
    let Some(cluster) = volume.get("ClusterVolume").filter(|cluster| cluster.is_object()) else {
        return Err(Failure::text("can only update cluster volumes"));
    };
    let mut spec = cluster["Spec"].clone();
    if flags.given("availability") {
        spec["Availability"] = json!(flags.text("availability"));
    }
    let id = cluster["ID"].as_str().unwrap_or_default();
    let version = cluster["Version"]["Index"].to_string();
    let request =
        Request::put(format!("/volumes/{}", escape(id))).with("version", version).json(&json!({ "Spec": spec }));
    context.client.send(request).await?;
    Ok(0)
}
