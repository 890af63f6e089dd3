//! Where candidates come from, by command and flag.

use engine_api::container::Summary;
use engine_api::{image, network, volume};
use engine_client::{Request, escape};
use serde_json::Value as Json;

use super::{Answer, DEFAULT, ERROR, NO_FILES, NO_SPACE, Place, ask, values};
use crate::command::globals::Globals;
use crate::command::{Flag, Kind};
use crate::context::Context;
use crate::contexts::store::Store;
use crate::failure::Failure;

/// Shows ids beside names when it is `yes`.
const IDS_VARIABLE: &str = "DOCKER_COMPLETION_SHOW_CONTAINER_IDS";

/// Containers that a command can do something with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that `docker ps` lists.
    Up,
    Unpaused,
    Paused,
    /// Created or exited.
    Down,
}

/// Candidates for a flag's value.
pub(super) fn of_flag(globals: &Globals, place: &Place, flag: &Flag) -> Result<Answer, Failure> {
    let command = place.words();
    let makes_containers = matches!(command, "run" | "create" | "container run" | "container create");
    let words = |words: &[&str]| Ok(Answer::words(NO_FILES, words.iter().copied()));
    let prefixes = |words: &[&str]| Ok(Answer::words(NO_SPACE, words.iter().copied()));
    match flag.long {
        "attach" => words(values::STREAMS),
        "cap-add" | "cap-drop" => words(&values::capabilities()),
        "cgroupns" => words(&["host", "private"]),
        "context" => Ok(Answer::words(NO_FILES, names_of_contexts(globals).chain(["default".to_owned()]))),
        "detach-keys" => prefixes(values::DETACH_KEYS),
        "env" => Ok(Answer::words(NO_FILES, std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()))),
        "env-file" => Ok(Answer::words(DEFAULT, [""; 0])),
        "filter" if command.ends_with("events") => prefixes(values::EVENT_FILTERS),
        "ipc" => words(values::IPC),
        "link" if makes_containers => Ok(containers(globals, Which::All, ":", NO_SPACE)),
        "log-driver" => words(values::LOG_DRIVERS),
        "log-level" => words(values::LOG_LEVELS),
        "log-opt" => {
            let driver = place.seen.iter().rev().find(|(name, _)| *name == "log-driver");
            let options = values::log_options(driver.map(|(_, value)| value.as_str()).unwrap_or_default());
            Ok(Answer::words(NO_SPACE, options))
        }
        "network" if makes_containers => Ok(networks(globals)),
        "pid" => words(values::PID),
        "platform" => words(values::PLATFORMS),
        "pull" => words(values::PULL),
        "restart" => words(values::RESTART),
        "security-opt" => words(values::SECURITY),
        "signal" | "stop-signal" => words(&values::signals()),
        "storage-opt" => prefixes(&["size="]),
        "type" => words(values::OBJECT_TYPES),
        "ulimit" => Ok(Answer::words(NO_SPACE, values::ulimits())),
        "userns" | "uts" => words(&["host"]),
        "volumes-from" => Ok(containers(globals, Which::All, "", NO_FILES)),
        _ if makes_containers || flag.kind == Kind::Bool => Ok(Answer::words(NO_FILES, [""; 0])),
        _ => Ok(Answer::default()),
    }
}

/// Candidates for a positional argument.
pub(super) fn of_argument(globals: &Globals, place: &Place) -> Result<Answer, Failure> {
    let count = place.args.len();
    let nothing = || Ok(Answer::words(NO_FILES, [""; 0]));
    let some = |which| Ok(containers(globals, which, "", NO_FILES));
    let command = place.words();
    let bare = command.strip_prefix("container ").unwrap_or(command);
    match (command, bare) {
        ("run" | "create" | "container run" | "container create", _) if count > 0 => nothing(),
        ("run" | "create" | "container run" | "container create", _) => Ok(images(globals)),
        ("history" | "image history" | "push" | "image push", _) if count > 0 => nothing(),
        ("history" | "push" | "rmi" | "save" | "tag", _) => Ok(images(globals)),
        ("image history" | "image inspect" | "image push" | "image rm" | "image save" | "image tag", _) => {
            Ok(images(globals))
        }
        ("network connect", _) if count == 1 => some(Which::All),
        ("network disconnect", _) if count == 1 => Ok(members(globals, &place.args[0])),
        ("network connect" | "network disconnect", _) if count > 1 => nothing(),
        ("network connect" | "network disconnect" | "network inspect" | "network rm", _) => Ok(networks(globals)),
        ("volume inspect" | "volume rm" | "volume update", _) => Ok(volumes(globals)),
        ("context use" | "context update", _) if count > 0 => nothing(),
        ("context export", _) if count > 0 => Ok(Answer::default()),
        ("context inspect" | "context rm" | "context use" | "context update" | "context export", _) => {
            Ok(contexts(globals))
        }
        ("help" | "images" | "image ls" | "import" | "image import" | "context import" | "logout" | "search", _)
        | (_, "cp")
        | ("network prune", _) => Ok(Answer::default()),
        (_, "attach" | "exec" | "pause") => some(Which::Unpaused),
        (_, "unpause") => some(Which::Paused),
        (_, "start") => some(Which::Down),
        (_, "rm") if place.is_set("force") => some(Which::All),
        (_, "rm") => some(Which::Down),
        (_, "commit" | "diff" | "kill" | "port" | "stats" | "stop" | "top" | "wait") => some(Which::Up),
        (_, "export" | "logs" | "rename" | "restart" | "update") => some(Which::All),
        ("container inspect", _) => some(Which::All),
        ("inspect", _) => some_objects(globals, place),
        _ => nothing(),
    }
}

