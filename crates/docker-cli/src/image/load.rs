//! `docker load`.

use std::os::fd::AsFd;

use engine_client::Request;

use super::platform;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::options::os_words;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Output, show};
use crate::stream::download::to_stdout;
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("input", 'i', Kind::Text, "", "Read from tar archive file, instead of STDIN"),
    flag("platform", NONE, Kind::Text, "", "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress the load output"),
];

pub const COMMAND: Command = Command {
    name: "load",
    usage: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    aliases: "docker image load, docker load",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let source = match flags.text("input") {
        "" if terminal::stdin_is_terminal() => {
            return Err(Failure::text("requested load from stdin, but stdin is empty"));
        }
        "" => std::io::stdin().as_fd().try_clone_to_owned()?.into(),
        path => {
            std::fs::File::open(path).map_err(|error| Failure::Text(format!("open {path}: {}", os_words(&error))))?
        }
    };
    let platform = platform::named_parameter(flags.text("platform"))?;
    let quiet = flags.is_set("quiet") || !terminal::stdout_is_terminal();
    let request = Request::post("/images/load")
        .with_some("platform", platform)
        .with("quiet", if quiet { "1" } else { "0" })
        .header("content-type", "application/x-tar")
        .upload(tokio::fs::File::from_std(source));
    let body = context.client.stream(request).await?;
    if body.content_type() == "application/json" {
        show(body.lines(), Output::Stdout).await?;
    } else {
        to_stdout(body).await?;
    }
    Ok(0)
}
