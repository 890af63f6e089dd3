//! `docker logs`.

use std::io::Write;

use engine_client::{Request, escape};

use super::attach::inspect;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::stream::{Demux, Stream};
use crate::text::time::query_time;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("details", NONE, Kind::Bool, "", "Show extra details provided to logs"),
    flag("follow", 'f', Kind::Bool, "", "Follow log output"),
    flag("since", NONE, Kind::Text, "", "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
    flag("tail", 'n', Kind::Text, "all", "Number of lines to show from the end of the logs"),
    flag("timestamps", 't', Kind::Bool, "", "Show timestamps"),
    flag("until", NONE, Kind::Text, "", "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
];

pub const COMMAND: Command = Command {
    name: "logs",
    usage: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    aliases: "docker container logs, docker logs",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let time = |name: &str| match flags.text(name) {
        "" => Ok(String::new()),
        text => query_time(text).map_err(|reason| Failure::Text(format!("invalid value for {name:?}: {reason}"))),
    };
    let container = inspect(&context.client, flags.arg(0)).await?;
    let (since, until) = (time("since")?, time("until")?);
    let request = Request::get(format!("/containers/{}/logs", escape(&container.id)))
        .with_flag("details", flags.is_set("details"))
        .with_flag("follow", flags.is_set("follow"))
        .with_some("since", since)
        .with("stderr", "1")
        .with("stdout", "1")
        .with("tail", flags.text("tail"))
        .with_flag("timestamps", flags.is_set("timestamps"))
        .with_some("until", until);
    let mut body = context.client.stream(request).await?;
    let mut demux = Demux::default();
    while let Some(bytes) = body.chunk().await? {
        if container.config.tty {
            context::write_all(&bytes)?;
        } else {
            demux.feed(&bytes, |stream, piece| match stream {
                Stream::Stdout => context::write_all(piece),
                Stream::Stderr => Ok(std::io::stderr().lock().write_all(piece)?),
            })?;
        }
    }
    Ok(0)
}
