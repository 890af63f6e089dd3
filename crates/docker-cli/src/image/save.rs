//! `docker save`.

use engine_client::Request;

use super::platform;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::messages;
use crate::stream::download::{to_file, to_stdout};
use crate::stream::output_file::OutputFile;
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("output", 'o', Kind::Text, "", "Write to a file, instead of STDOUT"),
    flag("platform", NONE, Kind::Text, "", "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
];

pub const COMMAND: Command = Command {
    name: "save",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases: "docker image save, docker save",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let platform = platform::named_parameter(flags.text("platform"))?;
    let mut request = Request::get("/images/get");
    for name in &flags.args {
        request = request.with("names", name);
    }
    request = request.with_some("platform", platform);
    match flags.text("output") {
        "" if terminal::stdout_is_terminal() => return Err(Failure::text(messages::SAVE_TO_TERMINAL)),
        "" => to_stdout(context.client.stream(request).await?).await?,
        path => {
            let file =
                OutputFile::create(path).map_err(|reason| Failure::Text(format!("failed to save image: {reason}")))?;
            to_file(context.client.stream(request).await?, file).await?;
        }
    }
    Ok(0)
}
