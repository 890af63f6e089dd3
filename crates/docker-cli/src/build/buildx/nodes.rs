//! `docker buildx ls`, `inspect` and `version`: who builds, which is the engine of the context in use.

use buildkit_api::types::WorkerRecord;

use super::refused;
use crate::build::session;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{Context, print, print_line};
use crate::failure::Failure;
use crate::messages;
use crate::text::table::align;

const BUILDER: &str = "default";

pub const LIST: Command = Command {
    name: "ls",
    usage: "",
    about: "List builder instances",
    args: Args::None,
    action: Some(|context, _| Box::pin(list(context))),
    ..Command::EMPTY
};

pub const INSPECT: Command = Command {
    name: "inspect",
    usage: "[NAME]",
    about: "Inspect current builder instance",
    flags: &[&[BOOTSTRAP]],
    args: Args::AtMost(1),
    action: Some(|context, flags| Box::pin(inspect(context, flags))),
    ..Command::EMPTY
};

pub const VERSION: Command = Command {
    name: "version",
    usage: "",
    about: "Show buildx version information",
    args: Args::None,
    local: true,
    action: Some(|_, _| Box::pin(version())),
    ..Command::EMPTY
};

const BOOTSTRAP: Flag = flag("bootstrap", NONE, Kind::Bool, "", "Ensure builder has booted before inspecting");

async fn workers(context: &Context) -> Result<Vec<WorkerRecord>, Failure> {
    session::connect(context).await?.workers().await.map_err(refused)
}

async fn list(context: &Context) -> Result<u8, Failure> {
    let mut rows = "NAME/NODE\tDRIVER/ENDPOINT\tSTATUS\tBUILDKIT\tPLATFORMS\n".to_owned();
    rows.push_str(&format!("{BUILDER}*\tdocker\t\t\t\n"));
    let endpoint = &context.current_context;
    match workers(context).await {
        Ok(workers) => {
            for worker in workers {
                let (version, platforms) = (version_of(&worker), platforms(&worker));
                rows.push_str(&format!(" \\_ {endpoint}\t \\_ {endpoint}\trunning\t{version}\t{platforms}\n"));
            }
        }
        Err(error) => {
            rows.push_str(&format!(" \\_ {endpoint}\t \\_ {endpoint}\terror\t\t\n"));
            print(&align(&rows))?;
            return Err(error);
        }
    }
    print(&align(&rows))?;
    Ok(0)
}

async fn inspect(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let name = flags.arg(0);
    if !matches!(name, "" | BUILDER) && name != context.current_context {
        return Err(Failure::Text(format!("ERROR: no builder {name:?} found")));
    }
    let endpoint = &context.current_context;
    print(&align(&format!("Name:\t{BUILDER}\nDriver:\tdocker\n")))?;
    for worker in workers(context).await? {
        let version = version_of(&worker);
        let platforms = platforms(&worker);
        let rows = format!(
            "Name:\t{BUILDER}\nEndpoint:\t{endpoint}\nStatus:\trunning\nBuildKit version:\t{version}\nPlatforms:\t{platforms}\n"
        );
        print(&format!("\nNodes:\n{}", align(&rows)))?;
    }
    Ok(0)
}

async fn version() -> Result<u8, Failure> {
    print_line(&format!("docker buildx {} {}", messages::VERSION, messages::COMMIT))?;
    Ok(0)
}

fn version_of(worker: &WorkerRecord) -> &str {
    worker.buildkit_version.as_ref().map_or("", |version| version.version.as_str())
}

fn platforms(worker: &WorkerRecord) -> String {
    let platform = |platform: &buildkit_api::pb::Platform| {
        let variant = if platform.variant.is_empty() { String::new() } else { format!("/{}", platform.variant) };
        format!("{}/{}{variant}", platform.os, platform.architecture)
    };
    worker.platforms.iter().map(platform).collect::<Vec<_>>().join(", ")
}
