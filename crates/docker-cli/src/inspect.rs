//! `docker inspect`, and what the nouns' own `inspect` commands share with it.

use engine_client::Request;
use serde_json::Value as Json;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::indent;
use crate::format::object::ObjectFormat;
use crate::{container, image, network, volume};

/// The text that Docker has for `--format` of an object.
pub const OBJECT_FORMAT_USAGE: &str = "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
    flag("size", 's', Kind::Bool, "", "Display total file sizes if the type is container"),
    flag("type", NONE, Kind::Text, "", "Only inspect objects of the given type"),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Return low-level information on Docker objects",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// Kinds of objects, in the order in which a bare name is looked up.
const KINDS: &[&str] =
    &["container", "image", "network", "volume", "service", "task", "node", "plugin", "secret", "config"];
/// Those of a swarm: a bare name is looked up among them on a manager only.
const SWARM_KINDS: &[&str] = &["service", "task", "node", "secret", "config"];

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let kind = flags.text("type");
    if flags.given("type") && !KINDS.contains(&kind) {
        let mut names: Vec<String> = KINDS.iter().map(|name| format!("{name:?}")).collect();
        names.sort();
        let words = if kind.is_empty() { "type is empty".to_owned() } else { format!("unknown type: {kind:?}") };
        return Err(Failure::Text(format!("{words}: must be one of {}", names.join(", "))));
    }
    let size = flags.is_set("size");
    show(flags, async |name: &str| find(context, kind, name, size).await).await
}

/// Looks among one kind, or among all where none was named.
async fn find(context: &Context, kind: &str, name: &str, size: bool) -> Result<Vec<u8>, Failure> {
    let mut is_manager = None;
    for candidate in KINDS.iter().filter(|candidate| kind.is_empty() || **candidate == kind) {
        if kind.is_empty() && SWARM_KINDS.contains(candidate) {
            if is_manager.is_none() {
                is_manager = Some(manages_swarm(context).await);
            }
            if is_manager != Some(true) {
                continue;
            }
        }
        match context.client.bytes(request(candidate, name, size)).await {
            Err(error) if kind.is_empty() && is_elsewhere(&error) => {}
            found => {
                let found = found?;
                if size && *candidate != "container" {
                    context::say(&format!("WARNING: --size ignored for {candidate}"));
                }
                return Ok(found.to_vec());
            }
        }
    }
    Err(Failure::Text(format!("Error: No such object: {name}")))
}

async fn manages_swarm(context: &Context) -> bool {
    match context.client.call::<Json>(Request::get("/info")).await {
        Ok(info) => info["Swarm"]["ControlAvailable"] == true,
        Err(error) => {
            context::say(&error.to_string());
            false
        }
    }
}

/// Whether to look on among the other kinds: there is no such object, or the daemon has no such kind, or the name cannot
/// be one of it. Docker's client goes by the same words.
fn is_elsewhere(error: &engine_client::Error) -> bool {
    let text = error.to_string();
    error.is_not_found() || text.contains("not supported") || text.contains("invalid reference format")
}

fn request(kind: &str, name: &str, size: bool) -> Request {
    let escaped = engine_client::escape(name);
    match kind {
        "container" => container::inspect::request(name, size),
        "image" => image::inspect::request(name, ""),
        "network" => network::inspect::request(name, false),
        "volume" => volume::inspect::request(name),
        "service" => Request::get(format!("/services/{escaped}")).with("insertDefaults", "true"),
        "plugin" => Request::get(format!("/plugins/{escaped}/json")),
        kind => Request::get(format!("/{kind}s/{escaped}")),
    }
}

/// Shows each named object: an indented array, or a template's line each; what was not found is said at the end.
pub async fn show(flags: &Matches, find: impl AsyncFn(&str) -> Result<Vec<u8>, Failure>) -> Result<u8, Failure> {
    let asked = flags.text("format");
    let format = if matches!(asked, "" | "json") { None } else { Some(ObjectFormat::new(asked)?) };
    let (mut objects, mut errors) = (Vec::new(), Vec::new());
    for name in &flags.args {
        match find(name).await {
            Ok(object) => objects.push(object),
            Err(error) => errors.push(error.to_string()),
        }
    }
    let mut text = Vec::new();
    match &format {
        None if asked == "json" => text = indent::line(&objects),
        None => text = indent::array(&objects),
        Some(format) => {
            for object in &objects {
                let object: Json = serde_json::from_slice(object).map_err(|error| Failure::Text(error.to_string()))?;
                match format.render_or_raw(&object) {
                    Ok(line) => text.extend_from_slice(line.as_bytes()),
                    Err(error) => {
                        text.push(b'\n');
                        errors.push(error.to_string());
                        break;
                    }
                }
            }
            if objects.is_empty() {
                text.push(b'\n');
            }
        }
    }
    context::write_all(&text)?;
    if errors.is_empty() { Ok(0) } else { Err(Failure::Text(errors.join("\n"))) }
}
