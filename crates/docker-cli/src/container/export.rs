//! `docker export`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::messages;
use crate::stream::download::{to_file, to_stdout};
use crate::stream::output_file::OutputFile;
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("output", 'o', Kind::Text, "", "Write to a file, instead of STDOUT"),
];

pub const COMMAND: Command = Command {
    name: "export",
    usage: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    aliases: "docker container export, docker export",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let request = Request::get(format!("/containers/{}/export", escape(flags.arg(0))));
    match flags.text("output") {
        "" if terminal::stdout_is_terminal() => return Err(Failure::text(messages::SAVE_TO_TERMINAL)),
        "" => to_stdout(context.client.stream(request).await?).await?,
        path => {
            let file = OutputFile::create(path)
                .map_err(|reason| Failure::Text(format!("failed to export container: {reason}")))?;
            to_file(context.client.stream(request).await?, file).await?;
        }
    }
    Ok(0)
}