/// `docker inspect`: what its type names, or containers and images.
fn some_objects(globals: &Globals, place: &Place) -> Result<Answer, Failure> {
    let kind = place.seen.iter().rev().find(|(name, _)| *name == "type").map(|(_, value)| value.as_str());
    Ok(match kind {
        Some("container") => containers(globals, Which::All, "", NO_FILES),
        Some("image") => images(globals),
        Some("network") => networks(globals),
        Some("volume") => volumes(globals),
        _ => Answer::words(NO_FILES, [""; 0]),
    })
}

fn named(found: Option<Vec<String>>, directive: u8) -> Answer {
    match found {
        Some(names) => Answer::words(directive, names),
        None => Answer::words(ERROR, [""; 0]),
    }
}

fn containers(globals: &Globals, which: Which, suffix: &str, directive: u8) -> Answer {
    let wants_ids = std::env::var(IDS_VARIABLE).is_ok_and(|value| value == "yes");
    let found = ask(globals, async |context: &Context| {
        let all = !matches!(which, Which::Up | Which::Unpaused | Which::Paused);
        let request = Request::get("/containers/json").with_flag("all", all);
        let list: Vec<Summary> = context.client.call(request).await?;
        let fits = |summary: &&Summary| match which {
            Which::All | Which::Up => true,
            Which::Unpaused => summary.state != "paused",
            Which::Paused => summary.state == "paused",
            Which::Down => matches!(summary.state.as_str(), "created" | "exited"),
        };
        let mut names = Vec::new();
        for summary in list.iter().filter(fits) {
            if wants_ids {
                names.push(format!("{}{suffix}", summary.id));
            }
            names.extend(summary.names.iter().map(|name| format!("{}{suffix}", name.trim_start_matches('/'))));
        }
        Ok(names)
    });
    named(found, directive)
}

fn images(globals: &Globals) -> Answer {
    let found = ask(globals, async |context: &Context| {
        let list: Vec<image::Summary> = context.client.call(Request::get("/images/json")).await?;
        let names = list.into_iter().flat_map(|summary| summary.repo_tags);
        Ok(names.filter(|name| !name.starts_with("<none>")).collect())
    });
    named(found, NO_FILES)
}

fn networks(globals: &Globals) -> Answer {
    let found = ask(globals, async |context: &Context| {
        let list: Vec<network::Network> = context.client.call(Request::get("/networks")).await?;
        Ok(list.into_iter().map(|network| network.name).collect())
    });
    named(found, NO_FILES)
}

/// Names of the containers on a network.
fn members(globals: &Globals, network: &str) -> Answer {
    let found = ask(globals, async |context: &Context| {
        let inspected: Json = context.client.call(Request::get(format!("/networks/{}", escape(network)))).await?;
        let members = inspected["Containers"].as_object().cloned().unwrap_or_default();
        Ok(members.values().filter_map(|member| member["Name"].as_str().map(str::to_owned)).collect())
    });
    named(found, NO_FILES)
}

fn volumes(globals: &Globals) -> Answer {
    let found = ask(globals, async |context: &Context| {
        let list: volume::ListResponse = context.client.call(Request::get("/volumes")).await?;
        Ok(list.volumes.into_iter().map(|volume| volume.name).collect())
    });
    named(found, NO_FILES)
}

fn names_of_contexts(globals: &Globals) -> impl Iterator<Item = String> {
    Store::new(&globals.config).list().unwrap_or_default().into_iter().map(|meta| meta.name)
}

fn contexts(globals: &Globals) -> Answer {
    let stored = names_of_contexts(globals).map(|name| (name, String::new()));
    let mut found: Vec<(String, String)> = stored.collect();
    found.push(("default".to_owned(), "current".to_owned()));
    Answer::new(NO_FILES, found)
}
