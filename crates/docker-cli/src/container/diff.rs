//! `docker diff`.

use engine_client::{Request, escape};
use serde::Deserialize;

use crate::command::{Args, Command, Matches};
use crate::context::{self, Context};
use crate::failure::Failure;

pub const COMMAND: Command = Command {
    name: "diff",
    usage: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    aliases: "docker container diff, docker diff",
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// A line of `GET /containers/x/changes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    path: String,
    kind: u8,
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    if flags.arg(0).is_empty() {
        return Err(Failure::text("Container name cannot be empty"));
    }
    let request = Request::get(format!("/containers/{}/changes", escape(flags.arg(0))));
    let changes: Option<Vec<Change>> = context.client.call(request).await?;
    let mut text = String::new();
    for change in changes.iter().flatten() {
        let letter = match change.kind {
            0 => "C",
            1 => "A",
            2 => "D",
            _ => "",
        };
        text.push_str(&format!("{letter} {}\n", change.path));
    }
    context::print(&text)?;
    Ok(0)
}
